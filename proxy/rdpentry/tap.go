package rdpentry

import (
	"errors"
	"fmt"
	"image"
	"sync/atomic"
	"time"

	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/proxy/rdpentry/bulk"
	"github.com/pawelmojski/inside/proxy/rdpentry/codec"
	"github.com/pawelmojski/inside/proxy/rdpentry/screen"
	"github.com/pawelmojski/inside/proxy/rdpentry/wire"
	"github.com/pawelmojski/inside/proxy/recording"
	"github.com/pawelmojski/inside/proxy/recording/desktop"
)

// errUnrecordable ends a session whose server draws in a way it was not
// offered: the person would see what nobody could ever show again.
var errUnrecordable = errors.New("the server draws what cannot be recorded")

// A desktopTap is what the server draws, on its way to the recording and to a
// picture of the gate's own, from which notices are taken away again. All but
// begun and at is for whoever holds flow.showing.
type desktopTap struct {
	begun atomic.Bool   // the server has told what it can do
	at    atomic.Uint32 // where the person has the pointer

	writer   *desktop.Writer
	screen   *screen.Screen
	depth    int
	bulk     bulk.Decompressor
	whole    []byte // the fragments of an update so far
	fragment bool   // and more are to come
	work     work

	label   screen.Picture  // the notice that stands over the desktop
	covered image.Rectangle // where
	stale   bool            // it must be drawn again, or what was under it
	fresh   bool            // it is another, or stands elsewhere, than when it was drawn
	under   image.Rectangle // what must be drawn again from the picture
}

// openDesktop opens the recording.
func (f *flow) openDesktop() error {
	width, height, _ := f.page()
	pic, err := screen.New(width, height)
	if err != nil {
		return err
	}
	w, err := f.visit.RecordDesktop(recording.Header{Width: width, Height: height})
	if err != nil {
		return err
	}
	f.desktop = &desktopTap{writer: w, screen: pic, depth: 24}
	return nil
}

// close ends the recording, with the reason in it.
func (t *desktopTap) close(why error) error { return t.writer.Close(why.Error()) }

// begin takes the desktop's size and depth from what the server says it can
// do. It comes again when the desktop changes.
func (t *desktopTap) begin(a wire.Active) error {
	width, height, depth, ok := a.Desktop()
	if !ok {
		return fmt.Errorf("%w: a desktop without a size", wire.ErrMalformed)
	}
	if !codec.IsDepth(depth) { // notices are drawn with it
		return fmt.Errorf("%w: a desktop of %d bits a pixel", wire.ErrMalformed, depth)
	}
	if err := t.screen.Resize(width, height); err != nil {
		return fmt.Errorf("%w: %w", wire.ErrMalformed, err)
	}
	t.depth, t.fragment, t.whole, t.under = depth, false, nil, nowhere
	t.place()
	t.begun.Store(true)
	return recorded(t.writer.Resize(uint16(width), uint16(height)))
}

// fast records the updates of a fast-path PDU.
func (t *desktopTap) fast(body []byte) error {
	for len(body) > 0 {
		u, rest, err := wire.NextUpdate(body)
		if err != nil {
			return err
		}
		body = rest
		data, err := t.bulk.Decompress(u.Compressed, u.Data)
		if err != nil {
			return fmt.Errorf("%w: %w", wire.ErrMalformed, err)
		}
		if data, err = t.join(u.Part, data); err != nil {
			return err
		}
		if t.fragment {
			continue
		}
		if err := t.update(u.Kind, data); err != nil {
			return err
		}
	}
	return nil
}

// join puts the fragments of an update together.
func (t *desktopTap) join(part int, data []byte) ([]byte, error) {
	if starts := part == wire.Single || part == wire.First; starts == t.fragment || len(t.whole)+len(data) > maxUpdate {
		return nil, fmt.Errorf("%w: fragment %d of %d bytes after %d", wire.ErrMalformed, part, len(data), len(t.whole))
	}
	if part == wire.Single {
		return data, nil
	}
	if len(data) == 0 { // of these there could be any number
		return nil, fmt.Errorf("%w: an empty fragment", wire.ErrMalformed)
	}
	t.whole = append(t.whole, data...)
	t.fragment = part != wire.Last
	if t.fragment {
		return nil, nil
	}
	data, t.whole = t.whole, t.whole[:0]
	return data, nil
}

// slow undoes the compression of a share data PDU and records what it draws.
func (t *desktopTap) slow(d wire.Data) ([]byte, error) {
	data, err := t.bulk.Decompress(d.Compressed, d.Body)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", wire.ErrMalformed, err)
	}
	switch d.Kind {
	case wire.DataUpdate:
		kind, err := wire.UpdateKind(data)
		if err != nil {
			return nil, err
		}
		if kind == wire.UpdateOrders && len(data) >= 6 {
			return data, t.update(wire.FastOrders, data[4:])
		}
		return data, t.update(kind, data) // the other kinds have the same numbers
	case wire.DataPointer:
		kind, rest, err := wire.ParsePointer(data)
		if err != nil {
			return nil, err
		}
		code, ok := fastPointer(kind, rest)
		if !ok {
			return nil, fmt.Errorf("%w: pointer update %d", wire.ErrMalformed, kind)
		}
		return data, t.update(code, rest)
	}
	return data, nil
}

