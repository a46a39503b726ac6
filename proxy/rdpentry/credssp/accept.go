package credssp

import (
	"crypto/subtle"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
)

// What a client is told (MS-ERREF 2.3.1); it has words of its own for each.
const (
	StatusLogonFailure = 0xc000006d // wrong name or password
	StatusNotGranted   = 0xc000015b // the name may not log in here
	StatusLockedOut    = 0xc0000234 // too many wrong passwords
	StatusNotSupported = 0xc00000bb
)

var (
	// ErrOldClient says that the client speaks a version that is not safe.
	ErrOldClient = errors.New("the client's CredSSP is older than version 5, which anybody in between can misuse: update it")
	// ErrNotPassword says that a client delegates something else.
	ErrNotPassword = errors.New("the client logs in by something else than a password, such as a smart card, which cannot pass the gate")
)

// A Denied is why a client is not let in; it is told the status.
type Denied struct {
	Status uint32
	Err    error
}

func (d *Denied) Error() string { return d.Err.Error() }
func (d *Denied) Unwrap() error { return d.Err }

// A Check decides about somebody who says who they are. proves tells whether
// they know the password of which the hash is given; it must have said so when
// Check returns nil. The error is better a *Denied.
type Check func(domain, user string, proves func(hash []byte) bool) error

// Accept is the server's side of a login over conn, which must be TLS under
// the certificate that is given. What it returns was proven and bound to that
// certificate; its password is what the client delegates, which a client may
// choose freely. name is how the server calls itself.
func Accept(conn io.ReadWriter, own *x509.Certificate, name string, check Check) (Credentials, error) {
	s := &server{conn: conn, ntlm: challenger{name: name}}
	var err error
	if s.key, err = publicKey(own); err != nil {
		return Credentials{}, err
	}
	c, err := s.accept(check)
	if err != nil {
		s.refuse(err)
	}
	return c, err
}

// A server is one login.
type server struct {
	conn  io.ReadWriter
	key   []byte
	peer  int // the client's version; zero until it has said it
	wraps wrapping
	ntlm  challenger
	keys  *session
}

func (s *server) accept(check Check) (Credentials, error) {
	if err := s.challenge(); err != nil {
		return Credentials{}, err
	}
	request, err := s.receive()
	if err != nil {
		return Credentials{}, err
	}
	final, err := s.authenticate(request, check)
	if err != nil {
		return Credentials{}, err
	}
	if len(request.PubKeyAuth) == 0 { // the client waits for the end of SPNEGO
		if err := s.send(tsRequest{NegoTokens: tokens(final)}); err != nil {
			return Credentials{}, err
		}
		final = nil
		if request, err = s.receive(); err != nil {
			return Credentials{}, err
		}
		if len(request.NegoTokens) > 0 {
			return Credentials{}, malformed("the client logs in a second time")
		}
	}
	if err := s.bind(request, final); err != nil {
		return Credentials{}, err
	}
	if request, err = s.receive(); err != nil {
		return Credentials{}, err
	}
	return s.delegated(request.AuthInfo)
}

// challenge is the exchange up to the challenge: one message, or two where the
// client would rather have spoken something else.
func (s *server) challenge() error {
	for range 2 {
		request, err := s.receive()
		if err != nil {
			return err
		}
		hello, _, err := s.unwrap(request)
		if err != nil {
			return err
		}
		var answer []byte
		if hello != nil {
			if answer, err = s.ntlm.challenged(hello); err != nil {
				return err
			}
		}
		if answer, err = s.wraps.wrap(answer); err != nil {
			return err
		}
		if err := s.send(tsRequest{NegoTokens: tokens(answer)}); err != nil || hello != nil {
			return err
		}
	}
	return malformed("a negotiation without NTLM")
}

func (s *server) unwrap(r tsRequest) (ntlm, mic []byte, err error) {
	if len(r.NegoTokens) != 1 {
		return nil, nil, malformed("%d tokens where one is expected", len(r.NegoTokens))
	}
	return s.wraps.unwrap(r.NegoTokens[0].Token)
}

