package desktop

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/png"
	"io"
	"os"
	"sync"
	"time"

	"github.com/pawelmojski/inside/proxy/rdpentry/screen"
	"github.com/pawelmojski/inside/proxy/recording"
)

// The live view is a stream of messages. Each is its kind (a byte), the length
// of its contents (32 bits) and these; numbers are little endian.
//
//	h  the header of the recording, JSON: width, height, start, person, server, …
//	f  a frame: see below
//	p  nothing happened for 15 seconds
//	e  why the view ends, in words; the last message
//
// A frame is the time in the recording in milliseconds (32 bits), 1 if it is a
// keyframe and else 0 (8 bits), the width and height of the desktop (16 bits
// each), how many rectangles follow (16 bits), and these: left, top, width,
// height (16 bits each), the length of a PNG (32 bits) and the PNG, to be drawn
// there. The first frame is a keyframe, and so is one after which the desktop
// has another size. A keyframe has one rectangle, the whole desktop; pointer
// and notices are in the picture. There are at most ten frames a second; a
// viewer who takes longer for one gets what changed meanwhile in the next, and
// one who is far behind gets a keyframe.
const (
	viewHeader = 'h'
	viewFrame  = 'f'
	viewPulse  = 'p'
	viewEnd    = 'e'

	viewGap   = time.Second / 10
	viewIdle  = 15 * time.Second
	viewSlow  = time.Second // a frame that took so long is followed by a keyframe
	mostRects = 64
)

// View writes the live view of a recording to w until nobody writes it any
// more or ctx ends. It reads the file like any follower: however slow w is, the
// session does not wait for it.
func View(ctx context.Context, root *os.Root, name string, w io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	v := &view{news: make(chan struct{}, 1)}
	h, events, err := Follow(ctx, root, name, Newest, v.caughtUp)
	if err != nil {
		cancel()
		return err
	}
	if v.screen, err = screen.New(h.Width, h.Height); err != nil {
		cancel()
		return err
	}
	head, err := line(h)
	if err != nil {
		cancel()
		return err
	}
	if err := message(w, viewHeader, bytes.TrimSuffix(head, []byte{'\n'})); err != nil {
		cancel()
		return err
	}
	var following sync.WaitGroup
	defer following.Wait()
	defer cancel()
	following.Go(func() {
		defer func() {
			if p := recover(); p != nil {
				v.finish(fmt.Errorf("recording %s: %v", name, p))
			}
		}()
		v.finish(v.follow(events))
	})
	return v.send(ctx, w)
}

// A view is what one viewer is shown.
type view struct {
	news chan struct{} // something changed

	mu     sync.Mutex
	screen *screen.Screen
	at     time.Duration
	ready  bool // the past was read
	ended  bool
	why    string
	err    error

	last  image.Point // the desktop's size in the last frame
	frame screen.Picture
}

// follow draws what happens, at once.
func (v *view) follow(events func(func(Event, error) bool)) error {
	for e, err := range events {
		if err != nil {
			return err
		}
		v.mu.Lock()
		// A rectangle that does not decode is not shown; the person's client
		// could not show it either.
		_ = e.Apply(v.screen)
		v.at = e.Time
		if e.Kind == End {
			v.why = string(e.Data)
		}
		ready := v.ready && v.screen.Dirty()
		v.mu.Unlock()
		if ready {
			v.tell()
		}
	}
	return nil
}

func (v *view) caughtUp() {
	v.mu.Lock()
	first := !v.ready
	v.ready = true
	v.mu.Unlock()
	if first {
		v.tell()
	}
}

func (v *view) finish(err error) {
	v.mu.Lock()
	v.ready, v.ended, v.err = true, true, err
	v.mu.Unlock()
	v.tell()
}

func (v *view) tell() {
	select {
	case v.news <- struct{}{}:
	default:
	}
}

