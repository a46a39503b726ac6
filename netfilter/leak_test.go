package netfilter

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pawelmojski/inside/netfilter/nettest"
)

// A stream is clients that connect as fast as they can, and a count of what
// came of it. The server greets everybody: whoever it greeted, or even
// accepted, has leaked, because the gate of these tests never dials it.
type stream struct {
	lab    *nettest.Lab
	server *nettest.Banner
	cancel context.CancelFunc
	wg     sync.WaitGroup
	start  time.Time

	gated, refused, guarded, silent, leaked atomic.Int64
}

func startStream(t *testing.T, lab *nettest.Lab) *stream {
	t.Helper()
	server, err := lab.Backend.Greet(":22", "server\n")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &stream{lab: lab, server: server, cancel: cancel, start: time.Now()}
	for _, addr := range []string{"10.30.0.140:22", "[fd30::140]:22"} {
		for range 4 {
			s.wg.Go(func() {
				lab.Client.Do(func() error {
					for ctx.Err() == nil {
						s.connect(addr)
					}
					return nil
				})
			})
		}
	}
	t.Cleanup(s.stop)
	return s
}

// connect dials once, from the calling thread's namespace.
func (s *stream) connect(addr string) {
	d := net.Dialer{Timeout: 250 * time.Millisecond}
	conn, err := d.Dial("tcp", addr)
	if err != nil {
		switch {
		case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.EACCES):
			s.guarded.Add(1) // the ip rules outside nftables held
		case errors.Is(err, syscall.ECONNREFUSED):
			s.refused.Add(1)
		default:
			s.silent.Add(1)
		}
		return
	}
	defer conn.Close()
	conn.(*net.TCPConn).SetLinger(0) // thousands in TIME_WAIT would use the ports up
	conn.SetDeadline(time.Now().Add(250 * time.Millisecond))
	buf := make([]byte, 16)
	n, err := conn.Read(buf)
	switch said := string(buf[:n]); {
	case said == "gate\n":
		s.gated.Add(1)
	case said != "":
		s.leaked.Add(1)
	case errors.Is(err, syscall.ECONNRESET):
		s.refused.Add(1)
	default:
		s.silent.Add(1)
	}
}

func (s *stream) stop() {
	s.cancel()
	s.wg.Wait()
}

// atLeast waits until the stream has been gated n times more.
func (s *stream) atLeast(t *testing.T, n int64) {
	t.Helper()
	until := s.gated.Load() + n
	poll(t, fmt.Sprintf("%d connections through the gate", n), func() bool { return s.gated.Load() >= until })
}

func (s *stream) noLeaks(t *testing.T) {
	t.Helper()
	s.stop()
	all := s.gated.Load() + s.refused.Load() + s.guarded.Load() + s.silent.Load() + s.leaked.Load()
	t.Logf("%d connects, %.0f a second: gated %d, refused %d, by the guard %d, silent %d", all,
		float64(all)/time.Since(s.start).Seconds(), s.gated.Load(), s.refused.Load(), s.guarded.Load(), s.silent.Load())
	if s.leaked.Load() != 0 || s.server.Accepted() != 0 {
		t.Errorf("LEAK: %d greeted by the server, %d accepted by it", s.leaked.Load(), s.server.Accepted())
	}
	if s.gated.Load() == 0 {
		t.Error("the stream proved nothing: none went through the gate")
	}
}

