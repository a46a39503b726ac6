// Package wire reads and writes the messages of RDP: TPKT, X.224, MCS, GCC,
// the Client Info PDU, share headers, capability sets, fast-path output and
// bitmap updates (MS-RDPBCGR, ITU-T T.123, X.224, T.125 and T.124).
//
// It knows bytes and no connections: whoever carries a session, [rdpentry],
// reads frames with a [Reader], takes them apart here, and builds new ones for
// the other side. Every function that reads takes hostile bytes: lengths are
// checked before anything is sliced or allocated, and what does not fit is a
// [ErrMalformed]. What is returned points into what was given.
//
// [rdpentry]: github.com/pawelmojski/inside/proxy/rdpentry
package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"unicode/utf16"
)

// ErrMalformed is what every reader of this package fails with.
var ErrMalformed = errors.New("not RDP")

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
}

// A cursor reads from the front of some bytes. Once there are too few of them
// it is bad and yields zeros, so that a message is checked once, at its end.
type cursor struct {
	b   []byte
	bad bool
}

func (c *cursor) take(n int) []byte {
	if n < 0 || n > len(c.b) {
		c.bad, c.b = true, nil
		return nil
	}
	p := c.b[:n:n]
	c.b = c.b[n:]
	return p
}

func (c *cursor) skip(n int) { c.take(n) }

func (c *cursor) u8() byte {
	if p := c.take(1); p != nil {
		return p[0]
	}
	return 0
}

func (c *cursor) u16() uint16 {
	if p := c.take(2); p != nil {
		return binary.LittleEndian.Uint16(p)
	}
	return 0
}

func (c *cursor) u32() uint32 {
	if p := c.take(4); p != nil {
		return binary.LittleEndian.Uint32(p)
	}
	return 0
}

func (c *cursor) be16() uint16 {
	if p := c.take(2); p != nil {
		return binary.BigEndian.Uint16(p)
	}
	return 0
}

// end fails unless everything was there.
func (c *cursor) end(what string) error {
	if c.bad {
		return malformed("%s is cut short", what)
	}
	return nil
}

var le = binary.LittleEndian

func appendBE16(b []byte, v int) []byte { return binary.BigEndian.AppendUint16(b, uint16(v)) }

// utf16Text decodes little-endian UTF-16 up to its first NUL.
func utf16Text(b []byte) string {
	units := make([]uint16, 0, len(b)/2)
	for ; len(b) >= 2; b = b[2:] {
		u := le.Uint16(b)
		if u == 0 {
			break
		}
		units = append(units, u)
	}
	return string(utf16.Decode(units))
}

func appendUTF16(b []byte, s string) []byte {
	for _, u := range utf16.Encode([]rune(s)) {
		b = le.AppendUint16(b, u)
	}
	return b
}
