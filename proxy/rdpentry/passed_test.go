package rdpentry

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"strings"
	"testing"

	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/proxy"
	"github.com/pawelmojski/inside/proxy/rdpentry/credssp"
	"github.com/pawelmojski/inside/proxy/rdpentry/rdptest"
	"github.com/pawelmojski/inside/proxy/rdpentry/wire"
)

// acceptNLA is a server that insists on NLA, up to the client's login.
func (g *gate) acceptNLA(cert tls.Certificate, done func(*played, error)) {
	p := g.acceptRaw(wire.ConnectionConfirm{Negotiation: true, Flags: wire.ExtendedClientData, Protocol: wire.ProtocolHybrid})
	conn := serverTLS(p.side.raw, cert)
	own, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		g.t.Error(err)
	}
	login, err := credssp.Accept(conn, own, "DESK", func(_, user string, proves func([]byte) bool) error {
		if user != "ideo" || !proves(credssp.Hash("correct horse")) {
			return &credssp.Denied{Status: credssp.StatusLogonFailure, Err: errors.New("wrong")}
		}
		return nil
	})
	if err != nil || login.Password != "correct horse" {
		conn.Close()
		done(nil, err)
		return
	}
	p.side.secured(conn)
	done(g.join(p), nil)
}

func TestALoginPassesThroughWhereTheServersCertificateWasImported(t *testing.T) {
	for name, c := range map[string]struct{ password string }{"the right password": {"correct horse"}, "a wrong one": {"x"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGate(t)
			g.imported = true
			served := make(chan *played, 1)
			go g.acceptNLA(g.own, func(s *played, _ error) { served <- s })
			w := byNLA("", "ideo", c.password)
			w.info = wire.ClientInfo{User: "admin", Password: "between the client and the server"}
			p := g.enter(w)
			if c.password == "x" {
				if !errors.Is(p.nla, credssp.ErrRefused) || !strings.Contains(p.nla.Error(), "0xc000006d") {
					t.Errorf("the client was told %v", p.nla)
				}
				if r := g.refused(policy.NotAuthenticated); r.Login != "ideo" {
					t.Errorf("refused %+v", r)
				}
				return
			}
			s := <-served
			s.begin(p)
			if s.info.User != "ideo" || s.info.Password != "between the client and the server" {
				t.Errorf("the server is logged in to with %+v", s.info)
			}
			if len(g.admitted) != 1 || g.admitted[0] != "ideo" || g.dialled.Load() != 1 {
				t.Errorf("admitted %q, dialled %d times", g.admitted, g.dialled.Load())
			}
		})
	}
}

func TestWhoIsDeniedByLoginDoesNotPassThrough(t *testing.T) {
	g := newGate(t)
	g.imported, g.decide = true, loginOnly(g, "admin")
	asked := make(chan error, 1)
	go g.acceptNLA(g.own, func(_ *played, err error) { asked <- err })
	p := g.enter(byNLA("", "ideo", "correct horse"))
	if !errors.Is(p.nla, credssp.ErrRefused) || !strings.Contains(p.nla.Error(), "0xc000015b") {
		t.Errorf("the client was told %v", p.nla)
	}
	g.refused(policy.WrongLogin)
	if err := <-asked; err == nil || strings.Contains(err.Error(), "wrong") {
		t.Errorf("the server was asked: %v", err)
	}
}

func TestWithoutTheServersOwnKeyNothingPassesThrough(t *testing.T) {
	for name, c := range map[string]struct {
		protocols uint32
		stored    []storedPassword
		server    func(g *gate) // what it does when it is dialled
		want      uint32
		denial    policy.Denial
		reason    string
		dials     int32
	}{
		"another key, TLS offered": {protocols: 3, server: otherKey, want: wire.ProtocolSSL, dials: 1},
		"another key, NLA only":    {protocols: 2, server: otherKey, denial: policy.NotServed, reason: "the certificate that was imported has", dials: 1},
		"no NLA at the server": {protocols: 2, server: func(g *gate) {
			p := g.acceptRaw(wire.ConnectionConfirm{Negotiation: true, Protocol: wire.ProtocolSSL})
			serverTLS(p.side.raw, g.own).Handshake()
		}, denial: policy.NotServed, reason: "does not speak it", dials: 1},
		"one is stored":       {protocols: 3, stored: []storedPassword{{proxy.PasswordFor{Login: "ideo", Unproven: true}, "x"}}, want: wire.ProtocolSSL},
		"nobody at the other": {protocols: 2, server: func(g *gate) { g.acceptRaw(wire.ConnectionConfirm{}).side.close() }, denial: policy.NotServed, reason: "standard RDP security", dials: 1},
		"one is stored that is not known by the hint": {protocols: 2, stored: []storedPassword{{proxy.PasswordFor{Login: "ideo"}, "x"}}, want: wire.ProtocolHybrid},
		"another key, and TLS was not meant":          {protocols: 3, server: otherKey, want: wire.ProtocolSSL, denial: policy.NotServed, reason: "the certificate that was imported has", dials: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGate(t)
			g.imported, g.stored = true, c.stored
			if c.server != nil {
				go c.server(g)
			}
			conn := g.serve(Entry{})
			conn.Write(wire.ConnectionRequest{Cookie: "ideo", Negotiation: true, Protocols: c.protocols}.Frame())
			frame, err := wire.NewReader(conn).Next()
			if err != nil {
				t.Fatal(err)
			}
			confirm, err := wire.ParseConnectionConfirm(frame.Body)
			if err != nil || confirm.Protocol != c.want {
				t.Errorf("confirm %+v, %v", confirm, err)
			}
			conn.Close()
			if c.denial != "" {
				if r := g.refused(c.denial); !strings.Contains(r.Err.Error(), c.reason) {
					t.Errorf("reason %v, want one about %s", r.Err, c.reason)
				}
			}
			if n := g.dialled.Load(); n != c.dials {
				t.Errorf("dialled %d times, want %d", n, c.dials)
			}
		})
	}
}

func otherKey(g *gate) {
	p := g.acceptRaw(wire.ConnectionConfirm{Negotiation: true, Protocol: wire.ProtocolHybrid})
	serverTLS(p.side.raw, rdptest.Certificate(g.t)).Handshake()
	p.side.frames.Next()
}
