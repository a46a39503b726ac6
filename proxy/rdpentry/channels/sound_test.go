package channels

import (
	"bytes"
	"errors"
	"testing"

	"github.com/pawelmojski/inside/proxy/rdpentry/screen"
	"github.com/pawelmojski/inside/proxy/rdpentry/wire"
)

func TestNothingButSoundPasses(t *testing.T) {
	s := Static(&Sound{})
	type step struct {
		up   bool
		msg  []byte
		pass bool
	}
	wave := append([]byte{soundWave, 0, 12 + 96, 0}, make([]byte, 12)...)
	for i, c := range []step{
		{false, []byte{soundTrain, 0, 4, 0, 1, 2, 3, 4}, true},
		{true, []byte{soundTrain, 0, 4, 0, 1, 2, 3, 4}, true},
		{false, []byte{99, 0, 0, 0}, false},
		{true, []byte{99, 0, 0, 0}, false},
		{true, []byte{soundWave2, 0, 4, 0, 1, 2, 3, 4}, false}, // a microphone is another thing
		{false, []byte{soundConfirm, 0, 4, 0, 1, 2, 3, 4}, false},
		{false, wave, true},
		{false, make([]byte, 100), true},
		{false, make([]byte, 100), false},
		{false, []byte{soundWave2, 0, 4, 0, 1, 2, 3, 4}, true},
		{true, []byte{soundConfirm, 0, 4, 0, 1, 0, 1, 0}, true},
		{false, []byte{soundClose, 0, 0, 0}, true},
	} {
		pass := s.Down
		if c.up {
			pass = s.Up
		}
		out, err := pass(c.msg)
		if err != nil || (len(out.Server)+len(out.Client) == 1) != c.pass || (len(out.Server) > 0) != (c.up && c.pass) {
			t.Errorf("%d: % x became %v, %v", i, c.msg, out, err)
		}
	}
	formats := append([]byte{soundFormats, 0, 20, 0}, bytes.Repeat([]byte{0xee}, 20)...)
	for _, pass := range []func([]byte) (Out, error){s.Down, s.Up} {
		out, err := pass(formats)
		if err != nil {
			t.Fatal(err)
		}
		if msg := append(out.Server, out.Client...)[0]; msg[16] != 0 || msg[17] != 0 || msg[15] != 0xee || msg[18] != 0xee {
			t.Errorf("sound may go to a UDP port: % x", msg)
		}
	}
	for name, msg := range map[string][]byte{"half a head": {1, 0}, "half a list": {soundFormats, 0, 2, 0, 1, 2}, "a wave of nothing": {soundWave, 0, 8, 0}} {
		if _, err := (&Sound{}).Down(msg); !errors.Is(err, wire.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	s.Down(wave)
	if _, err := s.Down(make([]byte, 101)); !errors.Is(err, wire.ErrMalformed) {
		t.Errorf("more than a wave: %v", err)
	}
}

func TestALayoutOfMonitorsThatCannotBeRecordedIsNotAskedFor(t *testing.T) {
	d := Display{Fits: func(w, h int) bool { return screen.CheckSize(w, h) == nil }}
	layout := func(size uint32, monitors ...[4]uint32) []byte {
		b := u32s(displayLayout, 0, size, uint32(len(monitors)))
		for _, m := range monitors {
			b = append(append(b, u32s(0, m[0], m[1], m[2], m[3])...), make([]byte, 20)...)
		}
		return b
	}
	for name, c := range map[string]struct {
		msg  []byte
		pass bool
	}{
		"one":                 {layout(40, [4]uint32{0, 0, 1280, 1024}), true},
		"two beside":          {layout(40, [4]uint32{0, 0, 1280, 1024}, [4]uint32{0xfffffb00, 0, 1280, 1024}), true},
		"too large":           {layout(40, [4]uint32{0, 0, 65535, 65535}), false},
		"larger than numbers": {layout(40, [4]uint32{0x7fffffff, 0, 0xffffffff, 1}), false},
		"far away":            {layout(40, [4]uint32{0, 0, 1280, 1024}, [4]uint32{0x7fffffff, 0x7fffffff, 1280, 1024}), false},
		"something else":      {u32s(9, 8), false},
	} {
		got, err := d.Up(c.msg)
		if name == "something else" {
			got, err = d.Up(append(c.msg, make([]byte, 8)...))
		}
		if err != nil || (len(got) == 1) != c.pass {
			t.Errorf("%s became %x, %v", name, got, err)
		}
	}
	for name, msg := range map[string][]byte{"no monitor": layout(40), "other monitors": layout(44, [4]uint32{}), "half": layout(40, [4]uint32{})[:40]} {
		if _, err := d.Up(msg); !errors.Is(err, wire.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got, err := d.Down(u32s(displayCaps, 20, 1, 1, 1)); err != nil || len(got) != 1 {
		t.Errorf("what the server can do is %v, %v", got, err)
	}
	if got, err := d.Down(u32s(77, 20, 1, 1, 1)); err != nil || got != nil {
		t.Errorf("something else is %v, %v", got, err)
	}
}