// poll waits for something that gives no signal.
func poll(t testing.TB, what string, ready func() bool) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !ready() {
		if time.Now().After(deadline) {
			t.Fatalf("waited 30 s for %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// freeze stops a process and waits until all its threads have stopped.
func freeze(t *testing.T, d *nettest.Daemon) {
	t.Helper()
	d.Signal(syscall.SIGSTOP)
	poll(t, "the gate to freeze", func() bool {
		threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", d.PID()))
		return !slices.ContainsFunc(threads, func(file string) bool {
			text, err := os.ReadFile(file)
			return err != nil || !strings.Contains(string(text), ") T ")
		})
	})
}

func TestNothingPassesAGateThatIsDeadNotListeningOrStopped(t *testing.T) {
	for _, other := range []Other{Forward, Drop} {
		t.Run(string(other), func(t *testing.T) {
			t.Parallel()
			lab := nettest.For(t, nettest.Options{})
			server, err := lab.Backend.Greet(":22", "server\n")
			if err != nil {
				t.Fatal(err)
			}
			c := config()
			c.Other = other
			try := func(state, want string) {
				t.Helper()
				for _, addr := range []string{"10.30.0.140:22", "[fd30::140]:22"} {
					ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
					conn, err := lab.Client.Dial(ctx, addr)
					cancel()
					got := "connected"
					if err != nil {
						got = cause(err)
					} else {
						conn.Close()
					}
					expect(t, state+", "+addr, got, want)
				}
			}

			d := startGate(t, lab, c)
			try("alive", "connected")
			freeze(t, d)
			try("stopped", "connected") // the kernel does that; it waits in the backlog
			d.Kill()
			try("killed", "connection refused")

			lab.Gateway.Do(func() error {
				k, err := openKernel()
				if err != nil {
					t.Fatal(err)
				}
				defer k.close()
				if err := (&Gate{kernel: k}).apply(desired(c, nil)); err != nil {
					t.Fatal(err)
				}
				try("started, not listening", "connection refused")

				rules, _, _ := k.ipRules()
				for _, r := range rules {
					if err := k.deleteIPRule(r); err != nil {
						t.Fatal(err)
					}
				}
				try("dead, and ip rules deleted", "connection refused")
				return nil
			})
			if n := server.Accepted(); n != 0 {
				t.Errorf("LEAK: the server accepted %d", n)
			}
		})
	}
}

func TestNothingPassesWhileTheGateRunsButItsIPRulesAreDeleted(t *testing.T) {
	lab := nettest.For(t, nettest.Options{})
	server, err := lab.Backend.Greet(":22", "server\n")
	if err != nil {
		t.Fatal(err)
	}
	d := startGate(t, lab, config())
	freeze(t, d) // so that it cannot repair; its sockets still match
	if _, err := lab.Gateway.Run(soon(t), "sh", "-c", "for f in -4 -6; do ip $f rule del pref 900; ip $f rule del pref 910; done"); err != nil {
		t.Fatal(err)
	}
	for _, addr := range []string{"10.30.0.140:22", "[fd30::140]:22"} {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		if conn, err := lab.Client.Dial(ctx, addr); err == nil {
			conn.Close()
			t.Errorf("%s: connected", addr)
		}
		cancel()
	}
	d.Kill() // it cannot stop by itself now
	if n := server.Accepted(); n != 0 {
		t.Errorf("LEAK: the server accepted %d", n)
	}
}

func TestNothingPassesWhenTheGateIsKilledAgainAndAgainUnderAStreamOfConnects(t *testing.T) {
	lab := nettest.For(t, nettest.Options{})
	d := startGate(t, lab, config())
	s := startStream(t, lab)
	for range 40 {
		s.atLeast(t, 1+rand.Int64N(200)) // kill at no particular moment
		d.Kill()
		d = startGate(t, lab, config())
	}
	s.atLeast(t, 1)
	s.noLeaks(t)
}

func TestNothingPassesWhenTheRulesAreReloadedUnderAStreamOfConnects(t *testing.T) {
	lab := nettest.For(t, nettest.Options{})
	g := openQuiet(t, lab, config())
	s := startStream(t, lab)
	s.atLeast(t, 1)
	const reloads = 250
	began := time.Now()
	for i := range reloads {
		c := config()
		c.Interfaces = append(c.Interfaces, fmt.Sprintf("wg%d", i%7))
		c.Entries[0].Ports = append(c.Entries[0].Ports, uint16(2200+i))
		if i%2 == 0 {
			c.Other = Drop
		}
		if i%3 == 0 {
			c.Source = Client
		}
		if err := g.Reload(c); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d reloads, %v each", reloads, time.Since(began)/reloads)
	s.noLeaks(t)
	if err := g.Healthy(); err != nil {
		t.Error(err)
	}
}

func TestNothingPassesWhenSomebodyFlushesNftablesUnderAStreamOfConnects(t *testing.T) {
	for _, other := range []Other{Forward, Drop} {
		t.Run(string(other), func(t *testing.T) {
			lab := nettest.For(t, nettest.Options{})
			c := config()
			c.Other = other
			g := openQuiet(t, lab, c)
			s := startStream(t, lab)
			var slowest, sum time.Duration
			const flushes = 20
			for range flushes {
				s.atLeast(t, 1)
				began := time.Now()
				if _, err := lab.Gateway.Run(soon(t), "nft", "flush", "ruleset"); err != nil {
					t.Fatal(err)
				}
				what := g.next(t)
				took := time.Since(began)
				slowest, sum = max(slowest, took), sum+took
				if took > time.Second {
					t.Errorf("repaired only after %v: %s", took, what)
				}
			}
			t.Logf("back after %v, at worst %v, the run of nft included", sum/flushes, slowest)
			s.noLeaks(t)
			g.nothingElse(t)
		})
	}
}
