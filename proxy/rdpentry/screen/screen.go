// Package screen is the picture a desktop session shows: what a server's
// updates add up to, with pointer and palette, and what changed since somebody
// looked. It also draws what the gate itself shows: a notice over the desktop,
// or a page of its own before there is one. It knows no connection and no
// file: package rdpentry feeds it from the wire, package desktop from a
// recording, so that the two can be compared pixel by pixel.
package screen

import (
	"fmt"
	"image"

	"github.com/pawelmojski/inside/proxy/rdpentry/codec"
	"github.com/pawelmojski/inside/proxy/rdpentry/gfx"
)

// Largest screen that is let through: 8192 a side, and 128 MiB of pixels, as
// the picture of four monitors of 3840 by 2160 takes.
const (
	MaxSide   = 8192
	maxPixels = 1 << 25
)

// A Screen is the picture of one session. It is for one goroutine at a time.
type Screen struct {
	picture Picture
	decoder codec.Decoder

	shapes  shapes
	pointer *shape // nil: hidden
	current int    // its place in shapes; -1: none
	at      image.Point

	notice string
	label  Picture // the notice, drawn

	surfaces *gfx.Surfaces      // nil: the server has not used the graphics pipeline
	words    map[string]Picture // what stands for graphics of a kind that cannot be shown

	changed []image.Rectangle
}

// New makes a black screen with the system's pointer at its middle.
func New(w, h int) (*Screen, error) {
	s := &Screen{pointer: arrow, current: -1}
	if err := s.Resize(w, h); err != nil {
		return nil, err
	}
	s.at = image.Pt(w/2, h/2)
	return s, nil
}

// CheckSize says why there is no screen of this size, or nil.
func CheckSize(w, h int) error {
	if w < 1 || h < 1 || w > MaxSide || h > MaxSide || w*h > maxPixels {
		return fmt.Errorf("screen: %d × %d is not a size from 1 × 1 to %d × %d with at most %d million pixels", w, h, MaxSide, MaxSide, maxPixels>>20)
	}
	return nil
}

// Resize makes the screen another size, and black: the server draws all of it
// again. Pointers and palette stay.
func (s *Screen) Resize(w, h int) error {
	if err := CheckSize(w, h); err != nil {
		return err
	}
	if n := w * h; n <= cap(s.picture.Pix) && n >= cap(s.picture.Pix)/4 {
		// A server that does nothing but begin its desktop again makes no
		// garbage.
		s.picture = Picture{w, h, s.picture.Pix[:n]}
		clear(s.picture.Pix)
	} else {
		s.picture = NewPicture(w, h)
	}
	s.setLabel()
	s.changed = append(s.changed[:0], s.Bounds())
	return nil
}

// Bounds is the screen's size, from 0, 0 on.
func (s *Screen) Bounds() image.Rectangle { return image.Rect(0, 0, s.picture.W, s.picture.H) }

// Picture is what the server drew, without pointer and notice. It is the
// screen's own and changes with it.
func (s *Screen) Picture() Picture { return s.picture }

// SetPalette sets the colours of an 8 bit session for what is drawn from now
// on.
func (s *Screen) SetPalette(p codec.Palette) { s.decoder.Palette = p }

// Update draws a bitmap update: see [codec.ParseBitmaps]. After an error some
// of its rectangles may have been drawn.
func (s *Screen) Update(p []byte) error {
	bitmaps, err := codec.ParseBitmaps(p)
	if err != nil {
		return err
	}
	for _, b := range bitmaps {
		if err := s.Draw(b); err != nil {
			return err
		}
	}
	return nil
}

// Draw draws one rectangle. What lies outside the screen is not drawn.
func (s *Screen) Draw(b codec.Bitmap) error {
	pix, err := s.decoder.Decode(b)
	if err != nil {
		return err
	}
	r := image.Rect(int(b.Left), int(b.Top), int(b.Right)+1, int(b.Bottom)+1)
	r = r.Intersect(image.Rect(r.Min.X, r.Min.Y, r.Min.X+int(b.Width), r.Min.Y+int(b.Height)))
	shown := r.Intersect(s.Bounds())
	s.picture.copy(shown, pix, int(b.Width), shown.Min.Sub(r.Min))
	s.touch(shown)
	return nil
}

// mostChanged is how many rectangles are kept apart.
const mostChanged = 32

// touch notes that the picture changed within r.
func (s *Screen) touch(r image.Rectangle) {
	if r = r.Intersect(s.Bounds()); r.Empty() {
		return
	}
	kept := s.changed[:0]
	for _, old := range s.changed {
		switch {
		case r.In(old):
			return // no smaller one was left out: it would lie within old
		case old.In(r):
			continue
		}
		kept = append(kept, old)
	}
	s.changed = append(kept, r)
	if len(s.changed) > mostChanged {
		all := image.Rectangle{}
		for _, c := range s.changed {
			all = all.Union(c)
		}
		s.changed = append(s.changed[:0], all)
	}
}

// Changed returns where the screen, with pointer and notice, differs from what
// it was at the last call. The rectangles lie within the screen and may
// overlap.
func (s *Screen) Changed() []image.Rectangle {
	c := s.changed
	s.changed = nil
	return c
}

// Dirty says whether Changed would return anything.
func (s *Screen) Dirty() bool { return len(s.changed) > 0 }

// Frame writes the screen with the notice and, if wanted, the pointer over it
// to dst, which must be as large.
func (s *Screen) Frame(dst Picture, pointer bool) {
	copy(dst.Pix, s.picture.Pix)
	if s.notice != "" {
		at := labelAt(s.label, s.picture.W)
		dst.copy(at.Intersect(s.Bounds()), s.label.Pix, s.label.W, image.Point{})
	}
	if pointer && s.pointer != nil {
		s.pointer.draw(dst, s.at)
	}
}

// SetNotice shows a line over the screen; "" takes it away.
func (s *Screen) SetNotice(text string) {
	if text == s.notice {
		return
	}
	s.touch(labelAt(s.label, s.picture.W))
	s.notice = text
	s.setLabel()
	s.touch(labelAt(s.label, s.picture.W))
}

func (s *Screen) setLabel() {
	s.label = Picture{}
	if s.notice != "" {
		s.label = Label(s.notice, s.picture.W)
	}
}

// labelAt is where a label stands on a screen of a width: at the top, in the
// middle.
func labelAt(label Picture, width int) image.Rectangle {
	left := max((width-label.W)/2, 0)
	return image.Rect(left, 0, left+label.W, label.H)
}
