package screen

import (
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"slices"
)

// Pointer updates by their fast-path code, MS-RDPBCGR 2.2.9.1.2.1. A slow-path
// pointer update (2.2.9.1.1.4) has the same contents under other numbers.
const (
	PointerHidden   = 0x5
	PointerDefault  = 0x6
	PointerPosition = 0x8
	PointerColor    = 0x9
	PointerCached   = 0xa
	PointerNew      = 0xb
	PointerLarge    = 0xc
)

// Bounds of what a server may make the gate keep: 96 is the largest pointer
// of an update that is not a large one, which goes up to 384 (2.2.7.2.7).
const (
	maxPointer    = 384
	maxShapes     = 256
	maxShapeBytes = 32 << 20 // with their pixels, which may be 32 times the data
)

var errPointer = errors.New("pointer update: it ends in the middle")

// A shape is what a pointer looks like.
type shape struct {
	w, h int
	hot  image.Point
	pix  []uint32 // 0xAARRGGBB; inverts is no colour
	code byte     // the update that made it, for a keyframe
	data []byte
}

// inverts marks a pixel that shows what is beneath with its colours inverted.
const inverts = 0x00ffffff

// shapes is the client's pointer cache.
type shapes struct {
	of    map[int]*shape
	bytes int
}

func (c *shapes) put(i int, s *shape) error {
	if i >= maxShapes {
		return fmt.Errorf("pointer update: the cache has no place %d", i)
	}
	bytes := c.bytes + s.bytes()
	if old := c.of[i]; old != nil {
		bytes -= old.bytes()
	}
	if bytes > maxShapeBytes {
		return errors.New("pointer update: the cache is full")
	}
	if c.of == nil {
		c.of = make(map[int]*shape)
	}
	c.of[i] = s
	c.bytes = bytes
	return nil
}

func (sh *shape) bytes() int { return len(sh.data) + 4*len(sh.pix) }

// Pointer carries out a pointer update.
func (s *Screen) Pointer(code byte, p []byte) error {
	switch code {
	case PointerHidden:
		s.setPointer(nil, -1)
	case PointerDefault:
		s.setPointer(arrow, -1)
	case PointerPosition:
		if len(p) < 4 {
			return errPointer
		}
		s.MovePointer(int(binary.LittleEndian.Uint16(p)), int(binary.LittleEndian.Uint16(p[2:])))
	case PointerCached:
		if len(p) < 2 {
			return errPointer
		}
		i := int(binary.LittleEndian.Uint16(p))
		if s.shapes.of[i] == nil {
			return fmt.Errorf("pointer update: place %d of the cache is empty", i)
		}
		s.setPointer(s.shapes.of[i], i)
	case PointerColor, PointerNew, PointerLarge:
		sh, i, err := parseShape(code, p, (*[256]uint32)(&s.decoder.Palette))
		if err != nil {
			return err
		}
		if err := s.shapes.put(i, sh); err != nil {
			return err
		}
		s.setPointer(sh, i)
	default:
		return fmt.Errorf("pointer update: there is no kind %#x", code)
	}
	return nil
}

// MovePointer says where the pointer is: as the client said, or the server.
func (s *Screen) MovePointer(x, y int) {
	s.touchPointer()
	s.at = image.Pt(x, y)
	s.touchPointer()
}

func (s *Screen) setPointer(sh *shape, i int) {
	s.touchPointer()
	s.pointer, s.current = sh, i
	s.touchPointer()
}

func (s *Screen) touchPointer() {
	if p := s.pointer; p != nil {
		corner := s.at.Sub(p.hot)
		s.touch(image.Rectangle{Min: corner, Max: corner.Add(image.Pt(p.w, p.h))})
	}
}

// draw draws the pointer with its hot spot at at.
func (sh *shape) draw(dst Picture, at image.Point) {
	corner := at.Sub(sh.hot)
	r := image.Rectangle{Min: corner, Max: corner.Add(image.Pt(sh.w, sh.h))}.Intersect(dst.bounds())
	for y := r.Min.Y; y < r.Max.Y; y++ {
		for x := r.Min.X; x < r.Max.X; x++ {
			v, under := sh.pix[(y-corner.Y)*sh.w+x-corner.X], &dst.Pix[y*dst.W+x]
			switch a := v >> 24; {
			case v == inverts:
				*under ^= 0xffffff
			case a == 255:
				*under = v & 0xffffff
			case a > 0:
				*under = blend(*under, v, a)
			}
		}
	}
}

