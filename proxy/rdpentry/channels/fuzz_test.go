package channels

import (
	"bytes"
	"encoding/binary"
	"testing"
)

// pieces cuts what is fuzzed into messages, each with a length of two bytes in
// front of which the highest bit says where it comes from.
func pieces(b []byte, each func(up bool, msg []byte) bool) {
	for len(b) >= 2 {
		n := int(binary.LittleEndian.Uint16(b))
		up := n&0x8000 != 0
		b = b[2:]
		n = min(n&0x7fff, len(b))
		if !each(up, b[:n:n]) {
			return
		}
		b = b[n:]
	}
}

func piece(up bool, msg []byte) []byte {
	n := uint16(len(msg))
	if up {
		n |= 0x8000
	}
	return append(binary.LittleEndian.AppendUint16(nil, n), msg...)
}

// FuzzDynamic is both sides saying anything: the client never hears of a
// channel that may not be opened, and what is sent on is no longer than it
// may be.
func FuzzDynamic(f *testing.F) {
	var b []byte
	for _, m := range [][]byte{
		piece(false, version(3)), piece(true, answer(2)), piece(false, create(1, "ECHO")), piece(true, created(1, 0)),
		piece(false, create(2, "URBDRC")), piece(false, create(3, "X")), piece(true, created(3, 0)),
		piece(false, dataFirst(3, 4, "ab")), piece(false, data(3, "cd")), piece(true, data(1, "x")), piece(true, closing(1)),
	} {
		b = append(b, m...)
	}
	f.Add(b)
	f.Add(piece(false, []byte{0x28, 3, 0xff, 0xff, 0xff, 0xff}))
	f.Fuzz(func(t *testing.T, b []byte) {
		d := NewDynamic(func(name string) Way {
			switch name {
			case "ECHO":
				return Way{Open: true}
			case "X":
				return Way{Open: true, Tap: capitals{}}
			}
			return Way{}
		})
		pieces(b, func(up bool, msg []byte) bool {
			pass := d.Down
			if up {
				pass = d.Up
			}
			out, err := pass(msg)
			for _, m := range append(out.Server, out.Client...) {
				if len(m) > max(len(msg), chunkLen) {
					t.Fatalf("%d bytes of %d", len(m), len(msg))
				}
			}
			for _, m := range out.Client {
				p, err := parseDynamic(m)
				name, _, _ := bytes.Cut(p.rest, []byte{0})
				if err != nil || p.command == dynCreate && string(name) != "ECHO" && string(name) != "X" {
					t.Fatalf("the client hears % x", m)
				}
			}
			return err == nil
		})
		if len(d.ways) > maxWays {
			t.Fatal("too many")
		}
	})
}

// FuzzChunks is one direction of a static channel.
func FuzzChunks(f *testing.F) {
	for _, c := range Chunks(make([]byte, 4000), OptionShow) {
		f.Add(append(piece(false, c[:100]), piece(false, c)...))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		const limit = 8000
		a := NewAssembler(limit)
		pieces(b, func(_ bool, chunk []byte) bool {
			msg, _, err := a.Add(chunk)
			if len(msg) > limit || len(a.whole) > limit || len(a.whole) > len(b) {
				t.Fatalf("%d and %d bytes are held", len(msg), len(a.whole))
			}
			return err == nil
		})
	})
}
