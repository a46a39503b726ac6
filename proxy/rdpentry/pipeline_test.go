package rdpentry

import (
	"bytes"
	"errors"
	"image"
	"slices"
	"testing"

	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/proxy/rdpentry/gfx"
	"github.com/pawelmojski/inside/proxy/rdpentry/wire"
	"github.com/pawelmojski/inside/proxy/recording/desktop"
)

// native makes the server one whose graphics pipeline passes.
func (g *gate) native() {
	v := *g.verdict.Load()
	server := *v.Server
	server.NativeGraphics = true
	v.Server = &server
	g.verdict.Store(&v)
}

// graphic is a message of the pipeline: its kind and its 16 bit numbers.
func graphic(kind uint16, body ...uint16) []byte {
	b := le.AppendUint32(le.AppendUint32(nil, uint32(kind)), uint32(8+2*len(body)))
	for _, v := range body {
		b = le.AppendUint16(b, v)
	}
	return b
}

// square fills a part of surface 1.
func square(colour uint32, r image.Rectangle) []byte {
	return graphic(0x04, 1, uint16(colour), uint16(colour>>16), 1, uint16(r.Min.X), uint16(r.Min.Y), uint16(r.Max.X), uint16(r.Max.Y))
}

// firstGraphics are a desktop of 640 by 480 with one blue surface over all of it.
func firstGraphics() []byte {
	reset := append(graphic(0x0e, 640, 0, 480, 0, 0, 0), make([]byte, 320)...)
	le.PutUint32(reset[4:], uint32(len(reset)))
	surface := append(graphic(0x09, 1, 640, 480), 0x20)
	le.PutUint32(surface[4:], uint32(len(surface)))
	return slices.Concat(reset, surface, graphic(0x0f, 1, 0, 0, 0, 0, 0), square(0x0000ff, image.Rect(0, 0, 640, 480)))
}

// The pipeline's dynamic channel has number 5.
func onPipeline(msg []byte) []byte { return append([]byte{0x30, 5}, msg...) }

// draws is a session in which the server has opened its pipeline, and the
// client has said what it can do.
func (g *gate) draws() (*peer, *played) {
	g.t.Helper()
	c, s := g.withChannels("drdynvc")
	s.on([]byte{0x50, 0, 1, 0})
	c.hears(firstChannel)
	c.on([]byte{0x50, 0, 1, 0})
	s.hears(playedFirst)
	s.on(append([]byte{0x10, 5}, gfx.Channel+"\x00"...))
	c.hears(firstChannel)
	c.on([]byte{0x10, 5, 0, 0, 0, 0})
	s.hears(playedFirst)
	return c, s
}

// said reads what the client is told on the pipeline.
func (p *peer) said(d *gfx.Decompressor) []byte {
	p.t.Helper()
	var whole []byte
	for total := -1; ; {
		m := p.hears(firstChannel)
		switch {
		case m[1] != 5:
			p.t.Fatalf("on another channel: % x", m)
		case m[0]>>4 == 2: // the first of several
			n := 1 << (m[0] >> 2 & 3)
			size := append(bytes.Clone(m[2:2+n]), 0, 0, 0, 0)
			total, whole = int(le.Uint32(size)), bytes.Clone(m[2+n:])
		default:
			whole = append(whole, m[2:]...)
		}
		if total < 0 || len(whole) == total {
			break
		}
	}
	messages, err := d.Expand(whole)
	if err != nil {
		p.t.Fatal(err)
	}
	return bytes.Clone(messages)
}

func TestThePipelineOfANativeServerPassesAsItIsRecorded(t *testing.T) {
	g := newGate(t)
	g.native()
	c, s := g.draws()
	if early := s.client.Core.Early(); early&wire.EarlyGraphics == 0 {
		t.Error("the server does not hear that the client has a pipeline")
	}
	// Versions 8.1 with H.264 and 10.4 are offered; what cannot be recorded is not.
	c.on(onPipeline(graphic(0x12, 2, 0x0105, 8, 4, 0, 0x10, 0, 0x0400, 0xa, 4, 0, 0, 0)))
	want := onPipeline(graphic(0x12, 2, 4, 8, 4, 0, 2, 0, 0x0105, 8, 4, 0, 0x12, 0))
	if got := s.hears(playedFirst); !bytes.Equal(got, want) {
		t.Errorf("the server hears\n% x, want\n% x", got, want)
	}
	var d gfx.Decompressor
	s.on(onPipeline(gfx.Segments(firstGraphics())))
	if got := c.said(&d); !bytes.Equal(got, firstGraphics()) {
		t.Errorf("the client gets %d bytes, want %d", len(got), len(firstGraphics()))
	}
	fill := square(0x00ff00, image.Rect(600, 400, 640, 480))
	s.on(onPipeline(gfx.Segments(fill)))
	if got := c.said(&d); !bytes.Equal(got, fill) {
		t.Errorf("the client gets % x", got)
	}
	c.side.close()
	g.end()
	var recorded [][]byte
	for _, e := range g.recorded() {
		if e.Kind == desktop.Graphics {
			recorded = append(recorded, e.Data)
		}
	}
	if !slices.EqualFunc(recorded, [][]byte{firstGraphics(), fill}, bytes.Equal) {
		t.Errorf("recorded: %d events", len(recorded))
	}
}