// send sends frames until the end.
func (v *view) send(ctx context.Context, w io.Writer) error {
	idle := time.NewTimer(viewIdle)
	defer idle.Stop()
	behind := true
	for {
		idle.Reset(viewIdle)
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-idle.C:
			if err := message(w, viewPulse, nil); err != nil {
				return err
			}
			continue
		case <-v.news:
		}
		began := time.Now()
		frame, ended, err := v.take(behind)
		if err != nil {
			return err
		}
		if frame != nil {
			if err := message(w, viewFrame, frame); err != nil {
				return err
			}
		}
		if ended {
			return v.sendEnd(w)
		}
		took := time.Since(began)
		behind = took > viewSlow
		if took < viewGap {
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-time.After(viewGap - took):
			}
		}
	}
}

func (v *view) sendEnd(w io.Writer) error {
	why, err := v.why, v.err
	switch {
	case errors.Is(err, recording.ErrTorn):
		why, err = "the recording breaks off", nil
	case err != nil:
		return err
	case why == "":
		why = "the recording breaks off"
	}
	return errors.Join(message(w, viewEnd, []byte(why)), err)
}

// take makes a frame of what has changed, nil if nothing has.
func (v *view) take(whole bool) (frame []byte, ended bool, err error) {
	v.mu.Lock()
	b := v.screen.Bounds()
	rects := v.screen.Changed()
	at, ended := v.at, v.ended
	if b.Max != v.last {
		v.last, whole = b.Max, true
		v.frame = screen.NewPicture(b.Dx(), b.Dy())
	}
	v.screen.Frame(v.frame, true)
	v.mu.Unlock()
	area := 0
	for _, r := range rects {
		area += r.Dx() * r.Dy()
	}
	if whole || area > b.Dx()*b.Dy()/2 || len(rects) > mostRects {
		rects, whole = []image.Rectangle{b}, true
	}
	if len(rects) == 0 {
		return nil, ended, nil
	}
	frame = binary.LittleEndian.AppendUint32(nil, uint32(at.Milliseconds()))
	key := byte(0)
	if whole {
		key = 1
	}
	frame = append(frame, key)
	for _, n := range []int{b.Dx(), b.Dy(), len(rects)} {
		frame = binary.LittleEndian.AppendUint16(frame, uint16(n))
	}
	for _, r := range rects {
		if frame, err = appendRect(frame, v.frame, r); err != nil {
			return nil, ended, err
		}
	}
	return frame, ended, nil
}

// appendRect appends a part of a picture as a PNG.
func appendRect(frame []byte, p screen.Picture, r image.Rectangle) ([]byte, error) {
	img := image.NewRGBA(image.Rect(0, 0, r.Dx(), r.Dy()))
	for y := range r.Dy() {
		row := p.Pix[(r.Min.Y+y)*p.W+r.Min.X:][:r.Dx()]
		out := img.Pix[y*img.Stride:]
		for x, c := range row {
			binary.LittleEndian.PutUint32(out[4*x:], c>>16&0xff|c&0xff00|c&0xff<<16|0xff000000)
		}
	}
	var b bytes.Buffer
	if err := pngs.Encode(&b, img); err != nil {
		return nil, err
	}
	for _, n := range []int{r.Min.X, r.Min.Y, r.Dx(), r.Dy()} {
		frame = binary.LittleEndian.AppendUint16(frame, uint16(n))
	}
	frame = binary.LittleEndian.AppendUint32(frame, uint32(b.Len()))
	return append(frame, b.Bytes()...), nil
}

var pngs = png.Encoder{CompressionLevel: png.BestSpeed, BufferPool: new(pngPool)}

// A pngPool keeps the memory of encoders.
type pngPool struct{ sync.Pool }

func (p *pngPool) Get() *png.EncoderBuffer { b, _ := p.Pool.Get().(*png.EncoderBuffer); return b }

func (p *pngPool) Put(b *png.EncoderBuffer) { p.Pool.Put(b) }

// message writes one message in one piece.
func message(w io.Writer, kind byte, contents []byte) error {
	b := make([]byte, 0, 5+len(contents))
	b = append(b, kind)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(contents)))
	_, err := w.Write(append(b, contents...))
	return err
}
