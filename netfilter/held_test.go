package netfilter

import (
	"context"
	"io"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/pawelmojski/inside/netfilter/nettest"
)

func TestTheGuardIsClosedBeforeThereIsAnInterfaceOrAGate(t *testing.T) {
	lab := nettest.For(t, nettest.Options{})
	server, err := lab.Backend.Greet(":22", "server\n")
	if err != nil {
		t.Fatal(err)
	}
	if err := lab.Unplug(); err != nil {
		t.Fatal(err)
	}
	if err := lab.Gateway.Do(func() error { return Guard(config()) }); err != nil {
		t.Fatal(err)
	}
	if err := lab.Plug(); err != nil {
		t.Fatal(err)
	}
	for _, addr := range []string{"10.30.0.140:22", "[fd30::140]:22"} {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		conn, err := lab.Client.Dial(ctx, addr)
		cancel()
		if err == nil {
			conn.Close()
			t.Fatalf("%s: connected", addr)
		}
		expect(t, addr, cause(err), "connection refused")
	}
	if n := server.Accepted(); n != 0 {
		t.Errorf("LEAK: the server accepted %d", n)
	}
	openGate(t, lab, config())
	expect(t, "with a gate", exchangeFirst(t, lab, "10.30.0.140:22"), "gate: 10.50.0.2 to 10.30.0.140:22\n")
}

// exchangeFirst reads the first line that the gate says.
func exchangeFirst(t *testing.T, lab *nettest.Lab, addr string) string {
	t.Helper()
	conn, err := lab.Client.Dial(soon(t), addr)
	if err != nil {
		return cause(err)
	}
	defer conn.Close()
	return firstLine(t, conn)
}

func firstLine(t *testing.T, conn net.Conn) string {
	t.Helper()
	conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	var line []byte
	for one := make([]byte, 1); len(line) == 0 || one[0] != '\n'; line = append(line, one[0]) {
		if _, err := io.ReadFull(conn, one); err != nil {
			return string(line) + cause(err)
		}
	}
	return string(line)
}

func TestWhoComesBetweenTwoGatesWaitsForTheSecond(t *testing.T) {
	lab := nettest.For(t, nettest.Options{})
	serveNames(t, lab.Backend, ":22")
	first := openQuiet(t, lab, config())
	held, err := first.Sockets()
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Close(false); err != nil {
		t.Fatal(err)
	}
	var waiting []net.Conn
	for _, addr := range []string{"10.30.0.140:22", "[fd30::140]:22"} {
		conn, err := lab.Client.Dial(soon(t), addr)
		if err != nil {
			t.Fatalf("%s is refused though its socket is held: %v", addr, err)
		}
		defer conn.Close()
		waiting = append(waiting, conn)
	}
	second := &testGate{lab: lab, repaired: make(chan string, 1000)}
	second.openHeld(t, config(), held, second.carry)
	for i, want := range []string{"gate: 10.50.0.2 to 10.30.0.140:22\n", "gate: fd50::2 to [fd30::140]:22\n"} {
		expect(t, "waited", firstLine(t, waiting[i]), want)
	}
	if len(held) != 0 {
		t.Errorf("sockets that nobody took: %v", held)
	}
}

func TestAHeldSocketThatIsNotAListenersIsNotListenedOn(t *testing.T) {
	lab := nettest.For(t, nettest.Options{})
	held := Held{}
	keep := func(name string, l net.Listener, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		if held[name], err = l.(*net.TCPListener).File(); err != nil {
			t.Fatal(err)
		}
	}
	l, err := lab.Gateway.Listen("127.0.0.1:7999") // not transparent, and another port
	keep("ssh-4", l, err)
	err = lab.Gateway.Do(func() (err error) {
		l, err = listenTransparent(v6, 7998) // another port only
		return err
	})
	keep("ssh-6", l, err)
	keep("stale-4", l, nil)
	var g *Gate
	err = lab.Gateway.Do(func() (err error) {
		g, err = Open(t.Context(), config(), held, slog.New(slog.DiscardHandler), func(string) {})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close(false)
	for _, ln := range g.Listener("ssh").listeners {
		if port := addrPort(ln.Addr()).Port(); port != 7022 {
			t.Errorf("listens on %s", ln.Addr())
		}
	}
	if len(held) != 0 {
		t.Errorf("left open: %v", held)
	}
}
