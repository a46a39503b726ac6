package screen

import (
	"encoding/binary"
	"image"
	"image/color"
	"image/png"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/pawelmojski/inside/proxy/rdpentry/codec"
	"pgregory.net/rapid"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func made(t testing.TB, w, h int) *Screen {
	t.Helper()
	s, err := New(w, h)
	must(t, err)
	return s
}

func TestSizesThatNoScreenHasAreRefused(t *testing.T) {
	for _, size := range [][2]int{{0, 0}, {0, 1}, {1, 0}, {-1, 5}, {8193, 1}, {1, 8193}, {8192, 8192}, {65535, 65535}} {
		if _, err := New(size[0], size[1]); err == nil {
			t.Errorf("%v is a screen", size)
		}
		if err := made(t, 10, 10).Resize(size[0], size[1]); err == nil {
			t.Errorf("a screen becomes %v", size)
		}
	}
}

// flat is a bitmap of one colour that says it covers more than it has.
func flat(left, top, right, bottom, w, h int, colour uint32) codec.Bitmap {
	p := NewPicture(w, h)
	p.Fill(p.bounds(), colour)
	b := p.Bitmaps(p.bounds(), image.Pt(left, top), 24, 60000)[0]
	b.Right, b.Bottom = uint16(right), uint16(bottom)
	return b
}

func TestRectanglesAreDrawnWhereTheyBelong(t *testing.T) {
	for _, c := range []struct {
		name string
		b    codec.Bitmap
		want image.Rectangle
	}{
		{"as large as its pixels", flat(2, 3, 5, 4, 4, 2, 1), image.Rect(2, 3, 6, 5)},
		{"smaller than its pixels", flat(2, 3, 3, 3, 4, 2, 1), image.Rect(2, 3, 4, 4)},
		{"larger than its pixels", flat(2, 3, 9, 9, 4, 2, 1), image.Rect(2, 3, 6, 5)},
		{"over the edge", flat(18, 9, 21, 12, 4, 4, 1), image.Rect(18, 9, 20, 10)},
		{"outside", flat(200, 100, 203, 103, 4, 4, 1), image.Rectangle{}},
		{"as far as can be said", flat(65532, 65532, 65535, 65535, 4, 4, 1), image.Rectangle{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := made(t, 20, 10)
			s.Changed()
			must(t, s.Update(codec.AppendBitmaps(nil, c.b)))
			for i, v := range s.Picture().Pix {
				if at := image.Pt(i%20, i/20); (v == 1) != at.In(c.want) {
					t.Fatalf("%v is %#x", at, v)
				}
			}
			var got image.Rectangle
			for _, r := range s.Changed() {
				got = got.Union(r)
			}
			if got != c.want {
				t.Errorf("changed: %v", got)
			}
		})
	}
}

// A viewer who copies only what changed sees the same as one who copies all.
func TestWhatChangedIsAllThatChanged(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		s, err := New(100, 60)
		if err != nil {
			t.Fatal(err)
		}
		seen, now := NewPicture(100, 60), NewPicture(100, 60)
		for range rapid.IntRange(1, 30).Draw(t, "looks") {
			for range r.IntN(60) {
				scribble(r, s)
			}
			s.Frame(now, true)
			for _, c := range s.Changed() {
				seen.copy(c, now.Pix, now.W, c.Min)
			}
			if !slices.Equal(seen.Pix, now.Pix) {
				t.Fatal("something changed that was not said")
			}
		}
		again, err := New(1, 1)
		if err != nil {
			t.Fatal(err)
		}
		if err := again.SetState(s.AppendState(nil)); err != nil {
			t.Fatal(err)
		}
		again.Frame(now, true)
		if !slices.Equal(seen.Pix, now.Pix) {
			t.Fatal("a keyframe makes another picture")
		}
		if !slices.Equal(s.AppendState(nil), again.AppendState(nil)) {
			t.Fatal("a keyframe of a keyframe differs")
		}
	})
}

