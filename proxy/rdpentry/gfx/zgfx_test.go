package gfx

import (
	"bytes"
	"encoding/hex"
	"errors"
	"testing"

	"pgregory.net/rapid"
)

// The three segments of the sentence are the example of MS-RDPEGFX 4.1.2: the
// last is compressed.
func TestSegmentsAreExpandedAsInTheDocument(t *testing.T) {
	b, err := hex.DecodeString("e103002b000000" +
		"110000000454686520717569636b2062726f776e20" +
		"0e00000004666f78206a756d7073206f7665" +
		"100000002439080e91f8d8613d1e440643799c02")
	if err != nil {
		t.Fatal(err)
	}
	var d Decompressor
	got, err := d.Expand(b)
	if err != nil || string(got) != "The quick brown fox jumps over the lazy dog" {
		t.Fatalf("%q, %v", got, err)
	}
}

// An encoder writes tokens, as a server could.
type encoder struct {
	b    []byte
	free int
}

func (e *encoder) put(n int, v uint32) {
	for n--; n >= 0; n-- {
		if e.free == 0 {
			e.b, e.free = append(e.b, 0), 8
		}
		e.free--
		e.b[len(e.b)-1] |= byte(v>>n&1) << e.free
	}
}

func (e *encoder) literal(c byte) { e.put(9, uint32(c)) }

func (e *encoder) match(distance, n int) {
	for i := len(matches) - 1; ; i-- {
		if m := matches[i]; distance >= m.base {
			e.put(m.length, m.prefix)
			e.put(m.extra, uint32(distance-m.base))
			break
		}
	}
	if n == 3 {
		e.put(1, 0)
		return
	}
	base, extra := 4, 2
	for ; n >= 2*base; base *= 2 {
		extra++
	}
	e.put(extra-1, 1<<(extra-1)-1)
	e.put(1, 0)
	e.put(extra, uint32(n-base))
}

func (e *encoder) raw(b []byte) {
	e.put(5, 0b10001)
	e.put(5, 0)
	e.put(15, uint32(len(b)))
	e.free = 0
	e.b = append(e.b, b...)
}

func (e *encoder) segment() []byte {
	return append(append([]byte{single, typeRDP8 | compressed}, e.b...), byte(e.free))
}

var matches = []struct {
	length int
	prefix uint32
	extra  int
	base   int
}{
	{5, 0b10001, 5, 0}, {5, 0b10010, 7, 32}, {5, 0b10011, 9, 160}, {5, 0b10100, 10, 672}, {5, 0b10101, 12, 1696},
	{6, 0b101100, 14, 5792}, {6, 0b101101, 15, 22176}, {7, 0b1011100, 18, 54944}, {7, 0b1011101, 20, 317088},
	{8, 0b10111100, 20, 1365664}, {8, 0b10111101, 21, 2414240},
}

func TestWhatWasCompressedComesBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var d Decompressor
		var all []byte
		for range rapid.IntRange(1, 4).Draw(t, "segments") {
			var e encoder
			from := len(all)
			for range rapid.IntRange(1, 40).Draw(t, "tokens") {
				switch k := rapid.IntRange(0, 9).Draw(t, "kind"); {
				case k < 4 || len(all) == 0:
					c := rapid.Byte().Draw(t, "literal")
					e.literal(c)
					all = append(all, c)
				case k < 9:
					distance := rapid.IntRange(1, len(all)).Draw(t, "distance")
					n := rapid.IntRange(3, 600).Draw(t, "length")
					e.match(distance, n)
					for range n {
						all = append(all, all[len(all)-distance])
					}
				default:
					raw := rapid.SliceOfN(rapid.Byte(), 0, 50).Draw(t, "raw")
					e.raw(raw)
					all = append(all, raw...)
				}
			}
			got, err := d.Expand(e.segment())
			if err != nil || !bytes.Equal(got, all[from:]) {
				t.Fatalf("%d bytes came back as %d: %v", len(all)-from, len(got), err)
			}
		}
	})
}

func TestTheHistoryGoesAroundItsEnd(t *testing.T) {
	var d Decompressor
	piece := make([]byte, maxSegment)
	for i := range 50 {
		for j := range piece {
			piece[j] = byte(i*7 + j*j>>5)
		}
		if got, err := d.Expand(Segments(piece)); err != nil || !bytes.Equal(got, piece) {
			t.Fatal(err)
		}
	}
	var e encoder
	e.match(2*maxSegment, 40)
	want := make([]byte, 40)
	for j := range want {
		want[j] = byte(48*7 + j*j>>5)
	}
	if got, err := d.Expand(e.segment()); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("%x, %v, want %x", got, err, want)
	}
}

func TestSegmentsOfAnySizeAreReadAgain(t *testing.T) {
	for _, n := range []int{0, 1, maxSegment, maxSegment + 1, 200000} {
		var d Decompressor
		messages := bytes.Repeat([]byte{1, 2, 3}, n)[:n]
		got, err := d.Expand(Segments(messages))
		if err != nil || !bytes.Equal(got, messages) {
			t.Errorf("%d bytes came back as %d: %v", n, len(got), err)
		}
	}
}

func TestBadSegmentsAreRefused(t *testing.T) {
	var long, far encoder
	long.literal('a')
	for range 3 {
		long.match(1, 30000)
	}
	far.put(9, 0b101111110)
	far.put(24, 1<<24-1)
	far.put(1, 0)
	for name, b := range map[string][]byte{
		"nothing":                          nil,
		"an unknown kind":                  {0xe2, 4, 1},
		"another compression":              {single, 0x21, 1, 0},
		"no end":                           {single, 0x24},
		"more unused bits than there are":  {single, 0x24, 8},
		"a prefix nobody has":              {single, 0x24, 0xbf, 0xff, 0},
		"a literal cut short":              {single, 0x24, 0x01, 0},
		"a segment that gets too long":     long.segment(),
		"a match from before the history":  far.segment(),
		"more bytes than were announced":   append([]byte{multipart, 1, 0, 1, 0, 0, 0, 3, 0, 0, 0, 4}, 1, 2),
		"fewer bytes than were announced":  append([]byte{multipart, 1, 0, 3, 0, 0, 0, 3, 0, 0, 0, 4}, 1, 2),
		"a transmission without a bound":   {multipart, 0, 0, 255, 255, 255, 255},
		"a part that is longer than it is": {multipart, 1, 0, 3, 0, 0, 0, 255, 255, 255, 255},
	} {
		var d Decompressor
		if got, err := d.Expand(b); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
}

func FuzzExpand(f *testing.F) {
	var e encoder
	e.literal('a')
	e.match(1, 300)
	e.raw([]byte("bytes"))
	f.Add(e.segment())
	f.Add(Segments([]byte("messages")))
	f.Add([]byte{multipart, 1, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4, 1, 2})
	f.Fuzz(func(t *testing.T, b []byte) {
		var d Decompressor
		for range 2 {
			got, err := d.Expand(b)
			if err == nil && len(got) > MaxMessages {
				t.Fatalf("%d bytes", len(got))
			}
		}
	})
}
