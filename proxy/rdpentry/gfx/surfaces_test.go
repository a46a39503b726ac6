package gfx

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"slices"
	"testing"
)

// A board is an output of a few pixels.
type board struct {
	w, h  int
	pix   []uint32
	words string
}

func (b *board) Reset(w, h int) error {
	if w*h > 1<<20 {
		return errors.New("too large")
	}
	b.w, b.h, b.pix = w, h, make([]uint32, w*h)
	return nil
}

func (b *board) Show(r image.Rectangle, pix []uint32, stride int) {
	in := r.Intersect(image.Rect(0, 0, b.w, b.h))
	for y := in.Min.Y; y < in.Max.Y; y++ {
		copy(b.pix[y*b.w+in.Min.X:][:in.Dx()], pix[(y-r.Min.Y)*stride+in.Min.X-r.Min.X:])
	}
}

const worded = 0x777777

func (b *board) Words(kind string) (int, []uint32) {
	b.words = kind
	return 1, []uint32{worded}
}

func (b *board) at(x, y int) uint32 { return b.pix[y*b.w+x] }

// Messages as a server sends them.

func reset(w, h int) []byte {
	body := le.AppendUint32(le.AppendUint32(nil, uint32(w)), uint32(h))
	return put(nil, resetGraphics, append(body, make([]byte, 324)...))
}

func create(id, w, h int) []byte {
	return put(nil, createSurface, append(appendU16(nil, id, w, h), 0x20))
}

func mapped(id, x, y int) []byte {
	return put(nil, mapToOutput, le.AppendUint32(le.AppendUint32(appendU16(nil, id, 0), uint32(x)), uint32(y)))
}

func filled(id int, colour uint32, r ...int) []byte {
	body := le.AppendUint32(appendU16(nil, id), colour)
	body = appendU16(body, len(r)/4)
	return put(nil, solidFill, appendU16(body, r...))
}

func drawn(id, codec int, r image.Rectangle, data []byte) []byte {
	body := append(appendU16(nil, id, codec), 0x20)
	body = appendU16(body, r.Min.X, r.Min.Y, r.Max.X, r.Max.Y)
	return put(nil, wireToSurface, append(le.AppendUint32(body, uint32(len(data))), data...))
}

func frame(number uint32, messages ...[]byte) []byte {
	out := put(nil, startFrame, le.AppendUint32(make([]byte, 4), number))
	out = append(out, slices.Concat(messages...)...)
	return put(out, endFrame, le.AppendUint32(nil, number))
}

// desktop has one red surface of 8 by 8 over an output of 10 by 10.
func desktop(t testing.TB) (*Surfaces, *board) {
	t.Helper()
	b := &board{}
	s := &Surfaces{Output: b}
	if _, err := s.Apply(slices.Concat(reset(10, 10), create(1, 8, 8), mapped(1, 2, 2), frame(1, filled(1, 0xff0000, 0, 0, 8, 8)))); err != nil {
		t.Fatal(err)
	}
	return s, b
}

const red, green, blue = 0xff0000, 0x00ff00, 0x0000ff

