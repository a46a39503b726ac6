package netfilter

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pawelmojski/inside/netfilter/nettest"
)

// gateEnv makes this test binary a gate process, for tests that kill one: it
// holds the config.
const gateEnv = "NETFILTER_TEST_GATE"

func TestMain(m *testing.M) {
	if text := os.Getenv(gateEnv); text != "" {
		if err := runGate(text); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		return
	}
	before, _ := exec.Command("nft", "list", "ruleset").Output()
	code := m.Run()
	// A gate that lands in the wrong namespace changes the machine itself.
	if after, _ := exec.Command("nft", "list", "ruleset").Output(); string(before) != string(after) {
		fmt.Printf("the tests changed this machine's own rules:\n%s", after)
		code = 1
	}
	os.Exit(code)
}

// runGate is a gate that says so to everybody and hangs up.
func runGate(text string) error {
	var c Config
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		return err
	}
	g, err := Open(context.Background(), c, nil, slog.Default(), func(what string) { fmt.Println("repaired:", what) })
	if err != nil {
		return err
	}
	fmt.Println("ready")
	for {
		conn, err := g.Listener("ssh").Accept()
		if err != nil {
			return err
		}
		hangUp(conn)
	}
}

// startGate runs a gate in a process of its own.
func startGate(t testing.TB, lab *nettest.Lab, c Config) *nettest.Daemon {
	t.Helper()
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	d, err := lab.Gateway.StartEnv([]string{gateEnv + "=" + string(text)}, exe)
	if err == nil {
		err = d.Await(soon(t), "ready")
	}
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// config is what the tests start from: SSH on 22, the backend's networks
// behind the gate.
func config() Config {
	return Config{
		Interfaces: []string{nettest.ClientSide},
		Protect:    []netip.Prefix{nettest.BackendNet4, nettest.BackendNet6},
		Entries:    []Entry{{Name: "ssh", Ports: []uint16{22}, Listen: 7022}},
		Other:      Forward,
		Source:     Gateway,
	}
}

// soon is a context that fails a test rather than let it hang.
func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// A testGate is a gate in the gateway's namespace.
type testGate struct {
	*Gate
	lab      *nettest.Lab
	repaired chan string
	wg       sync.WaitGroup
}

// openGate opens a gate that says who and where, and then carries.
func openGate(t testing.TB, lab *nettest.Lab, c Config) *testGate {
	t.Helper()
	tg := &testGate{lab: lab, repaired: make(chan string, 1000)}
	tg.open(t, c, tg.carry)
	return tg
}

// openQuiet opens a gate that says so and hangs up: it never dials.
func openQuiet(t testing.TB, lab *nettest.Lab, c Config) *testGate {
	t.Helper()
	tg := &testGate{lab: lab, repaired: make(chan string, 1000)}
	tg.open(t, c, hangUp)
	return tg
}

func hangUp(conn Conn) {
	conn.Write([]byte("gate\n"))
	conn.Close()
}

func (tg *testGate) open(t testing.TB, c Config, serve func(Conn)) {
	t.Helper()
	tg.openHeld(t, c, nil, serve)
}

func (tg *testGate) openHeld(t testing.TB, c Config, held Held, serve func(Conn)) {
	t.Helper()
	err := tg.lab.Gateway.Do(func() (err error) {
		tg.Gate, err = Open(context.Background(), c, held, slog.New(slog.NewTextHandler(t.Output(), nil)), func(what string) { tg.repaired <- what })
		return err
	})
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	for _, e := range c.Entries {
		l := tg.Listener(e.Name)
		tg.wg.Go(func() {
			for {
				conn, err := l.Accept()
				if errors.Is(err, net.ErrClosed) {
					return
				}
				tg.wg.Go(func() { serve(conn) })
			}
		})
	}
	t.Cleanup(func() {
		tg.Close(false)
		tg.wg.Wait()
	})
}

// next waits for the next repair.
func (tg *testGate) next(t testing.TB) string {
	t.Helper()
	select {
	case what := <-tg.repaired:
		return what
	case <-time.After(10 * time.Second):
		t.Fatal("nothing was repaired in 10 s")
		return ""
	}
}

// nothingElse closes the gate and fails on a repair that nobody waited for.
func (tg *testGate) nothingElse(t testing.TB) {
	t.Helper()
	tg.Close(false)
	select {
	case what := <-tg.repaired:
		t.Errorf("one repair too many: %s", what)
	default:
	}
}

func (tg *testGate) carry(conn Conn) {
	defer conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if why := tg.Forbidden(conn.Dest); why != "" {
		fmt.Fprintf(conn, "gate: forbidden: %s\n", why)
		return
	}
	var server *net.TCPConn
	err := tg.lab.Gateway.Do(func() (err error) {
		server, err = tg.Dial(ctx, conn.Dest, conn.Client)
		return err
	})
	if err != nil {
		fmt.Fprintf(conn, "gate: %v\n", err)
		return
	}
	defer server.Close()
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	server.SetDeadline(time.Now().Add(20 * time.Second))
	fmt.Fprintf(conn, "gate: %s to %s\n", conn.Client.Addr(), conn.Dest)
	go func() {
		io.Copy(server, conn)
		server.CloseWrite()
	}()
	io.Copy(conn, server)
}

// serveNames starts a server that greets with the address it sees and then
// echoes.
func serveNames(t testing.TB, ns *nettest.Namespace, addr string) {
	t.Helper()
	ln, err := ns.Listen(addr)
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
				fmt.Fprintf(conn, "server: %s\n", addrPort(conn.RemoteAddr()).Addr())
				io.Copy(conn, conn)
			}()
		}
	}()
}

// exchange dials, reads the lines up to the server's or the gate's last word
// and checks that bytes come back.
func exchange(t testing.TB, from *nettest.Namespace, addr string) string {
	t.Helper()
	return exchangeFrom(t, from, netip.Addr{}, addr)
}

func exchangeFrom(t testing.TB, host *nettest.Namespace, from netip.Addr, addr string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	conn, err := host.DialFrom(ctx, from, addr)
	if err != nil {
		return "dial: " + cause(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(5 * time.Second))
	r := bufio.NewReader(conn)
	var said []string
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return strings.Join(append(said, "read: "+cause(err)), " | ")
		}
		said = append(said, strings.TrimSpace(line))
		if strings.HasPrefix(line, "server: ") {
			break
		}
	}
	fmt.Fprintln(conn, "ping")
	if line, err := r.ReadString('\n'); line != "ping\n" {
		t.Errorf("%s: no echo: %q, %v", addr, line, err)
	}
	return strings.Join(said, " | ")
}

// cause is the innermost error, which says what the network did.
func cause(err error) string {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err.Error()
		}
		err = inner
	}
}

func expect(t testing.TB, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s:\n got %s\nwant %s", what, got, want)
	}
}