func blend(under, over, a uint32) uint32 {
	mix := func(shift int) uint32 {
		return ((over>>shift&0xff)*a + (under>>shift&0xff)*(255-a)) / 255 << shift
	}
	return mix(16) | mix(8) | mix(0)
}

// parseShape reads TS_COLORPOINTERATTRIBUTE, TS_POINTERATTRIBUTE or
// TS_FP_LARGEPOINTERATTRIBUTE, and its place in the cache.
func parseShape(code byte, p []byte, palette *[256]uint32) (*shape, int, error) {
	whole := slices.Clone(p)
	take := func(n int) int {
		if len(p) < n {
			p = nil
			return -1
		}
		v := 0
		for i := range n {
			v |= int(p[i]) << (8 * i)
		}
		p = p[n:]
		return v
	}
	depth, length := 24, 2
	if code != PointerColor {
		depth = take(2)
	}
	if code == PointerLarge {
		length = 4
	}
	place := take(2)
	sh := &shape{hot: image.Pt(take(2), 0), code: code, data: whole}
	sh.hot.Y, sh.w, sh.h = take(2), take(2), take(2)
	andLength, xorLength := take(length), take(length)
	switch {
	case xorLength < 0 || andLength < 0 || andLength > len(p) || xorLength > len(p)-andLength:
		return nil, 0, errPointer
	case sh.w > maxPointer || sh.h > maxPointer:
		return nil, 0, fmt.Errorf("pointer update: %d × %d is too large", sh.w, sh.h)
	}
	xorStride, andStride := (sh.w*depth+15)/16*2, (sh.w+15)/16*2
	if depth != 1 && depth != 8 && depth != 16 && depth != 24 && depth != 32 {
		return nil, 0, fmt.Errorf("pointer update: there are no pointers of %d bits a pixel", depth)
	}
	if xorLength < xorStride*sh.h || andLength > 0 && andLength < andStride*sh.h {
		return nil, 0, errPointer
	}
	xor, and := p[:xorLength], p[xorLength:][:andLength]
	sh.pix = make([]uint32, sh.w*sh.h)
	translucent := depth == 32 && hasAlpha(xor)
	for y := range sh.h {
		row := xor[(sh.h-1-y)*xorStride:]
		for x := range sh.w {
			masked := andLength > 0 && and[(sh.h-1-y)*andStride+x/8]>>(7-x%8)&1 != 0
			sh.pix[y*sh.w+x] = pointerPixel(row, x, depth, masked, translucent, palette)
		}
	}
	return sh, place, nil
}

// hasAlpha says whether a pointer of 32 bits uses the fourth byte.
func hasAlpha(xor []byte) bool {
	for i := 3; i < len(xor); i += 4 {
		if xor[i] != 0 {
			return true
		}
	}
	return false
}

func pointerPixel(row []byte, x, depth int, masked, translucent bool, palette *[256]uint32) uint32 {
	var v uint32
	switch depth {
	case 1:
		if row[x/8]>>(7-x%8)&1 != 0 {
			v = 0xffffff
		}
	case 8:
		v = palette[row[x]]
	case 16:
		w := uint32(row[2*x]) | uint32(row[2*x+1])<<8
		r, g, b := w>>11&0x1f, w>>5&0x3f, w&0x1f
		v = (r<<3|r>>2)<<16 | (g<<2|g>>4)<<8 | b<<3 | b>>2
	case 24:
		v = uint32(row[3*x]) | uint32(row[3*x+1])<<8 | uint32(row[3*x+2])<<16
	case 32:
		v = binary.LittleEndian.Uint32(row[4*x:])
		if translucent {
			if v>>24 == 0 {
				return 0
			}
			return v
		}
		v &= 0xffffff
	}
	switch {
	case !masked:
		return v | 0xff000000
	case v == 0:
		return 0
	}
	return inverts
}

// arrow is the system's pointer, drawn here: nobody sends it.
var arrow = drawArrow()

func drawArrow() *shape {
	sh := &shape{w: 12, h: 18}
	sh.pix = make([]uint32, sh.w*sh.h)
	for y := range 17 {
		for x := 0; x <= min(y, 16-y+6) && x < 11; x++ {
			edge := x == 0 || x == y || y == 16 || x == min(y, 22-y)
			v := uint32(0xffffffff)
			if edge {
				v = 0xff000000
			}
			if y < 12 || x > 2 && x < 8 || x <= 14-y {
				sh.pix[y*sh.w+x] = v
			}
		}
	}
	return sh
}
