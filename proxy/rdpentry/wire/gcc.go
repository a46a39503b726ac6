package wire

import (
	"bytes"
	"slices"
)

// The blocks of settings that client and server tell each other (MS-RDPBCGR
// 2.2.1.3.1 and 2.2.1.4.1).
const (
	clientCore     = 0xc001
	clientSecurity = 0xc002
	clientNet      = 0xc003
	clientCluster  = 0xc004
	clientMonitor  = 0xc005

	serverCore     = 0x0c01
	serverSecurity = 0x0c02
	serverNet      = 0x0c03
	serverMessage  = 0x0c04
)

// MaxChannels is how many static virtual channels there may be (2.2.1.3.4).
const MaxChannels = 31

// A Channel is a static virtual channel that a client asks for.
type Channel struct {
	Name    string // at most seven bytes
	Options uint32
}

// ClientData is what a client tells of itself in MCS Connect Initial. What it
// says about security, message channel and multitransport is left out: the
// gate speaks TLS and only TCP.
type ClientData struct {
	Core     Core
	Channels []Channel
	Session  uint32 // the session to be joined, where Console says so
	Console  bool
	Monitors []byte // the monitor block's body, or nil
}

// Core is the body of the client's core data (2.2.1.3.2), long enough for
// every field that is named here.
type Core []byte

// The fields of a [Core], as offsets.
const (
	coreWidth    = 4
	coreHeight   = 6
	coreDepth    = 8
	coreKeyboard = 12
	corePost     = 128
	coreHigh     = 136
	coreDepths   = 138
	coreEarly    = 140
	coreSelected = 208
	coreLen      = 212
	coreMax      = 230
)

// What a client says early that it can do.
const (
	EarlyErrorInfo     = 0x0001
	EarlyWant32        = 0x0002
	EarlyAutodetect    = 0x0080
	EarlyGraphics      = 0x0100
	EarlyDynamicDST    = 0x0200
	EarlyHeartbeat     = 0x0400
	EarlySkipJoin      = 0x0800
	EarlyMonitorLayout = 0x0040
)

// Width and Height are the desktop the client asks for.
func (c Core) Width() int  { return int(le.Uint16(c[coreWidth:])) }
func (c Core) Height() int { return int(le.Uint16(c[coreHeight:])) }

// Depth is how many bits a pixel of the session has that the client asks for.
func (c Core) Depth() int {
	depths := le.Uint16(c[coreDepths:])
	switch deep := le.Uint16(c[coreHigh:]); {
	case c.Early()&EarlyWant32 != 0 && depths&8 != 0:
		return 32
	case deep == 24 && depths&1 != 0:
		return 24
	case deep == 15 && depths&4 != 0:
		return 15
	}
	return 16
}

// Keyboard is the number of the client's keyboard layout.
func (c Core) Keyboard() uint32 { return le.Uint32(c[coreKeyboard:]) }

// Early returns what the client says early that it can do.
func (c Core) Early() uint16 { return le.Uint16(c[coreEarly:]) }

// SetEarly changes that.
func (c Core) SetEarly(flags uint16) { le.PutUint16(c[coreEarly:], flags) }

// SetSelected tells the server which protocol it chose itself: the client was
// told another one, perhaps.
func (c Core) SetSelected(protocol uint32) { le.PutUint32(c[coreSelected:], protocol) }

// SetDepth24 asks for 24 bits per pixel (2.2.1.3.2: colorDepth stands for the
// oldest servers, highColorDepth for all others).
func (c Core) SetDepth24() {
	le.PutUint16(c[coreDepth:], 0xca01)
	le.PutUint16(c[corePost:], 0xca03)
	le.PutUint16(c[coreHigh:], 24)
	le.PutUint16(c[coreDepths:], 0x0007) // 24, 16 and 15, not 32
	c.SetEarly(c.Early() &^ EarlyWant32)
}

// Clone returns a copy that may be changed.
func (c Core) Clone() Core { return slices.Clone(c) }

