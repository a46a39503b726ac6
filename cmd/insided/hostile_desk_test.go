package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pawelmojski/inside/netfilter/nettest"
	"github.com/pawelmojski/inside/proxy/rdpentry/codec"
	"github.com/pawelmojski/inside/proxy/rdpentry/rdptest"
	"github.com/pawelmojski/inside/proxy/rdpentry/wire"
)

// Peers of RDP that say what a real client and a real xrdp said (see
// proxy/rdpentry/testdata/conversations) until there is a desktop, and then
// whatever a story wants: real ones cannot be made to misbehave.
type cast struct {
	cert                    tls.Certificate
	hello, settled          [][]byte // of the client: up to its login; from its capabilities on
	greeting, demand, after [][]byte // of the server: up to the login; its capabilities; what follows the client's
}

func newCast(t testing.TB) *cast {
	t.Helper()
	c := &cast{cert: rdptest.Certificate(t)}
	demanded, confirmed := false, false
	for _, said := range rdptest.Conversation(t, "../../proxy/rdpentry/testdata/conversations/xrdp.gz") {
		server, frame := said.Server, said.Frame
		kind := shareKind(frame)
		if server {
			if !demanded && kind == wire.DemandActive {
				demanded = true
				c.demand = append(c.demand, frame)
			} else if !demanded {
				c.greeting = append(c.greeting, frame)
			} else if confirmed && len(c.after) < 4 {
				c.after = append(c.after, frame)
			}
			continue
		}
		confirmed = confirmed || kind == wire.ConfirmActive
		switch {
		case !demanded && isLogin(frame):
			c.hello = append(c.hello, frame)
		case len(c.hello) > 0 && isLogin(c.hello[len(c.hello)-1]) && !confirmed:
		case !demanded:
			c.hello = append(c.hello, frame)
		case confirmed && len(c.settled) < 5:
			c.settled = append(c.settled, frame)
		}
	}
	return c
}

// shareKind is the kind of the share control PDU a frame holds, or -1.
func shareKind(frame []byte) int {
	pdu, ok := mcs(frame)
	if !ok || len(pdu.Data) < 6 || int(binary.LittleEndian.Uint16(pdu.Data)) != len(pdu.Data) {
		return -1
	}
	s, _, err := wire.ParseShare(pdu.Data)
	if err != nil {
		return -1
	}
	return s.Kind
}

func isLogin(frame []byte) bool {
	pdu, ok := mcs(frame)
	if !ok || pdu.Kind != wire.SendDataRequest {
		return false
	}
	flags, _, err := wire.ParseSecurity(pdu.Data)
	return err == nil && flags == wire.SecInfo
}

func mcs(frame []byte) (wire.MCS, bool) {
	if len(frame) < 7 || frame[0] != 3 {
		return wire.MCS{}, false
	}
	p, err := wire.Payload(frame[4:])
	if err != nil {
		return wire.MCS{}, false
	}
	pdu, err := wire.ParseMCS(p)
	return pdu, err == nil
}

// client is a client until it has a desktop; frame is called with each frame
// of fast-path output from then on, until the connection ends. It returns what
// the client may speak by.
func (c *cast) client(conn net.Conn, frame func(int)) (*tls.Conn, error) {
	conn.SetDeadline(time.Now().Add(2 * patience))
	if _, err := conn.Write(c.hello[0]); err != nil {
		return nil, err
	}
	if _, err := wire.NewReader(conn).Next(); err != nil {
		return nil, err
	}
	up := tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
	if _, err := up.Write(bytes.Join(c.hello[1:], nil)); err != nil {
		return nil, err
	}
	r := wire.NewReader(up)
	for {
		f, err := r.Next()
		if err != nil {
			return nil, err
		}
		if shareKind(f.Raw) == wire.DemandActive {
			break
		}
	}
	if _, err := up.Write(bytes.Join(c.settled, nil)); err != nil {
		return nil, err
	}
	go func() {
		defer conn.Close()
		for {
			f, err := r.Next()
			if err != nil {
				return
			}
			if f.Fast {
				frame(len(f.Raw))
			}
		}
	}()
	return up, nil
}

// server is a server until there is a desktop, then draw draws on it.
func (c *cast) server(conn net.Conn, draw func(*tls.Conn)) error {
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(2 * patience))
	if _, err := wire.NewReader(conn).Next(); err != nil {
		return err
	}
	if _, err := conn.Write(c.greeting[0]); err != nil {
		return err
	}
	down := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{c.cert}})
	if _, err := down.Write(bytes.Join(append(slices.Clone(c.greeting[1:]), c.demand...), nil)); err != nil {
		return err
	}
	r := wire.NewReader(down)
	for {
		f, err := r.Next()
		if err != nil {
			return err
		}
		if shareKind(f.Raw) == wire.ConfirmActive {
			break
		}
	}
	go io.Copy(io.Discard, down)
	if _, err := down.Write(bytes.Join(c.after, nil)); err != nil {
		return err
	}
	draw(down)
	return nil
}

// serve is a server at an address of the backend.
func (c *cast) serve(h *house, at netip.Addr, draw func(*tls.Conn)) {
	h.t.Helper()
	ln, err := h.Backend.Listen(netip.AddrPortFrom(at, 3389).String())
	if err != nil {
		h.t.Fatal(err)
	}
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go c.server(conn, draw)
		}
	}()
}

// update is a fast-path frame that draws rectangles.
func update(bitmaps ...codec.Bitmap) []byte {
	p := codec.AppendBitmaps(nil, bitmaps...)
	n := 6 + len(p)
	return append([]byte{0, 0x80 | byte(n>>8), byte(n), wire.FastBitmap, byte(len(p)), byte(len(p) >> 8)}, p...)
}

