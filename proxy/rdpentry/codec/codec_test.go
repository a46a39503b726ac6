package codec

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestInterleavedPicturesComeBack(t *testing.T) {
	var d Decoder
	for i := range d.Palette {
		d.Palette[i] = uint32(i) * 0x010305 & 0xffffff
	}
	rapid.Check(t, func(t *rapid.T) {
		depth := rapid.SampledFrom([]uint16{8, 15, 16, 24}).Draw(t, "depth")
		w, h := rapid.IntRange(1, 90).Draw(t, "width"), rapid.IntRange(1, 40).Draw(t, "height")
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		want := picture(r, w, h, depth)
		data := encodeInterleaved(r, want, w, h, depth)
		d.colours(want, depth)
		got, err := d.Decode(Bitmap{Width: uint16(w), Height: uint16(h), Depth: depth, Compressed: true, Data: data})
		if err != nil || !slices.Equal(got, want) {
			t.Fatalf("%d × %d at %d: %v", w, h, depth, err)
		}
	})
}

func TestPlanarPicturesComeBack(t *testing.T) {
	var d Decoder
	rapid.Check(t, func(t *rapid.T) {
		w, h := rapid.IntRange(1, 90).Draw(t, "width"), rapid.IntRange(1, 40).Draw(t, "height")
		alpha, rle := rapid.Bool().Draw(t, "alpha"), rapid.Bool().Draw(t, "rle")
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		want := picture(r, w, h, 32)
		data := encodePlanar(r, want, w, h, alpha, rle)
		got, err := d.Decode(Bitmap{Width: uint16(w), Height: uint16(h), Depth: 32, Compressed: true, Data: data})
		if err != nil || !slices.Equal(got, want) {
			t.Fatalf("%d × %d alpha %v rle %v: %v", w, h, alpha, rle, err)
		}
	})
}