// ParseClientData reads the user data of a Connect Initial: a GCC conference
// create request (T.124 section 8.7) with the client's blocks in it.
func ParseClientData(b []byte) (ClientData, error) {
	c := cursor{b: b}
	// Object key of T.124, the length of all, and the conference create
	// request up to the key of its user data (MS-RDPBCGR 4.1.3).
	object := c.take(7)
	c.per()
	rest := c.take(len(c.b))
	if c.bad || !bytes.Equal(object, gccObject) {
		return ClientData{}, malformed("the GCC conference create request")
	}
	_, rest, found := bytes.Cut(rest, []byte("Duca"))
	if !found {
		return ClientData{}, malformed("the GCC conference create request has no client data")
	}
	c = cursor{b: rest}
	c = cursor{b: c.take(c.per()), bad: c.bad}
	var d ClientData
	err := c.blocks(func(kind uint16, body []byte) error {
		switch kind {
		case clientCore:
			if len(body) < coreLen-80 { // everything up to postBeta2ColorDepth, at least
				return malformed("client core data of %d bytes", len(body))
			}
			d.Core = make(Core, min(max(len(body), coreLen), coreMax))
			copy(d.Core, body)
		case clientNet:
			return d.parseChannels(body)
		case clientCluster:
			c := cursor{b: body}
			flags, session := c.u32(), c.u32()
			d.Console, d.Session = !c.bad && flags&2 != 0, session
		case clientMonitor:
			return d.parseMonitors(body)
		}
		return nil
	})
	if err == nil && d.Core == nil {
		err = malformed("a client without core data")
	}
	return d, err
}

func (d *ClientData) parseChannels(body []byte) error {
	c := cursor{b: body}
	n := c.u32()
	if n > MaxChannels || int(n)*12 > len(c.b) {
		return malformed("%d virtual channels", n)
	}
	d.Channels = nil
	for range n {
		name, _, _ := bytes.Cut(c.take(8), []byte{0})
		d.Channels = append(d.Channels, Channel{Name: string(name[:min(len(name), 7)]), Options: c.u32()})
	}
	return nil
}

// maxMonitors is how many there may be (2.2.1.3.6).
const maxMonitors = 16

// parseMonitors takes the layout of a client's monitors as it is, if it is
// one: the server is not to stumble over what the gate passes on.
func (d *ClientData) parseMonitors(body []byte) error {
	c := cursor{b: body}
	c.skip(4) // flags
	n := c.u32()
	if n == 0 && !c.bad {
		return nil
	}
	if c.bad || n > maxMonitors || len(c.b) < int(n)*20 {
		return malformed("the layout of %d monitors in %d bytes", n, len(body))
	}
	for range n {
		left, top, right, bottom := int32(c.u32()), int32(c.u32()), int32(c.u32()), int32(c.u32())
		c.skip(4) // flags
		if right < left || bottom < top || int64(right)-int64(left) >= maxMonitor || int64(bottom)-int64(top) >= maxMonitor {
			return malformed("a monitor from %d,%d to %d,%d", left, top, right, bottom)
		}
	}
	d.Monitors = slices.Clone(body[:len(body)-len(c.b)])
	return nil
}

// maxMonitor is the longest side of a virtual desktop (2.2.1.3.6).
const maxMonitor = 32766

// blocks calls f for each block of settings.
func (c *cursor) blocks(f func(kind uint16, body []byte) error) error {
	for len(c.b) > 0 {
		kind, n := c.u16(), int(c.u16())
		body := c.take(n - 4)
		if c.bad {
			break
		}
		if err := f(kind, body); err != nil {
			return err
		}
	}
	return c.end("a block of GCC settings")
}

var gccObject = []byte{0, 5, 0, 0x14, 0x7c, 0, 1}

// Bytes is the user data of a Connect Initial. What the server did not say it
// understands, extended data, is left out where extended is false.
func (d ClientData) Bytes(extended bool) []byte {
	blocks := appendBlock(nil, clientCore, d.Core)
	blocks = appendBlock(blocks, clientSecurity, make([]byte, 8)) // TLS does it
	if d.Console {
		body := le.AppendUint32(nil, 2) // REDIRECTED_SESSIONID_FIELD_VALID
		blocks = appendBlock(blocks, clientCluster, le.AppendUint32(body, d.Session))
	}
	if len(d.Channels) > 0 {
		body := le.AppendUint32(nil, uint32(len(d.Channels)))
		for _, ch := range d.Channels {
			var name [8]byte
			copy(name[:7], ch.Name)
			body = append(body, name[:]...)
			body = le.AppendUint32(body, ch.Options)
		}
		blocks = appendBlock(blocks, clientNet, body)
	}
	if extended && d.Monitors != nil {
		blocks = appendBlock(blocks, clientMonitor, d.Monitors)
	}
	tail := []byte{0, 8, 0, 0x10, 0, 1, 0xc0, 0, 'D', 'u', 'c', 'a'}
	tail = append(appendPER(tail, len(blocks)), blocks...)
	b := slices.Clone(gccObject)
	return append(appendPER(b, len(tail)), tail...)
}

