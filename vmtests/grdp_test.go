package vmtests

import (
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/tomatome/grdp/core"
	"github.com/tomatome/grdp/glog"

	"github.com/pawelmojski/inside/proxy/rdpentry/codec"
)

func TestMain(m *testing.M) {
	glog.SetLevel(glog.NONE) // it panics when it has no logger, and would log passwords
	os.Exit(m.Run())
}

// The bitmaps that a real xrdp sent through the gate, 16 and 32 bits a pixel:
// proxy/rdpentry TestRecordConversations made them. Two decoders that share
// nothing but the document must make the same pictures of them.
func TestTwoDecodersSeeTheSamePictures(t *testing.T) {
	for _, c := range []struct {
		name     string
		opinions float64 // grdp must have one of so many, or nothing is compared
	}{
		{"xrdp-16", 0.95},
		{"xrdp-32", 0.95},
	} {
		t.Run(c.name, func(t *testing.T) {
			var ours codec.Decoder
			compared, silent := 0, 0
			for i, b := range bitmaps(t, c.name) {
				got, err := ours.Decode(b)
				if err != nil {
					t.Errorf("bitmap %d, %d × %d: %v", i, b.Width, b.Height, err)
					continue
				}
				want, err := theirs(b)
				if err != nil {
					t.Logf("bitmap %d, %d × %d: %v", i, b.Width, b.Height, err)
					silent++
					continue
				}
				compared++
				for at := range want {
					if got[at] != want[at] {
						t.Errorf("bitmap %d, %d × %d: pixel %d is %06x here and %06x there", i, b.Width, b.Height, at, got[at], want[at])
						break
					}
				}
			}
			t.Logf("%d pictures compared, no opinion of %d", compared, silent)
			if compared < 20 || float64(compared) < c.opinions*float64(compared+silent) {
				t.Errorf("%d pictures compared, no opinion of %d: that proves too little", compared, silent)
			}
		})
	}
}

var errNoOpinion = errors.New("no opinion")

// theirs decodes by grdp, which panics where it does not understand something,
// and which knows one form of planar coding: that with an alpha plane, and run
// lengths.
func theirs(b codec.Bitmap) (pixels []uint32, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v", errNoOpinion, r)
		}
	}()
	size := 2
	if b.Depth == 32 {
		if size = 4; len(b.Data) == 0 || b.Data[0] != 0x10 {
			return nil, fmt.Errorf("%w: planar form %#x", errNoOpinion, b.Data[:1])
		}
	}
	w, h := int(b.Width), int(b.Height)
	raw := core.Decompress(b.Data, w, h, size)
	pixels = make([]uint32, w*h)
	for i := range pixels {
		if p := raw[i*size:]; size == 4 {
			pixels[i] = uint32(p[2])<<16 | uint32(p[1])<<8 | uint32(p[0])
		} else {
			v := uint32(binary.BigEndian.Uint16(p)) // it turns the bytes around
			five := func(v uint32) uint32 { return v<<3 | v>>2 }
			pixels[i] = five(v>>11)<<16 | (v>>5&63<<2|v>>5&63>>4)<<8 | five(v&31)
		}
	}
	return pixels, nil
}

// bitmaps reads what was recorded: width, height, depth and length, 16 bits
// each, and the data.
func bitmaps(t *testing.T, name string) (all []codec.Bitmap) {
	t.Helper()
	f, err := os.Open("testdata/" + name + ".bitmaps.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	for len(b) > 0 {
		u16 := func(at int) uint16 { return binary.LittleEndian.Uint16(b[at:]) }
		n := 8 + int(u16(6))
		all = append(all, codec.Bitmap{Width: u16(0), Height: u16(2), Depth: u16(4), Compressed: true, Data: b[8:n:n]})
		b = b[n:]
	}
	if want := strings.TrimPrefix(name, "xrdp-"); len(all) == 0 || fmt.Sprint(all[0].Depth) != want {
		t.Fatalf("%s holds no bitmaps of %s bits", name, want)
	}
	return all
}
