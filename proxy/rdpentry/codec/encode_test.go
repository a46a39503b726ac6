package codec

import (
	"encoding/binary"
	"math/rand/v2"
)

// An encoder writes interleaved run length coding as no server would: at each
// pixel it takes any order that could stand there, at a length that nobody
// chose. What it makes covers the orders in all their forms.
type encoder struct {
	r      *rand.Rand
	pix    []uint32 // bottom row first, as the wire has it
	w      int
	depth  uint16
	out    []byte
	fg     uint32
	insert bool
	first  bool
}

// encodeInterleaved encodes top-down pixels in wire colours.
func encodeInterleaved(r *rand.Rand, top []uint32, w, h int, depth uint16) []byte {
	e := &encoder{r: r, pix: flipped(top, w, h), w: w, depth: depth, fg: 1<<depth - 1, first: true}
	for at := 0; at < len(e.pix); {
		if e.first && at >= w {
			e.first, e.insert = false, false
		}
		at += e.order(at)
	}
	return e.out
}

func flipped(top []uint32, w, h int) []uint32 {
	out := make([]uint32, 0, len(top))
	for y := h - 1; y >= 0; y-- {
		out = append(out, top[y*w:][:w]...)
	}
	return out
}

// limit is how far an order may reach from at: not over the end of the first
// row, where its meaning changes.
func (e *encoder) limit(at int) int {
	if e.first {
		return e.w - at
	}
	return len(e.pix) - at
}

func (e *encoder) below(at int) uint32 {
	if e.first {
		return 0
	}
	return e.pix[at-e.w]
}

func (e *encoder) all() uint32 { return 1<<e.depth - 1 }

// while counts pixels from at on that ok holds for.
func (e *encoder) while(at, limit int, ok func(i int) bool) (n int) {
	for n < limit && ok(at+n) {
		n++
	}
	return n
}

func (e *encoder) order(at int) int {
	insert := e.insert
	for {
		switch e.r.IntN(12) {
		case 0: // background
			start, n := at, 0
			if insert {
				if e.pix[at] != e.below(at)^e.fg {
					continue
				}
				start++
			}
			n = e.while(start, e.limit(start), func(i int) bool { return e.pix[i] == e.below(i) })
			if n += start - at; n == 0 {
				continue
			}
			n = e.shorten(n)
			e.run(0x0, 0xf0, n, 31, 32)
			e.insert = true
			return n
		case 1, 2: // foreground
			set := e.r.IntN(2) == 0
			fg := e.fg
			if set {
				fg = e.pix[at] ^ e.below(at)
			}
			n := e.while(at, e.limit(at), func(i int) bool { return e.pix[i] == e.below(i)^fg })
			if n == 0 {
				continue
			}
			n = e.shorten(n)
			if set {
				e.run(0xc0, 0xf6, n, 15, 16)
				e.pixel(fg)
				e.fg = fg
			} else {
				e.run(0x20, 0xf1, n, 31, 32)
			}
			return e.done(n)
		case 3, 4: // foreground and background by a mask
			set := e.r.IntN(2) == 0
			fg := e.fg
			if set {
				fg = e.pix[at] ^ e.below(at)
			}
			n := e.while(at, e.limit(at), func(i int) bool { v := e.pix[i] ^ e.below(i); return v == 0 || v == fg })
			if n == 0 {
				continue
			}
			if n = e.shorten(n); n > 256 {
				n = 256
			}
			code, mega, short := byte(0x40), byte(0xf2), 31
			if set {
				code, mega, short = 0xd0, 0xf7, 15
			}
			switch {
			case n%8 == 0 && n/8 <= short && e.r.IntN(2) == 0:
				e.out = append(e.out, code|byte(n/8))
			case e.r.IntN(2) == 0:
				e.out = append(e.out, code, byte(n-1))
			default:
				e.out = binary.LittleEndian.AppendUint16(append(e.out, mega), uint16(n))
			}
			if set {
				e.pixel(fg)
				e.fg = fg
			}
			for i := 0; i < n; i += 8 {
				e.out = append(e.out, e.mask(at+i, min(8, n-i)))
			}
			return e.done(n)
		case 5, 6: // one colour
			n := e.while(at, e.limit(at), func(i int) bool { return e.pix[i] == e.pix[at] })
			n = e.shorten(n)
			e.run(0x60, 0xf3, n, 31, 32)
			e.pixel(e.pix[at])
			return e.done(n)
		case 7: // as they are
			n := e.shorten(e.limit(at))
			e.run(0x80, 0xf4, n, 31, 32)
			for _, v := range e.pix[at : at+n] {
				e.pixel(v)
			}
			return e.done(n)
		case 8: // two colours in turn
			if e.limit(at) < 2 {
				continue
			}
			a, b := e.pix[at], e.pix[at+1]
			n := e.while(at, e.limit(at), func(i int) bool { return e.pix[i] == a && (i-at)%2 == 0 || e.pix[i] == b && (i-at)%2 == 1 }) / 2
			n = e.shorten(n)
			e.run(0xe0, 0xf8, n, 15, 16)
			e.pixel(a)
			e.pixel(b)
			return e.done(2 * n)
		case 9: // white and black
			switch e.pix[at] {
			case e.all():
				e.out = append(e.out, 0xfd)
			case 0:
				e.out = append(e.out, 0xfe)
			default:
				continue
			}
			return e.done(1)
		case 10, 11: // eight pixels by a mask that has an order of its own
			if e.limit(at) < 8 || e.while(at, 8, func(i int) bool { v := e.pix[i] ^ e.below(i); return v == 0 || v == e.fg }) < 8 {
				continue
			}
			switch e.mask(at, 8) {
			case 0x03:
				e.out = append(e.out, 0xf9)
			case 0x05:
				e.out = append(e.out, 0xfa)
			default:
				continue
			}
			return e.done(8)
		}
	}
}

