package appliance

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/proxy"
	"github.com/pawelmojski/inside/store"
)

const (
	// certificateLife is how long a certificate can be used to log in; sshd
	// looks at it then and never again.
	certificateLife = 5 * time.Minute

	// certificateSkew is how far a server's clock may be behind the gate's.
	certificateSkew = 5 * time.Minute
)

// newUserCA makes a key for the user CA and returns its public half and the
// private one in PEM.
func newUserCA() (public, private []byte, err error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	defer clear(key)
	return marshalPair(key, "inside user CA")
}

// marshalPair writes a key pair: the public half in wire format, the private
// one in PEM.
func marshalPair(key ed25519.PrivateKey, comment string) (public, private []byte, err error) {
	half, err := ssh.NewPublicKey(key.Public())
	if err != nil {
		return nil, nil, err
	}
	block, err := ssh.MarshalPrivateKey(key, comment)
	if err != nil {
		return nil, nil, err
	}
	defer clear(block.Bytes)
	return half.Marshal(), pem.EncodeToMemory(block), nil
}

func purposeOfCA(ca store.UserCA) []string {
	return []string{"user-ca", ca.ID, string(ca.Public)}
}

// certify makes a key for this one login and a certificate for it, signed by a
// user CA.
func (k *keyring) certify(ctx context.Context, ca store.UserCA) (*proxy.Secret, error) {
	se, verdict, err := k.session()
	if err != nil {
		return nil, err
	}
	// A comma in a principal is one name to one check of OpenSSH and two to
	// another (CVE-2026-35414).
	if strings.ContainsAny(k.login, ", ") {
		return nil, fmt.Errorf("the login %q cannot be a principal", k.login)
	}
	source, err := k.visit.seenFrom()
	if err != nil {
		return nil, err
	}
	plain, err := k.visit.house.vault.Open(ca.Sealed, purposeOfCA(ca)...)
	if err != nil {
		return nil, err
	}
	defer clear(plain)
	signer, err := ssh.ParsePrivateKey(plain)
	if err != nil {
		return nil, err
	}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	half, err := ssh.NewPublicKey(public)
	if err != nil {
		return nil, err
	}
	now := k.visit.house.clock.now()
	cert := certificate(half, se, verdict, source, now)
	writing, cancel := context.WithTimeout(ctx, writeDown)
	defer cancel()
	detail := fmt.Sprintf("user CA %s, %s, principal %s, until %s, for %s", ca.ID, cert.KeyId, k.login,
		time.Unix(int64(cert.ValidBefore), 0).UTC().Format(time.RFC3339), k.described(se, verdict))
	if cert.Serial, err = k.visit.house.store.IssueCertificate(writing, k.visit.house.itself(), detail); err != nil {
		return nil, err
	}
	if err := cert.SignCert(rand.Reader, signer); err != nil {
		return nil, err
	}
	return &proxy.Secret{Key: private, Certificate: cert.Marshal()}, nil
}

// certificate is for one login, from the gate only, for minutes, and never
// longer than the person may be inside.
func certificate(key ssh.PublicKey, se policy.Session, v policy.Verdict, source netip.Addr, now time.Time) *ssh.Certificate {
	until := now.Add(certificateLife)
	if !v.Until.IsZero() && v.Until.Before(until) {
		until = v.Until
	}
	// What makes a session as it is without the gate. An agent and X11 never
	// get past the gate, so the server need not be asked to let them.
	extensions := map[string]string{"permit-pty": "", "permit-user-rc": ""}
	if v.Grant != nil && v.Grant.Forwarding != 0 {
		extensions["permit-port-forwarding"] = ""
	}
	return &ssh.Certificate{
		Key:             key,
		CertType:        ssh.UserCert,
		KeyId:           fmt.Sprintf("%s session %s grant %s", v.Person.Name, se.ID, se.Grant),
		ValidPrincipals: []string{se.Login},
		ValidAfter:      uint64(now.Add(-certificateSkew).Unix()),
		ValidBefore:     uint64(until.Unix()),
		Permissions: ssh.Permissions{
			CriticalOptions: map[string]string{"source-address": netip.PrefixFrom(source, source.BitLen()).String()},
			Extensions:      extensions,
		},
	}
}

// seenFrom is the address the server sees this visit come from: the gateway's
// own, or with source = "client" the client's.
func (v *visit) seenFrom() (netip.Addr, error) {
	v.mu.Lock()
	server := v.server
	v.mu.Unlock()
	if server == nil {
		return netip.Addr{}, errors.New("the server was not dialled")
	}
	local, ok := server.LocalAddr().(*net.TCPAddr)
	if !ok {
		return netip.Addr{}, fmt.Errorf("%s is no address of TCP", server.LocalAddr())
	}
	return local.AddrPort().Addr().Unmap(), nil
}
