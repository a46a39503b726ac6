package wire

// T.125's connection PDUs are in BER, all others in PER. Only what they use
// is here.

const (
	berBoolean     = 0x01
	berInteger     = 0x02
	berOctetString = 0x04
	berEnumerated  = 0x0a
	berSequence    = 0x30
)

// ber reads an element with this tag and returns its contents.
func (c *cursor) ber(tag int) []byte {
	if tag > 0xff && int(c.u8()) != tag>>8 {
		c.bad = true
	}
	if int(c.u8()) != tag&0xff {
		c.bad = true
	}
	n := int(c.u8())
	if n&0x80 != 0 {
		bytes := n & 0x7f
		if bytes < 1 || bytes > 3 {
			c.bad = true
		}
		n = 0
		for range min(bytes, 3) {
			n = n<<8 | int(c.u8())
		}
	}
	p := c.take(n)
	if c.bad {
		c.b = nil
		return nil
	}
	return p
}

// berInt reads an integer or enumeration of up to four bytes.
func (c *cursor) berInt(tag int) int {
	p := c.ber(tag)
	if len(p) == 0 || len(p) > 4 {
		c.bad = true
		return 0
	}
	n := 0
	for _, b := range p {
		n = n<<8 | int(b)
	}
	return n
}

func appendBER(b []byte, tag int, contents []byte) []byte {
	if tag > 0xff {
		b = append(b, byte(tag>>8))
	}
	b = append(b, byte(tag))
	switch n := len(contents); {
	case n < 0x80:
		b = append(b, byte(n))
	case n < 0x100:
		b = append(b, 0x81, byte(n))
	default:
		b = append(b, 0x82, byte(n>>8), byte(n))
	}
	return append(b, contents...)
}

func appendBERInt(b []byte, tag, n int) []byte {
	switch {
	case n < 0x80:
		return appendBER(b, tag, []byte{byte(n)})
	case n < 0x8000:
		return appendBER(b, tag, []byte{byte(n >> 8), byte(n)})
	}
	return appendBER(b, tag, []byte{byte(n >> 16), byte(n >> 8), byte(n)})
}

// per reads a length of PER. In aligned PER (X.691 section 11.9) the second
// bit of a length in two bytes announces pieces; RDP has none, and its servers
// use the bit for lengths up to 32767.
func (c *cursor) per() int {
	n := int(c.u8())
	if n&0x80 != 0 {
		n = n&0x7f<<8 | int(c.u8())
	}
	return n
}

// maxPER is the longest length.
const maxPER = 0x7fff

// appendPER always takes the form of two bytes, as RDP's own programs do.
func appendPER(b []byte, n int) []byte { return append(b, byte(n>>8)|0x80, byte(n)) }
