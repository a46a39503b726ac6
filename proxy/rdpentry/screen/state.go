package screen

import (
	"encoding/binary"
	"errors"
	"slices"

	"github.com/pawelmojski/inside/proxy/rdpentry/codec"
)

// The state of a screen, for a keyframe: little endian, sizes before what they
// count, the pixels last and three bytes each.

// AppendState appends all that SetState needs to make the same screen.
func (s *Screen) AppendState(dst []byte) []byte {
	u16 := func(v int) { dst = binary.LittleEndian.AppendUint16(dst, uint16(v)) }
	u16(s.picture.W)
	u16(s.picture.H)
	for _, v := range s.decoder.Palette {
		dst = append(dst, byte(v>>16), byte(v>>8), byte(v))
	}
	u16(s.at.X)
	u16(s.at.Y)
	u16(len(s.shapes.of))
	for _, i := range places(s.shapes.of) {
		sh := s.shapes.of[i]
		u16(i)
		dst = append(dst, sh.code)
		dst = binary.LittleEndian.AppendUint32(dst, uint32(len(sh.data)))
		dst = append(dst, sh.data...)
	}
	switch {
	case s.pointer == nil:
		dst = append(dst, PointerHidden)
	case s.current < 0:
		dst = append(dst, PointerDefault)
	default:
		dst = append(dst, PointerCached)
		u16(s.current)
	}
	notice := s.notice[:min(len(s.notice), 65535)]
	u16(len(notice))
	dst = append(dst, notice...)
	at := len(dst)
	dst = slices.Grow(dst, 3*len(s.picture.Pix))[:at+3*len(s.picture.Pix)]
	out := dst[at:]
	for i, v := range s.picture.Pix {
		o := out[3*i : 3*i+3]
		o[0], o[1], o[2] = byte(v), byte(v>>8), byte(v>>16)
	}
	return dst
}

func places(of map[int]*shape) []int {
	var is []int
	for i := range of {
		is = append(is, i)
	}
	slices.Sort(is)
	return is
}

var errState = errors.New("screen: this is not the state of one")

// SetState makes the screen what AppendState saw. After an error it is not to
// be used.
func (s *Screen) SetState(p []byte) error {
	r := stateReader{rest: p, ok: true}
	w, h := r.number(2), r.number(2)
	if !r.ok || CheckSize(w, h) != nil || len(p) < 3*w*h {
		return errState
	}
	old := s.Bounds()
	if old.Dx() != w || old.Dy() != h {
		if err := s.Resize(w, h); err != nil {
			return err
		}
	}
	colours := r.bytes(3 * len(codec.Palette{}))
	for i := range s.decoder.Palette {
		if r.ok {
			s.decoder.Palette[i] = uint32(colours[3*i])<<16 | uint32(colours[3*i+1])<<8 | uint32(colours[3*i+2])
		}
	}
	x, y := r.number(2), r.number(2)
	s.shapes = shapes{}
	for range r.number(2) {
		if !r.ok {
			break
		}
		place, code := r.number(2), byte(r.number(1))
		sh, _, err := parseShape(code, r.bytes(r.number(4)), (*[256]uint32)(&s.decoder.Palette))
		if err != nil || s.shapes.put(place, sh) != nil {
			return errState
		}
	}
	code := byte(r.number(1))
	place := []byte(nil)
	if code == PointerCached {
		place = r.bytes(2)
	}
	notice := string(r.bytes(r.number(2)))
	pixels := r.bytes(3 * w * h)
	if !r.ok || len(r.rest) > 0 || code != PointerHidden && code != PointerDefault && code != PointerCached {
		return errState
	}
	if err := s.Pointer(code, place); err != nil {
		return errState
	}
	s.MovePointer(x, y)
	s.SetNotice(notice)
	for i := range s.picture.Pix {
		v := pixels[3*i : 3*i+3]
		s.picture.Pix[i] = uint32(v[0]) | uint32(v[1])<<8 | uint32(v[2])<<16
	}
	s.touch(s.Bounds())
	return nil
}

// A stateReader reads until something is missing.
type stateReader struct {
	rest []byte
	ok   bool
}

func (r *stateReader) bytes(n int) []byte {
	if !r.ok || n < 0 || len(r.rest) < n {
		r.ok = false
		return nil
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

func (r *stateReader) number(n int) (v int) {
	for i, b := range r.bytes(n) {
		v |= int(b) << (8 * i)
	}
	return v
}
