package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/pawelmojski/inside/netfilter"
	"github.com/pawelmojski/inside/netfilter/nettest"
)

// spliceEnv makes this test binary a gateway that intercepts like insided and
// only copies bytes between the two connections: the least a transparent
// gateway can do, which the kernel's splice does for it.
const spliceEnv = "INSIDE_STORIES_SPLICE"

func splice() {
	ctx := context.Background()
	gate, err := netfilter.Open(ctx, netfilter.Config{
		Interfaces: []string{nettest.ClientSide},
		Protect:    []netip.Prefix{nettest.BackendNet4},
		Entries:    []netfilter.Entry{{Name: "ssh", Ports: []uint16{22}, Listen: 7022}},
		Other:      "forward", Source: "gateway",
	}, nil, slog.New(slog.DiscardHandler), func(string) {})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("splicing")
	for {
		c, err := gate.Listener("ssh").Accept()
		if err != nil {
			return
		}
		go func() {
			server, err := gate.Dial(ctx, c.Dest, c.Client)
			if err != nil {
				c.Close()
				return
			}
			var both sync.WaitGroup
			both.Go(func() { io.Copy(server, c.TCPConn); server.CloseWrite() })
			both.Go(func() { io.Copy(c.TCPConn, server); c.CloseWrite() })
			both.Wait()
			c.Close()
			server.Close()
		}()
	}
}

// spliceHouse is a house whose gateway only splices.
func spliceHouse(b *testing.B) *house {
	b.Helper()
	h := emptyHouse(b, settings{})
	d, err := h.Gateway.StartEnv([]string{spliceEnv + "=1"}, os.Args[0])
	if err != nil {
		b.Fatal(err)
	}
	h.daemon = d
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := d.Await(ctx, "splicing"); err != nil {
		b.Fatal(err)
	}
	return h
}

// Bulk SSH with aes128-gcm through the gateway, and the same stream through a
// gateway that only splices: processor time of the gateway per gigabyte.
func BenchmarkBulk(b *testing.B) {
	const size = 2_000_000_000
	down := []string{fmt.Sprintf("head -c %d /dev/zero", size)}
	up := []string{"cat >/dev/null"}
	for name, command := range map[string][]string{"to the client": down, "to the server": up} {
		b.Run(name, func(b *testing.B) {
			spliced := spliceHouse(b)
			gate := newHouse(b, settings{})
			gate.know()
			gate.grant()
			var spliceTime, gateTime time.Duration
			for b.Loop() {
				spliceTime += spliced.carry(b, size, command)
				gateTime += gate.carry(b, size, command)
			}
			perGB := func(d time.Duration) float64 { return d.Seconds() / float64(b.N) / (size / 1e9) }
			b.SetBytes(2 * size)
			b.ReportMetric(perGB(spliceTime), "splice-cpu-s/GB")
			b.ReportMetric(perGB(gateTime), "gate-cpu-s/GB")
			b.ReportMetric(float64(gateTime)/float64(spliceTime), "ratio")
		})
	}
}

// carry moves size bytes through the house and returns what it cost the
// gateway.
func (h *house) carry(b *testing.B, size int64, command []string) time.Duration {
	b.Helper()
	args := append([]string{"-c", "aes128-gcm@openssh.com", at("ideo", nettest.BackendIP4)}, command...)
	cmd := h.sshCommand(context.Background(), args...)
	if strings.HasPrefix(command[0], "cat") {
		zero, err := os.Open("/dev/zero")
		if err != nil {
			b.Fatal(err)
		}
		defer zero.Close()
		in, err := cmd.StdinPipe()
		if err != nil {
			b.Fatal(err)
		}
		go func() { io.CopyN(in, zero, size); in.Close() }()
	}
	before := h.cpu()
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	n, _ := io.Copy(io.Discard, out)
	if err := cmd.Wait(); err != nil {
		b.Fatalf("%v\n%s", err, h.daemon.Output())
	}
	if strings.HasPrefix(command[0], "head") && n != size {
		b.Fatalf("%d of %d bytes", n, size)
	}
	return h.cpu() - before
}