// scribble does one of the things that happen to a screen.
func scribble(r *rand.Rand, s *Screen) {
	switch r.IntN(6) {
	case 0, 1, 2:
		w, h := 1+r.IntN(40), 1+r.IntN(20)
		s.Draw(flat(r.IntN(110), r.IntN(70), 65535, 65535, w, h, r.Uint32()&0xffffff))
	case 3:
		s.MovePointer(r.IntN(110), r.IntN(70))
	case 4:
		s.Pointer([]byte{PointerHidden, PointerDefault}[r.IntN(2)], nil)
		place := byte(r.IntN(5))
		s.Pointer(PointerNew, newPointer(place, 24, 8, 8, noise(r, 24*8), noise(r, 16)))
		s.Pointer(PointerCached, []byte{byte(r.IntN(5)), 0})
	case 5:
		s.SetNotice([]string{"", "your stay ends in 5 minutes", "soon"}[r.IntN(3)])
	}
}

func noise(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// newPointer is a TS_POINTERATTRIBUTE with its hot spot at 1, 1.
func newPointer(place byte, depth, w, h int, xor, and []byte) []byte {
	var p []byte
	for _, v := range []int{depth, int(place), 1, 1, w, h, len(and), len(xor)} {
		p = binary.LittleEndian.AppendUint16(p, uint16(v))
	}
	return append(append(p, xor...), and...)
}

func TestPointersLookAsTheServerSays(t *testing.T) {
	for _, c := range []struct {
		name      string
		depth     int
		xor, and  []byte
		beneath   uint32
		wantPixel uint32
	}{
		{"24 bits: a colour", 24, []byte{3, 2, 1, 0}, []byte{0, 0}, 0x808080, 0x010203},
		{"24 bits: masked black is nothing", 24, []byte{0, 0, 0, 0}, []byte{0x80, 0}, 0x808081, 0x808081},
		{"24 bits: masked white inverts", 24, []byte{255, 255, 255, 0}, []byte{0x80, 0}, 0x123456, 0xedcba9},
		{"1 bit: white", 1, []byte{0x80, 0}, []byte{0, 0}, 0x808080, 0xffffff},
		{"1 bit: black", 1, []byte{0, 0}, []byte{0, 0}, 0x808080, 0},
		{"1 bit: nothing", 1, []byte{0, 0}, []byte{0x80, 0}, 0x808080, 0x808080},
		{"1 bit: inverted", 1, []byte{0x80, 0}, []byte{0x80, 0}, 0, 0xffffff},
		{"16 bits", 16, []byte{0x00, 0xf8}, []byte{0, 0}, 0, 0xff0000},
		{"32 bits: opaque", 32, []byte{3, 2, 1, 255}, []byte{0x80, 0}, 0x808080, 0x010203},
		{"32 bits: nothing beside something", 32, []byte{3, 2, 1, 0, 0, 0, 0, 9}, []byte{0, 0}, 0x808080, 0x808080},
		{"32 bits: half", 32, []byte{255, 255, 255, 128}, []byte{0, 0}, 0, 0x808080},
		{"32 bits without alpha", 32, []byte{3, 2, 1, 0}, []byte{0, 0}, 0x808080, 0x010203},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := max(len(c.xor)*8/max(c.depth, 8), 1)
			if c.depth < 24 {
				w = 1
			}
			s := made(t, 20, 10)
			must(t, s.Draw(flat(0, 0, 19, 9, 20, 10, c.beneath)))
			must(t, s.Pointer(PointerNew, newPointer(3, c.depth, min(w, 2), 1, c.xor, c.and)))
			s.MovePointer(6, 6) // the hot spot is one right and one below
			f := NewPicture(20, 10)
			s.Frame(f, true)
			if got := f.Pix[5*20+5]; got != c.wantPixel {
				t.Errorf("%06x", got)
			}
			if s.Picture().Pix[5*20+5] != c.beneath {
				t.Error("the pointer is in the picture")
			}
		})
	}
}