func (e *encoder) done(n int) int {
	e.insert = false
	return n
}

func (e *encoder) shorten(n int) int {
	n = min(n, 65535)
	if e.r.IntN(3) == 0 {
		return 1 + e.r.IntN(n)
	}
	return n
}

// run writes an order and a length in one of the forms that hold it.
func (e *encoder) run(code, mega byte, n, short, lite int) {
	switch {
	case n <= short && e.r.IntN(3) > 0:
		e.out = append(e.out, code|byte(n))
	case n >= lite && n < lite+256 && e.r.IntN(3) > 0:
		e.out = append(e.out, code, byte(n-lite))
	default:
		e.out = binary.LittleEndian.AppendUint16(append(e.out, mega), uint16(n))
	}
}

func (e *encoder) pixel(v uint32) {
	for range bytesPerPixel(e.depth) {
		e.out = append(e.out, byte(v))
		v >>= 8
	}
}

func (e *encoder) mask(at, n int) (bits byte) {
	for i := range n {
		if e.pix[at+i] != e.below(at+i) {
			bits |= 1 << i
		}
	}
	return bits
}

// encodePlanar encodes top-down colours with planar coding.
func encodePlanar(r *rand.Rand, top []uint32, w, h int, alpha, rle bool) []byte {
	pix := flipped(top, w, h)
	head := byte(0)
	if !alpha {
		head |= planarNoAlpha
	}
	if rle {
		head |= planarRLE
	}
	out := []byte{head}
	for _, shift := range []int{24, 16, 8, 0} {
		if shift == 24 && !alpha {
			continue
		}
		plane := make([]byte, len(pix))
		for i, v := range pix {
			plane[i] = byte(v >> shift)
			if shift == 24 {
				plane[i] = byte(i) // nobody looks at it
			}
		}
		if !rle {
			out = append(out, plane...)
			continue
		}
		for y := range h {
			row := make([]byte, w)
			for x := range row {
				row[x] = plane[y*w+x]
				if y > 0 {
					d := row[x] - plane[(y-1)*w+x]
					if d < 0x80 {
						row[x] = d << 1
					} else {
						row[x] = ^d<<1 | 1
					}
				}
			}
			out = appendRow(r, out, row)
		}
	}
	if !rle && r.IntN(2) == 0 {
		out = append(out, 0)
	}
	return out
}

func appendRow(r *rand.Rand, out, row []byte) []byte {
	last := byte(0)
	for x := 0; x < len(row); {
		run := 0
		for x+run < len(row) && row[x+run] == last {
			run++
		}
		if run >= 16 && r.IntN(3) > 0 {
			n := min(run, 47)
			if n < 32 {
				out = append(out, byte(n-16)<<4|1)
			} else {
				out = append(out, byte(n-32)<<4|2)
			}
			x += n
			continue
		}
		raw := min(1+r.IntN(15), len(row)-x)
		same := 0
		for x+raw+same < len(row) && same < 15 && row[x+raw+same] == row[x+raw-1] {
			same++
		}
		if same < 3 {
			same = 0
		}
		out = append(append(out, byte(raw)<<4|byte(same)), row[x:x+raw]...)
		last = row[x+raw-1]
		x += raw + same
	}
	return out
}

// picture makes top-down pixels in wire colours that look a little like a
// screen: flat, striped, repeated from below, and noise.
func picture(r *rand.Rand, w, h int, depth uint16) []uint32 {
	mask := uint32(1)<<min(depth, 24) - 1
	colours := []uint32{0, mask, r.Uint32() & mask, r.Uint32() & mask}
	pix := make([]uint32, w*h)
	for i := 0; i < len(pix); {
		n := min(1+r.IntN(1+r.IntN(3*w)), len(pix)-i)
		a, b := colours[r.IntN(4)], colours[r.IntN(4)]
		kind := r.IntN(4)
		for j := i; j < i+n; j++ {
			switch {
			case kind == 0:
				pix[j] = a
			case kind == 1 && j%2 == 0:
				pix[j] = b
			case kind == 2 && j >= w:
				pix[j] = pix[j-w]
			case kind == 3:
				pix[j] = r.Uint32() & mask
			default:
				pix[j] = a
			}
		}
		i += n
	}
	return pix
}
