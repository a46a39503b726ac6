package rdpentry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/pawelmojski/inside/proxy/rdpentry/credssp"
	"github.com/pawelmojski/inside/proxy/rdpentry/wire"
)

// A Look is what a server of RDP says of itself to somebody who only looks:
// nobody logs in.
type Look struct {
	Standard bool // it takes standard RDP security, which anybody can break
	TLS      bool // TLS alone, the login at the desktop's own prompt or by what the client sends
	NLA      bool // CredSSP, the login before the desktop
	NLAEx    bool // CredSSP and a word on whether the person may log on here (MS-RDPBCGR 5.4.2.2)
	RDSTLS   bool // for who was redirected by a broker
	Insists  bool // on NLA

	Version     string            // of TLS, in words
	Certificate *x509.Certificate // nil: it never came to TLS
	CredSSP     int               // the version; zero: it was not told
	Trouble     []string          // what did not work
	old         bool              // of TLS
}

// lookPatience is how long a server may take for each answer.
const lookPatience = 4 * time.Second

// LookAt asks the server behind dial, in a connection each, which security it
// takes. An error says that it cannot be reached or speaks no RDP.
func LookAt(ctx context.Context, dial func(context.Context) (net.Conn, error)) (Look, error) {
	l := Look{}
	reached := error(nil)
	for i, ask := range []func(*Look, context.Context, *side) error{
		(*Look).askTLS, (*Look).askNLA, (*Look).askNLAEx, (*Look).askRDSTLS, (*Look).askStandard,
	} {
		err := l.connect(ctx, dial, ask)
		if i == 0 {
			reached = err
		}
		if err != nil && (i == 0 || ctx.Err() != nil) {
			l.Trouble = append(l.Trouble, err.Error())
		}
		if ctx.Err() != nil {
			break
		}
	}
	if !l.Standard && !l.TLS && !l.NLA && !l.NLAEx && !l.RDSTLS && reached != nil {
		return l, reached
	}
	return l, nil
}