func TestANoticeStandsOverThePipelineAndIsDrawnAgain(t *testing.T) {
	g := newGate(t)
	g.native()
	c, s := g.draws()
	var d gfx.Decompressor
	screen := newBoard(640, 480)
	client := &gfx.Surfaces{Output: screen}
	hear := func() {
		t.Helper()
		if _, err := client.Apply(c.said(&d)); err != nil {
			t.Fatal(err)
		}
	}
	s.on(onPipeline(gfx.Segments(firstGraphics())))
	hear()
	g.notices <- "your stay ends in 5 minutes"
	hear()
	if n := screen.count(0xffd75f); n < 5000 {
		t.Fatalf("%d pixels of the notice", n)
	}
	// Where it stands the server draws; it comes again at once.
	s.on(onPipeline(gfx.Segments(square(0xff0000, image.Rect(0, 0, 640, 60)))))
	hear()
	hear()
	if n := screen.count(0xffd75f); n < 5000 || screen.count(0xff) != 640*420 {
		t.Fatalf("%d pixels of the notice after the server has drawn", n)
	}
	// The acknowledgement of the gate's frames stays with the gate, that of the
	// server's does not count them.
	c.on(onPipeline(slices.Concat(graphic(0x0d, 0, 0, 0xfff0, 0xffff, 7, 0), graphic(0x0d, 0, 0, 1, 0, 8, 0))))
	if got, want := s.hears(playedFirst), onPipeline(graphic(0x0d, 0, 0, 1, 0, 7, 0)); !bytes.Equal(got, want) {
		t.Errorf("the server hears % x, want % x", got, want)
	}
	c.side.close()
	g.end()
}

func TestBadGraphicsEndTheSession(t *testing.T) {
	for name, msg := range map[string][]byte{
		"segments of no kind":          {0x77, 4, 1},
		"a message cut short":          gfx.Segments([]byte{1, 0, 0, 0, 200, 0, 0, 0}),
		"a desktop without end":        gfx.Segments(slices.Concat(graphic(0x0e, 0xffff, 0, 0xffff, 0, 0, 0))),
		"more surfaces than there may": gfx.Segments(bytes.Repeat(slices.Concat(graphic(0x09, 1, 8192, 4096, 0x20)), 10)),
	} {
		g := newGate(t)
		g.native()
		c, s := g.draws()
		s.on(onPipeline(msg))
		if err := g.end(); !errors.Is(err, policy.Failed) {
			t.Errorf("%s: %v", name, err)
		}
		c.side.close()
		for _, e := range g.recorded() {
			if e.Kind == desktop.Graphics {
				t.Errorf("%s was recorded", name)
			}
		}
	}
}

// A board is an output of a few pixels.
type board struct {
	w, h int
	pix  []uint32
}

func newBoard(w, h int) *board { return &board{w, h, make([]uint32, w*h)} }

func (b *board) Reset(w, h int) error { return nil }

func (b *board) Show(r image.Rectangle, pix []uint32, stride int) {
	in := r.Intersect(image.Rect(0, 0, b.w, b.h))
	for y := in.Min.Y; y < in.Max.Y; y++ {
		copy(b.pix[y*b.w+in.Min.X:][:in.Dx()], pix[(y-r.Min.Y)*stride+in.Min.X-r.Min.X:])
	}
}

func (b *board) Words(string) (int, []uint32) { return 1, []uint32{0} }

func (b *board) count(colour uint32) (n int) {
	for _, c := range b.pix {
		if c == colour {
			n++
		}
	}
	return n
}
