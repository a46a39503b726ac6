package wire

// The kinds of fast-path updates (MS-RDPBCGR 2.2.9.1.2.1).
const (
	FastOrders        = 0
	FastBitmap        = 1
	FastPalette       = 2
	FastSynchronize   = 3
	FastSurface       = 4
	FastPointerHidden = 5
	FastPointerArrow  = 6
	FastPointerMoved  = 8
	FastPointerColor  = 9
	FastPointerCached = 10
	FastPointerNew    = 11
	FastPointerLarge  = 12
)

// What part of an update a fast-path update holds.
const (
	Single = 0
	Last   = 1
	First  = 2
	Next   = 3
)

// FastSecured reports whether the header of a fast-path PDU says that it is
// encrypted or signed: under TLS none is.
func FastSecured(header byte) bool { return header&0xc0 != 0 }

// A FastUpdate is one update of a fast-path PDU, or a part of one.
type FastUpdate struct {
	Kind       int
	Part       int
	Compressed byte // flags and type of bulk compression; zero: not compressed
	Data       []byte
}

// NextUpdate reads the update at the front of a fast-path output PDU's body
// and returns what follows it.
func NextUpdate(b []byte) (u FastUpdate, rest []byte, err error) {
	c := cursor{b: b}
	head := c.u8()
	u.Kind, u.Part = int(head&0xf), int(head>>4&3)
	if head>>6&2 != 0 {
		u.Compressed = c.u8()
	}
	u.Data = c.take(int(c.u16()))
	return u, c.b, c.end("a fast-path update")
}
