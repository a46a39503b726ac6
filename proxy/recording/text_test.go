package recording

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

// foreign reads a recording as any other program would: by a JSON parser and
// the words of the asciicast v2 document alone.
func foreign(t fataler, cast []byte) (texts []string) {
	t.Helper()
	lines := strings.SplitAfter(string(cast), "\n")
	if lines[len(lines)-1] != "" {
		t.Fatalf("the last line does not end: %.100q", lines[len(lines)-1])
	}
	last := -1.0
	for i, line := range lines[:len(lines)-1] {
		if len(line) > 64<<10 {
			t.Fatalf("line %d has %d bytes", i+1, len(line))
		}
		if !utf8.ValidString(line) {
			t.Fatalf("line %d is not UTF-8: %.100q", i+1, line)
		}
		if i := strings.IndexFunc(line[:len(line)-1], func(r rune) bool {
			return r < 0x20 || r >= 0x7f && r < 0xa0 || r == '\u2028' || r == '\u2029'
		}); i >= 0 {
			t.Fatalf("a control character stands in a line as it is: %q", line[i:i+1])
		}
		if i == 0 {
			var h map[string]any
			must(t, json.Unmarshal([]byte(line), &h))
			if h["version"] != 2.0 || h["width"].(float64) < 1 || h["height"].(float64) < 1 || h["timestamp"].(float64) < 1 {
				t.Fatalf("header %s", line)
			}
			continue
		}
		var event []any
		must(t, json.Unmarshal([]byte(line), &event))
		at, kind, text := event[0].(float64), event[1].(string), event[2].(string)
		if len(event) != 3 || len(kind) != 1 || at < last {
			t.Fatalf("line %d: %.100s", i+1, line)
		}
		last = at
		if kind == "o" {
			texts = append(texts, text)
		}
	}
	return texts
}

func TestACharacterSplitOverTwoPacketsStaysWhole(t *testing.T) {
	const text = "aż漢🙂\u0085é\u2028z"
	for i := 0; i <= len(text); i++ {
		for j := i; j <= len(text); j++ {
			root := newRoot(t)
			w := create(t, root, "0.cast")
			for _, part := range []string{text[:i], text[i:j], text[j:]} {
				must(t, w.Output([]byte(part)))
				must(t, w.Resize(i, j)) // a resize within a character does not tear it
				b, err := root.ReadFile("0.cast")
				must(t, err)
				_, frames, err := readBytes(t, b)
				must(t, err)
				if got := string(output(frames)); !strings.HasPrefix(text, got) || !strings.HasSuffix(got, part) {
					t.Fatalf("after Output(%q) the file holds %q", part, got)
				}
			}
			must(t, w.Close())
			b, err := root.ReadFile("0.cast")
			must(t, err)
			if got := strings.Join(foreign(t, b), ""); got != text {
				t.Fatalf("cut at %d and %d another program reads %q", i, j, got)
			}
			_, frames, err := readBytes(t, b)
			must(t, err)
			if got := string(output(frames)); got != text {
				t.Fatalf("cut at %d and %d: %q", i, j, got)
			}
			if sizes := resizes(frames); len(sizes) != 3 {
				t.Fatalf("resizes %q", sizes)
			}
		}
	}
}

func resizes(frames []Frame) (all []string) {
	for _, f := range frames {
		if f.Kind == 'r' {
			all = append(all, string(f.Data))
		}
	}
	return all
}

// roundTrip writes parts and checks that what is read back, by us and as far
// as possible by others, is the same.
func roundTrip(t fataler, root *os.Root, parts [][]byte) {
	t.Helper()
	w, err := Create(root, "0.cast", Header{})
	must(t, err)
	defer func() {
		must(t, root.Remove("0.cast"))
		must(t, root.Remove("0.idx"))
	}()
	defer w.Close()
	var want []byte
	for _, p := range parts {
		was := bytes.Clone(p)
		must(t, w.Output(p))
		if !bytes.Equal(p, was) {
			t.Fatal("Output changed its argument")
		}
		want = append(want, p...)
	}
	live, err := root.ReadFile("0.cast")
	must(t, err)
	must(t, w.Close())
	closed, err := root.ReadFile("0.cast")
	must(t, err)
	for _, b := range [][]byte{live, closed} {
		_, frames, err := readBytes(t, b)
		must(t, err)
		if got := output(frames); !bytes.Equal(got, want) {
			t.Fatalf("%.200q was read back as %.200q", want, got)
		}
	}
	texts := foreign(t, closed)
	if got := strings.Join(texts, ""); got != string(bytes.ToValidUTF8(want, nil)) && utf8.Valid(want) {
		t.Fatalf("another program reads %.200q as %.200q", want, got)
	}
	if _, err := Verify(root, "0.cast"); err != nil {
		t.Fatal(err)
	}
}

