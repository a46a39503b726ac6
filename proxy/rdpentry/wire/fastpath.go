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

// The kinds of fast-path input events (2.2.8.1.2.2), and how much follows the
// byte they stand in.
var inputLength = [...]int{0: 1, 1: 6, 2: 6, 3: 0, 4: 2, 5: 6, 6: 4}

const (
	inputMouse = 1

	slowMouse      = 0x8001
	slowMouseX     = 0x8002
	slowInputEvent = 12
)

// LastMove finds where fast-path input moves the pointer to, if it does.
func LastMove(header byte, body []byte) (x, y uint16, moved bool, err error) {
	c := cursor{b: body}
	n := int(header >> 2 & 0xf)
	if n == 0 {
		n = int(c.u8())
	}
	for range n {
		kind := int(c.u8() >> 5)
		if kind >= len(inputLength) {
			return 0, 0, false, malformed("input event %d", kind)
		}
		event := c.take(inputLength[kind])
		if kind == inputMouse && event != nil {
			x, y, moved = le.Uint16(event[2:]), le.Uint16(event[4:]), true
		}
	}
	return x, y, moved, c.end("fast-path input")
}

// LastSlowMove does the same for the body of a slow-path input PDU (2.2.8.1.1.3).
func LastSlowMove(body []byte) (x, y uint16, moved bool) {
	c := cursor{b: body}
	n := int(c.u16())
	c.skip(2)
	for range min(n, len(c.b)/slowInputEvent) {
		event := c.take(slowInputEvent)
		if kind := le.Uint16(event[4:]); kind == slowMouse || kind == slowMouseX {
			x, y, moved = le.Uint16(event[8:]), le.Uint16(event[10:]), true
		}
	}
	return x, y, moved
}