// `ssh host true` with an agent, through the gateway and without one. Both use
// curve25519: left alone, OpenSSH 9.2 speaks sntrup761 to itself, which the
// gate does not know, and the direct login would be the slower one.
func BenchmarkLogin(b *testing.B) {
	plain := emptyHouse(b, settings{})
	gate := newHouse(b, settings{})
	gate.know()
	gate.grant()
	agents := map[*house]string{plain: plain.agent("ideo"), gate: gate.agent("ideo")}
	took := map[*house]time.Duration{}
	for b.Loop() {
		for h, agent := range agents {
			began := time.Now()
			if r := h.sshWithAgent(agent, "-o", "KexAlgorithms=curve25519-sha256", "-A", at("ideo", nettest.BackendIP4), "true"); r.exit != 0 {
				b.Fatalf("exit %d: %s", r.exit, r.stderr)
			}
			took[h] += time.Since(began)
		}
	}
	ms := func(h *house) float64 { return took[h].Seconds() * 1000 / float64(b.N) }
	b.ReportMetric(ms(plain), "direct-ms")
	b.ReportMetric(ms(gate), "gate-ms")
	b.ReportMetric(ms(gate)/ms(plain), "ratio")
}

// From the call that revokes a grant to the last byte the client is sent, while
// the session does nothing but print.
func BenchmarkRevoke(b *testing.B) {
	h := newHouse(b, settings{})
	h.know()
	var took []time.Duration
	for b.Loop() {
		_, last := h.revokeUnderOutput(b)
		took = append(took, last)
	}
	report(b, took, "ms")
}

// revokeUnderOutput tells how long after the call that revokes a grant it is
// answered, and the last byte comes under it.
func (h *house) revokeUnderOutput(b *testing.B) (answered, last time.Duration) {
	b.Helper()
	grant := h.grant()
	s, err := h.connect(b).NewSession()
	if err != nil {
		b.Fatal(err)
	}
	out := &clocked{}
	s.Stdout = out
	if err := s.Start("yes"); err != nil {
		b.Fatal(err)
	}
	h.until("output flows", func() bool { return out.count.Load() > 1<<20 })
	called := time.Now()
	if _, err := h.api().RevokeGrant(context.Background(), grant); err != nil {
		b.Fatal(err)
	}
	answered = time.Since(called)
	s.Wait()
	return answered, max(0, time.Unix(0, out.last.Load()).Sub(called))
}

// clocked counts what it is given and remembers when the last of it came.
type clocked struct{ count, last atomic.Int64 }

func (c *clocked) Write(p []byte) (int, error) {
	c.last.Store(time.Now().UnixNano())
	c.count.Add(int64(len(p)))
	return len(p), nil
}

// A thousand people sit in front of an idle shell, each recorded.
func BenchmarkIdleSessions(b *testing.B) {
	const people = 1000
	users := accounts("ideo")
	users[0].Shell = "/bin/cat"
	h := newHouse(b, settings{sshd: nettest.SSHDOptions{Users: users}})
	h.know()
	h.grant()
	for b.Loop() {
		first := h.shell(b) // so that what every daemon needs once is not counted
		before := resident(b, h.daemon.PID())
		var clients []*ssh.Client
		var mu sync.Mutex
		var wg sync.WaitGroup
		door := make(chan struct{}, 8)
		for range people {
			wg.Go(func() {
				door <- struct{}{}
				defer func() { <-door }()
				c := h.shell(b)
				mu.Lock()
				clients = append(clients, c)
				mu.Unlock()
			})
		}
		wg.Wait()
		h.live(people + 1)
		after := settled(b, h.daemon.PID())
		b.ReportMetric(float64(after-before)/people/1024, "KiB/session")
		for _, c := range append(clients, first) {
			c.Close()
		}
		h.live(0)
	}
}

// shell opens a session with a terminal and a shell in it.
func (h *house) shell(b *testing.B) *ssh.Client {
	b.Helper()
	client := h.connect(b)
	s, err := client.NewSession()
	if err == nil {
		err = s.RequestPty("xterm", 24, 80, nil)
	}
	if err == nil {
		err = s.Shell()
	}
	if err != nil {
		b.Error(err)
	}
	return client
}

// settled waits until the memory of a process no longer changes by itself.
func settled(b *testing.B, pid int) int64 {
	b.Helper()
	last := resident(b, pid)
	for range 60 {
		time.Sleep(time.Second)
		now := resident(b, pid)
		if diff := now - last; diff > -1<<20 && diff < 1<<20 {
			return now
		}
		last = now
	}
	return last
}
