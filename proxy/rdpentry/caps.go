package rdpentry

import (
	"encoding/binary"
	"slices"

	"github.com/pawelmojski/inside/proxy/rdpentry/wire"
)

// unrecordable are the capability sets that let a server draw in ways the
// recorder cannot undo, or by what it sent long ago. Without them it falls
// back to bitmap updates.
var unrecordable = []uint16{
	wire.CapBitmapCache, wire.CapBitmapCache2, wire.CapCacheHost, wire.CapOffscreen, wire.CapDrawNine,
	wire.CapDrawGDIPlus, wire.CapRail, wire.CapWindow, wire.CapComposition, wire.CapSurface,
	wire.CapBitmapCodecs, wire.CapFrameAck,
}

// maxUpdate is the longest update that may come in fragments: what the
// recorder takes.
const maxUpdate = 1 << 21

var le = binary.LittleEndian

// Offsets in capability sets (MS-RDPBCGR 2.2.7.1), without their headers.
const (
	bitmapDrawing   = 19 // drawingFlags
	orderFlags      = 30
	orderSupport    = 32 // 32 bytes, one for each order
	orderExtraFlags = 66
	orderLen        = 84
	bitmapLen       = 24

	drawSubsampling = 2 | 4 // dynamic colour fidelity and colour subsampling lose colour
	orderExtra      = 0x80  // ORDERFLAGS_EXTRA_FLAGS
)

// tamed is what the server is told that the client can do.
func tamed(a wire.Active) wire.Active {
	a.Capabilities = slices.DeleteFunc(slices.Clone(a.Capabilities), func(s wire.Capability) bool {
		return slices.Contains(unrecordable, s.Kind)
	})
	for i, s := range a.Capabilities {
		body := slices.Clone(s.Body)
		switch {
		case s.Kind == wire.CapOrder && len(body) >= orderLen:
			clear(body[orderSupport : orderSupport+32])
			body[orderFlags] &^= orderExtra
			clear(body[orderExtraFlags : orderExtraFlags+2])
		case s.Kind == wire.CapBitmap && len(body) >= bitmapLen:
			body[bitmapDrawing] &^= drawSubsampling
		case s.Kind == wire.CapMultifragment && len(body) >= 4:
			le.PutUint32(body, min(le.Uint32(body), maxUpdate))
		case s.Kind == wire.CapChannel && len(body) >= 4:
			clear(body[:4])
		}
		a.Capabilities[i].Body = body
	}
	return a
}

// uncompressed is what the client is told that the server can do: as it is,
// but without compression in virtual channels, of which nobody here keeps
// track.
func uncompressed(a wire.Active) wire.Active {
	a.Capabilities = slices.Clone(a.Capabilities)
	for i, s := range a.Capabilities {
		if s.Kind == wire.CapChannel && len(s.Body) >= 4 {
			body := slices.Clone(s.Body)
			clear(body[:4])
			a.Capabilities[i].Body = body
		}
	}
	return a
}

// ownCapabilities are the gate's when it draws a message itself: the least
// that is a server (MS-RDPBCGR 2.2.7).
func ownCapabilities(width, height, depth int) []wire.Capability {
	u16 := func(values ...int) []byte {
		var b []byte
		for _, v := range values {
			b = le.AppendUint16(b, uint16(v))
		}
		return b
	}
	orders := make([]byte, orderLen)
	copy(orders[20:], u16(1, 20, 0, 1, 0, 0x2a)) // desktop save granularity, order level, NEGOTIATEORDERSUPPORT | ZEROBOUNDSDELTASSUPPORT | COLORINDEXSUPPORT
	le.PutUint32(orders[72:], 480*480)           // desktop save size
	input := make([]byte, 84)
	le.PutUint16(input, 0x0001|0x0004|0x0010|0x0020) // scan codes, extended mouse, Unicode, fast-path
	return []wire.Capability{
		{Kind: wire.CapShare, Body: u16(wire.ServerUser, 0)},
		{Kind: wire.CapGeneral, Body: u16(1, 3, 0x200, 0, 0, 0x0001|0x0004|0x0400, 0, 0, 0, 0)}, // fast-path output, long credentials, no bitmap header
		{Kind: wire.CapBitmap, Body: u16(depth, 1, 1, 1, width, height, 0, 1, 1, 0, 1, 0)},
		{Kind: wire.CapOrder, Body: orders},
		{Kind: wire.CapPointer, Body: u16(1, 20, 20)},
		{Kind: wire.CapInput, Body: input},
		// No compression, and how much goes into one piece: a client that is told
		// of none sends pieces of nothing for ever.
		{Kind: wire.CapChannel, Body: le.AppendUint32(make([]byte, 4), 1600)},
	}
}
