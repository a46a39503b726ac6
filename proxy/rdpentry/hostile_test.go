package rdpentry

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/proxy/rdpentry/codec"
	"github.com/pawelmojski/inside/proxy/rdpentry/rdptest"
	"github.com/pawelmojski/inside/proxy/rdpentry/screen"
	"github.com/pawelmojski/inside/proxy/rdpentry/wire"
	"github.com/pawelmojski/inside/proxy/recording"
)

// What peers do that mean no good: one that breaks off a session may do so,
// but the session says why, nothing panics and memory is bounded.

// demand is a server's Demand Active PDU for a desktop.
func demand(width, height, depth int) []byte {
	a := wire.Active{Share: playedShare, Source: []byte("RDP\x00"), Capabilities: ownCapabilities(width, height, depth)}
	return wire.Share{Kind: wire.DemandActive, Source: wire.ServerUser, Body: a.Bytes()}.Bytes()
}

// drain is a client that only listens, until it is hung up on.
func (p *peer) drain() {
	go func() {
		for {
			if _, err := p.side.frames.Next(); err != nil {
				p.side.close()
				return
			}
		}
	}()
}

// says wants the session's event log to say why it failed.
func (g *gate) says(reason string) {
	g.t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, e := range g.events {
		if e.Kind == "failure" && strings.Contains(e.Detail, reason) {
			return
		}
	}
	g.t.Errorf("the events %+v say nothing of %q", g.events, reason)
}

func TestSizesOfDesktops(t *testing.T) {
	for _, c := range []struct {
		width, height, depth int
		ok                   bool
	}{
		{1, 1, 24, true}, {8192, 1, 16, true}, {640, 480, 32, true}, {640, 480, 15, true}, {640, 480, 8, true},
		{0, 480, 24, false}, {640, 0, 24, false}, {65535, 65535, 24, false}, {65535, 1, 24, false}, {8192, 8192, 24, false},
		{640, 480, 0, false}, {640, 480, 7, false}, {640, 480, 65535, false}, {640, 480, 4, false},
	} {
		t.Run(fmt.Sprint(c.width, "×", c.height, "×", c.depth), func(t *testing.T) {
			t.Parallel()
			g, client, s := inside(t)
			client.drain()
			s.side.write(wire.MCS{Kind: wire.SendDataIndication, User: wire.ServerUser, Channel: playedIO, Data: demand(c.width, c.height, c.depth)}.Frame())
			if !c.ok {
				if err := g.end(); !errors.Is(err, policy.Failed) || !errors.Is(err, wire.ErrMalformed) {
					t.Errorf("the session ended with %v", err)
				}
				g.says("")
				return
			}
			// A desktop of that size is one, and has room for what the house says.
			confirm := wire.Active{Confirm: true, Share: playedShare, Capabilities: ownCapabilities(c.width, c.height, c.depth)}
			client.tell(wire.Share{Kind: wire.ConfirmActive, Source: 1006, Body: confirm.Bytes()}.Bytes())
			s.share(wire.ConfirmActive)
			g.notices <- "your stay ends in 5 minutes"
			g.notices <- ""
			g.stop(policy.AdminEnded)
			if err := g.end(); !errors.Is(err, policy.AdminEnded) {
				t.Errorf("the session ended with %v", err)
			}
		})
	}
}

func TestSizesAClientAsksFor(t *testing.T) {
	for _, size := range []int{0, 1, 199, 65535} {
		core := make(wire.Core, 216)
		le.PutUint16(core[4:], uint16(size))
		le.PutUint16(core[6:], uint16(size))
		f := flow{data: wire.ClientData{Core: core}}
		if w, h, _ := f.page(); screen.CheckSize(w, h) != nil {
			t.Errorf("a client that asks for %d × %d gets a page of %d × %d", size, size, w, h)
		}
	}
}

// bomb is an update that says much with few bytes: each of its rectangles is
// two million pixels in a hundred bytes.
func bomb(rectangles int) []byte {
	const w, h = 2048, 1024
	data := bytes.Repeat([]byte{0xf0, 0xff, 0xff}, w*h/65535) // background, 65535 pixels at a time
	data = append(data, 0xf0, byte(w*h%65535&0xff), byte(w*h%65535>>8))
	b := codec.Bitmap{Right: w - 1, Bottom: h - 1, Width: w, Height: h, Depth: 24, Compressed: true, Data: data}
	all := make([]codec.Bitmap, rectangles)
	for i := range all {
		all[i] = b
	}
	return codec.AppendBitmaps(nil, all...)
}