func (l *Look) connect(ctx context.Context, dial func(context.Context) (net.Conn, error), ask func(*Look, context.Context, *side) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, lookPatience, errSilent)
	defer cancel()
	conn, err := dial(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	err = ask(l, ctx, newSide(conn))
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// negotiate offers protocols and returns what the server says to them.
func negotiate(s *side, protocols uint32) (wire.ConnectionConfirm, error) {
	if err := s.write(wire.ConnectionRequest{Negotiation: true, Protocols: protocols}.Frame()); err != nil {
		return wire.ConnectionConfirm{}, err
	}
	frame, err := s.frames.Next()
	if err != nil {
		return wire.ConnectionConfirm{}, err
	}
	if frame.Fast {
		return wire.ConnectionConfirm{}, errTooEarly
	}
	return wire.ParseConnectionConfirm(frame.Body)
}

func (l *Look) askTLS(ctx context.Context, s *side) error {
	c, err := negotiate(s, wire.ProtocolSSL)
	if err != nil {
		return err
	}
	l.Insists = c.Failure == wire.FailHybridRequired || c.Failure == wire.FailSSLWithUserAuthReq
	if l.TLS = c.Protocol == wire.ProtocolSSL && c.Failure == 0 && c.Negotiation; l.TLS {
		_, err = l.handshake(ctx, s)
	}
	return err
}

func (l *Look) askNLA(ctx context.Context, s *side) error {
	c, err := negotiate(s, wire.ProtocolSSL|wire.ProtocolHybrid)
	if err != nil || c.Failure != 0 || c.Protocol != wire.ProtocolHybrid {
		return err
	}
	l.NLA = true
	conn, err := l.handshake(ctx, s)
	if err != nil {
		return err
	}
	if l.CredSSP, err = credssp.Version(conn); err != nil {
		l.Trouble = append(l.Trouble, fmt.Sprintf("CredSSP: %v", err))
	}
	return nil
}

func (l *Look) askNLAEx(_ context.Context, s *side) error {
	c, err := negotiate(s, wire.ProtocolSSL|wire.ProtocolHybrid|wire.ProtocolHybridEx)
	l.NLAEx = err == nil && c.Failure == 0 && c.Protocol == wire.ProtocolHybridEx
	return err
}

func (l *Look) askRDSTLS(_ context.Context, s *side) error {
	c, err := negotiate(s, wire.ProtocolSSL|wire.ProtocolRDSTLS)
	l.RDSTLS = err == nil && c.Failure == 0 && c.Protocol == wire.ProtocolRDSTLS
	return err
}

func (l *Look) askStandard(_ context.Context, s *side) error {
	c, err := negotiate(s, wire.ProtocolRDP)
	l.Standard = err == nil && c.Failure == 0 && c.Protocol == wire.ProtocolRDP
	return err
}

// handshake takes TLS up and notes what the server shows. It is looked at, and
// not trusted with anything: the caller compares the key with the pinned one.
func (l *Look) handshake(ctx context.Context, s *side) (*tls.Conn, error) {
	conn := tls.Client(s.raw, &tls.Config{MinVersion: tls.VersionTLS10, InsecureSkipVerify: true})
	if err := conn.HandshakeContext(ctx); err != nil {
		l.Trouble = append(l.Trouble, fmt.Sprintf("TLS: %v", inFewWords(err)))
		return nil, inFewWords(err)
	}
	state := conn.ConnectionState()
	l.Version = tls.VersionName(state.Version)
	l.old = state.Version < tls.VersionTLS12
	if len(state.PeerCertificates) == 0 {
		return nil, errors.New("the server shows no certificate")
	}
	l.Certificate = state.PeerCertificates[0]
	return conn, nil
}

// Usable reports whether the gate can let anybody in there.
func (l Look) Usable() bool {
	if l.old {
		return false
	}
	return l.Certificate != nil && (l.NLA && l.CredSSP >= 5 || l.TLS)
}

// Advice says in sentences what the gate can do with such a server.
func (l Look) Advice() (lines []string) {
	say := func(line string) { lines = append(lines, line) }
	switch {
	case l.old:
		say("It speaks " + l.Version + ", which is too old to be safe: nobody gets in. Have it take TLS 1.2.")
	case l.NLA && l.CredSSP > 0 && l.CredSSP < 5:
		say(fmt.Sprintf("Its CredSSP is version %d, which anybody in between can misuse (CVE-2018-0886): nobody gets in with a password. Update the server.", l.CredSSP))
	case l.Insists && !l.NLA:
		say("It wants network level authentication and does not take it as the gate speaks it: nobody gets in.")
	case l.Insists:
		say("It insists on network level authentication (NLA): people get in with the password their client sends, with one that is stored for them (inside credential add), or with what they type into the gate's sign-in form.")
	case l.NLA && l.TLS:
		say("It takes NLA and TLS: who has a password is logged in by NLA; whose client sends none sees the server's own login screen.")
	case l.TLS:
		say("It takes TLS without NLA: people get in with the password their client sends, else they see the server's own login screen.")
	case l.NLA:
		say("It takes NLA only: people get in with the password their client sends, with one that is stored for them (inside credential add), or with what they type into the gate's sign-in form.")
	case l.Standard:
		say("It takes standard RDP security only, which anybody can break: nobody gets in. Have it take TLS.")
	case l.RDSTLS:
		say("It takes only who was redirected by a broker (RDSTLS): nobody gets in.")
	default:
		say("It takes no security the gate speaks: nobody gets in.")
	}
	if l.Usable() {
		say("Clients that insist on NLA themselves need a password stored at the gate; all others see the gate's certificate.")
	}
	if l.Standard && (l.TLS || l.NLA) {
		say("It also takes standard RDP security, which anybody can break; the gate does not use it. Turn it off.")
	}
	return lines
}
