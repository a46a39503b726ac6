package desktop

import (
	"bytes"
	"context"
	"encoding/binary"
	"image"
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
	img    *image.RGBA
	p      screen.Picture // the same
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
	key := b[4] == 1
	was := v.img
	var err error
	v.img, err = drawFrame(v.img, b)
	must(v.t, err)
	if v.img != was && !key {
		v.t.Error("a frame of another size is no keyframe")
	}
	v.frames++
	if key {
		v.keys++
		if n := binary.LittleEndian.Uint16(b[9:]); n != 1 || !bytes.Equal(b[5:9], b[15:19]) {
			v.t.Errorf("a keyframe has %d rectangles", n)
		}
	}
	v.p = pixels(v.img)
}

// pixels are those of an image.
func pixels(img *image.RGBA) screen.Picture {
	p := screen.NewPicture(img.Rect.Dx(), img.Rect.Dy())
	for i := range p.Pix {
		p.Pix[i] = uint32(img.Pix[4*i])<<16 | uint32(img.Pix[4*i+1])<<8 | uint32(img.Pix[4*i+2])
	}
	return p
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

// What Watch reads to its end is the screen as it was last.
func TestWhoWatchesToTheEndHasTheLastPicture(t *testing.T) {
	root := newRoot(t)
	u := newUser(t, 7, creates(t, root))
	r, out := io.Pipe()
	done := make(chan error, 1)
	go func() { done <- View(t.Context(), root, Name, out); out.Close() }()
	acted := make(chan error, 1)
	go func() {
		for range 30 {
			if err := u.act(); err != nil {
				acted <- err
				return
			}
		}
		acted <- u.close("client-left")
	}()
	var last *image.RGBA
	why, err := Watch(r, func(p *image.RGBA) error { last = p; return nil })
	must(t, err)
	must(t, <-done)
	must(t, <-acted)
	want := screen.NewPicture(header.Width, header.Height)
	u.s.Frame(want, true)
	if why != "client-left" || !slices.Equal(pixels(last).Pix, want.Pix) {
		t.Errorf("%q, and another picture than the last", why)
	}
	for cut, text := range map[string]string{"": "f\x03\x00\x00\x00abc", "cut": "f\x00\x00", "huge": "f\xff\xff\xff\xff"} {
		if _, err := Watch(strings.NewReader(text), func(*image.RGBA) error { return nil }); err == nil {
			t.Errorf("%s: %q is a live view", cut, text)
		}
	}
}

// Whatever somebody at the gate's address sends, it is a picture or an error.
func FuzzWatch(f *testing.F) {
	p := screen.NewPicture(4, 4)
	rect, err := appendRect([]byte{0, 0, 0, 0, 1, 4, 0, 4, 0, 1, 0}, p, image.Rect(0, 0, 4, 4))
	must(f, err)
	for _, frame := range [][]byte{rect, rect[:20], nil} {
		var b bytes.Buffer
		must(f, message(&b, viewHeader, []byte("{}")))
		must(f, message(&b, viewFrame, frame))
		must(f, message(&b, viewEnd, []byte("over")))
		f.Add(b.Bytes())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		Watch(bytes.NewReader(b), func(p *image.RGBA) error {
			if len(p.Pix) > 1<<20 {
				return errView // large ones only take their time
			}
			return nil
		})
	})
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