func TestWhatAServerDrawsComesOntoTheDesktop(t *testing.T) {
	pixels := func(n int, colour uint32) (b []byte) {
		for range n {
			b = le.AppendUint32(b, colour|0xff000000)
		}
		return b
	}
	cached := func(slot int, r ...int) []byte {
		return put(nil, surfaceToCache, appendU16(appendU16(nil, 1, 7, 0, 0, 0, slot), r...))
	}
	pasted := func(slot int, at ...int) []byte {
		return put(nil, cacheToSurface, appendU16(appendU16(nil, slot, 1, len(at)/2), at...))
	}
	copied := func(from, to int, r image.Rectangle, at ...int) []byte {
		return put(nil, surfaceToSurface, appendU16(appendU16(nil, from, to, r.Min.X, r.Min.Y, r.Max.X, r.Max.Y, len(at)/2), at...))
	}
	for _, c := range []struct {
		name   string
		does   [][]byte
		x, y   int
		colour uint32
	}{
		{"a fill", nil, 2, 2, red},
		{"nothing beside the surface", nil, 1, 5, 0},
		{"pixels as they are", [][]byte{drawn(1, codecUncompressed, image.Rect(1, 1, 3, 3), pixels(4, blue))}, 4, 4, blue},
		{"pixels over the edge", [][]byte{drawn(1, codecUncompressed, image.Rect(6, 6, 10, 10), pixels(16, blue))}, 9, 9, blue},
		{"planar coding, the top row first", [][]byte{drawn(1, codecPlanar, image.Rect(0, 0, 1, 2), []byte{0x20, 0, 0, 0xff, 0, 0, 0xff, 0})}, 2, 2, green},
		{"and the last row last", [][]byte{drawn(1, codecPlanar, image.Rect(0, 0, 1, 2), []byte{0x20, 0, 0, 0xff, 0, 0, 0xff, 0})}, 2, 3, blue},
		{"a copy between surfaces", [][]byte{create(2, 4, 4), filled(2, green, 0, 0, 4, 4), copied(2, 1, image.Rect(0, 0, 2, 2), 3, 3)}, 5, 5, green},
		{"a copy onto itself, downwards", [][]byte{filled(1, green, 0, 0, 8, 1), copied(1, 1, image.Rect(0, 0, 8, 7), 0, 1)}, 2, 4, red},
		{"a copy from beyond the edge", [][]byte{filled(1, green, 0, 0, 1, 1), copied(1, 1, image.Rect(0, 0, 8, 8), 0xfffe, 0xfffe)}, 2, 2, red},
		{"the cache", [][]byte{filled(1, green, 0, 0, 2, 2), cached(9, 0, 0, 2, 2), filled(1, blue, 0, 0, 8, 8), pasted(9, 4, 4)}, 6, 6, green},
		{"nothing of a slot that is empty", [][]byte{cached(9, 0, 0, 2, 2), put(nil, evictCache, appendU16(nil, 9)), filled(1, blue, 0, 0, 8, 8), pasted(9, 4, 4)}, 6, 6, blue},
		{"a surface that moves", [][]byte{mapped(1, 0, 0)}, 0, 0, red},
		{"nothing of a deleted surface", [][]byte{put(nil, deleteSurface, appendU16(nil, 1)), filled(1, blue, 0, 0, 8, 8)}, 2, 2, red},
		{"black after a reset", [][]byte{reset(6, 6)}, 3, 3, 0},
	} {
		s, b := desktop(t)
		_, err := s.Apply(frame(2, c.does...))
		if err != nil || b.at(c.x, c.y) != c.colour {
			t.Errorf("%s: %06x at %d, %d, want %06x (%v)", c.name, b.at(c.x, c.y), c.x, c.y, c.colour, err)
		}
	}
}

func TestNothingOfAFrameIsShownBeforeItsEnd(t *testing.T) {
	s, b := desktop(t)
	whole := frame(2, filled(1, green, 0, 0, 4, 4))
	last := len(whole) - headerSize - 4
	drawn, err := s.Apply(whole[:last])
	if err != nil || b.at(2, 2) != red || len(drawn) > 0 {
		t.Fatalf("%06x, drawn %v, %v", b.at(2, 2), drawn, err)
	}
	drawn, err = s.Apply(whole[last:])
	if err != nil || b.at(2, 2) != green || !slices.Equal(drawn, []image.Rectangle{image.Rect(2, 2, 6, 6)}) {
		t.Fatalf("%06x, drawn %v, %v", b.at(2, 2), drawn, err)
	}
}

