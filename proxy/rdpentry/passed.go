package rdpentry

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/proxy"
	"github.com/pawelmojski/inside/proxy/rdpentry/credssp"
	"github.com/pawelmojski/inside/proxy/rdpentry/wire"
)

// Network level authentication is bound to the server's public key. Where an
// admin has imported that key, a client's login passes through untouched: the
// gate sees what is said in it, and what comes after, but not the password.

// errNotRelayed says that a login cannot be passed through.
var errNotRelayed = errors.New("network level authentication (NLA) cannot be passed through to this server")

// passable reports whether the server would take a login that is passed
// through: it speaks NLA, and shows the certificate that was imported. For that
// it is dialled before the client has said who it is; nobody logs in there
// before that was decided about.
func (f *flow) passable(ctx context.Context, shown *x509.Certificate) error {
	ctx, cancel := context.WithTimeoutCause(ctx, f.grace()/20, errSilent)
	defer cancel()
	err := f.dial(ctx)
	if err != nil {
		return err
	}
	err = f.guarded(ctx, f.server, func() error {
		conn, err := f.takeUpTLS(ctx, wire.ProtocolSSL|wire.ProtocolHybrid)
		switch {
		case err != nil:
			return err
		case f.chosen != wire.ProtocolHybrid:
			return fmt.Errorf("%w: it does not speak it", errNotRelayed)
		}
		server := conn.ConnectionState().PeerCertificates[0]
		if !bytes.Equal(server.RawSubjectPublicKeyInfo, shown.RawSubjectPublicKeyInfo) {
			return fmt.Errorf("%w: it shows the key %s, and the certificate that was imported has %s", errNotRelayed,
				Fingerprint(server.RawSubjectPublicKeyInfo), Fingerprint(shown.RawSubjectPublicKeyInfo))
		}
		f.server.secured(conn)
		return nil
	})
	if err != nil {
		f.server.close()
		f.server = nil
		return f.refusalByServer(err)
	}
	return nil
}

// passLogin passes a client's login through to the server.
func (f *flow) passLogin(ctx context.Context) error {
	err := f.guarded(ctx, f.server, func() error {
		return credssp.Relay(f.client.conn, f.server.conn, f.decidePassed)
	})
	var refusal *proxy.Refusal
	switch {
	case err == nil, errors.As(err, &refusal), ctx.Err() != nil:
		return err
	case denialOfGreeting(err) != policy.ProtocolError:
		return err
	case errors.Is(err, credssp.ErrRefused), errors.Is(err, credssp.ErrOld):
		return f.refusalByServer(err)
	}
	return err
}

// decidePassed decides about who logs in, before the server hears of them.
func (f *flow) decidePassed(domain, user string) error {
	f.claimed = credssp.Credentials{Domain: domain, User: user}
	return f.decideClaim(loginName(f.realDomain(domain), user))
}
