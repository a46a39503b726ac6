package screen

import (
	"encoding/binary"
	"testing"
)

// BenchmarkVideo is a picture of H.264 over a whole desktop of 1920 by 1080,
// which the gate does not decode: the price of a frame of a film.
func BenchmarkVideo(b *testing.B) {
	s, err := New(1920, 1080)
	if err != nil {
		b.Fatal(err)
	}
	put := func(kind uint16, body ...any) (m []byte) {
		for _, v := range body {
			m, _ = binary.Append(m, binary.LittleEndian, v)
		}
		head, _ := binary.Append(nil, binary.LittleEndian, []uint32{uint32(kind), uint32(8 + len(m))})
		return append(head, m...)
	}
	all := []uint16{0, 0, 1920, 1080}
	begin := append(put(0x09, []uint16{1, 1920, 1080}, byte(0x20)), put(0x0f, make([]uint16, 6))...)
	binary.LittleEndian.PutUint16(begin[len(begin)-12:], 1)
	if _, err := s.Graphics(begin); err != nil {
		b.Fatal(err)
	}
	stream := append(put(0, uint32(1), all, []byte{22, 100})[8:], make([]byte, 20000)...)
	picture := put(0x01, []uint16{1, 0x0b}, byte(0x20), all, uint32(len(stream)), stream)
	for b.Loop() {
		drawn, err := s.Graphics(picture)
		if err != nil || len(drawn) != 1 {
			b.Fatal(drawn, err)
		}
	}
}
