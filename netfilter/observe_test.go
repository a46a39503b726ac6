package netfilter

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/pawelmojski/inside/netfilter/nettest"
)

// observing is a config that only looks.
func observing() Config {
	c := config()
	c.Observe, c.Protect = c.Protect, nil
	return c
}

// A talk is a connection of a person who says lines.
type talk struct {
	net.Conn
	lines *bufio.Reader
}

func (tk *talk) hear(t *testing.T) string {
	t.Helper()
	tk.SetDeadline(time.Now().Add(5 * time.Second))
	line, err := tk.lines.ReadString('\n')
	if err != nil {
		return err.Error()
	}
	return line[:len(line)-1]
}

func (tk *talk) echoes(t *testing.T, when string) {
	t.Helper()
	fmt.Fprintln(tk, when)
	if got := tk.hear(t); got != "heard "+when {
		t.Errorf("%s: %s", when, got)
	}
}

func talkTo(t *testing.T, lab *nettest.Lab, addr string) *talk {
	t.Helper()
	conn, err := lab.Client.Dial(soon(t), addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &talk{conn, bufio.NewReader(conn)}
}

// serveSSHNames is a server that greets like one of SSH and then says what it hears.
func serveSSHNames(t *testing.T, ns *nettest.Namespace) {
	t.Helper()
	ln, err := ns.Listen(":22")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				fmt.Fprintln(conn, "SSH-2.0-server")
				for lines := bufio.NewScanner(conn); lines.Scan(); {
					fmt.Fprintln(conn, "heard", lines.Text())
				}
			}()
		}
	}()
}

func TestAConnectionToAnObservedServerPassesAndItsBeginningIsSeenAsThePersonSentIt(t *testing.T) {
	nettest.Need(t, "nft")
	for _, masquerade := range []bool{false, true} { // a Tailscale subnet router does
		t.Run(fmt.Sprint("masquerade=", masquerade), func(t *testing.T) {
			t.Parallel()
			lab := nettest.For(t, nettest.Options{})
			if masquerade {
				_, err := lab.Gateway.Run(soon(t), "sh", "-c", `nft add table inet nat; nft add chain inet nat post "{ type nat hook postrouting priority 100; }"; nft add rule inet nat post oifname b0 masquerade`)
				if err != nil {
					t.Fatal(err)
				}
			}
			serveSSHNames(t, lab.Backend)
			g := openQuiet(t, lab, observing())
			// Nobody watches: it passes all the same.
			unseen := talkTo(t, lab, "10.30.0.140:22")
			expect(t, "unseen", unseen.hear(t), "SSH-2.0-server")

			ctx, stop := context.WithCancel(t.Context())
			seen, done := make(chan string, 100), make(chan error, 1)
			go func() {
				done <- g.Observe(ctx, func(gl Glimpse) {
					seen <- fmt.Sprintf("%s %s %t %q", gl.Person, gl.Server, gl.FromServer, gl.Said)
				})
			}()
			for _, server := range []string{"10.30.0.140:22", "[fd30::140]:22"} {
				var tk *talk
				for first := ""; first == ""; { // until the watch has begun
					tk = talkTo(t, lab, server)
					tk.greet(t)
					select {
					case first = <-seen:
						expect(t, "from the server", first, fmt.Sprintf(`%s %s true "SSH-2.0-server\n"`, tk.LocalAddr(), server))
					case <-time.After(50 * time.Millisecond):
					}
				}
				expect(t, "from the person", <-seen, fmt.Sprintf(`%s %s false "SSH-2.0-client\n"`, tk.LocalAddr(), server))
				tk.echoes(t, "what follows is not looked at")
			}
			select {
			case more := <-seen:
				t.Errorf("seen, too: %s", more)
			default:
			}
			stop()
			if err := <-done; err != nil {
				t.Error(err)
			}
			after := talkTo(t, lab, "10.30.0.140:22")
			expect(t, "the observer is gone", after.hear(t), "SSH-2.0-server")
			g.nothingElse(t)
		})
	}
}

// greet goes through both greetings.
func (tk *talk) greet(t *testing.T) {
	t.Helper()
	expect(t, "greeting", tk.hear(t), "SSH-2.0-server")
	tk.echoes(t, "SSH-2.0-client")
}