// Streams written by hand from the tables of the documents.
func TestOrdersMeanWhatTheDocumentsSay(t *testing.T) {
	const a, b, w = 0x112233, 0x445566, 0xffffff
	for _, c := range []struct {
		name  string
		w, h  uint16
		depth uint16
		data  string
		want  []uint32 // top row first
	}{
		{"a background run in the first row is black", 4, 1, 24, "04", []uint32{0, 0, 0, 0}},
		{"a second background run begins with the foreground", 4, 1, 24, "02 02", []uint32{0, 0, w, 0}},
		{"further up a background run repeats the row below", 2, 2, 24, "82 332211 665544 02", []uint32{a, b, a, b}},
		{"the insertion does not go over into the second row", 2, 2, 24, "02 02", []uint32{0, 0, 0, 0}},
		{"a foreground run is white at first, exclusive or further up", 2, 2, 24, "82 332211 665544 22", []uint32{a ^ w, b ^ w, a, b}},
		{"a set foreground stays", 4, 1, 24, "c2 332211 22", []uint32{a, a, a, a}},
		{"a mask is read from its lowest bit", 8, 1, 24, "41 05", []uint32{w, 0, w, 0, 0, 0, 0, 0}},
		{"a mask of its own length", 4, 1, 24, "40 03 05", []uint32{w, 0, w, 0}},
		{"special 1 is 0x03", 8, 1, 24, "f9", []uint32{w, w, 0, 0, 0, 0, 0, 0}},
		{"special 2 is 0x05", 8, 1, 24, "fa", []uint32{w, 0, w, 0, 0, 0, 0, 0}},
		{"white and black", 2, 1, 24, "fd fe", []uint32{w, 0}},
		{"a dithered run counts pairs", 4, 1, 24, "e2 332211 665544", []uint32{a, b, a, b}},
		{"a mega mega colour run", 4, 1, 24, "f3 0400 332211", []uint32{a, a, a, a}},
		{"a lite length begins at 32", 34, 1, 24, "60 02 332211", slices.Repeat([]uint32{a}, 34)},
		{"rows begin at the bottom", 1, 2, 24, "82 332211 665544", []uint32{b, a}},
		{"16 bits: all ones is white", 2, 1, 16, "82 ffff 00f8", []uint32{w, 0xff0000}},
		{"15 bits: all ones is white", 2, 1, 15, "82 ff7f 007c", []uint32{w, 0xff0000}},
		{"planar: raw planes with a byte behind them", 2, 1, 32, "20 1144 2255 3366 00", []uint32{a, b}},
		{"planar: alpha comes first and is ignored", 2, 1, 32, "00 ffff 1144 2255 3366", []uint32{a, b}},
		{"planar: a run repeats the last byte", 4, 1, 32, "30 13 11 13 22 13 33", []uint32{a, a, a, a}},
		{"planar: a row begins with zero", 4, 1, 32, "30 04 04 13 33", []uint32{0x33, 0x33, 0x33, 0x33}},
		{"planar: rows above are differences", 1, 2, 32, "30 10 11 10 02 10 22 10 01 10 33 10 00", []uint32{0x122133, a}},
		{"planar: a long run", 18, 1, 32, "30 10 11 11 10 22 11 10 33 11", slices.Repeat([]uint32{a}, 18)},
	} {
		t.Run(c.name, func(t *testing.T) {
			data := unhex(t, c.data)
			got, err := new(Decoder).Decode(Bitmap{Width: c.w, Height: c.h, Depth: c.depth, Compressed: true, Data: data})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(string(bytes.ReplaceAll([]byte(s), []byte(" "), nil)))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestWhatIsNotTheRectangleIsAnError(t *testing.T) {
	for _, c := range []struct {
		name       string
		w, h       uint16
		depth      uint16
		compressed bool
		data       string
		want       error
	}{
		{"no width", 0, 1, 24, true, "04", nil},
		{"no height", 1, 0, 24, true, "04", nil},
		{"as large as can be said", 65535, 65535, 24, true, "f0ffff", nil},
		{"larger than its data allows", 2048, 1024, 24, true, "f0ffff", nil},
		{"larger than its rows", 65535, 30, 24, false, "00", ErrShort},
		{"no data", 4, 1, 24, true, "", nil},
		{"too few pixels", 4, 1, 24, true, "03", ErrShort},
		{"too many pixels", 4, 1, 24, true, "05", ErrLong},
		{"an order behind the end", 4, 1, 24, true, "04 21", ErrLong},
		{"a colour that is cut", 4, 1, 24, true, "64 11", ErrShort},
		{"a length that is cut", 4, 1, 24, true, "f3 04", ErrShort},
		{"a mask that is missing", 8, 1, 24, true, "41", ErrShort},
		{"a dithered run that is cut", 4, 1, 24, true, "e2 112233 44", ErrShort},
		{"a byte that begins no order", 4, 1, 24, true, "ff", ErrShort},
		{"interleaved at 4 bits", 4, 1, 4, true, "04", nil},
		{"rows at 4 bits", 4, 1, 4, false, "0404", nil},
		{"planar with reduced colour", 1, 1, 32, true, "21 11 22 33", ErrColorLoss},
		{"planar with subsampling", 1, 1, 32, true, "28 11 22 33", ErrColorLoss},
		{"planar: a plane is missing", 2, 1, 32, true, "20 1144 2255", ErrShort},
		{"planar: a row too long", 2, 1, 32, true, "30 12 11 12 22 12 33", ErrLong},
		{"planar: bytes behind the end", 1, 1, 32, true, "30 10 11 10 22 10 33 00", ErrLong},
		{"planar: only its head", 1, 1, 32, true, "30", ErrShort},
		{"rows: too few", 1, 2, 24, false, "11223300", ErrShort},
		{"rows: too many", 1, 1, 24, false, "1122330000", ErrLong},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := new(Decoder).Decode(Bitmap{Width: c.w, Height: c.h, Depth: c.depth, Compressed: c.compressed, Data: unhex(t, c.data)})
			if err == nil || c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("%v", err)
			}
		})
	}
}

// What the gate draws itself comes back as it was drawn, whatever has to be
// cut so that it fits.
func TestRawBitmapsHoldThePicture(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		depth := rapid.SampledFrom([]uint16{15, 16, 24, 32}).Draw(t, "depth")
		w, h := rapid.IntRange(1, 300).Draw(t, "width"), rapid.IntRange(1, 20).Draw(t, "height")
		limit := rapid.SampledFrom([]int{64, 500, 16000}).Draw(t, "limit")
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		want := picture(r, w, h, min(depth, 24))
		var d Decoder
		d.colours(want, depth)
		bitmaps, err := ParseBitmaps(AppendBitmaps(nil, Raw(7, 9, w, h, want, w, depth, limit)...))
		if err != nil {
			t.Fatal(err)
		}
		got := make([]uint32, w*h)
		for _, b := range bitmaps {
			if len(b.Data) > limit {
				t.Fatalf("%d bytes of data", len(b.Data))
			}
			pix, err := d.Decode(b)
			if err != nil {
				t.Fatal(err)
			}
			for y := range int(b.Height) {
				copy(got[(int(b.Top)-9+y)*w+int(b.Left)-7:], pix[y*int(b.Width):][:b.Width])
			}
		}
		if !slices.Equal(got, want) {
			t.Fatal("another picture")
		}
	})
}

