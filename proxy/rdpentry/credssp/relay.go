package credssp

import (
	"bytes"
	"errors"
	"io"
)

// maxRelayed is more messages than a login takes: three with NTLM, some more
// where SPNEGO has to agree on it first.
const maxRelayed = 8

// Relay passes a login through between a client and the server, over TLS under
// the same key on both sides; every message goes on byte by byte as it came.
// What it reads of it is who says they log in, which NTLM sends in clear: decide
// is asked before the server hears of it. It returns nil when the server has
// taken the login and was handed what the client delegates, which is sealed and
// may name somebody else: what the server then tells of who logged on counts.
func Relay(client, to io.ReadWriter, decide func(domain, user string) error) error {
	r := relay{client: &server{conn: client}, server: to, decide: decide}
	for range maxRelayed {
		last, err := r.up()
		if err != nil {
			r.client.refuse(err)
			return err
		}
		if last {
			return nil
		}
		if err := r.down(); err != nil {
			return err
		}
	}
	return malformed("a login without end")
}

// A relay is one login that passes through.
type relay struct {
	client  *server // towards the client the gate is one
	server  io.ReadWriter
	decide  func(domain, user string) error
	claimed bool // who logs in was read and decided about
	bound   bool // the server has shown that it holds the certificate
}

// up passes a message of the client on, and reports whether it was the last.
func (r *relay) up() (last bool, err error) {
	var raw bytes.Buffer
	t, err := r.client.receiveFrom(io.TeeReader(r.client.conn, &raw))
	if err != nil {
		return false, err
	}
	if len(t.NegoTokens) > 0 {
		if err := r.read(t); err != nil {
			return false, err
		}
	}
	switch {
	case len(t.PubKeyAuth) > 0 && !r.claimed:
		return false, ErrNoNTLM
	case len(t.AuthInfo) > 0 && !r.bound:
		return false, malformed("something is delegated before the server has shown that it holds the certificate")
	}
	_, err = r.server.Write(raw.Bytes())
	return len(t.AuthInfo) > 0, err
}

// read looks for who logs in.
func (r *relay) read(t tsRequest) error {
	message, _, err := r.client.unwrap(t)
	switch {
	case err != nil:
		return err
	case message == nil: // the client would rather speak something else
		return nil
	case !bytes.HasPrefix(message, signature) || len(message) < 12:
		return ErrNoNTLM
	case message[8] == 1 && !r.claimed:
		return nil
	case r.claimed:
		return malformed("the client logs in a second time")
	}
	a, err := parseClaim(message)
	if err != nil {
		return err
	}
	r.claimed = true
	return r.decide(a.domain, a.user)
}

// down passes a message of the server on.
func (r *relay) down() error {
	var raw bytes.Buffer
	t, err := receive(io.TeeReader(r.server, &raw))
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		r.client.refuse(ErrRefused) // some servers say so by hanging up, which a client takes for a bad line
		return ErrRefused
	case err != nil:
		return err
	case t.Version < oldest:
		r.client.refuse(ErrOld)
		return ErrOld
	}
	if _, err := r.client.conn.Write(raw.Bytes()); err != nil {
		return err
	}
	if t.ErrorCode != 0 {
		return refusedWith(t)
	}
	r.bound = r.bound || len(t.PubKeyAuth) > 0
	return nil
}