func TestUpdatesThatAreMuchWorkEndTheSession(t *testing.T) {
	if b, err := codec.ParseBitmaps(bomb(1)); err != nil {
		t.Fatal(err)
	} else if _, err := new(codec.Decoder).Decode(b[0]); err != nil {
		t.Fatalf("the bomb is none: %v", err)
	}
	for name, parts := range map[string]func() [][]byte{
		"in one": func() [][]byte { return [][]byte{fastFrame(wire.FastBitmap, bomb(200))} },
		"in fragments": func() (frames [][]byte) {
			update := bomb(10_000)
			for part := wire.First; len(update) > 0; part = wire.Next {
				n := min(len(update), 16<<10)
				if n == len(update) {
					part = wire.Last
				}
				frames = append(frames, fastFrame(byte(part<<4|wire.FastBitmap), update[:n]))
				update = update[n:]
			}
			return frames
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g, c, s := inside(t)
			c.drain()
			for _, frame := range parts() {
				s.side.write(frame)
			}
			if err := g.end(); !errors.Is(err, policy.Failed) {
				t.Errorf("the session ended with %v", err)
			}
			g.says("more than four screens")
		})
	}
}

func TestEmptyFragmentsEndTheSession(t *testing.T) {
	g, c, s := inside(t)
	c.drain()
	s.side.write(fastFrame(wire.First<<4|wire.FastBitmap, nil))
	if err := g.end(); !errors.Is(err, wire.ErrMalformed) {
		t.Errorf("the session ended with %v", err)
	}
	g.says("empty fragment")
}

func TestAServerThatTellsOfLogonsWithoutEndIsLeft(t *testing.T) {
	g, c, s := inside(t)
	c.drain()
	for n := range 2 * maxLogons {
		body := make([]byte, 576)
		body[4+4+52+4], body[4+4+52+4+2] = byte('a'+n%2), byte('0'+n%10)
		if s.side.write(wire.MCS{Kind: wire.SendDataIndication, User: wire.ServerUser, Channel: playedIO,
			Data: wire.NewData(playedShare, wire.ServerUser, wire.DataLogon, body).Bytes()}.Frame()) != nil {
			break
		}
	}
	if err := g.end(); !errors.Is(err, wire.ErrMalformed) {
		t.Errorf("the session ended with %v", err)
	}
	g.says("logons")
	if n := len(g.events); n > maxLogons+3 {
		t.Errorf("%d events", n)
	}
}

func TestARefusedLoginIsShownAsALine(t *testing.T) {
	w := usual()
	w.request.Flags = wire.RestrictedAdmin
	w.info.User = "ideo\x1b[2J\n\u202e" + strings.Repeat("x", 400)
	g := newGate(t)
	c := g.enter(w)
	c.openPage()
	c.side.close()
	r := g.refused(policy.NotServed)
	if len(r.Login) > maxName || r.Login != plainLine(r.Login, maxName) || !strings.HasPrefix(r.Login, "ideo[2J") {
		t.Errorf("the entry names %q", r.Login)
	}
}

// quick is an entry whose patience a test can wait for.
func quick() Entry { return Entry{LoginGrace: 2 * time.Second, Log: slog.New(slog.DiscardHandler)} }

func TestSilenceAfterTheLoginEndsTheSession(t *testing.T) {
	for name, c := range map[string]struct {
		play func(c *peer, s *played)
		want error
		says string
	}{
		"a server that says nothing": {func(*peer, *played) {}, errSilent, "there is no desktop"},
		"licensing without end": {func(c *peer, s *played) {
			c.drain()
			for s.side.write(wire.MCS{Kind: wire.SendDataIndication, User: wire.ServerUser, Channel: playedIO, Data: wire.ValidClient()}.Frame()) == nil {
				time.Sleep(time.Millisecond)
			}
		}, errSilent, "there is no desktop"},
		"a client that takes no desktop": {func(c *peer, s *played) {
			c.drain()
			s.say(demand(640, 480, 24))
		}, errGrace, "does not take the desktop"},
		"desktops without end, and none taken": {func(c *peer, s *played) {
			c.drain()
			for s.side.write(wire.MCS{Kind: wire.SendDataIndication, User: wire.ServerUser, Channel: playedIO, Data: demand(640, 480, 24)}.Frame()) == nil {
				time.Sleep(time.Millisecond)
			}
		}, errGrace, "does not take the desktop"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGate(t)
			client := g.enterWith(quick(), usual())
			s := g.accept(rdptest.Certificate(t))
			go c.play(client, s)
			if err := g.end(); !errors.Is(err, policy.Failed) || !errors.Is(err, c.want) {
				t.Errorf("the session ended with %v", err)
			}
			g.says(c.says)
		})
	}
}

func TestAServerThatTakesNoInputIsLeft(t *testing.T) {
	g := newGate(t)
	c := g.enterWith(quick(), usual())
	g.accept(rdptest.Certificate(t)).begin(c)
	much := frames(wire.SendDataRequest, 1006, firstChannel+1, append([]byte{5, 0, 4, 0}, make([]byte, 1<<14)...), 0)
	for c.side.write(much) == nil { // the server's own buffers first
	}
	if err := g.end(); !errors.Is(err, policy.ServerLeft) {
		t.Errorf("the session ended with %v", err)
	}
}