// authenticate has the client's claim decided about and returns the last token
// of SPNEGO.
func (s *server) authenticate(r tsRequest, check Check) (final []byte, err error) {
	message, mic, err := s.unwrap(r)
	if err != nil {
		return nil, err
	}
	a, err := parseClaim(message)
	if err != nil {
		return nil, err
	}
	err = check(a.domain, a.user, func(hash []byte) bool {
		s.keys = s.ntlm.provenBy(a, hash)
		return s.keys != nil
	})
	switch {
	case err != nil:
		return nil, err
	case s.keys == nil:
		return nil, &Denied{StatusLogonFailure, errors.New("nothing was proven")}
	}
	return s.wraps.completed(mic, s.keys)
}

// bind makes sure that the client sees the certificate this side shows, and
// proves the same to the client.
func (s *server) bind(r tsRequest, final []byte) error {
	if len(r.Nonce) != nonceLen {
		return malformed("a nonce of %d bytes", len(r.Nonce))
	}
	seen, err := s.keys.in.open(r.PubKeyAuth)
	if err != nil {
		return err
	}
	if subtle.ConstantTimeCompare(seen, bound(toServer, r.Nonce, s.key)) != 1 {
		return malformed("the client sees another certificate than the gate shows: somebody is in between")
	}
	return s.send(tsRequest{NegoTokens: tokens(final), PubKeyAuth: s.keys.out.seal(bound(toClient, r.Nonce, s.key))})
}

const nonceLen = 32

// delegated reads what the client hands over (2.2.1.2).
func (s *server) delegated(sealed []byte) (Credentials, error) {
	b, err := s.keys.in.open(sealed)
	if err != nil {
		return Credentials{}, err
	}
	var outer tsCredentials
	if rest, err := asn1.Unmarshal(b, &outer); err != nil || len(rest) > 0 {
		return Credentials{}, malformed("what the client delegates")
	}
	if outer.Kind != passwordKind {
		return Credentials{}, fmt.Errorf("%w (kind %d)", ErrNotPassword, outer.Kind)
	}
	var inner tsPassword
	if rest, err := asn1.Unmarshal(outer.Credentials, &inner); err != nil || len(rest) > 0 {
		return Credentials{}, malformed("the password the client delegates")
	}
	var c Credentials
	for _, part := range []struct {
		text *string
		b    []byte
	}{{&c.Domain, inner.Domain}, {&c.User, inner.User}, {&c.Password, inner.Password}} {
		if *part.text, err = utf16Text(part.b); err != nil {
			return Credentials{}, err
		}
	}
	return c, nil
}

func tokens(token []byte) []negoToken {
	if token == nil {
		return nil
	}
	return []negoToken{{token}}
}

// receive reads one message of the client, whose version must not change.
func (s *server) receive() (tsRequest, error) { return s.receiveFrom(s.conn) }

func (s *server) receiveFrom(from io.Reader) (tsRequest, error) {
	r, err := receive(from)
	if err != nil {
		return r, err
	}
	was := s.peer
	s.peer = r.Version
	switch {
	case r.Version < oldest:
		return r, ErrOldClient
	case was != 0 && was != r.Version:
		return r, malformed("the client's version changed from %d to %d", was, r.Version)
	case r.ErrorCode != 0:
		return r, malformed("the client gives up (status %#08x)", uint32(r.ErrorCode))
	}
	return r, nil
}

func (s *server) send(r tsRequest) error { return send(s.conn, r) }

// refuse tells the client that it is not let in, where its version knows how:
// there is no such field in versions 2 and 5 (2.2.1).
func (s *server) refuse(err error) {
	if s.peer < 3 || s.peer == 5 {
		return
	}
	status := uint32(StatusLogonFailure)
	var d *Denied
	switch {
	case errors.As(err, &d):
		status = d.Status
	case errors.Is(err, ErrOldClient), errors.Is(err, ErrOld), errors.Is(err, ErrNoNTLM), errors.Is(err, ErrNotPassword):
		status = StatusNotSupported
	}
	s.send(tsRequest{ErrorCode: int64(int32(status))}) // signed, in four bytes, as everybody writes it
}
