package sshentry

import (
	"fmt"
	"slices"

	"golang.org/x/crypto/ssh"
)

// The lists are explicit because the library's defaults include SHA-1 MACs
// and group14-sha1. AES-GCM comes first: it costs least, and it is not open
// to prefix truncation (CVE-2023-48795) even against a peer without strict
// key exchange.
var (
	keyExchanges = []string{
		ssh.KeyExchangeMLKEM768X25519,
		ssh.KeyExchangeCurve25519,
	}
	// Servers are older than clients: those before OpenSSH 6.5, and many
	// appliances, know neither curve25519 nor anything newer than these.
	serverKeyExchanges = append(slices.Clone(keyExchanges),
		ssh.KeyExchangeECDHP256,
		ssh.KeyExchangeECDHP384,
		ssh.KeyExchangeECDHP521,
		ssh.KeyExchangeDH16SHA512,
		ssh.KeyExchangeDH14SHA256,
		ssh.KeyExchangeDHGEXSHA256,
	)
	ciphers = []string{
		ssh.CipherAES128GCM,
		ssh.CipherAES256GCM,
		ssh.CipherChaCha20Poly1305,
		ssh.CipherAES128CTR,
		ssh.CipherAES192CTR,
		ssh.CipherAES256CTR,
	}
	macs = []string{
		ssh.HMACSHA256ETM,
		ssh.HMACSHA512ETM,
	}
	serverMACs = append(slices.Clone(macs), ssh.HMACSHA256, ssh.HMACSHA512)

	hostKeyAlgorithms = []string{
		ssh.KeyAlgoED25519,
		ssh.KeyAlgoECDSA256,
		ssh.KeyAlgoECDSA384,
		ssh.KeyAlgoECDSA521,
		ssh.KeyAlgoRSASHA512,
		ssh.KeyAlgoRSASHA256,
	}
	publicKeyAlgorithms = []string{
		ssh.KeyAlgoED25519,
		ssh.KeyAlgoSKED25519,
		ssh.KeyAlgoSKECDSA256,
		ssh.KeyAlgoECDSA256,
		ssh.KeyAlgoECDSA384,
		ssh.KeyAlgoECDSA521,
		ssh.KeyAlgoRSASHA512,
		ssh.KeyAlgoRSASHA256,
	}
)

// signatureAlgorithms names the signatures a key may make here: for RSA those
// of RFC 8332, never SHA-1.
func signatureAlgorithms(key ssh.PublicKey) []string {
	kind := key.Type()
	if cert, ok := key.(*ssh.Certificate); ok {
		kind = cert.Key.Type()
	}
	if kind == ssh.KeyAlgoRSA {
		return []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256}
	}
	return []string{kind}
}

// withoutSHA1 restricts a host key to the signatures allowed here. A plain RSA
// signer would otherwise be offered as ssh-rsa, too.
func withoutSHA1(key ssh.Signer) (ssh.Signer, error) {
	as, ok := key.(ssh.AlgorithmSigner)
	if !ok || key.PublicKey().Type() == ssh.KeyAlgoED25519 {
		return key, nil
	}
	restricted, err := ssh.NewSignerWithAlgorithms(as, signatureAlgorithms(key.PublicKey()))
	if err != nil {
		return nil, fmt.Errorf("host key of type %s: %w", key.PublicKey().Type(), err)
	}
	return restricted, nil
}

// pinnedFirst orders the host key algorithms so that a server is asked for a
// key that is pinned. It would otherwise show its favourite, which a pin of
// another type cannot be compared with.
func pinnedFirst(pins []ssh.PublicKey) []string {
	var first, rest []string
	for _, algo := range hostKeyAlgorithms {
		format := algo
		if algo == ssh.KeyAlgoRSASHA256 || algo == ssh.KeyAlgoRSASHA512 {
			format = ssh.KeyAlgoRSA
		}
		if slices.ContainsFunc(pins, func(k ssh.PublicKey) bool { return k.Type() == format }) {
			first = append(first, algo)
		} else {
			rest = append(rest, algo)
		}
	}
	return append(first, rest...)
}
