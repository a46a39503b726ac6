package rdpentry

import (
	"context"
	"net"
	"strings"
	"testing"

	"github.com/pawelmojski/inside/proxy/rdpentry/rdptest"
	"github.com/pawelmojski/inside/proxy/rdpentry/wire"
)

// answers is a server that answers the negotiation, and TLS where it takes it.
func answers(t *testing.T, answer func(asked uint32) wire.ConnectionConfirm) func(context.Context) (net.Conn, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	cert := rdptest.Certificate(t)
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				s := newSide(conn)
				frame, err := s.frames.Next()
				if err != nil {
					return
				}
				r, err := wire.ParseConnectionRequest(frame.Body)
				if err != nil {
					return
				}
				c := answer(r.Protocols)
				s.write(c.Frame())
				if c.Protocol != wire.ProtocolRDP && c.Failure == 0 {
					serverTLS(conn, cert).Handshake()
				}
			}()
		}
	}()
	return func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", ln.Addr().String())
	}
}

func TestALookTellsWhichSecurityAServerTakes(t *testing.T) {
	failure := func(code uint32) wire.ConnectionConfirm { return wire.ConnectionConfirm{Failure: code} }
	chosen := func(p uint32) wire.ConnectionConfirm {
		return wire.ConnectionConfirm{Negotiation: true, Protocol: p}
	}
	for name, c := range map[string]struct {
		answer func(asked uint32) wire.ConnectionConfirm
		want   Look
		advice string
	}{
		"an old server that negotiates nothing": {
			func(uint32) wire.ConnectionConfirm { return wire.ConnectionConfirm{} },
			Look{Standard: true}, "nobody gets in. Have it take TLS",
		},
		"standard RDP security only": {
			func(asked uint32) wire.ConnectionConfirm {
				if asked != 0 {
					return failure(wire.FailSSLNotAllowed)
				}
				return chosen(wire.ProtocolRDP)
			},
			Look{Standard: true}, "standard RDP security only",
		},
		"TLS and standard": {
			func(asked uint32) wire.ConnectionConfirm { return chosen(asked & wire.ProtocolSSL) },
			Look{Standard: true, TLS: true}, "Turn it off",
		},
		"NLA that is insisted on": {
			func(asked uint32) wire.ConnectionConfirm {
				if asked&wire.ProtocolHybrid == 0 {
					return failure(wire.FailHybridRequired)
				}
				return chosen(wire.ProtocolHybrid)
			},
			Look{NLA: true, Insists: true}, "sign-in form",
		},
		"everything a Windows server takes": {
			func(asked uint32) wire.ConnectionConfirm {
				for _, p := range []uint32{wire.ProtocolHybridEx, wire.ProtocolHybrid, wire.ProtocolRDSTLS, wire.ProtocolSSL} {
					if asked&p != 0 {
						return chosen(p)
					}
				}
				return failure(wire.FailSSLRequired)
			},
			Look{TLS: true, NLA: true, NLAEx: true, RDSTLS: true}, "NLA and TLS",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := LookAt(t.Context(), answers(t, c.answer))
			if err != nil {
				t.Fatal(err)
			}
			if (got.TLS || got.NLA) != (got.Certificate != nil && got.Version != "") {
				t.Errorf("certificate %v, %q", got.Certificate, got.Version)
			}
			if advice := strings.Join(got.Advice(), "\n"); !strings.Contains(advice, c.advice) {
				t.Errorf("the advice is\n%s\nwant %q in it", advice, c.advice)
			}
			got.Certificate, got.Version, got.Trouble = nil, "", nil
			if got.Standard != c.want.Standard || got.TLS != c.want.TLS || got.NLA != c.want.NLA || got.NLAEx != c.want.NLAEx || got.RDSTLS != c.want.RDSTLS || got.Insists != c.want.Insists {
				t.Errorf("saw %+v, want %+v", got, c.want)
			}
		})
	}
}

func TestALookAtWhatIsNoServerOfRDPSaysSo(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			conn.Write([]byte("SSH-2.0-OpenSSH\r\n"))
			conn.Close()
		}
	}()
	dial := func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", ln.Addr().String())
	}
	if l, err := LookAt(t.Context(), dial); err == nil {
		t.Errorf("it looks like %+v", l)
	}
	ln.Close()
	if _, err := LookAt(t.Context(), dial); err == nil {
		t.Error("nobody answers, and that is fine")
	}
}