// fastPointer is the fast-path code of a slow-path pointer update.
func fastPointer(kind int, rest []byte) (code int, ok bool) {
	switch kind {
	case wire.PointerSystem:
		if len(rest) >= 4 && le.Uint32(rest) == wire.PointerHidden {
			return wire.FastPointerHidden, true
		}
		return wire.FastPointerArrow, true
	case wire.PointerMoved:
		return wire.FastPointerMoved, true
	case wire.PointerColor:
		return wire.FastPointerColor, true
	case wire.PointerCached:
		return wire.FastPointerCached, true
	case wire.PointerNew:
		return wire.FastPointerNew, true
	case wire.PointerLarge:
		return wire.FastPointerLarge, true
	}
	return 0, false
}

// update records a whole update and draws it into the picture.
func (t *desktopTap) update(kind int, data []byte) error {
	switch kind {
	case wire.FastBitmap:
		bitmaps, err := codec.ParseBitmaps(data)
		if err != nil {
			return fmt.Errorf("%w: %w", wire.ErrMalformed, err)
		}
		if err := t.affordable(bitmaps); err != nil {
			return err
		}
		began := time.Now()
		defer func() { t.work.done(time.Since(began)) }()
		for _, b := range bitmaps {
			if err := t.screen.Draw(b); err != nil {
				return fmt.Errorf("%w: %w", errUnrecordable, err)
			}
			t.touch(image.Rect(int(b.Left), int(b.Top), int(b.Right)+1, int(b.Bottom)+1))
		}
		return recorded(t.writer.Update(data))
	case wire.FastPalette:
		palette, err := codec.ParsePalette(data)
		if err != nil {
			return fmt.Errorf("%w: %w", wire.ErrMalformed, err)
		}
		t.screen.SetPalette(palette)
		return recorded(t.writer.Palette(palette))
	case wire.FastSynchronize:
		return nil
	case wire.FastOrders:
		if len(data) >= 2 && le.Uint16(data) == 0 {
			return nil
		}
	case wire.FastPointerHidden, wire.FastPointerArrow, wire.FastPointerMoved, wire.FastPointerColor,
		wire.FastPointerCached, wire.FastPointerNew, wire.FastPointerLarge:
		if err := t.screen.Pointer(byte(kind), data); err != nil {
			return fmt.Errorf("%w: %w", wire.ErrMalformed, err)
		}
		return recorded(t.writer.Pointer(byte(kind), data))
	}
	return fmt.Errorf("%w: an update of kind %d", errUnrecordable, kind)
}

// affordable bounds the work of one update: a hundred bytes of run lengths are
// two million pixels, and an update has room for thousands of such rectangles.
// Servers draw each pixel of the screen once, or twice where rectangles
// overlap.
func (t *desktopTap) affordable(bitmaps []codec.Bitmap) error {
	size := t.screen.Bounds().Size()
	left := 4*size.X*size.Y + codec.MaxPixels
	for _, b := range bitmaps {
		if left -= int(b.Width) * int(b.Height); left < 0 {
			return fmt.Errorf("%w: %d rectangles of more than four screens", wire.ErrMalformed, len(bitmaps))
		}
	}
	return nil
}

// moved records where the person has moved the pointer. The server only tells
// when it moves it itself.
func (t *desktopTap) moved(x, y uint16) error {
	t.at.Store(uint32(x)<<16 | uint32(y))
	return recorded(t.writer.Move(x, y))
}

// keyframe records the whole picture from time to time.
func (t *desktopTap) keyframe() error {
	if !t.writer.KeyframeDue() {
		return nil
	}
	began := time.Now()
	defer func() { t.work.done(time.Since(began)) }()
	at := t.at.Load()
	t.screen.MovePointer(int(at>>16), int(at&0xffff))
	return recorded(t.writer.Keyframe(t.screen))
}

// recorded makes of an error of the recording's the end it means.
func recorded(err error) error {
	if err != nil {
		return errors.Join(policy.RecordingFailed, err)
	}
	return nil
}

// setNotice changes the line that stands over the desktop; "" takes it away.
func (t *desktopTap) setNotice(text string) error {
	t.under = t.under.Union(t.covered)
	t.label, t.covered = screen.Picture{}, nowhere
	if text != "" {
		t.label = screen.Label(text, t.screen.Bounds().Dx())
	}
	t.place()
	t.screen.SetNotice(text)
	return recorded(t.writer.Notice(text))
}

// place puts the notice where it belongs on a desktop of this size.
func (t *desktopTap) place() {
	t.covered = nowhere
	if t.label.W > 0 {
		t.covered = screen.LabelAt(t.label, t.screen.Bounds().Dx()).Intersect(t.screen.Bounds())
	}
	t.stale, t.fresh = true, true
}

// touch notes that the server has drawn in a place.
func (t *desktopTap) touch(r image.Rectangle) {
	if r.Overlaps(t.covered) {
		t.stale = true
	}
}

// overlay is what must be drawn over the desktop now.
func (t *desktopTap) overlay() []codec.Bitmap {
	if t.fragment || !t.stale {
		return nil
	}
	t.stale, t.fresh = false, false
	var bitmaps []codec.Bitmap
	if !t.under.Empty() {
		bitmaps = t.screen.Picture().Bitmaps(t.under, t.under.Min, uint16(t.depth), maxBitmap)
		t.under = nowhere
	}
	if !t.covered.Empty() {
		part := image.Rectangle{Max: t.covered.Size()}
		bitmaps = append(bitmaps, t.label.Bitmaps(part, t.covered.Min, uint16(t.depth), maxBitmap)...)
	}
	return bitmaps
}
