package bulk

// A Compressor compresses one direction; see [NewCompressor].
type Compressor struct {
	kind    Kind
	history []byte
	at      int
	fresh   bool // the next packet goes to the front of the history
	seen    [1 << 13]uint16
	out     []byte
}

// NewCompressor makes a compressor for one direction.
func NewCompressor(kind Kind) *Compressor {
	return &Compressor{kind: kind, history: make([]byte, kind.size()), fresh: true}
}

// Compress returns data as it goes into a packet, and the packet's flags. The
// result is valid until the next call; it is data itself where compressing
// would not make it shorter.
func (c *Compressor) Compress(data []byte) ([]byte, byte) {
	if len(data) > len(c.history) {
		return data, 0
	}
	flags := byte(c.kind) | Compressed
	if c.fresh || len(data) > len(c.history)-c.at {
		c.restart()
		flags |= AtFront
	}
	from := c.at
	c.at += copy(c.history[c.at:], data)
	w := bitWriter{out: c.out[:0]}
	for i := from; i < c.at; {
		offset, length := c.find(i)
		if length < 3 {
			w.literal(c.history[i])
			c.remember(i)
			i++
			continue
		}
		w.match(c.kind, offset, length)
		for end := i + length; i < end; i++ {
			c.remember(i)
		}
	}
	c.out = w.finish()
	if len(c.out) >= len(data) {
		c.fresh = true
		return data, byte(c.kind) | Flushed
	}
	c.fresh = false
	return c.out, flags
}

// restart forgets what was sent: the next packet stands at the front.
func (c *Compressor) restart() {
	c.at = 0
	clear(c.seen[:])
}

// find looks for the bytes at i further back.
func (c *Compressor) find(i int) (offset, length int) {
	if c.at-i < 3 {
		return 0, 0
	}
	past := int(c.seen[c.hash(i)]) // 0 is also nothing
	if past >= i {
		return 0, 0
	}
	n := 0
	for limit := min(c.at-i, len(c.history)-1); n < limit && c.history[past+n] == c.history[i+n]; {
		n++
	}
	return i - past, n
}

func (c *Compressor) remember(i int) {
	if c.at-i >= 3 {
		c.seen[c.hash(i)] = uint16(i)
	}
}

func (c *Compressor) hash(i int) uint32 {
	v := uint32(c.history[i]) | uint32(c.history[i+1])<<8 | uint32(c.history[i+2])<<16
	return v * 2654435761 >> 19
}
