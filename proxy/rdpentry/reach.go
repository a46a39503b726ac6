package rdpentry

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/proxy"
	"github.com/pawelmojski/inside/proxy/rdpentry/credssp"
	"github.com/pawelmojski/inside/proxy/rdpentry/wire"
)

var (
	errNLA       = errors.New("the server insists on network level authentication (NLA), and the client sent no password for it: give it one, such as /p: of xfreerdp")
	errOldServer = errors.New("the server knows standard RDP security only, which anybody can break")
)

// reach dials the server and is a client to it up to where a client logs in.
// Where the client's own login was passed through it is there already.
func (f *flow) reach(ctx context.Context) error {
	answer, cancel := context.WithTimeoutCause(ctx, f.grace()/4, errSilent)
	defer cancel()
	if !f.relayed {
		if err := f.dial(answer); err != nil {
			return err
		}
	}
	err := f.guarded(answer, f.server, func() error {
		if !f.relayed {
			if err := f.secureServer(answer); err != nil {
				return err
			}
		}
		return f.joinServer()
	})
	if err == nil {
		return nil
	}
	return f.refusalByServer(err)
}

func (f *flow) dial(ctx context.Context) error {
	conn, err := f.visit.Dial(ctx)
	if err != nil {
		var refusal *proxy.Refusal
		if errors.As(err, &refusal) {
			return refusal
		}
		return f.refusal(policy.ServerUnreachable, err)
	}
	f.server = newSide(newPunctual(conn, f.visit))
	f.server.patience = f.grace() / 4 // a client must not be kept waiting by a server that takes nothing
	return nil
}

// refusalByServer names what went wrong with the server.
func (f *flow) refusalByServer(err error) *proxy.Refusal {
	if errors.Is(err, os.ErrDeadlineExceeded) { // it does not even take what it is told
		err = errSilent
	}
	var changed *certificateChanged
	var store *pinStoreError
	var refusal *proxy.Refusal
	var held *heldError
	switch {
	case errors.As(err, &refusal):
		return refusal
	case errors.As(err, &held):
		return f.refusal(policy.NotAuthenticated, held)
	case errors.As(err, &changed):
		return f.refusal(policy.HostKeyChanged, changed)
	case errors.As(err, &store):
		return f.refusal(policy.LedgerUnavailable, store)
	case errors.Is(err, credssp.ErrRefused), errors.Is(err, errNLA):
		return f.refusal(policy.NotAuthenticated, err)
	case errors.Is(err, errOldServer), errors.Is(err, credssp.ErrOld), errors.Is(err, errNotRelayed):
		return f.refusal(policy.NotServed, err)
	case errors.Is(err, wire.ErrMalformed), errors.Is(err, credssp.ErrProtocol):
		return f.refusal(policy.ProtocolError, err)
	}
	return f.refusal(policy.ServerUnreachable, err)
}

// secureServer negotiates TLS with the server, and logs in where the server
// wants that to come first.
func (f *flow) secureServer(ctx context.Context) error {
	held := f.heldFor(ctx)
	asked := uint32(wire.ProtocolSSL)
	if held != nil || f.info.User != "" && f.info.Password != "" {
		asked |= wire.ProtocolHybrid
	}
	conn, err := f.takeUpTLS(ctx, asked)
	if err != nil {
		return err
	}
	if held != nil {
		if err := f.useHeld(ctx, held); err != nil {
			return err
		}
	}
	if f.chosen == wire.ProtocolHybrid {
		login := credssp.Credentials{Domain: f.info.Domain, User: f.info.User, Password: f.info.Password}
		err := credssp.Login(conn, conn.ConnectionState().PeerCertificates[0], login)
		if held != nil && errors.Is(err, credssp.ErrRefused) {
			err = f.refusedHeld(ctx, err)
		}
		if err != nil {
			return err
		}
	}
	f.server.secured(conn)
	return nil
}

// takeUpTLS asks the server for protocols and takes up TLS with it.
func (f *flow) takeUpTLS(ctx context.Context, asked uint32) (*tls.Conn, error) {
	f.asked = asked
	if err := f.server.write(wire.ConnectionRequest{Negotiation: true, Protocols: asked}.Frame()); err != nil {
		return nil, err
	}
	frame, err := f.server.frames.Next()
	if err != nil {
		return nil, err
	}
	if frame.Fast {
		return nil, errTooEarly
	}
	confirm, err := wire.ParseConnectionConfirm(frame.Body)
	switch {
	case err != nil:
		return nil, err
	case asked&wire.ProtocolHybrid == 0 && (confirm.Failure == wire.FailHybridRequired || confirm.Failure == wire.FailSSLWithUserAuthReq):
		return nil, errNLA
	case confirm.Failure == wire.FailSSLNotAllowed, confirm.Failure == wire.FailNoCertificate, !confirm.Negotiation:
		return nil, errOldServer
	case confirm.Failure != 0:
		return nil, fmt.Errorf("%w: the server refuses the negotiation with code %d", wire.ErrMalformed, confirm.Failure)
	case confirm.Protocol == wire.ProtocolRDP:
		return nil, errOldServer
	case confirm.Protocol != wire.ProtocolSSL && confirm.Protocol != wire.ProtocolHybrid,
		confirm.Protocol&asked == 0, f.server.frames.Buffered() > 0:
		return nil, fmt.Errorf("%w: the server chose protocol %#x", wire.ErrMalformed, confirm.Protocol)
	}
	f.chosen = confirm.Protocol
	f.extended = confirm.Flags&wire.ExtendedClientData != 0
	known, err := f.knownServer(ctx)
	if err != nil {
		return nil, err
	}
	conn := tls.Client(f.server.raw, &tls.Config{
		MinVersion: tls.VersionTLS12,
		// RDP servers sign their own certificates: there is no chain to check.
		// What is checked instead, and at every connection, is the key.
		InsecureSkipVerify: true,
		VerifyConnection:   func(s tls.ConnectionState) error { return known.check(ctx, s) },
	})
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, fmt.Errorf("TLS with the server: %w", inFewWords(err))
	}
	return conn, nil
}

