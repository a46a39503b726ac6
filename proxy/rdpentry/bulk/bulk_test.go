package bulk

import (
	"bytes"
	"encoding/hex"
	"math/rand/v2"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// The example of MS-RDPBCGR 3.1.8.4.1: "for.whom.the.bell.tolls,.the.bell.
// tolls.for.thee!" goes through an 8 KiB history as literals and two copies.
func TestTheTextOfTheDocumentComesBack(t *testing.T) {
	text := "for.whom.the.bell.tolls,.the.bell.tolls.for.thee!"
	var w bitWriter
	for _, b := range []byte("for.whom.the.bell.tolls,") {
		w.literal(b)
	}
	w.match(K8, 16, 15)
	w.literal('.')
	w.match(K8, 40, 4)
	w.match(K8, 19, 3)
	w.literal('e')
	w.literal('!')
	got, err := new(Decompressor).Decompress(Compressed|AtFront|byte(K8), w.finish())
	if err != nil || string(got) != text {
		t.Fatalf("%q %v", got, err)
	}
}

// Bits written out by hand from the tables of MS-RDPBCGR 3.1.8.4.
func TestSymbolsAreReadAsTheTablesSay(t *testing.T) {
	for _, c := range []struct {
		name string
		kind Kind
		bits string
		want string
	}{
		{"a literal below 0x80", K8, "01100001", "a"},
		{"a literal from 0x80 on", K8, "10 0000001", "\x81"},
		{"8K: offset 1, length 3", K8, "01100001 1111 000001 0", "aaaa"},
		{"8K: length 4", K8, "01100001 1111 000001 10 00", "aaaaa"},
		{"8K: length 7", K8, "01100001 1111 000001 10 11", "aaaaaaaa"},
		{"8K: length 8", K8, "01100001 1111 000001 110 000", "aaaaaaaaa"},
		{"64K: offset 1, length 3", K64, "01100001 11111 000001 0", "aaaa"},
		{"64K: offset 64+1 reaches around into zeros", K64, "01100001 11110 00000001 0", "a\x00\x00\x00"},
		{"64K: offset 320", K64, "01100001 1110 00000000000 0", "a\x00\x00\x00"},
		{"64K: offset 2368", K64, "01100001 110 0000000000000000 0", "a\x00\x00\x00"},
		{"8K: offset 320", K8, "01100001 110 0000000000000 0", "a\x00\x00\x00"},
		{"64K: length 32768", K64, "01100001 11111 000001 111111111111110 000000000000000", "a" + strings.Repeat("a", 32768)},
		{"8K: length 4096", K8, "01100001 1111 000001 111111111110 000000000000", "a" + strings.Repeat("a", 4096)},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := new(Decompressor).Decompress(Compressed|AtFront|byte(c.kind), fromBits(c.bits))
			if err != nil || string(got) != c.want {
				t.Fatalf("%q %v", got, err)
			}
		})
	}
}

func fromBits(s string) []byte {
	var w bitWriter
	for _, b := range s {
		switch b {
		case '0':
			w.put(0, 1)
		case '1':
			w.put(1, 1)
		}
	}
	return w.finish()
}

func TestWhatAPeerMustNotSendIsAnError(t *testing.T) {
	for _, c := range []struct{ name, bits, want string }{
		{"a copy with offset 0", "01100001 11111 000000 0", "nowhere"},
		{"a copy that is cut", "01100001 11111 00", "middle"},
		{"more than the history holds", "01100001 11111 000001 111111111111110 111111111111111 11111 000001 0", "longer"},
		{"a length that cannot be", "01100001 11111 000001 1111111111111110", "longer"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got, err := new(Decompressor).Decompress(Compressed|AtFront|byte(K64), fromBits(c.bits)); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("%q %v", got, err)
			}
		})
	}
	for kind := byte(2); kind < 16; kind++ {
		if _, err := new(Decompressor).Decompress(Compressed|kind, []byte{1}); err == nil {
			t.Errorf("type %d is taken", kind)
		}
	}
}

