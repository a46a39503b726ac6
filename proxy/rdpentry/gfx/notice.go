package gfx

import (
	"image"
	"maps"
	"slices"
)

// A Notice is a surface of the gate's own over the desktop: created, mapped to
// the output, drawn again where the server has drawn, and deleted. What was
// under it comes back from the client's own surfaces, each of which is told to
// copy the place onto itself; so the gate need not know what they show.
type Notice struct {
	id    uint16
	at    image.Rectangle
	shown bool
}

// The gate's surfaces have high numbers: servers count up from zero.
const ownSurface = 0xfffe

// Put returns the messages that show pixels, whose rows are stride apart, at a
// place of the desktop instead of what was shown so far. An empty place takes
// it away.
func (n *Notice) Put(s *Surfaces, c *Client, at image.Rectangle, pix []uint32, stride int) []byte {
	var out, body []byte
	old := n.at
	if n.shown {
		out = put(out, deleteSurface, le.AppendUint16(nil, n.id))
	}
	if old.Empty() && at.Empty() {
		return out
	}
	out = c.begin(out)
	if !old.Empty() {
		out = s.again(out, old)
	}
	n.shown, n.at = !at.Empty(), at
	if n.shown {
		for n.id = ownSurface; s.of[n.id] != nil; n.id-- { // there are fewer than 4096
		}
		w, h := at.Dx(), at.Dy()
		body = appendU16(nil, int(n.id), w, h)
		out = put(out, createSurface, append(body, 0x20))
		body = le.AppendUint32(appendU16(nil, int(n.id), 0), uint32(at.Min.X))
		out = put(out, mapToOutput, le.AppendUint32(body, uint32(at.Min.Y)))
		body = append(appendU16(nil, int(n.id), codecUncompressed), 0x20)
		body = le.AppendUint32(appendU16(body, 0, 0, w, h), uint32(4*w*h))
		for y := range h {
			for _, v := range pix[y*stride:][:w] {
				body = le.AppendUint32(body, v|0xff000000)
			}
		}
		out = put(out, wireToSurface, body)
	}
	return end(out)
}

// Again returns the messages that draw the notice over what the server has
// drawn.
func (n *Notice) Again(c *Client) []byte {
	if !n.shown {
		return nil
	}
	out := c.begin(nil)
	out = put(out, surfaceToSurface, ontoItself(n.id, image.Rectangle{Max: n.at.Size()}))
	return end(out)
}

// Lost says whether the server has taken the number of the notice's surface
// for one of its own: the notice must be put again then.
func (n *Notice) Lost(s *Surfaces) bool {
	if n.shown && s.of[n.id] != nil {
		n.shown = false
		return true
	}
	return false
}

// again makes the client show once more what its surfaces hold at a place.
func (s *Surfaces) again(out []byte, place image.Rectangle) []byte {
	for _, id := range slices.Sorted(maps.Keys(s.of)) {
		f := s.of[id]
		if r := place.Sub(f.at).Intersect(f.bounds()); f.mapped && !r.Empty() {
			out = put(out, surfaceToSurface, ontoItself(id, r))
		}
	}
	return out
}

// ontoItself copies a part of a surface to where it is.
func ontoItself(id uint16, r image.Rectangle) []byte {
	return appendU16(nil, int(id), int(id), r.Min.X, r.Min.Y, r.Max.X, r.Max.Y, 1, r.Min.X, r.Min.Y)
}

func appendU16(dst []byte, values ...int) []byte {
	for _, v := range values {
		dst = le.AppendUint16(dst, uint16(v))
	}
	return dst
}

// begin begins a frame of the gate's own.
func (c *Client) begin(out []byte) []byte {
	c.own.Add(1)
	return put(out, startFrame, le.AppendUint32(make([]byte, 4), ownFrame))
}

func end(out []byte) []byte { return put(out, endFrame, le.AppendUint32(nil, ownFrame)) }