// joinServer is MCS and GCC with the server.
func (f *flow) joinServer() error {
	d := f.data
	d.Core = d.Core.Clone()
	d.Core.SetDepth24()
	d.Core.SetSelected(f.chosen)
	unwanted := uint16(wire.EarlyAutodetect | wire.EarlyHeartbeat | wire.EarlySkipJoin)
	if !f.native {
		unwanted |= wire.EarlyGraphics
	}
	d.Core.SetEarly(d.Core.Early() &^ unwanted)
	f.openChannels()
	d.Channels = f.askedOfServer()
	if err := f.server.write(wire.ConnectInitial(d.Bytes(f.extended))); err != nil {
		return err
	}
	p, err := f.server.nextPayload()
	if err != nil {
		return err
	}
	data, err := wire.ParseConnectResponse(p)
	if err != nil {
		return err
	}
	s, err := wire.ParseServerData(data)
	switch {
	case err != nil:
		return err
	case s.Encrypted:
		return errOldServer
	case s.Requested != 0 && s.Requested != f.asked: // old servers do not tell
		return fmt.Errorf("%w: the server was asked for protocols %#x and says %#x", wire.ErrMalformed, f.asked, s.Requested)
	case len(s.Channels) != len(f.channels):
		return fmt.Errorf("%w: %d channels for the %d that were asked for", wire.ErrMalformed, len(s.Channels), len(f.channels))
	}
	f.serverIO = s.IO
	joins := []uint16{s.IO}
	for i, id := range s.Channels {
		f.channels[i].server = id
		if id != 0 {
			joins = append(joins, id)
		}
	}
	if s.Message != 0 {
		joins = append(joins, s.Message) // some servers hang up on who does not
	}
	return f.attach(joins)
}

// attach makes the gate a user of the server's domain and joins channels.
func (f *flow) attach(joins []uint16) error {
	hello := append(wire.MCS{Kind: wire.ErectDomainRequest}.Frame(), wire.MCS{Kind: wire.AttachUserRequest}.Frame()...)
	if err := f.server.write(hello); err != nil {
		return err
	}
	p, err := f.server.next()
	if err != nil {
		return err
	}
	if p.Kind != wire.AttachUserConfirm || p.Result != 0 || p.User == 0 {
		return fmt.Errorf("%w: the server attaches nobody (PDU %d, result %d)", wire.ErrMalformed, p.Kind, p.Result)
	}
	f.us = p.User
	for _, id := range append([]uint16{f.us}, joins...) {
		if err := f.server.write(wire.MCS{Kind: wire.ChannelJoinRequest, User: f.us, Channel: id}.Frame()); err != nil {
			return err
		}
		p, err := f.server.next()
		if err != nil {
			return err
		}
		if p.Kind != wire.ChannelJoinConfirm || p.Result != 0 || p.Channel != id {
			return fmt.Errorf("%w: channel %d of the server cannot be joined (PDU %d, result %d)", wire.ErrMalformed, id, p.Kind, p.Result)
		}
	}
	return nil
}

// A knownServer checks a server's public key against what it is known by.
type knownServer struct {
	f    *flow
	pins [][]byte
}

func (f *flow) knownServer(ctx context.Context) (*knownServer, error) {
	pins, err := f.entry.Certificates.Pinned(ctx, f.dest)
	if err != nil {
		return nil, &pinStoreError{fmt.Errorf("look up the certificate of %s: %w", f.dest, err)}
	}
	return &knownServer{f: f, pins: pins}, nil
}

// check pins the key and not the certificate: a server renews its certificate
// by itself, its key when somebody wants it to.
func (k *knownServer) check(ctx context.Context, s tls.ConnectionState) error {
	if len(s.PeerCertificates) == 0 {
		return fmt.Errorf("%w: the server shows no certificate", wire.ErrMalformed)
	}
	key := s.PeerCertificates[0].RawSubjectPublicKeyInfo
	switch {
	case len(k.pins) == 0:
		if err := k.f.entry.Certificates.Pin(ctx, k.f.dest, key); err != nil {
			// Somebody else's first connection was faster, perhaps: then
			// theirs is the key to compare with.
			if pins, again := k.f.entry.Certificates.Pinned(ctx, k.f.dest); again == nil && len(pins) > 0 {
				k.pins = pins
				return k.check(ctx, s)
			}
			return &pinStoreError{fmt.Errorf("pin the certificate of %s: %w", k.f.dest, err)}
		}
	case !slices.ContainsFunc(k.pins, func(p []byte) bool { return bytes.Equal(p, key) }):
		return &certificateChanged{k.f, key}
	}
	return nil
}

// Fingerprint is how a public key is told to people: as ssh tells its own.
func Fingerprint(key []byte) string {
	sum := sha256.Sum256(key)
	return "SHA256:" + base64.RawStdEncoding.EncodeToString(sum[:])
}

// certificateChanged refuses a server that shows another key than the pinned
// one.
type certificateChanged struct {
	f   *flow
	key []byte
}

func (e *certificateChanged) Error() string {
	return fmt.Sprintf("the certificate key of %s has changed to %s; "+
		"nobody gets in until an administrator has found out why and trusts the new key",
		e.f.where(), Fingerprint(e.key))
}

// pinStoreError is a failure of ours, not of the server's.
type pinStoreError struct{ err error }

func (e *pinStoreError) Error() string { return e.err.Error() }
func (e *pinStoreError) Unwrap() error { return e.err }
