package bulk

import "math/bits"

// A bitReader reads bits from the most significant one on.
type bitReader struct {
	rest []byte
	acc  uint64 // the next bits, left aligned
	n    int    // how many of them are there
}

// fill makes at least 57 bits ready, or all there are.
func (r *bitReader) fill() {
	for r.n <= 56 && len(r.rest) > 0 {
		r.acc |= uint64(r.rest[0]) << (56 - r.n)
		r.rest = r.rest[1:]
		r.n += 8
	}
}

// left is how many bits there are in all, if that is less than 57.
func (r *bitReader) left() int { return r.n }

// take removes n bits, 1 to 32, that fill made ready.
func (r *bitReader) take(n int) (int, error) {
	if n > r.n {
		return 0, errShort
	}
	v := r.acc >> (64 - n)
	r.acc <<= n
	r.n -= n
	return int(v), nil
}

// literal reads a byte that stands for itself, if one is next.
func (r *bitReader) literal() (b byte, ok bool, err error) {
	switch {
	case r.acc>>63 == 0:
		v, err := r.take(8)
		return byte(v), true, err
	case r.acc>>62 == 0b10:
		v, err := r.take(9)
		return byte(v) | 0x80, true, err
	}
	return 0, false, nil
}

func (r *bitReader) offset(kind Kind) (int, error) {
	for _, c := range offsetCodes[kind] {
		if r.acc>>(64-c.ones) != c.prefix {
			continue
		}
		if _, err := r.take(c.ones); err != nil {
			return 0, err
		}
		v, err := r.take(c.bits)
		return c.base + v, err
	}
	return 0, errShort
}

// length reads a length of match: n ones, a zero and n+1 bits are the length
// less 1<<(n+1), but a zero alone is 3.
func (r *bitReader) length(kind Kind) (int, error) {
	r.fill()
	ones := bits.LeadingZeros64(^r.acc)
	if ones > kind.longestPrefix() {
		return 0, errOverflow
	}
	if _, err := r.take(ones + 1); err != nil {
		return 0, err
	}
	if ones == 0 {
		return 3, nil
	}
	v, err := r.take(ones + 1)
	return 1<<(ones+1) + v, err
}

// A bitWriter is the reverse.
type bitWriter struct {
	out []byte
	acc uint64
	n   int
}

func (w *bitWriter) put(v uint64, n int) {
	w.acc |= v << (64 - n - w.n)
	w.n += n
	for w.n >= 8 {
		w.out = append(w.out, byte(w.acc>>56))
		w.acc <<= 8
		w.n -= 8
	}
}

// finish pads the last byte.
func (w *bitWriter) finish() []byte {
	if w.n > 0 {
		w.out = append(w.out, byte(w.acc>>56))
		w.acc, w.n = 0, 0
	}
	return w.out
}

func (w *bitWriter) literal(b byte) {
	if b < 0x80 {
		w.put(uint64(b), 8)
	} else {
		w.put(0b10<<7|uint64(b&0x7f), 9)
	}
}

func (w *bitWriter) match(kind Kind, offset, length int) {
	for _, c := range offsetCodes[kind] {
		if offset < c.base+1<<c.bits {
			w.put(c.prefix, c.ones)
			w.put(uint64(offset-c.base), c.bits)
			break
		}
	}
	if length == 3 {
		w.put(0, 1)
		return
	}
	ones := bits.Len(uint(length)) - 2
	w.put(1<<(ones+1)-2, ones+1)
	w.put(uint64(length-1<<(ones+1)), ones+1)
}
