package wire

// The kinds of input events (MS-RDPBCGR 2.2.8.1.1.3.1 and 2.2.8.1.2.2).
const (
	InputOther   = iota // one that says nothing here
	InputKey            // a key, by its scan code
	InputUnicode        // a character
	InputMouse          // the pointer, or a button
	InputLocks          // which of the locks are on
)

// An Input is one event of what a person does.
type Input struct {
	Kind     int
	Code     uint16 // the scan code, or the UTF-16 unit
	Extended bool   // the key is one of those that came later, such as the right Alt
	Released bool   // a key that goes up
	Pressed  bool   // the first button goes down
	X, Y     uint16
	Caps     bool // what is on, of the locks
	Num      bool
}

// The flags of events, fast-path and slow-path.
const (
	fastReleased, fastExtended = 0x01, 0x02
	slowReleased, slowExtended = 0x8000, 0x0100

	mouseDown, mouseButton1 = 0x8000, 0x1000
	lockNum, lockCaps       = 0x02, 0x04

	fastKey, fastLocks, fastUnicode = 0, 3, 4
	slowLocks, slowKey, slowUnicode = 0, 4, 5
)

// ParseFastInput reads the events of a fast-path input PDU (2.2.8.1.2).
func ParseFastInput(header byte, body []byte) ([]Input, error) {
	c := cursor{b: body}
	n := int(header >> 2 & 0xf)
	if n == 0 {
		n = int(c.u8())
	}
	events := make([]Input, 0, n)
	for range n {
		head := c.u8()
		kind, flags := int(head>>5), head&0x1f
		if kind >= len(inputLength) {
			return nil, malformed("input event %d", kind)
		}
		event := cursor{b: c.take(inputLength[kind])}
		var in Input
		switch kind {
		case fastKey:
			in = Input{Kind: InputKey, Code: uint16(event.u8()), Released: flags&fastReleased != 0, Extended: flags&fastExtended != 0}
		case fastUnicode:
			in = Input{Kind: InputUnicode, Code: event.u16(), Released: flags&fastReleased != 0}
		case fastLocks:
			in = locks(uint32(flags))
		case inputMouse:
			in = event.mouse()
		}
		events = append(events, in)
	}
	return events, c.end("fast-path input")
}

// ParseSlowInput reads those of a slow-path input PDU (2.2.8.1.1.3).
func ParseSlowInput(body []byte) ([]Input, error) {
	c := cursor{b: body}
	n := int(c.u16())
	c.skip(2)
	if n*slowInputEvent > len(c.b) {
		return nil, malformed("%d input events in %d bytes", n, len(c.b))
	}
	events := make([]Input, 0, n)
	for range n {
		event := cursor{b: c.take(slowInputEvent)}
		event.skip(4) // the time
		var in Input
		switch event.u16() {
		case slowKey:
			flags := event.u16()
			in = Input{Kind: InputKey, Code: event.u16(), Released: flags&slowReleased != 0, Extended: flags&slowExtended != 0}
		case slowUnicode:
			flags := event.u16()
			in = Input{Kind: InputUnicode, Code: event.u16(), Released: flags&slowReleased != 0}
		case slowLocks:
			event.skip(2)
			in = locks(event.u32())
		case slowMouse:
			in = event.mouse()
		}
		events = append(events, in)
	}
	return events, c.end("slow-path input")
}

func (c *cursor) mouse() Input {
	flags := c.u16()
	return Input{Kind: InputMouse, Pressed: flags&(mouseDown|mouseButton1) == mouseDown|mouseButton1, X: c.u16(), Y: c.u16()}
}

func locks(flags uint32) Input {
	return Input{Kind: InputLocks, Caps: flags&lockCaps != 0, Num: flags&lockNum != 0}
}
