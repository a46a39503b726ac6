package wire

// A Cursor reads the messages that go over virtual channels, as everything
// here is read: once there are too few bytes it is bad and yields zeros, so
// that a message is checked once, at its end.
type Cursor struct{ c cursor }

// Read returns a cursor at the front of b.
func Read(b []byte) Cursor { return Cursor{cursor{b: b}} }

// Take returns the next n bytes; a negative n is bad.
func (c *Cursor) Take(n int) []byte { return c.c.take(n) }

// U8, U16, U32 and U64 read little-endian numbers.
func (c *Cursor) U8() byte    { return c.c.u8() }
func (c *Cursor) U16() uint16 { return c.c.u16() }
func (c *Cursor) U32() uint32 { return c.c.u32() }
func (c *Cursor) U64() uint64 {
	low := c.c.u32()
	return uint64(c.c.u32())<<32 | uint64(low)
}

// Rest returns what was not read yet.
func (c *Cursor) Rest() []byte { return c.c.b }

// End fails unless everything was there.
func (c *Cursor) End(what string) error { return c.c.end(what) }

// Text decodes little-endian UTF-16 up to its first NUL.
func Text(b []byte) string { return utf16Text(b) }
