package gfx

import "slices"

// RDP 8 bulk compression (3.1.9.1): what a server sends is cut into segments,
// each of which may be compressed against the last 2.5 million bytes.
const (
	single    = 0xe0 // RDP_SEGMENTED_DATA descriptors (2.2.5.1)
	multipart = 0xe1

	typeRDP8   = 0x04
	compressed = 0x20

	maxSegment = 65535 // bytes of a segment, uncompressed
	historyLen = 2500000
)

// MaxMessages bounds what one transmission of the channel expands to: that of
// a recorded event.
const MaxMessages = 8 << 20

// A Decompressor undoes the segments and the compression of one direction of
// a channel. Its zero value is ready.
type Decompressor struct {
	history []byte // a ring, of zeros at first
	end     int    // where the next byte goes
	out     []byte
}

// Expand returns the messages that a transmission carries. They are valid
// until the next call.
func (d *Decompressor) Expand(data []byte) ([]byte, error) {
	d.out = d.out[:0]
	if len(data) < 2 {
		return nil, malformed("a segment of %d bytes", len(data))
	}
	switch data[0] {
	case single:
		return d.out, d.segment(data[1:])
	case multipart:
		return d.out, d.segments(data[1:])
	}
	return nil, malformed("segments of kind %#x", data[0])
}

func (d *Decompressor) segments(b []byte) error {
	if len(b) < 6 {
		return malformed("segments without a number")
	}
	n, total := int(le.Uint16(b)), le.Uint32(b[2:])
	b = b[6:]
	if total > MaxMessages {
		return malformed("a transmission of %d bytes", total)
	}
	for range n {
		if len(b) < 4 || uint64(le.Uint32(b)) > uint64(len(b)-4) {
			return malformed("a segment is cut short")
		}
		size := int(le.Uint32(b))
		if err := d.segment(b[4 : 4+size]); err != nil {
			return err
		}
		if uint32(len(d.out)) > total {
			break
		}
		b = b[4+size:]
	}
	if uint32(len(d.out)) != total {
		return malformed("segments of %d bytes that should be %d", len(d.out), total)
	}
	return nil
}

// segment undoes one segment (RDP8_BULK_ENCODED_DATA, 2.2.5.3).
func (d *Decompressor) segment(b []byte) error {
	if len(b) < 1 || b[0]&0x0f != typeRDP8 {
		return malformed("a segment that is not RDP 8 bulk data")
	}
	from := len(d.out)
	if b[0]&compressed == 0 {
		if len(b)-1 > maxSegment {
			return malformed("a segment of %d bytes", len(b)-1)
		}
		d.out = append(d.out, b[1:]...)
		d.remember(b[1:])
		return nil
	}
	in := bits{b: b[1:]}
	if !in.begin() {
		return malformed("a compressed segment without an end")
	}
	for in.left > 0 {
		if err := d.token(&in, from); err != nil {
			return err
		}
	}
	return nil
}

// token undoes one literal or match.
func (d *Decompressor) token(in *bits, from int) error {
	t, ok := in.token()
	switch {
	case !ok:
		return malformed("a compressed segment is cut short")
	case !t.match:
		if t.extra > 0 {
			return d.literal(byte(in.take(t.extra)), in, from)
		}
		return d.literal(byte(t.value), in, from)
	}
	distance := int(t.value + in.take(t.extra))
	if distance == 0 { // bytes as they are
		n := int(in.take(15))
		raw, ok := in.bytes(n)
		if !ok || len(d.out)-from+n > maxSegment {
			return malformed("%d bytes that are not there", n)
		}
		d.out = append(d.out, raw...)
		d.remember(raw)
		return nil
	}
	n := in.length()
	if in.bad || distance > historyLen || n > maxSegment-(len(d.out)-from) {
		return malformed("a match of %d bytes, %d back", n, distance)
	}
	d.begin()
	at := (d.end - distance + historyLen) % historyLen
	for range n {
		c := d.history[at]
		d.out = append(d.out, c)
		d.put(c)
		if at++; at == historyLen {
			at = 0
		}
	}
	return nil
}

func (d *Decompressor) literal(c byte, in *bits, from int) error {
	if in.bad || len(d.out)-from >= maxSegment {
		return malformed("a compressed segment is too long or cut short")
	}
	d.begin()
	d.out = append(d.out, c)
	d.put(c)
	return nil
}

// begin makes the history.
func (d *Decompressor) begin() {
	if d.history == nil {
		d.history = make([]byte, historyLen)
	}
}

// remember adds bytes to the history.
func (d *Decompressor) remember(b []byte) {
	d.begin()
	for len(b) > 0 {
		n := copy(d.history[d.end:], b)
		d.end, b = (d.end+n)%historyLen, b[n:]
	}
}