// costly is a rectangle of a colour that is much work for few bytes.
func costly(w, h int) codec.Bitmap {
	var data []byte
	for n := w * h; n > 0; n -= 65535 {
		data = append(data, 0xf0, byte(min(n, 65535)), byte(min(n, 65535)>>8))
	}
	return codec.Bitmap{Right: uint16(w - 1), Bottom: uint16(h - 1), Width: uint16(w), Height: uint16(h), Depth: 24, Compressed: true, Data: data}
}

// gaps are the times between what a neighbour is shown.
type gaps struct {
	mu   sync.Mutex
	last time.Time
	all  []time.Duration
}

func (g *gaps) tick(int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	if !g.last.IsZero() {
		g.all = append(g.all, now.Sub(g.last))
	}
	g.last = now
}

// take returns the gaps since the last call, sorted.
func (g *gaps) take() []time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	all := g.all
	g.all = nil
	slices.Sort(all)
	return all
}

func describe(all []time.Duration) string {
	return fmt.Sprintf("%d updates, gaps p50 %v p99 %v max %v", len(all), all[len(all)/2], all[len(all)*99/100], all[len(all)-1])
}

// A server whose pictures are as much work as is let through, clients that type
// as fast as they can, and a crowd that speaks no RDP: the neighbour's desktop
// goes on, on the same daemon, which stays up and does not grow.
func TestAHostileDesktopIsNotFeltByItsNeighbour(t *testing.T) {
	evil := nettest.BackendIP4.Next()
	h := newHouse(t, settings{lab: nettest.Options{BackendAddrs: []netip.Addr{evil}}})
	h.know()
	h.inside("server", "add", "evil", "--ip", evil.String())
	h.grant("--protocol", "rdp", "--duration", "1h")
	h.inside("grant", "p.mojski", "--server", "evil", "--protocol", "rdp", "--duration", "1h")
	c := newCast(t)
	pulse := update(codec.Raw(0, 0, 16, 16, make([]uint32, 256), 16, 24, 1<<14)...)
	c.serve(h, nettest.BackendIP4, func(s *tls.Conn) {
		for ; ; time.Sleep(10 * time.Millisecond) {
			if _, err := s.Write(pulse); err != nil {
				return
			}
		}
	})
	// As much as an update may cost (see affordable in proxy/rdpentry): four
	// screens and two million pixels, in half a kilobyte.
	most := update(costly(640, 480), costly(640, 480), costly(640, 480), costly(640, 480), costly(2048, 1024))
	var bombs atomic.Int64
	c.serve(h, evil, func(s *tls.Conn) {
		for {
			if _, err := s.Write(most); err != nil {
				return
			}
			bombs.Add(1)
		}
	})
	dial := func(to netip.Addr) net.Conn {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		conn, err := h.Client.Dial(ctx, netip.AddrPortFrom(to, 3389).String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	var seen gaps
	if _, err := c.client(dial(nettest.BackendIP4), seen.tick); err != nil {
		t.Fatalf("the neighbour does not get in: %v", err)
	}
	neighbour := h.live(1)[0]
	const window = 2 * time.Second
	time.Sleep(window)
	alone := seen.take()
	size := resident(t, h.daemon.PID())

	var hostile sync.WaitGroup
	stop := make(chan struct{})
	for range 2 {
		s, err := c.client(dial(evil), func(int) {})
		if err != nil {
			t.Fatalf("the hostile client does not get in: %v", err)
		}
		hostile.Go(func() { // a hand that never rests
			for x := 0; ; x++ {
				if _, err := s.Write([]byte{1 << 2, 9, 1 << 5, 0, 8, byte(x), byte(x >> 8), 1, 0}); err != nil {
					return
				}
			}
		})
		defer s.NetConn().Close()
	}
	hostile.Go(func() { // a crowd
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			conn, err := h.Client.Dial(ctx, netip.AddrPortFrom(evil, 3389).String())
			cancel()
			if err == nil {
				conn.Write([]byte{3, 0, byte(n), byte(n), 0xe0, 0, 0xff})
				conn.Close()
			}
		}
	})
	seen.take()
	time.Sleep(window)
	beside := seen.take()
	close(stop)
	if len(alone) == 0 || len(beside) == 0 {
		t.Fatalf("the neighbour saw %d updates alone and %d beside the hostile", len(alone), len(beside))
	}
	t.Logf("alone:  %s", describe(alone))
	t.Logf("beside: %s", describe(beside))
	t.Logf("%d bombs; the daemon has %d MiB, had %d", bombs.Load(), resident(t, h.daemon.PID())>>20, size>>20)
	if worst := beside[len(beside)-1]; worst > 2*time.Second+4*alone[len(alone)-1] {
		t.Errorf("the neighbour's picture stood still for %v", worst)
	}
	if n := len(beside); n < len(alone)/8 {
		t.Errorf("the neighbour saw %d updates where it sees %d alone", n, len(alone))
	}
	if more := resident(t, h.daemon.PID()) - size; more > 512<<20 {
		t.Errorf("the daemon grew by %d MiB", more>>20)
	}
	lives := h.live(3)
	for _, live := range lives {
		if live.ID == neighbour.ID {
			continue
		}
		h.inside("session", "kill", live.ID[:8]) // the end is not waited for, however much is to be drawn
		if e := h.ended(live.ID); e.Cause != "ended-by-admin" {
			t.Errorf("cause %q of the hostile session", e.Cause)
		}
	}
	hostile.Wait()
	if now := h.live(1)[0]; now.ID != neighbour.ID {
		t.Errorf("%s lives on, and not the neighbour", now.ID)
	}
	if strings.Contains(h.daemon.Output(), "panicked") {
		t.Error("something panicked")
	}
}
