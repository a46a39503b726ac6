package codec

import (
	"encoding/binary"
	"errors"
	"fmt"
)

const (
	updateBitmap  = 1 // TS_UPDATE_HDR updateType
	updatePalette = 2

	flagCompressed = 0x0001 // BITMAP_COMPRESSION
	flagNoHeader   = 0x0400 // NO_BITMAP_COMPRESSION_HDR

	bitmapHead     = 18
	compressedHead = 8 // TS_CD_HEADER
)

var errCut = errors.New("bitmap update: it ends in the middle")

// ParseBitmaps reads a TS_UPDATE_BITMAP_DATA, as slow-path and fast-path
// updates and recordings have it. The data of the bitmaps stays p's.
func ParseBitmaps(p []byte) ([]Bitmap, error) {
	if len(p) < 4 {
		return nil, errCut
	}
	if t := binary.LittleEndian.Uint16(p); t != updateBitmap {
		return nil, fmt.Errorf("bitmap update: it has type %d", t)
	}
	n := int(binary.LittleEndian.Uint16(p[2:]))
	p = p[4:]
	if n > len(p)/bitmapHead {
		return nil, errCut
	}
	bitmaps := make([]Bitmap, 0, n)
	for range n {
		b, rest, err := parseBitmap(p)
		if err != nil {
			return nil, err
		}
		bitmaps = append(bitmaps, b)
		p = rest
	}
	// Servers are known to leave bytes behind the last rectangle (pad octets
	// of a fragment); they draw nothing.
	return bitmaps, nil
}

func parseBitmap(p []byte) (b Bitmap, rest []byte, err error) {
	if len(p) < bitmapHead {
		return b, nil, errCut
	}
	u16 := func(at int) uint16 { return binary.LittleEndian.Uint16(p[at:]) }
	b = Bitmap{
		Left: u16(0), Top: u16(2), Right: u16(4), Bottom: u16(6),
		Width: u16(8), Height: u16(10), Depth: u16(12), Compressed: u16(14)&flagCompressed != 0,
	}
	flags, length := u16(14), int(u16(16))
	p = p[bitmapHead:]
	if len(p) < length {
		return b, nil, errCut
	}
	b.Data, rest = p[:length], p[length:]
	if b.Compressed && flags&flagNoHeader == 0 {
		if length < compressedHead {
			return b, nil, errCut
		}
		b.Data = b.Data[compressedHead:]
	}
	if b.Right < b.Left || b.Bottom < b.Top {
		return b, nil, fmt.Errorf("bitmap update: a rectangle from %d,%d to %d,%d", b.Left, b.Top, b.Right, b.Bottom)
	}
	return b, rest, nil
}

// AppendBitmaps appends a TS_UPDATE_BITMAP_DATA of these bitmaps, without
// TS_CD_HEADER. It panics where ParseBitmaps could not have made them.
func AppendBitmaps(dst []byte, bitmaps ...Bitmap) []byte {
	if len(bitmaps) > 65535 {
		panic("codec: too many rectangles for one update")
	}
	dst = binary.LittleEndian.AppendUint16(dst, updateBitmap)
	dst = binary.LittleEndian.AppendUint16(dst, uint16(len(bitmaps)))
	for _, b := range bitmaps {
		if len(b.Data) > 65535 {
			panic("codec: a bitmap does not fit an update")
		}
		flags := uint16(0)
		if b.Compressed {
			flags = flagCompressed | flagNoHeader
		}
		for _, v := range [...]uint16{b.Left, b.Top, b.Right, b.Bottom, b.Width, b.Height, b.Depth, flags, uint16(len(b.Data))} {
			dst = binary.LittleEndian.AppendUint16(dst, v)
		}
		dst = append(dst, b.Data...)
	}
	return dst
}

// ParsePalette reads a TS_UPDATE_PALETTE_DATA.
func ParsePalette(p []byte) (pal Palette, err error) {
	if len(p) < 8 || binary.LittleEndian.Uint16(p) != updatePalette {
		return pal, errors.New("palette update: it is none")
	}
	n := binary.LittleEndian.Uint32(p[4:])
	p = p[8:]
	if n > uint32(len(pal)) || len(p) < int(n)*3 {
		return pal, fmt.Errorf("palette update: %d colours in %d bytes", n, len(p))
	}
	for i := range n {
		pal[i] = uint32(p[3*i])<<16 | uint32(p[3*i+1])<<8 | uint32(p[3*i+2])
	}
	return pal, nil
}

// Raw makes bitmaps without compression of a part of a picture: the pixels of
// pix, whose rows are stride apart, are w by h and belong at left, top. No
// bitmap has more than limit bytes of data, so that each fits a packet.
func Raw(left, top, w, h int, pix []uint32, stride int, depth uint16, limit int) []Bitmap {
	size := bytesPerPixel(depth)
	wide := min(w, max((limit&^3)/max(size, 1), 1)) // pixels of a row that fit
	var bitmaps []Bitmap
	for x := 0; x < w; x += wide {
		across := min(wide, w-x)
		bytes := (across*size + 3) &^ 3
		rows := max(limit/bytes, 1)
		for y := 0; y < h; y += rows {
			down := min(rows, h-y)
			data := make([]byte, bytes*down)
			for row := range down {
				line := pix[(y+row)*stride+x:][:across]
				writeRow(data[(down-1-row)*bytes:], line, depth)
			}
			bitmaps = append(bitmaps, Bitmap{
				Left: uint16(left + x), Top: uint16(top + y), Right: uint16(left + x + across - 1), Bottom: uint16(top + y + down - 1),
				Width: uint16(across), Height: uint16(down), Depth: depth, Data: data,
			})
		}
	}
	return bitmaps
}

// writeRow writes a row of colours at a depth. At 8 bits the palette is the
// server's, and the nearest that is always there are its first and last
// colours: black and white.
func writeRow(dst []byte, row []uint32, depth uint16) {
	for i, v := range row {
		r, g, b := v>>16&0xff, v>>8&0xff, v&0xff
		switch depth {
		case 8:
			if r+g+b > 3*127 {
				dst[i] = 0xff
			}
		case 15:
			binary.LittleEndian.PutUint16(dst[2*i:], uint16(r>>3<<10|g>>3<<5|b>>3))
		case 16:
			binary.LittleEndian.PutUint16(dst[2*i:], uint16(r>>3<<11|g>>2<<5|b>>3))
		case 24:
			dst[3*i], dst[3*i+1], dst[3*i+2] = byte(b), byte(g), byte(r)
		case 32:
			binary.LittleEndian.PutUint32(dst[4*i:], v&0xffffff)
		}
	}
}
