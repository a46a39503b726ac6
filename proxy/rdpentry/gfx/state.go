package gfx

import (
	"image"
	"maps"
	"slices"
)

// AppendState appends what surfaces and cache hold, for those who begin to
// watch in the middle: little endian, what is counted after its number, three
// bytes a pixel.
func (s *Surfaces) AppendState(dst []byte) []byte {
	framed := 0
	if s.framed {
		framed = 1
	}
	dst = appendU16(dst, framed, len(s.of))
	for _, id := range slices.Sorted(maps.Keys(s.of)) {
		f := s.of[id]
		mapped := 0
		if f.mapped {
			mapped = 1
		}
		dst = appendU16(dst, int(id), mapped, f.at.X, f.at.Y)
		dst = f.appendTo(dst)
	}
	dst = le.AppendUint32(dst, uint32(len(s.cache)))
	for _, slot := range slices.Sorted(maps.Keys(s.cache)) {
		dst = s.cache[slot].appendTo(appendU16(dst, int(slot)))
	}
	return dst
}

func (t tile) appendTo(dst []byte) []byte {
	dst = appendU16(dst, t.w, t.h)
	at := len(dst)
	dst = slices.Grow(dst, 3*len(t.pix))[:at+3*len(t.pix)]
	for i, v := range t.pix {
		o := dst[at+3*i:][:3]
		o[0], o[1], o[2] = byte(v), byte(v>>8), byte(v>>16)
	}
	return dst
}

// SetState makes the surfaces what AppendState saw; the output is not drawn
// on. Streams of H.264 cannot be joined in the middle: they are shown in
// words.
func (s *Surfaces) SetState(b []byte) error {
	r := stateReader{b: b}
	*s = Surfaces{Output: s.Output, Video: s.Video, Hidden: s.Hidden, of: map[uint16]*surface{}}
	framed, n := r.u16(), r.u16()
	s.framed = framed != 0
	for range n {
		id, mapped, x, y := uint16(r.u16()), r.u16(), r.u16(), r.u16()
		t, err := r.tile()
		if err != nil {
			return err
		}
		s.remove(id)
		if s.pixels += t.w * t.h; s.pixels > mostPixels || len(s.of) >= mostSurfaces {
			return ErrTooMuch
		}
		f := &surface{tile: t, mapped: mapped != 0, at: image.Pt(x, y)}
		if s.framed {
			f.touch(f.bounds()) // what of it is on the output is not known
		}
		s.of[id] = f
		s.streams.create(id, t.w, t.h)
	}
	for range r.u16() | r.u16()<<16 {
		slot := uint16(r.u16())
		t, err := r.tile()
		if err != nil {
			return err
		}
		s.evict(slot)
		if err := s.store(slot, t); err != nil {
			return err
		}
	}
	if r.bad || len(r.b) > 0 {
		return errState
	}
	return nil
}

var errState = malformed("this is not the state of surfaces")

// A stateReader reads until something is missing, and zeros from there on.
type stateReader struct {
	b   []byte
	bad bool
}

func (r *stateReader) u16() int {
	if len(r.b) < 2 {
		r.b, r.bad = nil, true
		return 0
	}
	v := int(le.Uint16(r.b))
	r.b = r.b[2:]
	return v
}

// tile fails where there is nothing left: no tile has no pixels.
func (r *stateReader) tile() (tile, error) {
	w, h := r.u16(), r.u16()
	if w == 0 || h == 0 || w > mostSide || h > mostSide || len(r.b) < 3*w*h {
		return tile{}, errState
	}
	t := tile{w, h, make([]uint32, w*h)}
	for i := range t.pix {
		t.pix[i] = uint32(r.b[3*i]) | uint32(r.b[3*i+1])<<8 | uint32(r.b[3*i+2])<<16
	}
	r.b = r.b[3*w*h:]
	return t, nil
}