// ServerData is what a server tells of itself in MCS Connect Response.
type ServerData struct {
	Version   uint32
	Requested uint32 // what it was asked for in the negotiation
	IO        uint16 // the channel of everything that has none of its own
	Channels  []uint16
	Message   uint16 // the message channel, or zero
	Encrypted bool   // it wants standard RDP security all the same
}

// ParseServerData reads the user data of a Connect Response: a GCC conference
// create response with the server's blocks in it.
func ParseServerData(b []byte) (ServerData, error) {
	var d ServerData
	_, rest, found := bytes.Cut(b, []byte("McDn"))
	if !found || len(b) < len(gccObject) || !bytes.Equal(b[:len(gccObject)], gccObject) {
		return d, malformed("the GCC conference create response")
	}
	c := cursor{b: rest}
	c = cursor{b: c.take(c.per()), bad: c.bad}
	err := c.blocks(func(kind uint16, body []byte) error {
		c := cursor{b: body}
		switch kind {
		case serverCore:
			d.Version, d.Requested = c.u32(), c.u32()
			c.bad = len(body) < 4 // the second is optional
		case serverSecurity:
			method, level := c.u32(), c.u32()
			d.Encrypted = method != 0 || level != 0
		case serverNet:
			d.IO = c.u16()
			n := int(c.u16())
			if n > MaxChannels {
				return malformed("%d channels of a server", n)
			}
			d.Channels = nil
			for range n {
				d.Channels = append(d.Channels, c.u16())
			}
		case serverMessage:
			d.Message = c.u16()
		}
		return c.end("a server's GCC settings")
	})
	if err == nil && d.IO == 0 {
		err = malformed("a server without an I/O channel")
	}
	if err == nil {
		err = d.distinct()
	}
	return d, err
}

// distinct wants each channel to have a number of its own: what passes on one
// must not come out of another.
func (d ServerData) distinct() error {
	seen := map[uint16]bool{}
	for _, id := range append([]uint16{d.IO, d.Message}, d.Channels...) {
		if id != 0 && seen[id] {
			return malformed("two channels with the number %d", id)
		}
		seen[id] = true
	}
	return nil
}

// Bytes is the user data of a Connect Response.
func (d ServerData) Bytes() []byte {
	core := le.AppendUint32(nil, d.Version)
	core = le.AppendUint32(core, d.Requested)
	core = le.AppendUint32(core, 0)
	net := le.AppendUint16(nil, d.IO)
	net = le.AppendUint16(net, uint16(len(d.Channels)))
	for _, id := range d.Channels {
		net = le.AppendUint16(net, id)
	}
	if len(d.Channels)%2 != 0 {
		net = le.AppendUint16(net, 0)
	}
	blocks := appendBlock(nil, serverCore, core)
	blocks = appendBlock(blocks, serverSecurity, make([]byte, 8))
	blocks = appendBlock(blocks, serverNet, net)
	if d.Message != 0 {
		blocks = appendBlock(blocks, serverMessage, le.AppendUint16(nil, d.Message))
	}
	tail := []byte{0x14, 0x76, 0x0a, 1, 1, 0, 1, 0xc0, 0, 'M', 'c', 'D', 'n'}
	tail = append(appendPER(tail, len(blocks)), blocks...)
	// The length in front is 42 whatever follows, as servers say it: clients
	// ignore it (MS-RDPBCGR 4.1.4), and rdesktop counts on its one byte.
	b := append(slices.Clone(gccObject), 42)
	return append(b, tail...)
}

func appendBlock(b []byte, kind uint16, body []byte) []byte {
	b = le.AppendUint16(b, kind)
	b = le.AppendUint16(b, uint16(len(body)+4))
	return append(b, body...)
}