func TestWhatCannotBeShownSaysSoInItsPlace(t *testing.T) {
	region := append(appendU16(nil, 0xccc4, 18+8, 0), 64, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	region = appendU16(region, 4, 4, 2, 2)
	progressive := append(appendU16(nil, 1, codecProgressive, 0, 0), 0x20)
	progressive = append(le.AppendUint32(progressive, uint32(len(region))), region...)
	for _, c := range []struct {
		name    string
		message []byte
		words   string
	}{
		{"ClearCodec", drawn(1, codecClear, image.Rect(4, 4, 6, 6), []byte{1}), "ClearCodec"},
		{"RemoteFX", drawn(1, codecRemoteFX, image.Rect(4, 4, 6, 6), []byte{1}), "RemoteFX"},
		{"AVC444", drawn(1, codecAVC444, image.Rect(4, 4, 6, 6), []byte{1}), "H.264 (AVC444)"},
		{"AVC420 without a decoder", drawn(1, codecAVC420, image.Rect(0, 0, 8, 8), picture("x", 4, 4, 6, 6)), "H.264 (AVC420)"},
		{"planar that does not decode", drawn(1, codecPlanar, image.Rect(4, 4, 6, 6), []byte{0x20, 1}), "planar"},
		{"progressive, where its regions are", put(nil, wireToSurface2, progressive), "RemoteFX progressive"},
		{"a codec nobody knows", drawn(1, 0x77, image.Rect(4, 4, 6, 6), nil), "unknown"},
	} {
		s, b := desktop(t)
		var not NotShown
		s.Hidden = func(n NotShown) { not = n }
		_, err := s.Apply(append(frame(2, c.message), filled(1, blue, 0, 0, 1, 1)...))
		if err != nil || not.Kind != c.words || b.words != c.words || b.at(6, 6) != worded || b.at(5, 5) != red || b.at(2, 2) != blue {
			t.Errorf("%s: %v, words %q, pixels %06x %06x %06x", c.name, err, b.words, b.at(6, 6), b.at(5, 5), b.at(2, 2))
		}
	}
}

// picture is one of H.264 that is shown in a rectangle.
func picture(data string, r ...int) []byte {
	b := le.AppendUint32(nil, uint32(len(r)/4))
	b = appendU16(b, r...)
	return append(append(b, make([]byte, len(r)/2)...), data...)
}

func TestWordsAreDrawnOnceAndToldOfAgain(t *testing.T) {
	s, b := desktop(t)
	film := frame(2, drawn(1, codecAVC420, image.Rect(0, 0, 8, 8), picture("x", 2, 2, 6, 6)))
	apply := func(messages []byte) []image.Rectangle {
		t.Helper()
		drawn, err := s.Apply(messages)
		if err != nil {
			t.Fatal(err)
		}
		return drawn
	}
	at := []image.Rectangle{image.Rect(4, 4, 8, 8)}
	first := apply(film)
	b.pix[5*b.w+5] = 1 // not drawn on again, but told of
	if again := apply(film); !slices.Equal(first, at) || !slices.Equal(again, at) || b.at(5, 5) != 1 || b.at(6, 6) != worded {
		t.Errorf("drawn on %v, then %v; %06x", first, again, b.at(5, 5))
	}
	apply(filled(1, blue, 4, 4, 5, 5))
	apply(film)
	if b.at(5, 5) != worded || b.at(6, 6) != worded {
		t.Error("what was drawn on the words stays")
	}
	apply(reset(10, 10))
	apply(film)
	if b.at(6, 6) != worded {
		t.Error("after a reset there are no words")
	}
}

func TestPicturesOfH264AreNumberedByTheirSurface(t *testing.T) {
	messages := slices.Concat(create(1, 8, 8), create(2, 4, 4),
		drawn(1, codecAVC420, image.Rect(0, 0, 8, 8), picture("a", 0, 0, 8, 8)), drawn(2, codecAVC420, image.Rect(0, 0, 8, 8), picture("b", 0, 0, 4, 4)),
		drawn(1, codecAVC420, image.Rect(0, 0, 8, 8), picture("c", 0, 0, 2, 2)), create(1, 6, 6),
		drawn(1, codecAVC420, image.Rect(0, 0, 8, 8), picture("d", 0, 0, 8, 8)), drawn(9, codecAVC420, image.Rect(0, 0, 8, 8), picture("e", 0, 0, 8, 8)))
	want := []string{"0/0 8x8 a", "1/0 4x4 b", "0/1 8x8 c", "2/0 6x6 d"}
	told := func(v Video) string {
		return fmt.Sprintf("%d/%d %dx%d %s", v.Stream, v.Picture, v.Width, v.Height, v.Data)
	}
	var got, decoded []string
	var streams Streams
	over := streams.Pictures(messages, func(v Video) bool { got = append(got, told(v)); return true })
	s := &Surfaces{Output: &board{}, Video: func(v Video) (Frame, error) {
		decoded = append(decoded, told(v))
		f, _ := Planes(v.Width, v.Height, bytes.Repeat([]byte{255}, v.Width*v.Height*3/2))
		return f, nil
	}}
	_, err := s.Apply(messages)
	if err != nil || !slices.Equal(got, want) || !slices.Equal(decoded, want) || !slices.Equal(over, []int{0}) {
		t.Errorf("streams %q, surfaces %q, over %v, %v", got, decoded, over, err)
	}
}

// MS-RDPEGFX 3.3.8.3.1 gives the conversion.
func TestColoursOfH264AreThoseOfTheDocument(t *testing.T) {
	for name, c := range map[string]struct {
		y, u, v byte
		want    uint32
	}{
		"black": {0, 128, 128, 0}, "white": {255, 128, 128, 0xffffff}, "red": {54, 99, 255, 0xfd0500},
		"blue": {18, 255, 116, 0x0000fd}, "grey": {128, 128, 128, 0x808080},
	} {
		f := Frame{2, 2, bytes.Repeat([]byte{c.y}, 4), []byte{c.u}, []byte{c.v}}
		row := make([]uint32, 1)
		f.row(row, 1, 1)
		got := row[0]
		for shift := 0; shift < 24; shift += 8 {
			if d := int(got>>shift&0xff) - int(c.want>>shift&0xff); d > 6 || d < -6 {
				t.Errorf("%s: %06x, want %06x", name, got, c.want)
			}
		}
	}
}

func TestHostileMessagesAreRefused(t *testing.T) {
	for name, messages := range map[string][]byte{
		"a header cut short":              {1, 0, 0},
		"a length beyond the end":         {1, 0, 0, 0, 9, 0, 0, 0},
		"a length within the header":      {1, 0, 0, 0, 7, 0, 0, 0},
		"a surface without pixels":        create(1, 0, 5),
		"a rectangle inside out":          filled(1, red, 5, 5, 1, 1),
		"more rectangles than there are":  put(nil, solidFill, appendU16(nil, 1, 0, 0, 9)),
		"more points than there are":      put(nil, cacheToSurface, appendU16(nil, 1, 1, 9)),
		"fewer pixels than the rectangle": drawn(1, codecUncompressed, image.Rect(0, 0, 5, 5), make([]byte, 99)),
		"a bitmap cut short":              put(nil, wireToSurface, append(make([]byte, 13), 1, 0, 0, 0)),
		"a desktop without bounds":        put(nil, resetGraphics, bytes.Repeat([]byte{255}, 332)),
		"a picture with many rectangles":  drawn(1, codecAVC420, image.Rect(0, 0, 1, 1), []byte{255, 255, 255, 255}),
	} {
		s, _ := desktop(t)
		if _, err := s.Apply(messages); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWhatAServerKeepsIsBounded(t *testing.T) {
	s, _ := desktop(t)
	var err error
	for id := 10; id < 2000 && err == nil; id++ {
		_, err = s.Apply(create(id, 1024, 1024))
	}
	if !errors.Is(err, ErrTooMuch) || s.pixels > mostPixels {
		t.Errorf("surfaces: %v after %d pixels", err, s.pixels)
	}
	s, _ = desktop(t)
	if _, err = s.Apply(create(2, 1024, 1024)); err != nil {
		t.Fatal(err)
	}
	for slot := 0; slot < 2000 && err == nil; slot++ {
		_, err = s.Apply(put(nil, surfaceToCache, appendU16(nil, 2, 0, 0, 0, 0, slot, 0, 0, 1024, 1024)))
	}
	if !errors.Is(err, ErrTooMuch) || s.cached > mostCached {
		t.Errorf("cache: %v after %d pixels", err, s.cached)
	}
}

func TestTheStateOfSurfacesMakesTheSame(t *testing.T) {
	s, b := desktop(t)
	_, err := s.Apply(slices.Concat(create(2, 3, 4), filled(2, blue, 0, 0, 3, 4), put(nil, surfaceToCache, appendU16(nil, 2, 0, 0, 0, 0, 5, 0, 0, 2, 2))))
	if err != nil {
		t.Fatal(err)
	}
	state := s.AppendState(nil)
	other := &Surfaces{Output: b}
	if err := other.SetState(state); err != nil || !bytes.Equal(other.AppendState(nil), state) {
		t.Fatal(err)
	}
	if _, err := other.Apply(put(nil, cacheToSurface, appendU16(nil, 5, 1, 1, 0, 0))); err != nil || b.at(3, 3) != blue || b.at(5, 5) != red {
		t.Errorf("%06x %06x %v", b.at(3, 3), b.at(5, 5), err)
	}
	for n := range state {
		if err := (&Surfaces{Output: b}).SetState(state[:n]); err == nil {
			t.Errorf("%d of %d bytes are a state", n, len(state))
		}
	}
}

func TestANoticeLiesOverTheDesktopAndGoesWithoutATrace(t *testing.T) {
	s, b := desktop(t)
	var c Client
	var n Notice
	at := image.Rect(0, 0, 5, 3)
	// The client's own picture is made of what the server sends and of the
	// gate's messages; the gate's surfaces hold the former only.
	before := slices.Clone(b.pix)
	client := &Surfaces{Output: b}
	if err := client.SetState(s.AppendState(nil)); err != nil {
		t.Fatal(err)
	}
	apply := func(messages []byte) {
		t.Helper()
		if _, err := client.Apply(messages); err != nil {
			t.Fatal(err)
		}
	}
	apply(n.Put(s, &c, at, slices.Repeat([]uint32{green}, 21), 7))
	if b.at(4, 2) != green || b.at(5, 2) != red {
		t.Fatal("the notice is not over the desktop")
	}
	draws := frame(2, filled(1, blue, 0, 0, 8, 8))
	if _, err := s.Apply(draws); err != nil {
		t.Fatal(err)
	}
	apply(draws)
	apply(n.Again(&c))
	if b.at(4, 2) != green || b.at(5, 2) != blue {
		t.Fatal("the notice was not drawn again")
	}
	taken := create(ownSurface, 2, 2)
	if _, err := s.Apply(taken); err != nil || !n.Lost(s) || n.Lost(s) {
		t.Fatal("a server that takes the notice's number is not noticed")
	}
	apply(taken)
	apply(n.Put(s, &c, at, slices.Repeat([]uint32{green}, 21), 7))
	apply(n.Put(s, &c, image.Rectangle{}, nil, 0))
	for i, v := range b.pix {
		if before[i] == red && v != blue {
			t.Fatalf("pixel %d, %d is %06x after the notice", i%b.w, i/b.w, v)
		}
	}
	if len(n.Put(s, &c, image.Rectangle{}, nil, 0)) > 0 || len(n.Again(&c)) > 0 {
		t.Error("a notice that is gone goes on")
	}
	// Four frames of the gate's: the server hears of none of them.
	acks := func(number, total uint32) []byte {
		return put(nil, frameAcknowledge, le.AppendUint32(le.AppendUint32(make([]byte, 4), number), total))
	}
	got, err := c.Rewrite(slices.Concat(acks(ownFrame, 3), acks(ownFrame, 4), acks(7, 5)))
	if err != nil || !bytes.Equal(got, acks(7, 3)) {
		t.Errorf("%x, %v", got, err)
	}
}

func TestAClientOffersOnlyWhatCanBeRecorded(t *testing.T) {
	sets := func(pairs ...uint32) (b []byte) {
		b = appendU16(nil, len(pairs)/2)
		for i := 0; i < len(pairs); i += 2 {
			b = le.AppendUint32(le.AppendUint32(le.AppendUint32(b, pairs[i]), 4), pairs[i+1])
		}
		return put(nil, capsAdvertise, b)
	}
	for _, c := range []struct {
		name      string
		says, can []byte
	}{
		{"AVC444 is taken away, AVC420 stays", sets(version8, 0, version81, avc420, version10, 0, 0xa0701, 0), sets(version8, smallCache, version81, smallCache|avc420)},
		{"who can AVC444 can AVC420", sets(version8, 0, version81, 0, 0xa0400, 0), sets(version8, smallCache, version81, smallCache|avc420)},
		{"who has no H.264 gets none", sets(version8, 0, version81, 0, 0xa0400, avcDisabled), sets(version8, smallCache)},
		{"a thin client stays one", sets(version8, thinClient, version81, thinClient|avc420), sets(version8, thinClient, version81, thinClient|avc420)},
		{"what clients kept is not told", put(nil, 0x10, make([]byte, 10)), nil},
		{"nor how fast they were", put(nil, 0x16, make([]byte, 12)), nil},
	} {
		var client Client
		got, err := client.Rewrite(c.says)
		if err != nil || !bytes.Equal(got, c.can) {
			t.Errorf("%s: %x, %v, want %x", c.name, got, err, c.can)
		}
	}
	for name, b := range map[string][]byte{
		"many sets":        put(nil, capsAdvertise, appendU16(nil, 1000)),
		"a set cut short":  put(nil, capsAdvertise, appendU16(nil, 1, 4, 8)),
		"a long set":       put(nil, capsAdvertise, append(appendU16(nil, 1, 4, 8), 255, 255, 255, 255)),
		"half an answer":   put(nil, frameAcknowledge, make([]byte, 11)),
		"bytes of no kind": {1, 2, 3},
	} {
		var client Client
		if _, err := client.Rewrite(b); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzApply(f *testing.F) {
	f.Add(slices.Concat(reset(10, 10), create(1, 8, 8), mapped(1, 2, 2), frame(1, filled(1, red, 0, 0, 8, 8))))
	f.Add(slices.Concat(create(1, 8, 8), mapped(1, 0, 0), drawn(1, codecAVC420, image.Rect(0, 0, 8, 8), picture("a", 0, 0, 8, 8))))
	f.Add(put(nil, surfaceToCache, appendU16(nil, 1, 0, 0, 0, 0, 5, 0, 0, 2, 2)))
	f.Add(drawn(1, codecPlanar, image.Rect(0, 0, 1, 2), []byte{0x20, 0, 0, 0xff, 0, 0, 0xff, 0}))
	f.Fuzz(func(t *testing.T, messages []byte) {
		s, _ := desktop(t)
		s.Apply(messages)
		if s.pixels > mostPixels || s.cached > mostCached || s.pixels < 0 || s.cached < 0 {
			t.Fatalf("%d pixels, %d cached", s.pixels, s.cached)
		}
		if state := s.AppendState(nil); len(state) < 1<<20 {
			if err := s.SetState(state); err != nil {
				t.Fatal(err)
			}
		}
		new(Streams).Pictures(messages, func(Video) bool { return true })
		new(Client).Rewrite(messages)
		new(Surfaces).SetState(messages)
		OutputSize(messages)
	})
}
