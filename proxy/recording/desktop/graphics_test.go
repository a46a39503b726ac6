package desktop

import (
	"bytes"
	"context"
	"encoding/binary"
	"slices"
	"testing"

	"github.com/pawelmojski/inside/proxy/rdpentry/screen"
)

// pdu is a message of the graphics pipeline: its kind and its 16 bit numbers.
func pdu(kind uint16, body ...uint16) []byte {
	b := binary.LittleEndian.AppendUint16(nil, kind)
	b = binary.LittleEndian.AppendUint16(b, 0)
	b = binary.LittleEndian.AppendUint32(b, uint32(8+2*len(body)))
	for _, v := range body {
		b = binary.LittleEndian.AppendUint16(b, v)
	}
	return b
}

func TestWhoJoinsASessionOfTheGraphicsPipelineLateSeesTheSame(t *testing.T) {
	root := newRoot(t)
	w := creates(t, root)
	s, err := screen.New(header.Width, header.Height)
	must(t, err)
	send := func(messages ...[]byte) {
		t.Helper()
		all := slices.Concat(messages...)
		_, err := s.Graphics(all)
		must(t, err)
		must(t, w.Graphics(all))
	}
	reset := append(pdu(0x0e, 100, 0, 80, 0, 0, 0), make([]byte, 320)...)
	reset[4], reset[5] = 340&0xff, 340>>8
	fill := func(colour uint16, r ...uint16) []byte {
		return pdu(0x04, append([]uint16{1, colour, 0, uint16(len(r) / 4)}, r...)...)
	}
	surface := append(pdu(0x09, 1, 60, 50), 0x20)
	surface[4]++
	send(reset, surface, pdu(0x0f, 1, 0, 10, 0, 10, 0), fill(0x1234, 0, 0, 60, 50))
	send(fill(0xff, 0, 0, 8, 8), pdu(0x06, 1, 0, 0, 0, 0, 3, 0, 0, 8, 8)) // and into the cache
	must(t, w.Keyframe(s))
	send(pdu(0x0b, 0, 0, 1, 0), pdu(0x07, 3, 1, 1, 40, 40)) // out of it, in a frame that has not ended
	must(t, w.Keyframe(s))
	send(fill(0x77, 0, 40, 8, 48), pdu(0x0c, 1, 0))
	must(t, w.Close("client-left"))

	for name, at := range map[string]struct{ first bool }{"from the beginning": {true}, "from the last keyframe": {false}} {
		moment := Newest
		if at.first {
			moment = 0
		}
		h, events, err := Follow(context.Background(), root, Name, moment, nil)
		must(t, err)
		other, err := screen.New(h.Width, h.Height)
		must(t, err)
		n := 0
		for e, err := range events {
			must(t, err)
			must(t, e.Apply(other))
			n++
		}
		if !bytes.Equal(other.AppendState(nil), s.AppendState(nil)) || !bytes.Equal(other.Surfaces().AppendState(nil), s.Surfaces().AppendState(nil)) {
			t.Errorf("%s: the screen differs after %d events", name, n)
		}
		if !at.first && n > 5 {
			t.Errorf("who joins late reads %d events", n)
		}
	}
	if p := s.Picture(); p.W != 100 || p.Pix[55*100+55] != 0xff || p.Pix[55*100+12] != 0x77 || p.Pix[30*100+30] != 0x1234 {
		t.Errorf("%d wide, %06x %06x %06x", p.W, p.Pix[55*100+55], p.Pix[55*100+12], p.Pix[30*100+30])
	}
}
