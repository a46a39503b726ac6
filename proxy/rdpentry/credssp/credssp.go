// Package credssp logs in before there is a session: CredSSP (MS-CSSP),
// "network level authentication", with NTLM (MS-NLMP) inside. [Login] is the
// client's side, towards a server that insists on it; [Accept] is the server's,
// towards a person's client that does. Both speak version 5 and later: the
// earlier ones do not protect against somebody who relays the login
// (CVE-2018-0886). Kerberos is not spoken. Package rdpentry calls both; nothing
// is kept.
package credssp

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
)

// Credentials are what somebody logs in with. They are in nobody's log.
type Credentials struct {
	Domain, User, Password string
}

var (
	// ErrRefused says that the server did not accept the credentials.
	ErrRefused = errors.New("the server did not accept the login")
	// ErrOld says that the server speaks a version that is not safe.
	ErrOld = errors.New("the server's CredSSP is older than version 5, which anybody in between can misuse: update it")
	// ErrProtocol says that what the server said is not CredSSP.
	ErrProtocol = errors.New("not CredSSP")
)

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrProtocol, fmt.Sprintf(format, args...))
}

const (
	version = 6
	oldest  = 5
)

// A tsRequest is the one message of CredSSP (MS-CSSP 2.2.1).
type tsRequest struct {
	Version    int         `asn1:"explicit,tag:0"`
	NegoTokens []negoToken `asn1:"explicit,optional,omitempty,tag:1"`
	AuthInfo   []byte      `asn1:"explicit,optional,omitempty,tag:2"`
	PubKeyAuth []byte      `asn1:"explicit,optional,omitempty,tag:3"`
	ErrorCode  int64       `asn1:"explicit,optional,omitempty,tag:4"`
	Nonce      []byte      `asn1:"explicit,optional,omitempty,tag:5"`
}

type negoToken struct {
	Token []byte `asn1:"explicit,tag:0"`
}

// The credentials of a password (2.2.1.2.1); texts are in UTF-16.
type tsPassword struct {
	Domain   []byte `asn1:"explicit,tag:0"`
	User     []byte `asn1:"explicit,tag:1"`
	Password []byte `asn1:"explicit,tag:2"`
}

const passwordKind = 1

type tsCredentials struct {
	Kind        int    `asn1:"explicit,tag:0"`
	Credentials []byte `asn1:"explicit,tag:1"`
}

// Login logs in over conn, which must be TLS with the server whose certificate
// is given. The login is bound to that certificate: somebody in between with
// another one learns nothing, not even of a person the gate was told to trust.
func Login(conn io.ReadWriter, server *x509.Certificate, c Credentials) error {
	key, err := publicKey(server)
	if err != nil {
		return err
	}
	hello := negotiateMessage()
	if err := send(conn, tsRequest{NegoTokens: []negoToken{{hello}}}); err != nil {
		return err
	}
	answer, err := answered(conn)
	if err != nil {
		return err
	}
	if len(answer.NegoTokens) != 1 {
		return malformed("%d tokens for a challenge", len(answer.NegoTokens))
	}
	proof, keys, err := authenticate(hello, answer.NegoTokens[0].Token, c)
	if err != nil {
		return err
	}
	nonce := make([]byte, nonceLen)
	rand.Read(nonce)
	request := tsRequest{NegoTokens: []negoToken{{proof}}, PubKeyAuth: keys.out.seal(bound(toServer, nonce, key)), Nonce: nonce}
	if err := send(conn, request); err != nil {
		return err
	}
	answer, err = answered(conn)
	if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
		return ErrRefused // as some servers say it
	}
	if err != nil {
		return err
	}
	proven, err := keys.in.open(answer.PubKeyAuth)
	if err != nil {
		return err
	}
	if subtle.ConstantTimeCompare(proven, bound(toClient, nonce, key)) != 1 {
		return malformed("the server that checks the login is not the one that holds the certificate")
	}
	password, err := asn1.Marshal(tsPassword{utf16le(c.Domain), utf16le(c.User), utf16le(c.Password)})
	if err != nil {
		return err
	}
	credentials, err := asn1.Marshal(tsCredentials{passwordKind, password})
	if err != nil {
		return err
	}
	return send(conn, tsRequest{AuthInfo: keys.out.seal(credentials)})
}

// What is bound to the certificate, in each direction (3.1.5).
const (
	toServer = "Client-To-Server"
	toClient = "Server-To-Client"
)

func bound(direction string, nonce, key []byte) []byte {
	h := sha256.New()
	h.Write([]byte("CredSSP " + direction + " Binding Hash\x00"))
	h.Write(nonce)
	h.Write(key)
	return h.Sum(nil)
}

// publicKey is the key of a certificate without its algorithm.
func publicKey(c *x509.Certificate) ([]byte, error) {
	var spki struct {
		Algorithm asn1.RawValue
		Key       asn1.BitString
	}
	if rest, err := asn1.Unmarshal(c.RawSubjectPublicKeyInfo, &spki); err != nil || len(rest) > 0 {
		return nil, malformed("the server's public key")
	}
	return spki.Key.Bytes, nil
}

// answered reads what a server answers.
func answered(r io.Reader) (tsRequest, error) {
	t, err := receive(r)
	switch {
	case err != nil:
		return t, err
	case t.Version < oldest:
		return t, ErrOld
	case t.ErrorCode != 0:
		return t, refusedWith(t)
	}
	return t, nil
}

func refusedWith(t tsRequest) error {
	return fmt.Errorf("%w (status %#08x)", ErrRefused, uint32(t.ErrorCode))
}

func send(w io.Writer, r tsRequest) error {
	r.Version = version
	b, err := asn1.Marshal(r)
	if err != nil {
		return err
	}
	_, err = w.Write(b)
	return err
}

// maxRequest bounds what a peer may send: a challenge is far shorter, and a
// Kerberos ticket that is offered first is not longer.
const maxRequest = 16 << 10

// receive reads one message, in DER: its length comes first.
func receive(r io.Reader) (tsRequest, error) {
	head := make([]byte, 4)
	if _, err := io.ReadFull(r, head[:2]); err != nil {
		return tsRequest{}, err
	}
	if head[0] != 0x30 { // SEQUENCE
		return tsRequest{}, malformed("a message that begins with %#x", head[0])
	}
	length := int(head[1])
	head = head[:2]
	if length&0x80 != 0 {
		n := length & 0x7f
		if n < 1 || n > 2 {
			return tsRequest{}, malformed("a message whose length has %d bytes", n)
		}
		head = head[:2+n]
		if _, err := io.ReadFull(r, head[2:]); err != nil {
			return tsRequest{}, err
		}
		length = 0
		for _, b := range head[2:] {
			length = length<<8 | int(b)
		}
	}
	if length > maxRequest {
		return tsRequest{}, malformed("a message of %d bytes", length)
	}
	b := append(head, make([]byte, length)...)
	if _, err := io.ReadFull(r, b[len(head):]); err != nil {
		return tsRequest{}, err
	}
	return parse(b)
}

func parse(b []byte) (tsRequest, error) {
	var t tsRequest
	if rest, err := asn1.Unmarshal(b, &t); err != nil || len(rest) > 0 {
		return t, malformed("a message that is no TSRequest")
	}
	return t, nil
}
