// Package gfx reads the graphics pipeline of RDP (MS-RDPEGFX), which a server
// speaks on a dynamic channel of its own: segments and their compression,
// messages, the surfaces they draw on and how these come onto the desktop. It
// also says what a client may offer, and draws what the gate itself shows over
// such a desktop.
//
// It decodes pixels as they are, planar coding, fills, copies and the cache.
// H.264 is handed to whoever has a decoder; where nobody has, and for codecs
// that are not known here, the place is filled with words that say so. It
// knows neither connections nor files: package rdpentry feeds it what a server
// sent, package desktop what a recording holds.
//
// Every input is a stranger's: sizes are checked before anything is allocated,
// and what all surfaces together may take is bounded.
package gfx

import (
	"encoding/binary"
	"errors"
	"fmt"
	"image"
)

// Channel is the name of the pipeline's dynamic channel.
const Channel = "Microsoft::Windows::RDS::Graphics"

var (
	// ErrMalformed says that bytes are no graphics.
	ErrMalformed = errors.New("not graphics")
	// ErrTooMuch says that a server wants more memory or work than it may have.
	ErrTooMuch = errors.New("graphics take more memory or work than they may")
)

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
}

var le = binary.LittleEndian

// The kinds of messages (RDPGFX_HEADER, 2.2.1.5).
const (
	wireToSurface     = 0x01
	wireToSurface2    = 0x02
	deleteContext     = 0x03
	solidFill         = 0x04
	surfaceToSurface  = 0x05
	surfaceToCache    = 0x06
	cacheToSurface    = 0x07
	evictCache        = 0x08
	createSurface     = 0x09
	deleteSurface     = 0x0a
	startFrame        = 0x0b
	endFrame          = 0x0c
	frameAcknowledge  = 0x0d
	resetGraphics     = 0x0e
	mapToOutput       = 0x0f
	cacheImportReply  = 0x11
	capsAdvertise     = 0x12
	capsConfirm       = 0x13
	mapToWindow       = 0x15
	mapToScaledOutput = 0x17
	mapToScaledWindow = 0x18
)

// shortest is how many bytes a message of a kind has at least, behind its
// header.
var shortest = map[uint16]int{
	wireToSurface: 17, wireToSurface2: 13, deleteContext: 6, solidFill: 8, surfaceToSurface: 14, surfaceToCache: 20,
	cacheToSurface: 6, evictCache: 2, createSurface: 7, deleteSurface: 2, startFrame: 8, endFrame: 4,
	frameAcknowledge: 12, resetGraphics: 12, mapToOutput: 12, cacheImportReply: 2, capsAdvertise: 2, capsConfirm: 8,
	mapToWindow: 18, mapToScaledOutput: 20, mapToScaledWindow: 26,
}

const headerSize = 8

// A message is one RDPGFX PDU.
type message struct {
	kind uint16
	body []byte
}

// next reads the message at the front of b and returns what follows it.
func next(b []byte) (m message, rest []byte, err error) {
	if len(b) < headerSize {
		return m, nil, malformed("a message is cut short")
	}
	m.kind = le.Uint16(b)
	length := le.Uint32(b[4:])
	if length < headerSize || length > uint32(len(b)) {
		return m, nil, malformed("message %#x has %d of its %d bytes", m.kind, len(b), length)
	}
	m.body, rest = b[headerSize:length], b[length:]
	if len(m.body) < shortest[m.kind] {
		return m, nil, malformed("message %#x has only %d bytes", m.kind, length)
	}
	return m, rest, nil
}

// put appends a message.
func put(dst []byte, kind uint16, body []byte) []byte {
	dst = le.AppendUint16(dst, kind)
	dst = le.AppendUint16(dst, 0)
	dst = le.AppendUint32(dst, uint32(headerSize+len(body)))
	return append(dst, body...)
}

// rectangle reads an RDPGFX_RECT16 (2.2.1.2), whose right and bottom are
// exclusive.
func rectangle(b []byte) (image.Rectangle, error) {
	r := image.Rectangle{
		Min: image.Pt(int(le.Uint16(b)), int(le.Uint16(b[2:]))),
		Max: image.Pt(int(le.Uint16(b[4:])), int(le.Uint16(b[6:]))),
	}
	if r.Min.X > r.Max.X || r.Min.Y > r.Max.Y {
		return r, malformed("a rectangle from %v to %v", r.Min, r.Max)
	}
	return r, nil
}

// points reads as many RDPGFX_POINT16 (2.2.1.1) as the number before them says.
func points(b []byte) ([]image.Point, error) {
	n := int(le.Uint16(b))
	b = b[2:]
	if len(b) < 4*n {
		return nil, malformed("%d points in %d bytes", n, len(b))
	}
	ps := make([]image.Point, n)
	for i := range ps {
		ps[i] = image.Pt(int(int16(le.Uint16(b[4*i:]))), int(int16(le.Uint16(b[4*i+2:]))))
	}
	return ps, nil
}

// OutputSize returns the size of the desktop from some messages on, if they
// give it one; of several, the largest sides.
func OutputSize(messages []byte) (w, h int, ok bool) {
	for len(messages) > 0 {
		m, rest, err := next(messages)
		if err != nil {
			break
		}
		messages = rest
		if m.kind == resetGraphics {
			w, h, ok = max(w, int(min(le.Uint32(m.body), 1<<16))), max(h, int(min(le.Uint32(m.body[4:]), 1<<16))), true
		}
	}
	return w, h, ok
}
