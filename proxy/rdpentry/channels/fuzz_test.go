package channels

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/proxy/rdpentry/wire"
	"github.com/pawelmojski/inside/proxy/recording"
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

// FuzzClipboard is both sides of a clipboard saying anything.
func FuzzClipboard(f *testing.F) {
	for _, talk := range [][][]byte{
		{piece(false, longCaps), piece(true, longCaps), piece(false, formats(13, "", 49200, fileList)), piece(true, clip(clipDataRequest, 0, u32s(49200)...)),
			piece(false, fileNames("a.txt")), piece(true, clip(clipLock, 0, u32s(1)...)), piece(true, ranged(1, 0, 1)), piece(false, part(1, 100))},
		{piece(true, clip(clipFormatList, clipASCII, make([]byte, 36)...)), piece(false, clip(clipDataRequest, 0, u32s(0)...)), piece(true, clip(clipDataResponse, clipOK, 1))},
	} {
		f.Add(bytes.Join(talk, nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c := NewClipboard(func(e recording.Event) {
			if e.In < 0 || e.Out < 0 {
				t.Fatalf("%+v", e)
			}
		})
		pieces(b, func(up bool, msg []byte) bool {
			pass, begin := c.Down, c.BeginDown
			if up {
				pass, begin = c.Up, c.BeginUp
			}
			fate, _, err := begin(msg, len(msg))
			if err == nil && fate == Whole {
				_, err = pass(msg)
			}
			return err == nil
		})
		c.Close()
		for _, s := range []clipper{c.client, c.server} {
			if len(s.formats) > maxFormats || len(s.locked) > maxLocked || len(s.parts) > maxParts {
				t.Fatal("more is kept than may be")
			}
		}
	})
}

// FuzzDevices is both sides saying anything about devices: the client hears of
// no device that is not permitted.
func FuzzDevices(f *testing.F) {
	for _, talk := range [][][]byte{
		{piece(true, announce(dev(8, 1, "home"), dev(4, 2, "PRN1"))), piece(false, openPath(1, 1, `\x`)), piece(true, core(devCompletion, 1, 1, 0, 5)),
			piece(false, core(devRequest, 1, 5, 2, majorRead, 0, 60)), piece(true, core(devCompletion, 1, 2, 0, 60)), piece(true, core(devRemove, 1, 1))},
		{piece(false, core(devAnnounce, 1, 1)), piece(false, core(devRequest, 2, 5, 2, majorSet, 0, classRename, 0, 0, 0, 0, 0, 0, 0, 0, 0))},
	} {
		f.Add(bytes.Join(talk, nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		d := NewDevices(func(r policy.Redirection) bool { return r&(policy.Drive|policy.SmartCard) != 0 }, func(recording.Event) {})
		pieces(b, func(up bool, msg []byte) bool {
			if up {
				_, err := d.Up(msg)
				return err == nil
			}
			out, err := d.Down(msg)
			for _, m := range out.Client {
				r := wire.Read(m)
				if _, kind, id := r.U16(), r.U16(), r.U32(); kind == devRequest && d.devices[id].kind&(policy.Drive|policy.SmartCard) == 0 {
					t.Fatalf("the client hears % x", m)
				}
			}
			return err == nil
		})
		d.Close()
		if len(d.devices) > maxDevices || len(d.asked) > maxRequest || len(d.files) > 0 {
			t.Fatal("more is kept than may be")
		}
	})
}

// FuzzTaps is anything said about sound, monitors and fingers.
func FuzzTaps(f *testing.F) {
	f.Add(append(piece(false, append([]byte{soundWave, 0, 20, 0}, make([]byte, 12)...)), piece(false, make([]byte, 12))...))
	f.Add(piece(true, append([]byte{soundFormats, 0, 20, 0}, make([]byte, 20)...)))
	f.Add(piece(true, append(u32s(displayLayout, 56, displayMonitor, 1, 0, 0, 0, 800, 600), make([]byte, 20)...)))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, tap := range []Tap{&Sound{}, Display{func(w, h int) bool { return w < 4096 && h < 4096 }}, Touch{func() {}}} {
			pieces(b, func(up bool, msg []byte) bool {
				pass := tap.Down
				if up {
					pass = tap.Up
				}
				to, err := pass(msg)
				for _, m := range to {
					if len(m) != len(msg) {
						t.Fatalf("%d bytes of %d", len(m), len(msg))
					}
				}
				return err == nil
			})
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
			got, err := a.Add(chunk)
			if len(got.Message) > limit || len(a.whole) > limit || len(a.whole) > len(b) {
				t.Fatalf("%d and %d bytes are held", len(got.Message), len(a.whole))
			}
			return err == nil
		})
	})
}