func (d *Decompressor) put(c byte) {
	d.history[d.end] = c
	if d.end++; d.end == historyLen {
		d.end = 0
	}
}

// bits reads from the highest bit of each byte on.
type bits struct {
	b    []byte
	left int // bits to be read
	at   int
	bad  bool
}

// begin takes away the last byte, which says how many bits of the one before
// it are unused.
func (r *bits) begin() bool {
	if len(r.b) == 0 {
		return false
	}
	unused := int(r.b[len(r.b)-1])
	r.b = r.b[:len(r.b)-1]
	r.left = 8*len(r.b) - unused
	return unused < 8 && r.left >= 0
}

func (r *bits) take(n int) (v uint32) {
	if n > r.left {
		r.bad, r.left = true, 0
		return 0
	}
	r.left -= n
	for n > 0 {
		free := 8 - r.at&7
		part := min(free, n)
		v = v<<part | uint32(r.b[r.at>>3])>>(free-part)&(1<<part-1)
		r.at, n = r.at+part, n-part
	}
	return v
}

// bytes takes whole bytes, from the next one on.
func (r *bits) bytes(n int) ([]byte, bool) {
	r.take(-r.at & 7)
	if r.bad || 8*n > r.left {
		r.bad, r.left = true, 0
		return nil, false
	}
	b := r.b[r.at>>3:][:n]
	r.at, r.left = r.at+8*n, r.left-8*n
	return b, true
}

// length reads how long a match is (3.1.9.1.2).
func (r *bits) length() int {
	if r.take(1) == 0 {
		return 3
	}
	base, extra := 4, 2
	for r.take(1) == 1 {
		if base *= 2; base > maxSegment {
			r.bad = true
			return 0
		}
		extra++
	}
	return base + int(r.take(extra))
}

// A token is what a prefix of bits stands for: a literal, or a match whose
// distance is a value and some more bits.
type token struct {
	length int // of the prefix; 0: there is none such
	match  bool
	value  uint32
	extra  int
}

const longestPrefix = 9

// tokens are found by the next nine bits (3.1.9.1.2).
var tokens = func() (of [1 << longestPrefix]token) {
	add := func(t token, prefix uint32) {
		free := longestPrefix - t.length
		for i := range 1 << free {
			of[prefix<<free|uint32(i)] = t
		}
	}
	add(token{length: 1, extra: 8}, 0)
	for _, m := range []struct {
		length, extra int
		prefix, base  uint32
	}{
		{5, 5, 0b10001, 0}, {5, 7, 0b10010, 32}, {5, 9, 0b10011, 160}, {5, 10, 0b10100, 672}, {5, 12, 0b10101, 1696},
		{6, 14, 0b101100, 5792}, {6, 15, 0b101101, 22176}, {7, 18, 0b1011100, 54944}, {7, 20, 0b1011101, 317088},
		{8, 20, 0b10111100, 1365664}, {8, 21, 0b10111101, 2414240},
		{9, 22, 0b101111100, 4511392}, {9, 23, 0b101111101, 8705696}, {9, 24, 0b101111110, 17094304},
	} {
		add(token{length: m.length, match: true, value: m.base, extra: m.extra}, m.prefix)
	}
	literals := func(length int, prefix uint32, values string) {
		for i := range len(values) {
			add(token{length: length, value: uint32(values[i])}, prefix+uint32(i))
		}
	}
	literals(5, 0b11000, "\x00\x01")
	literals(6, 0b110100, "\x02\x03\xff")
	literals(7, 0b1101110, "\x04\x05\x06\x07\x08\x09\x0a\x0b\x3a\x3b\x3c\x3d\x3e\x3f\x40\x80")
	literals(8, 0b11111100, "\x0c\x38\x39\x66")
	return of
}()

// token reads a prefix.
func (r *bits) token() (token, bool) {
	ahead := uint32(0)
	for i := range 3 {
		ahead <<= 8
		if at := r.at>>3 + i; at < len(r.b) {
			ahead |= uint32(r.b[at])
		}
	}
	t := tokens[ahead<<(8+r.at&7)>>(32-longestPrefix)]
	r.take(t.length)
	return t, t.length > 0 && !r.bad
}

// Segments cuts messages into segments that are not compressed: whatever a
// client makes of them is what was recorded.
func Segments(messages []byte) []byte {
	if len(messages) <= maxSegment {
		return append([]byte{single, typeRDP8}, messages...)
	}
	n := (len(messages) + maxSegment - 1) / maxSegment
	b := le.AppendUint16([]byte{multipart}, uint16(n))
	b = le.AppendUint32(b, uint32(len(messages)))
	for piece := range slices.Chunk(messages, maxSegment) {
		b = le.AppendUint32(b, uint32(1+len(piece)))
		b = append(append(b, typeRDP8), piece...)
	}
	return b
}
