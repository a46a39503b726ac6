package desktop

import (
	"bytes"
	"context"
	"encoding/binary"
	"image"
	"image/png"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pawelmojski/inside/proxy/rdpentry/screen"
)

// A viewer draws the live view as a page would: only from the stream.
type viewer struct {
	t      *testing.T
	in     io.Reader
	header string
	p      screen.Picture
	frames int
	keys   int
	end    string
}

// next reads one message; false is the end of the stream.
func (v *viewer) next() bool {
	v.t.Helper()
	var head [5]byte
	if _, err := io.ReadFull(v.in, head[:]); err != nil {
		return false
	}
	b := make([]byte, binary.LittleEndian.Uint32(head[1:]))
	if _, err := io.ReadFull(v.in, b); err != nil {
		return false
	}
	switch head[0] {
	case viewHeader:
		v.header = string(b)
	case viewEnd:
		v.end = string(b)
	case viewFrame:
		v.draw(b)
	}
	return true
}

func (v *viewer) draw(b []byte) {
	u16 := func() int { n := binary.LittleEndian.Uint16(b); b = b[2:]; return int(n) }
	key := b[4] == 1
	b = b[5:]
	w, h, n := u16(), u16(), u16()
	if v.p.W != w || v.p.H != h {
		if !key {
			v.t.Error("a frame of another size is no keyframe")
		}
		v.p = screen.NewPicture(w, h)
	}
	v.frames++
	if key {
		v.keys++
	}
	for range n {
		x, y, w, h := u16(), u16(), u16(), u16()
		size := binary.LittleEndian.Uint32(b)
		img, err := png.Decode(bytes.NewReader(b[4 : 4+size]))
		must(v.t, err)
		b = b[4+size:]
		if img.Bounds().Dx() != w || img.Bounds().Dy() != h || key && (w != v.p.W || h != v.p.H) {
			v.t.Errorf("a rectangle of %v says it is %d × %d", img.Bounds(), w, h)
		}
		for dy := range h {
			for dx := range w {
				r, g, bl, _ := img.At(dx, dy).RGBA()
				v.p.Pix[(y+dy)*v.p.W+x+dx] = r>>8<<16 | g>>8<<8 | bl>>8
			}
		}
	}
	if len(b) > 0 {
		v.t.Errorf("%d bytes behind the rectangles", len(b))
	}
}

// shows waits until the viewer sees the screen.
func (v *viewer) shows(s *screen.Screen) {
	v.t.Helper()
	b := s.Bounds()
	want := screen.NewPicture(b.Dx(), b.Dy())
	s.Frame(want, true)
	for v.p.W != want.W || v.p.H != want.H || !slices.Equal(v.p.Pix, want.Pix) {
		if !v.next() {
			v.t.Fatal("the stream ended with another picture")
		}
	}
}

func TestAViewerSeesTheScreenAsItIs(t *testing.T) {
	root := newRoot(t)
	w := creates(t, root)
	u := newUser(t, 5, w)
	for range 40 {
		must(t, u.act())
	}
	must(t, u.keyframe())
	for range 10 {
		must(t, u.act())
	}
	r, out := io.Pipe()
	done := make(chan error, 1)
	go func() { done <- View(t.Context(), root, Name, out); out.Close() }()
	v := &viewer{t: t, in: r}
	v.shows(u.s)
	if !strings.Contains(v.header, `"person":"alice"`) || v.keys != 1 {
		t.Errorf("%s, %d keyframes", v.header, v.keys)
	}
	for range 5 {
		must(t, u.act())
		v.shows(u.s)
	}
	must(t, w.Resize(200, 300))
	must(t, u.s.Resize(200, 300))
	must(t, u.act())
	v.shows(u.s)
	must(t, u.act())
	must(t, u.close("client-left"))
	v.shows(u.s)
	for v.next() {
	}
	if err := <-done; err != nil || v.end != "client-left" {
		t.Errorf("%q %v", v.end, err)
	}
}

// The session goes on while a viewer reads nothing, and what the viewer gets
// then is one picture and not all that he missed.
func TestASlowViewerGetsAKeyframeAndSlowsNobody(t *testing.T) {
	root := newRoot(t)
	w := creates(t, root)
	u := newUser(t, 6, w)
	must(t, u.act())
	r, out := io.Pipe()
	done := make(chan error, 1)
	go func() { done <- View(t.Context(), root, Name, out); out.Close() }()
	v := &viewer{t: t, in: r}
	v.shows(u.s)
	was := v.frames
	for range 60 { // the first of it blocks the view
		must(t, u.act())
		time.Sleep(viewSlow / 40)
	}
	must(t, u.close("client-left"))
	v.shows(u.s)
	if n := v.frames - was; n > 3 || v.keys < 2 {
		t.Errorf("%d frames, %d keyframes in all", n, v.keys)
	}
	for v.next() {
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestAViewEndsWithItsViewer(t *testing.T) {
	root := newRoot(t)
	w := creates(t, root)
	defer w.Close("x")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	r, out := io.Pipe()
	go func() { done <- View(ctx, root, Name, out) }()
	v := &viewer{t: t, in: r}
	for v.p.Pix == nil {
		v.next()
	}
	if v.p.W != header.Width {
		t.Errorf("the first frame is %d wide", v.p.W)
	}
	cancel()
	if err := <-done; err != context.Canceled {
		t.Error(err)
	}
	go func() { done <- View(t.Context(), root, Name, out) }()
	r.Close()
	if err := <-done; err != io.ErrClosedPipe {
		t.Error(err)
	}
	if err := View(t.Context(), root, "none.rdpr", out); err == nil {
		t.Error("there is a view of nothing")
	}
}

func BenchmarkViewKeyframe(b *testing.B) {
	p := screen.NewPicture(1024, 768)
	p.Fill(image.Rect(0, 0, 1024, 768), 0xf0f0f0)
	for y := 0; y < 760; y += 20 {
		p.Text(image.Pt(5, y), "some text on a page, as in an office: lines of it, one below the other", 0x202020, 1)
	}
	n := 0
	for b.Loop() {
		frame, err := appendRect(nil, p, image.Rect(0, 0, 1024, 768))
		must(b, err)
		n = len(frame)
	}
	b.ReportMetric(float64(n), "B/keyframe")
}