// A client that does not read holds up its own session and nothing else: what
// the server sends waits at the server, and the end is not waited for.
func TestAClientThatDoesNotReadCostsNoMemory(t *testing.T) {
	g, _, s := inside(t)
	before := heap()
	s.side.raw.SetWriteDeadline(time.Now().Add(2 * time.Second))
	pix := make([]uint32, 64*64)
	for i := range pix {
		pix[i] = uint32(i * 0x9e3779b1 >> 8 & 0xffffff)
	}
	frame := fastFrame(wire.FastBitmap, codec.AppendBitmaps(nil, codec.Raw(0, 0, 64, 64, pix, 64, 24, 1<<14)...))
	sent := 0
	for s.side.write(frame) == nil {
		sent += len(frame)
	}
	if more := heap() - before; more > 16<<20 {
		t.Errorf("the heap grew by %d bytes while %d were sent", more, sent)
	}
	began := time.Now()
	g.stop(policy.GrantExpired)
	if err := g.end(); !errors.Is(err, policy.GrantExpired) {
		t.Errorf("the session ended with %v", err)
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("the end took %v", took)
	}
}

// heap is what is in use, garbage aside.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func TestDesktopsThatBeginAgainAndAgainCostNoMemory(t *testing.T) {
	g, c, s := inside(t)
	c.drain()
	before := heap()
	for n := range 300 {
		size := 2048 - n%7
		s.say(wire.Share{Kind: wire.DeactivateAll, Source: wire.ServerUser}.Bytes())
		s.say(demand(size, size, 24))
	}
	s.say(demand(65535, 65535, 24)) // all of it was read
	g.end()
	if more := heap() - before; more > 40<<20 { // the picture has 16 MiB
		t.Errorf("the heap grew by %d bytes", more)
	}
}

func TestAServerWhoseLoginHasNoEndIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		head string
		want policy.Denial
	}{
		"a TSRequest of 16 MiB":         {"\x30\x83\xff\xff\xff", policy.ProtocolError},
		"a TSRequest of 65535 bytes":    {"\x30\x82\xff\xff", policy.ProtocolError},
		"a TSRequest of no size":        {"\x30\x80", policy.ProtocolError},
		"a TSRequest of 2^1016 bytes":   {"\x30\xff", policy.ProtocolError},
		"tokens within tokens":          {"\x30\x82\x3f\xf0" + strings.Repeat("\x30\x82\x3f\x00", 1<<10), policy.ProtocolError},
		"not even the beginning of one": {"\x03\x00\x00\x13", policy.ProtocolError},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGate(t)
			client := g.enterWith(quick(), usual())
			p := g.acceptRaw(wire.ConnectionConfirm{Negotiation: true, Protocol: wire.ProtocolHybrid})
			conn := serverTLS(p.side.raw, rdptest.Certificate(t))
			if err := conn.Handshake(); err != nil {
				t.Fatal(err)
			}
			go func() {
				conn.Write([]byte(c.head))
				for more := make([]byte, 1<<12); ; { // and on and on
					if _, err := conn.Write(more); err != nil {
						return
					}
				}
			}()
			client.openPage()
			client.side.close()
			if r := g.refused(c.want); r.Err == nil || len(r.Err.Error()) > 500 {
				t.Errorf("refused because of %v", r.Err)
			}
			if len(g.admitted) != 0 {
				t.Error("somebody was admitted")
			}
		})
	}
}

func TestEventsWithoutEndEndTheSession(t *testing.T) {
	g := newGate(t)
	f := (&Entry{}).newFlow(sink{}, g)
	for range 2 * maxNotes {
		f.note(recording.Event{Kind: "clipboard"})
	}
	if len(g.events) != maxNotes || !f.cut.Load() || !errors.Is(f.cause, wire.ErrMalformed) {
		t.Errorf("%d events, then %v", len(g.events), f.cause)
	}
}

// A certificate may hold text; what is wrong with it is said in errors, which
// stand in entries and logs.
func TestACertificateOfManyWordsIsRefusedInFew(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	uri := "http://[" + strings.Repeat("\x1b[2J\n", 8000)
	names, err := asn1.Marshal([]asn1.RawValue{{Class: 2, Tag: 6, Bytes: []byte(uri)}})
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour),
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: names}},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	g := newGate(t)
	client := g.enterWith(quick(), usual())
	p := g.acceptRaw(wire.ConnectionConfirm{Negotiation: true, Protocol: wire.ProtocolSSL})
	go serverTLS(p.side.raw, tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}).Handshake()
	client.openPage()
	client.side.close()
	r := g.refused(policy.ServerUnreachable)
	if s := r.Error(); len(s) > 1000 || strings.ContainsAny(s, "\x1b\n") || !strings.Contains(s, "certificate") {
		t.Errorf("refused in %d bytes: %.200q", len(s), s)
	}
}
