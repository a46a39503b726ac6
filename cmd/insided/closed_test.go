package main

import (
	"context"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pawelmojski/inside/netfilter/nettest"
)

// A leak is a byte of the server's own banner at the client. The gate greets
// with a version of its own, so the two cannot be confused.
const serversBanner = "SSH-2.0-OpenSSH"

// A probe connects to the server over and over and counts who answers.
type probe struct {
	tries, gate, leaks atomic.Int64
	stop               func()
}

func (h *house) probe(servers ...netip.Addr) *probe {
	ctx, cancel := context.WithCancel(context.Background())
	p := &probe{}
	var wg sync.WaitGroup
	for _, server := range servers {
		for range 2 {
			wg.Go(func() {
				for ctx.Err() == nil {
					p.try(ctx, h, netip.AddrPortFrom(server, 22).String())
				}
			})
		}
	}
	p.stop = func() { cancel(); wg.Wait() }
	h.t.Cleanup(p.stop)
	return p
}

func (p *probe) try(ctx context.Context, h *house, addr string) {
	one, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	p.tries.Add(1)
	c, err := h.Client.Dial(one, addr)
	if err != nil {
		return
	}
	defer c.Close()
	c.(*net.TCPConn).SetLinger(0)
	c.SetReadDeadline(time.Now().Add(time.Second))
	buf := make([]byte, len(serversBanner))
	if _, err := io.ReadFull(c, buf); err != nil {
		return
	}
	if string(buf) == serversBanner {
		p.leaks.Add(1)
	} else if strings.HasPrefix(string(buf), "SSH-2.0-") {
		p.gate.Add(1)
	}
}

func TestNoConnectReachesTheServerWhileTheDaemonIsKilledAgainAndAgain(t *testing.T) {
	h := newHouse(t, settings{})
	h.know()
	h.grant()
	h.inside("grant", "p.mojski", "--server", "test-ssh-server-6")
	p := h.probe(nettest.BackendIP4, nettest.BackendIP6)
	for range 10 {
		before := p.gate.Load()
		h.until("the gate answers", func() bool { return p.gate.Load() > before })
		h.daemon.Kill()
		tried := p.tries.Load()
		h.until("the client has tried against the dead daemon", func() bool { return p.tries.Load() > tried+20 })
		h.start()
	}
	p.stop()
	if n := p.leaks.Load(); n != 0 {
		t.Errorf("%d of %d connects reached the server itself", n, p.tries.Load())
	}
	t.Logf("%d connects, %d answered by the gate, %d leaks", p.tries.Load(), p.gate.Load(), p.leaks.Load())
}

func TestFlushedRulesAreBackWithinASecondAndNothingLeaksMeanwhile(t *testing.T) {
	h := newHouse(t, settings{})
	h.know()
	h.grant()
	p := h.probe(nettest.BackendIP4, nettest.BackendIP6)
	ctx := context.Background()
	for range 5 {
		if out, err := h.Gateway.Run(ctx, "nft", "flush", "ruleset"); err != nil {
			t.Fatal(err, out)
		}
		flushed := time.Now()
		h.until("the rules are back", func() bool {
			out, err := h.Gateway.Run(ctx, "nft", "list", "table", "inet", "inside")
			return err == nil && strings.Contains(out, "tproxy")
		})
		if took := time.Since(flushed); took > time.Second {
			t.Errorf("the rules were back after %s", took)
		}
		before := p.gate.Load()
		h.until("the gate answers again", func() bool { return p.gate.Load() > before })
	}
	p.stop()
	if n := p.leaks.Load(); n != 0 {
		t.Errorf("%d of %d connects reached the server itself", n, p.tries.Load())
	}
}

func TestAStoppedDaemonLeavesTheWayClosedAndCleanupOpensIt(t *testing.T) {
	h := newHouse(t, settings{})
	h.know()
	h.stop()
	p := &probe{}
	for range 50 {
		p.try(context.Background(), h, "10.30.0.140:22")
		p.try(context.Background(), h, "[fd30::140]:22")
	}
	if p.leaks.Load() != 0 {
		t.Errorf("%d connects reached the server itself after the daemon was stopped", p.leaks.Load())
	}
	if out, err := h.Gateway.Run(context.Background(), binaries+"/insided", "--cleanup"); err != nil {
		t.Fatal(err, out)
	}
	p.try(context.Background(), h, "10.30.0.140:22")
	if p.leaks.Load() != 1 {
		t.Error("after --cleanup the server cannot be reached directly")
	}
}

func TestTheGateAndTheLoopbackAreNoWayIn(t *testing.T) {
	h := newHouse(t, settings{})
	h.know()
	h.inside("server", "add", "everything", "--ip", "10.0.0.0/8")
	h.inside("grant", "p.mojski", "--server", "everything")
	before := descriptors(t, h.daemon.PID())
	for _, addr := range []string{"10.30.0.1:22", "10.50.0.1:22", "10.50.0.1:7022", "[fd30::1]:22", "10.30.0.1:7022"} {
		for range 20 {
			one, cancel := context.WithTimeout(context.Background(), time.Second)
			if c, err := h.Client.Dial(one, addr); err == nil {
				c.SetReadDeadline(time.Now().Add(time.Second))
				if n, _ := c.Read(make([]byte, 64)); n > 0 {
					t.Errorf("%s answers", addr)
				}
				c.Close()
			}
			cancel()
		}
	}
	h.until("descriptors are back", func() bool { return descriptors(t, h.daemon.PID()) <= before })
}
