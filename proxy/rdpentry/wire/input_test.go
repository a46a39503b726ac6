package wire

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What a person does comes to the same by either path.
func TestInputIsReadFromBothPaths(t *testing.T) {
	want := []Input{
		{Kind: InputKey, Code: 0x1e},
		{Kind: InputKey, Code: 0x38, Extended: true},
		{Kind: InputKey, Code: 0x1e, Released: true},
		{Kind: InputUnicode, Code: 0x105},
		{Kind: InputUnicode, Code: 0x105, Released: true},
		{Kind: InputMouse, X: 700, Y: 300, Pressed: true},
		{Kind: InputMouse, X: 700, Y: 301},
		{Kind: InputLocks, Caps: true, Num: true},
		{},
	}
	fast := []byte{
		0x00, 0x1e, 0x02, 0x38, 0x01, 0x1e,
		0x80, 0x05, 0x01, 0x81, 0x05, 0x01,
		0x20, 0x00, 0x90, 0xbc, 2, 0x2c, 1,
		0x20, 0x00, 0x10, 0xbc, 2, 0x2d, 1,
		0x66, 0x40, 0, 0, 0, 0, 0, 0,
	}
	got, err := ParseFastInput(byte(len(want))<<2, fast)
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("fast-path (%v):\n%s", err, diff)
	}
	got, err = ParseFastInput(0, append([]byte{byte(len(want))}, fast...))
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("fast-path with a count of its own (%v):\n%s", err, diff)
	}
	event := func(kind uint16, words ...uint16) []byte {
		b := le.AppendUint16(make([]byte, 4), kind)
		for _, w := range append(words, 0, 0, 0)[:3] {
			b = le.AppendUint16(b, w)
		}
		return b
	}
	slow := []byte{byte(len(want)), 0, 0, 0}
	for _, e := range [][]byte{
		event(4, 0x4000, 0x1e), event(4, 0x4100, 0x38), event(4, 0x8000, 0x1e),
		event(5, 0, 0x105), event(5, 0x8000, 0x105),
		event(0x8001, 0x9000, 700, 300), event(0x8001, 0x1000, 700, 301),
		event(0, 0, 6, 0), event(0x8002, 0x8001, 1, 1),
	} {
		slow = append(slow, e...)
	}
	got, err = ParseSlowInput(slow)
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("slow-path (%v):\n%s", err, diff)
	}
	for i := range slow {
		if _, err := ParseSlowInput(slow[:i]); err == nil {
			t.Errorf("cut at %d, slow-path input is read", i)
		}
	}
	for i := range fast {
		if _, err := ParseFastInput(byte(len(want))<<2, fast[:i]); err == nil {
			t.Errorf("cut at %d, fast-path input is read", i)
		}
	}
}

func FuzzInput(f *testing.F) {
	f.Add(byte(1<<2), []byte{0, 0x1e})
	f.Add(byte(0), []byte{2, 0x80, 5, 1, 0x60})
	f.Add(byte(0), []byte{1, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0x40, 0x1e, 0, 0, 0})
	f.Fuzz(func(t *testing.T, header byte, body []byte) {
		fast, err := ParseFastInput(header, body)
		if err == nil && len(fast) > 255 {
			t.Errorf("%d events", len(fast))
		}
		x, y, moved, lastErr := LastMove(header, body)
		if (err == nil) != (lastErr == nil) {
			t.Errorf("LastMove says %v, ParseFastInput %v", lastErr, err)
		}
		for i := len(fast) - 1; err == nil && i >= 0; i-- {
			if fast[i].Kind == InputMouse {
				if !moved || fast[i].X != x || fast[i].Y != y {
					t.Errorf("the pointer is at %d, %d and at %+v", x, y, fast[i])
				}
				break
			}
		}
		ParseSlowInput(body)
	})
}
