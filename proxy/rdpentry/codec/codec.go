// Package codec reads and writes bitmap updates of RDP (MS-RDPBCGR
// 2.2.9.1.1.3.1.2) and decodes their rectangles: interleaved run length coding
// at 8, 15, 16 and 24 bits a pixel (3.1.9), planar coding at 32 (MS-RDPEGDI
// 3.1.9.2) and rows as they are. It knows neither connections nor screens, and
// nothing of the graphics pipeline. Package rdpentry feeds it what a server
// sent, package desktop what a recording holds.
//
// Every input is a stranger's: sizes are checked before anything is allocated,
// and what does not decode to exactly the pixels of its rectangle is an error.
package codec

import (
	"errors"
	"fmt"
)

// MaxPixels bounds a rectangle: a whole screen of 1920 by 1080 fits. Servers
// send rectangles of a few thousand pixels; TS_CD_HEADER has 16 bits for the
// size of one.
const MaxPixels = 1 << 21

// A Bitmap is one rectangle of a bitmap update: TS_BITMAP_DATA. The pixels
// are those of a bitmap of Width by Height, of which as much is shown as fits
// between Left, Top and, inclusive, Right, Bottom.
type Bitmap struct {
	Left, Top, Right, Bottom uint16
	Width, Height            uint16
	Depth                    uint16 // bits a pixel
	Compressed               bool
	Data                     []byte // without TS_CD_HEADER
}

// A Palette holds the colours of an 8 bit screen as 0x00RRGGBB.
type Palette [256]uint32

// A Decoder decodes bitmaps one after the other; it keeps its memory. Its
// zero value is ready and has a black palette.
type Decoder struct {
	Palette Palette

	pixels []uint32 // decoded
	bottom []uint32 // the same, as the wire has it: the last row first
	planes []byte
}

var (
	// ErrShort says that the data of a bitmap ends before its pixels do.
	ErrShort = errors.New("bitmap: the data ends before the pixels do")
	// ErrLong says that there is more data than pixels.
	ErrLong = errors.New("bitmap: there is more data than pixels")
)

// Decode returns the Width × Height pixels of a bitmap, the top row first, as
// 0x00RRGGBB: in memory the bytes B, G, R, 0 on the processors we build for.
// They are valid until the next call. A bitmap that does not decode leaves the
// decoder as good as before.
func (d *Decoder) Decode(b Bitmap) ([]uint32, error) {
	w, h := int(b.Width), int(b.Height)
	if w == 0 || h == 0 {
		return nil, fmt.Errorf("bitmap: impossible size %d × %d", w, h)
	}
	// An order of three bytes stands for 65,535 pixels: a rectangle that says
	// it is larger than that allows is not even allocated.
	if w*h > MaxPixels || b.Compressed && w*h > len(b.Data)*65535 {
		return nil, fmt.Errorf("bitmap: %d × %d pixels cannot be in %d bytes", w, h, len(b.Data))
	}
	var err error
	switch {
	case !b.Compressed:
		err = d.rows(b, w, h)
	case b.Depth == 32:
		if err = d.planar(b.Data, w, h); err == nil {
			d.flip(w, h)
		}
	default:
		err = d.interleaved(b, w, h)
	}
	if err != nil {
		return nil, err
	}
	return d.pixels, nil
}

// bytesPerPixel is 0 for a depth there is none of.
func bytesPerPixel(depth uint16) int {
	switch depth {
	case 8:
		return 1
	case 15, 16:
		return 2
	case 24:
		return 3
	case 32:
		return 4
	}
	return 0
}

// rows takes pixels that are not compressed: each row fills up to a multiple
// of four bytes.
func (d *Decoder) rows(b Bitmap, w, h int) error {
	size := bytesPerPixel(b.Depth)
	if size == 0 {
		return errDepth(b.Depth)
	}
	stride := (w*size + 3) &^ 3
	switch {
	case len(b.Data) < stride*h:
		return ErrShort
	case len(b.Data) > stride*h:
		return ErrLong
	}
	d.pixels = sized(d.pixels, w*h)
	for y := range h {
		row, out := b.Data[(h-1-y)*stride:], d.pixels[y*w:][:w]
		for x := range out {
			out[x] = read(row[x*size:], size)
		}
		d.colours(out, b.Depth)
	}
	return nil
}

// IsDepth says whether there are bitmaps of this many bits a pixel.
func IsDepth(depth int) bool { return depth > 0 && depth <= 32 && bytesPerPixel(uint16(depth)) > 0 }

func errDepth(depth uint16) error {
	return fmt.Errorf("bitmap: there are no bitmaps of %d bits a pixel", depth)
}

// read reads a pixel as the wire has it.
func read(p []byte, size int) uint32 {
	switch size {
	case 1:
		return uint32(p[0])
	case 2:
		return uint32(p[0]) | uint32(p[1])<<8
	}
	return uint32(p[0]) | uint32(p[1])<<8 | uint32(p[2])<<16
}

// colours makes colours of pixels as the wire has them.
func (d *Decoder) colours(pixels []uint32, depth uint16) {
	switch depth {
	case 8:
		for i, v := range pixels {
			pixels[i] = d.Palette[v&0xff]
		}
	case 15:
		for i, v := range pixels {
			pixels[i] = widen(v>>10&0x1f, 5)<<16 | widen(v>>5&0x1f, 5)<<8 | widen(v&0x1f, 5)
		}
	case 16:
		for i, v := range pixels {
			pixels[i] = widen(v>>11&0x1f, 5)<<16 | widen(v>>5&0x3f, 6)<<8 | widen(v&0x1f, 5)
		}
	}
}

// widen makes 8 bits of 5 or 6, so that all ones stay all ones.
func widen(v uint32, bits int) uint32 { return v<<(8-bits) | v>>(2*bits-8) }

// flip turns the rows of the wire around.
func (d *Decoder) flip(w, h int) {
	d.pixels = sized(d.pixels, w*h)
	for y := range h {
		copy(d.pixels[y*w:][:w], d.bottom[(h-1-y)*w:])
	}
}

func sized[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}