func TestPointersThatCannotBeAreRefused(t *testing.T) {
	s := made(t, 20, 10)
	good := newPointer(3, 24, 8, 8, make([]byte, 24*8), make([]byte, 16))
	for i := range good {
		if s.Pointer(PointerNew, good[:i]) == nil {
			t.Errorf("cut at %d it is still a pointer", i)
		}
	}
	for name, p := range map[string][]byte{
		"huge":            newPointer(0, 24, 65535, 65535, nil, nil),
		"385 wide":        newPointer(0, 1, 385, 1, make([]byte, 50), make([]byte, 50)),
		"5 bits":          newPointer(0, 5, 1, 1, make([]byte, 2), make([]byte, 2)),
		"a short picture": newPointer(0, 24, 8, 8, make([]byte, 8), make([]byte, 16)),
		"a short mask":    newPointer(0, 24, 8, 8, make([]byte, 24*8), make([]byte, 2)),
	} {
		if s.Pointer(PointerNew, p) == nil {
			t.Errorf("%s is a pointer", name)
		}
	}
	if s.Pointer(PointerCached, []byte{9, 0}) == nil || s.Pointer(PointerCached, nil) == nil || s.Pointer(PointerPosition, []byte{1}) == nil || s.Pointer(0x77, nil) == nil {
		t.Error("a pointer that is not there is shown")
	}
	big := newPointer(0, 32, 384, 384, make([]byte, 65535), nil)
	full := false
	for i := 0; i < maxShapes && !full; i++ {
		large := append([]byte{32, 0, byte(i), 0, 0, 0, 0, 0, 0x80, 1, 0x80, 1, 0, 0, 0, 0, 0, 0, 9, 0}, make([]byte, 9<<16)...)
		full = s.Pointer(PointerLarge, large) != nil
	}
	if s.Pointer(PointerNew, big) == nil || !full || s.shapes.bytes > maxShapeBytes {
		t.Errorf("%d bytes of pointers are kept", s.shapes.bytes)
	}
}

func TestANoticeComesAndGoes(t *testing.T) {
	s := made(t, 640, 200)
	must(t, s.Draw(flat(0, 0, 639, 30, 640, 31, 0x204060)))
	before, during, after := NewPicture(640, 200), NewPicture(640, 200), NewPicture(640, 200)
	s.Frame(before, true)
	s.Changed()
	s.SetNotice("your stay on db-01 ends in 5 minutes")
	s.Frame(during, true)
	if slices.Equal(before.Pix, during.Pix) || len(s.Changed()) == 0 {
		t.Error("the notice is not seen")
	}
	s.SetNotice("")
	s.Frame(after, true)
	if !slices.Equal(before.Pix, after.Pix) {
		t.Error("the notice left something behind")
	}
	// What the entry sends to the client is what the frame shows.
	label := Label("your stay on db-01 ends in 5 minutes", 640)
	client := made(t, 640, 200)
	must(t, client.Update(codec.AppendBitmaps(nil, s.Picture().Bitmaps(s.Bounds(), image.Point{}, 24, 16000)...)))
	must(t, client.Update(codec.AppendBitmaps(nil, label.Bitmaps(label.bounds(), LabelAt(label, 640).Min, 24, 16000)...)))
	s.SetNotice("your stay on db-01 ends in 5 minutes")
	s.Frame(after, false)
	if !slices.Equal(client.Picture().Pix, after.Pix) {
		t.Error("the client sees another notice")
	}
	must(t, client.Update(codec.AppendBitmaps(nil, s.Picture().Bitmaps(LabelAt(label, 640), LabelAt(label, 640).Min, 24, 16000)...)))
	if !slices.Equal(client.Picture().Pix, s.Picture().Pix) {
		t.Error("the client is not restored")
	}
}

