package wire

// The capability sets that matter here (MS-RDPBCGR 2.2.7).
const (
	CapGeneral       = 1
	CapBitmap        = 2
	CapOrder         = 3
	CapBitmapCache   = 4
	CapPointer       = 8
	CapShare         = 9
	CapInput         = 13
	CapFont          = 14
	CapOffscreen     = 17
	CapCacheHost     = 18
	CapBitmapCache2  = 19
	CapChannel       = 20
	CapDrawNine      = 21
	CapDrawGDIPlus   = 22
	CapRail          = 23
	CapWindow        = 24
	CapComposition   = 25
	CapMultifragment = 26
	CapLargePointer  = 27
	CapSurface       = 28
	CapBitmapCodecs  = 29
	CapFrameAck      = 30
)

// A Capability is one set.
type Capability struct {
	Kind uint16
	Body []byte
}

// Active is a Demand Active or Confirm Active PDU (2.2.1.13): what one side
// can do.
type Active struct {
	Confirm      bool
	Share        uint32
	Source       []byte
	Capabilities []Capability
	Session      uint32 // of a Demand Active
}

// maxCapabilities is more than there are kinds.
const maxCapabilities = 64

// ParseActive reads the body of a share control PDU of kind DemandActive or
// ConfirmActive.
func ParseActive(b []byte, confirm bool) (Active, error) {
	c := cursor{b: b}
	a := Active{Confirm: confirm, Share: c.u32()}
	if confirm {
		c.skip(2) // originator
	}
	source := int(c.u16())
	c.skip(2) // the length of all sets together
	a.Source = c.take(source)
	n := int(c.u16())
	c.skip(2)
	if n > maxCapabilities {
		return a, malformed("%d capability sets", n)
	}
	for range n {
		kind, size := c.u16(), int(c.u16())
		body := c.take(size - 4)
		if c.bad {
			break
		}
		a.Capabilities = append(a.Capabilities, Capability{kind, body})
	}
	if !confirm && len(c.b) >= 4 {
		a.Session = c.u32()
	}
	return a, c.end("capability sets")
}

// Bytes is the body of the share control PDU.
func (a Active) Bytes() []byte {
	var sets []byte
	for _, s := range a.Capabilities {
		sets = appendBlock(sets, s.Kind, s.Body)
	}
	b := le.AppendUint32(nil, a.Share)
	if a.Confirm {
		b = le.AppendUint16(b, ServerUser)
	}
	b = le.AppendUint16(b, uint16(len(a.Source)))
	b = le.AppendUint16(b, uint16(len(sets)+4))
	b = append(b, a.Source...)
	b = le.AppendUint16(b, uint16(len(a.Capabilities)))
	b = append(b, 0, 0)
	b = append(b, sets...)
	if !a.Confirm {
		b = le.AppendUint32(b, a.Session)
	}
	return b
}

// Find returns the body of a set, or nil.
func (a Active) Find(kind uint16) []byte {
	for _, s := range a.Capabilities {
		if s.Kind == kind {
			return s.Body
		}
	}
	return nil
}

// Desktop is what the bitmap capability set says: how deep and how large the
// desktop is.
func (a Active) Desktop() (width, height, depth int, ok bool) {
	c := cursor{b: a.Find(CapBitmap)}
	depth = int(c.u16())
	c.skip(6)
	width, height = int(c.u16()), int(c.u16())
	return width, height, depth, !c.bad
}