func TestUpdatesAreReadAsTheyAreWritten(t *testing.T) {
	want := []Bitmap{
		{Left: 1, Top: 2, Right: 3, Bottom: 4, Width: 4, Height: 3, Depth: 24, Compressed: true, Data: []byte{1, 2, 3}},
		{Right: 65535, Bottom: 65535, Width: 65535, Height: 65535, Depth: 32, Data: []byte{}},
	}
	p := AppendBitmaps(nil, want...)
	got, err := ParseBitmaps(p)
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Error(err, diff)
	}
	for i := range p {
		if _, err := ParseBitmaps(p[:i]); err == nil {
			t.Errorf("cut at %d it is still an update", i)
		}
	}
	withHeader := unhex(t, "0100 0100 0000 0000 0300 0000 0400 0100 1800 0100 0900 0000 0100 0c00 0c00 04")
	got, err = ParseBitmaps(withHeader)
	if err != nil || len(got) != 1 || !bytes.Equal(got[0].Data, []byte{4}) {
		t.Errorf("%+v %v", got, err)
	}
}

func TestAPaletteIsRead(t *testing.T) {
	p := append(unhex(t, "0200 0000 00010000"), make([]byte, 768)...)
	copy(p[8+3*5:], []byte{0x11, 0x22, 0x33})
	pal, err := ParsePalette(p)
	if err != nil || pal[5] != 0x112233 {
		t.Errorf("%x %v", pal[5], err)
	}
	for _, bad := range []string{"", "0200 0000 ffffffff", "0100 0000 00000000", "0200 0000 01000000 1122"} {
		if _, err := ParsePalette(unhex(t, bad)); err == nil {
			t.Errorf("%q is a palette", bad)
		}
	}
}

func FuzzDecode(f *testing.F) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, depth := range []uint16{8, 15, 16, 24} {
		f.Add(uint16(20), uint16(10), depth, true, encodeInterleaved(r, picture(r, 20, 10, depth), 20, 10, depth))
	}
	for i := range 4 {
		f.Add(uint16(20), uint16(10), uint16(32), true, encodePlanar(r, picture(r, 20, 10, 32), 20, 10, i&1 != 0, i&2 != 0))
	}
	f.Add(uint16(2), uint16(2), uint16(24), false, make([]byte, 16))
	f.Add(uint16(65535), uint16(65535), uint16(24), true, []byte{0xf0, 0xff, 0xff})
	f.Add(uint16(0), uint16(0), uint16(24), true, []byte{})
	f.Fuzz(func(t *testing.T, w, h, depth uint16, compressed bool, data []byte) {
		pix, err := new(Decoder).Decode(Bitmap{Width: w, Height: h, Depth: depth, Compressed: compressed, Data: data})
		if err == nil && len(pix) != int(w)*int(h) {
			t.Fatalf("%d pixels", len(pix))
		}
		for _, v := range pix {
			if v > 0xffffff {
				t.Fatalf("pixel %#x", v)
			}
		}
	})
}

func FuzzParseBitmaps(f *testing.F) {
	f.Add(AppendBitmaps(nil, Bitmap{Right: 3, Width: 4, Height: 1, Depth: 24, Compressed: true, Data: []byte{4}}))
	f.Add([]byte{1, 0, 255, 255})
	f.Fuzz(func(t *testing.T, p []byte) {
		bitmaps, err := ParseBitmaps(p)
		if err != nil {
			return
		}
		again, err := ParseBitmaps(AppendBitmaps(nil, bitmaps...))
		if diff := cmp.Diff(bitmaps, again); err != nil || diff != "" {
			t.Fatal(err, diff)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, depth := range []uint16{16, 24, 32} {
		b.Run(fmt.Sprint(depth), func(b *testing.B) {
			pix := picture(r, 64, 64, depth)
			bm := Bitmap{Width: 64, Height: 64, Depth: depth, Compressed: true}
			if depth == 32 {
				bm.Data = encodePlanar(r, pix, 64, 64, false, true)
			} else {
				bm.Data = encodeInterleaved(r, pix, 64, 64, depth)
			}
			var d Decoder
			b.SetBytes(64 * 64 * 4)
			for b.Loop() {
				if _, err := d.Decode(bm); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
