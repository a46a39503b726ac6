package codec

// Orders of interleaved run length coding, MS-RDPBCGR 2.2.9.1.1.3.1.2.4. The
// regular ones have three bits for the order and five for the length, the
// lite ones four and four, the mega mega ones a length of 16 bits.
const (
	bgRun = iota
	fgRun
	fgbgImage
	colorRun
	colorImage
	setFgRun
	setFgbgImage
	ditheredRun
	special1
	special2
	white
	black
	noOrder
)

// order names what an order byte begins.
func order(b byte) int {
	switch b >> 5 {
	case 0, 1, 2, 3, 4:
		return int(b >> 5)
	}
	switch b >> 4 {
	case 0xc:
		return setFgRun
	case 0xd:
		return setFgbgImage
	case 0xe:
		return ditheredRun
	}
	switch b {
	case 0xf0, 0xf1, 0xf2, 0xf3, 0xf4:
		return int(b & 0xf)
	case 0xf6:
		return setFgRun
	case 0xf7:
		return setFgbgImage
	case 0xf8:
		return ditheredRun
	case 0xf9:
		return special1
	case 0xfa:
		return special2
	case 0xfd:
		return white
	case 0xfe:
		return black
	}
	return noOrder
}

// A source is the data of one bitmap.
type source struct {
	rest []byte
	size int // bytes of a pixel
}

// begin reads an order and how many pixels it stands for; pairs of pixels for
// a dithered run. ok is false where the data ends or no order begins.
func (s *source) begin() (what, length int, ok bool) {
	b := s.rest[0]
	s.rest = s.rest[1:]
	what = order(b)
	switch what {
	case noOrder:
		return what, 0, false
	case special1, special2:
		return what, 8, true
	case white, black:
		return what, 1, true
	}
	image := what == fgbgImage || what == setFgbgImage
	bits, lite := int(b&0x1f), 32
	switch {
	case b >= 0xf0:
		if len(s.rest) < 2 {
			return what, 0, false
		}
		length = int(s.rest[0]) | int(s.rest[1])<<8
		s.rest = s.rest[2:]
		return what, length, true
	case b >= 0xc0:
		bits, lite = int(b&0x0f), 16
	}
	if bits > 0 {
		if image {
			return what, bits * 8, true
		}
		return what, bits, true
	}
	if len(s.rest) == 0 {
		return what, 0, false
	}
	length = int(s.rest[0])
	s.rest = s.rest[1:]
	if image {
		return what, length + 1, true
	}
	return what, length + lite, true
}

func (s *source) pixel() (uint32, bool) {
	if len(s.rest) < s.size {
		return 0, false
	}
	v := read(s.rest, s.size)
	s.rest = s.rest[s.size:]
	return v, true
}

func (s *source) byte() (byte, bool) {
	if len(s.rest) == 0 {
		return 0, false
	}
	b := s.rest[0]
	s.rest = s.rest[1:]
	return b, true
}

// A canvas is filled pixel by pixel from the bottom row on.
type canvas struct {
	out []uint32
	at  int
	w   int
	fg  uint32
}

// room gives the next n pixels and what stands below them: nil in the first
// row. A run that begins in the first row counts as there to its end, as in
// the pseudo code of the document.
func (c *canvas) room(n int, first bool) (out, below []uint32, ok bool) {
	if n > len(c.out)-c.at {
		return nil, nil, false
	}
	out = c.out[c.at : c.at+n]
	if !first {
		below = c.out[c.at-c.w : c.at-c.w+n]
	}
	c.at += n
	return out, below, true
}

// fill writes one colour n times.
func (c *canvas) fill(n int, v uint32) bool {
	out, _, ok := c.room(n, true)
	for i := range out {
		out[i] = v
	}
	return ok
}

// run writes n pixels of the background changed by v.
func (c *canvas) run(n int, v uint32, first bool) bool {
	out, below, ok := c.room(n, first)
	switch {
	case below == nil:
		for i := range out {
			out[i] = v
		}
	case v == 0 && n <= c.w:
		copy(out, below)
	default:
		for i := range out {
			out[i] = below[i] ^ v
		}
	}
	return ok
}

// mask writes up to eight pixels, foreground where a bit is set.
func (c *canvas) mask(n int, bits byte, first bool) bool {
	out, below, ok := c.room(n, first)
	for i := range out {
		v := uint32(0)
		if bits>>i&1 != 0 {
			v = c.fg
		}
		if below != nil {
			v ^= below[i]
		}
		out[i] = v
	}
	return ok
}

// interleaved decodes interleaved run length coding: the RleDecompress of
// MS-RDPBCGR 3.1.9.
func (d *Decoder) interleaved(b Bitmap, w, h int) error {
	size := bytesPerPixel(b.Depth)
	if size == 0 || size == 4 {
		return errDepth(b.Depth)
	}
	d.bottom = sized(d.bottom, w*h)
	s := source{rest: b.Data, size: size}
	all := uint32(1)<<b.Depth - 1
	c := canvas{out: d.bottom, w: w, fg: all}
	insert, first := false, true
	for len(s.rest) > 0 {
		if first && c.at >= w {
			first, insert = false, false
		}
		what, n, ok := s.begin()
		if !ok {
			return ErrShort
		}
		if what == bgRun {
			if insert && n > 0 {
				n--
				ok = c.run(1, c.fg, first)
			}
			if !ok || !c.run(n, 0, first) {
				return ErrLong
			}
			insert = true
			continue
		}
		insert = false
		if err := c.draw(&s, what, n, first, all); err != nil {
			return err
		}
	}
	if c.at < w*h {
		return ErrShort
	}
	d.flip(w, h)
	d.colours(d.pixels, b.Depth)
	return nil
}

// draw carries out one order but a background run.
func (c *canvas) draw(s *source, what, n int, first bool, all uint32) error {
	if what == setFgRun || what == setFgbgImage {
		v, ok := s.pixel()
		if !ok {
			return ErrShort
		}
		c.fg = v
	}
	fits := true
	switch what {
	case fgRun, setFgRun:
		fits = c.run(n, c.fg, first)
	case fgbgImage, setFgbgImage:
		for ; n > 0 && fits; n -= 8 {
			bits, ok := s.byte()
			if !ok {
				return ErrShort
			}
			fits = c.mask(min(n, 8), bits, first)
		}
	case special1:
		fits = c.mask(8, 0x03, first)
	case special2:
		fits = c.mask(8, 0x05, first)
	case white:
		fits = c.fill(1, all)
	case black:
		fits = c.fill(1, 0)
	case colorRun:
		v, ok := s.pixel()
		if !ok {
			return ErrShort
		}
		fits = c.fill(n, v)
	case ditheredRun:
		return c.dither(s, n)
	case colorImage:
		return c.copy(s, n)
	}
	if !fits {
		return ErrLong
	}
	return nil
}

// dither writes n pairs of two colours.
func (c *canvas) dither(s *source, n int) error {
	a, _ := s.pixel()
	b, ok := s.pixel()
	if !ok {
		return ErrShort
	}
	out, _, ok := c.room(2*n, true)
	if !ok {
		return ErrLong
	}
	for i := 0; i < len(out); i += 2 {
		out[i], out[i+1] = a, b
	}
	return nil
}

// copy writes n pixels as they are.
func (c *canvas) copy(s *source, n int) error {
	if len(s.rest) < n*s.size {
		return ErrShort
	}
	out, _, ok := c.room(n, true)
	if !ok {
		return ErrLong
	}
	for i := range out {
		out[i] = read(s.rest[i*s.size:], s.size)
	}
	s.rest = s.rest[n*s.size:]
	return nil
}