func TestEveryByteComesBack(t *testing.T) {
	root := newRoot(t)
	piece := rapid.OneOf(
		rapid.SliceOf(rapid.Byte()),
		rapid.Map(rapid.String(), func(s string) []byte { return []byte(s) }),
		rapid.SampledFrom([][]byte{{0xe2}, {0xe2, 0x80}, {0xa8}, {0xf0, 0x9f}, {0x99, 0x82}, {0xc2}, {0x9b}, []byte("\ufffd"), {0xff}, {0}, []byte("\x1b[1m\"\\")}),
	)
	rapid.Check(t, func(t *rapid.T) {
		roundTrip(t, root, rapid.SliceOf(piece).Draw(t, "parts"))
	})
	for name, p := range samples(300 << 10) { // over many lines and buffers
		t.Run(name, func(t *testing.T) { roundTrip(t, root, [][]byte{p, p[:1], p[:70000]}) })
	}
	t.Run("the longest lines", func(t *testing.T) {
		roundTrip(t, root, [][]byte{make([]byte, 100<<10), bytes.Repeat([]byte{0xff}, 100<<10), bytes.Repeat([]byte("\ufffd\xff"), 30<<10)})
	})
}

func FuzzRoundTrip(f *testing.F) {
	f.Add([]byte("hello"), uint64(1))
	f.Add([]byte("aż漢🙂\xff\xe2\x80\xa8\u0085\ufffd\x00"), uint64(2))
	f.Add([]byte{0xe2, 0x28, 0xa1, 0xf0, 0x9f, 0xe2, 0x82}, uint64(3))
	f.Fuzz(func(t *testing.T, p []byte, seed uint64) {
		r := rand.New(rand.NewPCG(seed, 0))
		var parts [][]byte
		for len(p) > 0 {
			n := 1 + r.IntN(min(len(p), 1<<r.IntN(16)))
			parts = append(parts, p[:n])
			p = p[n:]
		}
		roundTrip(t, newRoot(t), parts)
	})
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(`{"version":2,"width":80,"height":24}` + "\n" + `[0.000001,"b","ff"]` + "\n" + `[0.1,"o","�"]` + "\n" + `[1,"r","80x24"]` + "\n"))
	f.Add([]byte(`{"version":2}` + "\n" + `[0.1,"c","e2"]` + "\n" + `[NaN,"o",""]`))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, frames, err := readBytes(t, b)
		for _, f := range frames {
			if f.Time < 0 || len(f.Data) > maxLine {
				t.Fatalf("%+v %v", f, err)
			}
			if w, h, ok := f.Size(); ok && (w < 1 || w > maxCells || h < 1 || h > maxCells) {
				t.Fatalf("size %dx%d", w, h)
			}
		}
	})
}

func TestASizeIsKeptWithinWhatAPlayerCanDraw(t *testing.T) {
	for text, want := range map[string][2]int{
		"80x24": {80, 24}, "0x0": {1, 1}, "1x1": {1, 1}, "65535x65535": {1000, 1000}, "-5x24": {1, 24},
		"": {}, "x": {}, "80": {}, "80x": {}, "80x24x2": {}, "99999999999999999999x1": {},
	} {
		w, h, ok := Frame{Kind: 'r', Data: []byte(text)}.Size()
		if w != want[0] || h != want[1] || ok != (want[0] > 0) {
			t.Errorf("%q: %d %d %v", text, w, h, ok)
		}
	}
}