func TestLabelsFitAnyScreen(t *testing.T) {
	for _, width := range []int{1, 20, 21, 33, 200, 8192} {
		for _, text := range []string{"", "x", "zażółć gęślą jaźń, 漢", strings.Repeat("long ", 60), strings.Repeat("w", 300)} {
			l := Label(text, width)
			if l.W > width || l.H < 1 || len(l.Pix) != l.W*l.H {
				t.Errorf("%d: %q is %d × %d", width, text, l.W, l.H)
			}
			s := made(t, width, 5)
			s.SetNotice(text)
			s.Frame(NewPicture(width, 5), true)
		}
	}
}

// Every character has a form of its own. With INSIDE_SHOW_FONT=file.png the
// test writes all of them, and the pointer, for people to look at.
func TestEveryCharacterHasItsOwnForm(t *testing.T) {
	seen := map[[7]byte]rune{}
	var all strings.Builder
	for c := rune(' '); c <= '~'; c++ {
		g := font[c-' ']
		if other, ok := seen[g]; ok {
			t.Errorf("%c looks like %c", c, other)
		}
		seen[g] = c
		all.WriteRune(c)
	}
	if len([]rune(accented)) != len(unaccented) {
		t.Error("the accented letters do not pair up")
	}
	if file := os.Getenv("INSIDE_SHOW_FONT"); file != "" {
		s := made(t, 800, 200)
		s.SetNotice(all.String() + " zażółć gęślą jaźń")
		f := NewPicture(800, 200)
		s.Frame(f, true)
		img := image.NewRGBA(f.bounds())
		for i, v := range f.Pix {
			img.Set(i%f.W, i/f.W, color.RGBA{uint8(v >> 16), uint8(v >> 8), uint8(v), 255})
		}
		out, err := os.Create(file)
		must(t, err)
		must(t, png.Encode(out, img))
		must(t, out.Close())
	}
}

func TestAStateThatIsCutIsNoScreen(t *testing.T) {
	s := made(t, 4, 3)
	must(t, s.Pointer(PointerNew, newPointer(3, 24, 2, 1, make([]byte, 6), make([]byte, 2))))
	s.SetNotice("x")
	state := s.AppendState(nil)
	for i := range state {
		if made(t, 4, 3).SetState(state[:i]) == nil {
			t.Errorf("cut at %d it is still a state", i)
		}
	}
	if made(t, 4, 3).SetState(append(state, 0)) == nil {
		t.Error("there may be something behind it")
	}
}

func FuzzScreen(f *testing.F) {
	s, _ := New(4, 3)
	s.Pointer(PointerNew, newPointer(3, 24, 2, 1, make([]byte, 6), make([]byte, 2)))
	f.Add(byte(PointerNew), newPointer(3, 32, 2, 2, make([]byte, 16), make([]byte, 4)))
	f.Add(byte(PointerCached), []byte{0, 0})
	f.Add(byte(0), s.AppendState(nil))
	f.Add(byte(1), codec.AppendBitmaps(nil, flat(0, 0, 3, 2, 4, 3, 7)))
	f.Fuzz(func(t *testing.T, what byte, p []byte) {
		s, err := New(20, 10)
		must(t, err)
		switch what {
		case 0:
			if s.SetState(p) != nil {
				return
			}
		case 1:
			s.Update(p)
		default:
			s.Pointer(what, p)
		}
		w, h := s.Bounds().Dx(), s.Bounds().Dy()
		s.Frame(NewPicture(w, h), true)
	})
}

func BenchmarkFrame(b *testing.B) {
	s := made(b, 1024, 768)
	f := NewPicture(1024, 768)
	b.SetBytes(1024 * 768 * 4)
	for b.Loop() {
		s.Frame(f, true)
	}
}

func TestPointersHaveABoundedCache(t *testing.T) {
	s := made(t, 64, 48)
	const side = maxPointer // one bit a pixel: 32 times as much once drawn
	for i := range maxShapes {
		p := newPointer(byte(i), 1, side, side, make([]byte, side*side/8), nil)
		if err := s.Pointer(PointerNew, p); err != nil {
			if i < 16 {
				t.Fatalf("pointer %d: %v", i, err)
			}
			return
		}
	}
	t.Errorf("the gate keeps %d pointers of %d × %d", maxShapes, side, side)
}
