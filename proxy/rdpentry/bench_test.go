package rdpentry

import (
	"bytes"
	"os"
	"testing"

	"github.com/pawelmojski/inside/proxy/rdpentry/codec"
	"github.com/pawelmojski/inside/proxy/rdpentry/screen"
	"github.com/pawelmojski/inside/proxy/rdpentry/wire"
	"github.com/pawelmojski/inside/proxy/recording/desktop"
)

// BenchmarkFrame is what the gate does to a frame between the server's TLS and
// the client's: decode it, draw it, record it, pass it on. A frame is a line of
// scrolled text, 640 by 16 pixels, not compressed.
func BenchmarkFrame(b *testing.B) {
	root, err := os.OpenRoot(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer root.Close()
	w, err := desktop.Create(root, desktop.Name, recordingHeader)
	if err != nil {
		b.Fatal(err)
	}
	s, err := screen.New(640, 480)
	if err != nil {
		b.Fatal(err)
	}
	f := (&Entry{}).newFlow(sink{}, &gate{t: b})
	f.desktop = &desktopTap{writer: w, screen: s, depth: 24}
	f.desktop.begun.Store(true)
	f.share.set(playedShare, true)
	pix := make([]uint32, 640*16)
	for i := range pix {
		if i%7 == 0 || i%11 == 0 {
			pix[i] = 0xffffff
		}
	}
	var frames []byte
	for y := 0; y < 480; y += 16 {
		frames = append(frames, fastFrame(wire.FastBitmap, codec.AppendBitmaps(nil, codec.Raw(0, y, 640, 16, pix, 640, 24, 1<<15)...))...)
	}
	b.SetBytes(int64(len(frames) / 30))
	b.ReportAllocs()
	var r *wire.Reader
	for i := 0; b.Loop(); i++ {
		if i%30 == 0 {
			r = wire.NewReader(bytes.NewReader(frames))
		}
		frame, err := r.Next()
		if err != nil {
			b.Fatal(err)
		}
		if err := f.pass(frame); err != nil {
			b.Fatal(err)
		}
	}
	w.Close("")
}