func TestPacketsThatAreNotCompressedLeaveTheHistoryAlone(t *testing.T) {
	c, d := NewCompressor(K64), new(Decompressor)
	for range 3 {
		out, flags := c.Compress([]byte("the same line, again and again and again\n"))
		if _, err := d.Decompress(flags, bytes.Clone(out)); err != nil {
			t.Fatal(err)
		}
		if got, err := d.Decompress(0, []byte("injected")); err != nil || string(got) != "injected" {
			t.Fatalf("%q %v", got, err)
		}
	}
	out, flags := c.Compress([]byte("the same line, again and again and again\n"))
	got, err := d.Decompress(flags, out)
	if err != nil || string(got) != "the same line, again and again and again\n" {
		t.Fatalf("%q %v", got, err)
	}
}

func TestWhatIsCompressedComesBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		kind := rapid.SampledFrom([]Kind{K8, K64}).Draw(t, "kind")
		seed := rapid.Uint64().Draw(t, "seed")
		r := rand.New(rand.NewPCG(seed, 1))
		c, d := NewCompressor(kind), new(Decompressor)
		for range rapid.IntRange(1, 40).Draw(t, "packets") {
			data := sample(r)
			out, flags := c.Compress(data)
			if len(out) > len(data) {
				t.Fatalf("%d bytes became %d", len(data), len(out))
			}
			got, err := d.Decompress(flags, bytes.Clone(out))
			if err != nil || !bytes.Equal(got, data) {
				t.Fatalf("%d bytes, flags %#x: %d bytes, %v", len(data), flags, len(got), err)
			}
		}
	})
}

// sample is a packet as updates have them: runs, repeats and noise.
func sample(r *rand.Rand) []byte {
	size := 1 << r.IntN(15)
	var data []byte
	for len(data) < size {
		switch r.IntN(3) {
		case 0:
			data = append(data, bytes.Repeat([]byte{byte(r.Uint32())}, 1+r.IntN(300))...)
		case 1:
			data = append(data, byte(r.Uint32()), byte(r.Uint32()))
		case 2:
			if from := r.IntN(len(data) + 1); from < len(data) {
				data = append(data, data[from:min(len(data), from+r.IntN(500))]...)
			}
		}
	}
	return data[:size]
}

func TestRepeatedTextShrinks(t *testing.T) {
	data := []byte(strings.Repeat("scrolling text on a terminal, line after line\r\n", 200))
	out, _ := NewCompressor(K64).Compress(data)
	if len(out) > len(data)/20 {
		t.Errorf("%d bytes became %d", len(data), len(out))
	}
}

func FuzzDecompress(f *testing.F) {
	for _, s := range []string{"", "61f00800", "ffffffffffffffffff", "61f83fffdfffff"} {
		b, _ := hex.DecodeString(s)
		f.Add(byte(Compressed|K64), b, byte(Compressed|AtFront|K64), b)
		f.Add(byte(Compressed|K8), b, byte(Flushed|Compressed), b)
	}
	f.Fuzz(func(t *testing.T, f1 byte, p1 []byte, f2 byte, p2 []byte) {
		var d Decompressor
		for _, p := range []struct {
			flags byte
			data  []byte
		}{{f1, p1}, {f2, p2}, {f1, p2}} {
			out, err := d.Decompress(p.flags, p.data)
			if err == nil && p.flags&Compressed != 0 && len(out) > 64<<10 {
				t.Fatalf("%d bytes", len(out))
			}
		}
	})
}

func BenchmarkDecompress(b *testing.B) {
	data := []byte(strings.Repeat("scrolling text on a terminal, line after line; ", 20))
	r := rand.New(rand.NewPCG(1, 1))
	for i := range data {
		if r.IntN(8) == 0 {
			data[i] = byte(r.Uint32())
		}
	}
	c, d := NewCompressor(K64), new(Decompressor)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		out, flags := c.Compress(data)
		if _, err := d.Decompress(flags, out); err != nil {
			b.Fatal(err)
		}
	}
}
