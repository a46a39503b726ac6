package gfx

import "sync/atomic"

// What a client may offer (RDPGFX_CAPSET, 2.2.3). From version 10 on a server
// may send H.264 in two pictures for one (AVC444), which nobody here puts
// together; up to 8.1 there is only AVC420.
const (
	version8  = 0x00080004
	version81 = 0x00080105
	version10 = 0x000a0002

	thinClient  = 0x01 // RemoteFX instead of its progressive form, and a small cache
	smallCache  = 0x02 // 16 MB
	avc420      = 0x10 // in version 8.1
	avcDisabled = 0x20 // from version 10 on

	mostCapabilities = 64
)

// A Client is what one client says on the channel, made into what the server
// may hear.
// Notices of the gate's own may be sent meanwhile.
type Client struct {
	own    atomic.Int32 // frames of the gate's own that were not acknowledged yet
	frames uint32       // and that were
}

// ownFrame is the number of the gate's frames: servers count up from one.
const ownFrame = 0xfffffff0

// Rewrite returns what the server is to hear of a transmission of the client,
// nil if nothing: offers of what can be recorded, and acknowledgements of the
// server's own frames. What it does not know about is the gate's: bitmaps a
// client kept from another session, and how fast it was.
func (c *Client) Rewrite(data []byte) ([]byte, error) {
	var out []byte
	for len(data) > 0 {
		m, rest, err := next(data)
		if err != nil {
			return nil, err
		}
		data = rest
		switch m.kind {
		case capsAdvertise:
			body, err := offer(m.body)
			if err != nil {
				return nil, err
			}
			out = put(out, capsAdvertise, body)
		case frameAcknowledge:
			if le.Uint32(m.body[4:]) == ownFrame && c.own.Load() > 0 {
				c.own.Add(-1)
				c.frames++
				continue
			}
			body := append([]byte(nil), m.body[:12]...)
			le.PutUint32(body[8:], le.Uint32(body[8:])-c.frames)
			out = put(out, frameAcknowledge, body)
		}
	}
	return out, nil
}

// offer makes an RDPGFX_CAPS_ADVERTISE_PDU of one: the versions up to 8.1 that
// the client knows, with a small cache, and H.264 if it can do that in any.
func offer(body []byte) ([]byte, error) {
	n := int(le.Uint16(body))
	if n > mostCapabilities {
		return nil, malformed("%d sets of capabilities", n)
	}
	rest := body[2:]
	old, h264 := false, false
	flags := uint32(0)
	for range n {
		if len(rest) < 8 || uint64(le.Uint32(rest[4:])) > uint64(len(rest)-8) {
			return nil, malformed("a capability set is cut short")
		}
		version, data := le.Uint32(rest), rest[8:8+le.Uint32(rest[4:])]
		rest = rest[8+len(data):]
		f := uint32(0)
		if len(data) >= 4 {
			f = le.Uint32(data)
		}
		switch {
		case version == version8 || version == version81:
			old = true
			flags |= f & thinClient
			h264 = h264 || version == version81 && f&avc420 != 0
		case version >= version10:
			h264 = h264 || f&avcDisabled == 0
		}
	}
	if flags == 0 {
		flags = smallCache // not both: 2.2.3.1
	}
	sets := []uint32{version8, 4, flags}
	if h264 || !old {
		sets = append(sets, version81, 4, flags|avc420)
	}
	out := le.AppendUint16(nil, uint16(len(sets)/3))
	for _, v := range sets {
		out = le.AppendUint32(out, v)
	}
	return out, nil
}