func TestConnectionsLiveThroughEachChangeOfTheModeOfTheirPrefix(t *testing.T) {
	for _, other := range []Other{Forward, Drop} {
		for _, source := range []Source{Gateway, Client} {
			t.Run(fmt.Sprintf("other=%s/source=%s", other, source), func(t *testing.T) {
				t.Parallel()
				lab := nettest.For(t, nettest.Options{})
				serveSSHNames(t, lab.Backend)
				observe, protect := observing(), config()
				observe.Other, protect.Other, observe.Source, protect.Source = other, other, source, source
				g := openGate(t, lab, observe)
				early := talkTo(t, lab, "10.30.0.140:22")
				expect(t, "observed", early.hear(t), "SSH-2.0-server")
				early6 := talkTo(t, lab, "[fd30::140]:22")
				expect(t, "observed", early6.hear(t), "SSH-2.0-server")

				if err := g.Reload(protect); err != nil {
					t.Fatal(err)
				}
				early.echoes(t, "protected now")
				early6.echoes(t, "protected now")
				carried := talkTo(t, lab, "10.30.0.140:22")
				expect(t, "who comes now", carried.hear(t), "gate: 10.50.0.2 to 10.30.0.140:22")
				expect(t, "who comes now", carried.hear(t), "SSH-2.0-server")

				// The next gate, after a restart or an upgrade, knows it from the
				// rules that stand.
				g.Close(false)
				g = openGate(t, lab, protect)
				early.echoes(t, "another gate")

				// A connection from the same port is another one: the old one's
				// note does not let it pass.
				from := netip.MustParseAddrPort(early.LocalAddr().String())
				early.Conn.(*net.TCPConn).SetLinger(0)
				early.Close()
				again, err := dialFromPort(lab.Client, from, "10.30.0.140:22")
				if err != nil {
					t.Fatal(err)
				}
				defer again.Close()
				tk := &talk{again, bufio.NewReader(again)}
				expect(t, "the same port", tk.hear(t), "gate: 10.50.0.2 to 10.30.0.140:22")

				if err := g.Reload(observe); err != nil {
					t.Fatal(err)
				}
				carried.echoes(t, "carried, and observed now")
				early6.echoes(t, "observed again")
				late := talkTo(t, lab, "10.30.0.140:22")
				expect(t, "untouched again", late.hear(t), "SSH-2.0-server")
				g.nothingElse(t)
			})
		}
	}
}

// dialFromPort dials from a port that a connection has just left.
func dialFromPort(ns *nettest.Namespace, from netip.AddrPort, to string) (conn net.Conn, err error) {
	err = ns.Do(func() error {
		d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(from), Timeout: 5 * time.Second}
		conn, err = d.Dial("tcp", to)
		return err
	})
	return conn, err
}

func TestOneProcessWatchesTheObservedServers(t *testing.T) {
	lab := nettest.For(t, nettest.Options{})
	g := openQuiet(t, lab, observing())
	f, err := g.kernel.watchGroup(glimpseGroup)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g.kernel.watchGroup(glimpseGroup); err != errTaken {
		t.Errorf("a second watch: %v", err)
	}
	f.Close()
	f, err = g.kernel.watchGroup(glimpseGroup)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
}

func FuzzGlimpse(f *testing.F) {
	v4 := []byte("\x45\x00\x00\x2d\x00\x00\x40\x00\x40\x06\x00\x00\x0a\x32\x00\x02\x0a\x1e\x00\x8c\x9c\x40\x00\x16\x00\x00\x00\x01\x00\x00\x00\x01\x50\x18\xff\xff\x00\x00\x00\x00SSH-\n")
	f.Add(v4)
	f.Add([]byte("\x60\x00\x00\x00\x00\x18\x06\x40"))
	f.Fuzz(func(t *testing.T, packet []byte) {
		attr := func(kind uint16, v []byte) []byte {
			b := append([]byte{byte(len(v) + 4), byte((len(v) + 4) >> 8), byte(kind), 0}, v...)
			return append(b, make([]byte, -len(b)&3)...)
		}
		if len(packet) > 60_000 {
			return
		}
		message := append([]byte{2, 0, 0, 0}, attr(logHeader, []byte{8, 0, 2, 0})...)
		message = append(message, attr(logPayload, packet)...)
		gl, ok := readGlimpse(message)
		if ok && (!gl.Person.IsValid() || !gl.Server.IsValid() || len(gl.Said) == 0 || len(gl.Said) >= len(packet) || !gl.FromServer) {
			t.Errorf("%+v", gl)
		}
		readGlimpse(packet)
		messages(packet, 4<<8)
	})
}
