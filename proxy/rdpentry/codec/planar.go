package codec

import (
	"errors"
	"fmt"
)

// The header of a planar bitmap, MS-RDPEGDI 2.2.2.5.1.
const (
	planarColorLoss  = 0x07
	planarSubsampled = 0x08
	planarRLE        = 0x10
	planarNoAlpha    = 0x20
)

// ErrColorLoss says that a planar bitmap has reduced colour: the entry says to
// the server that it must not send any.
var ErrColorLoss = errors.New("bitmap: planar coding with reduced colour was not negotiated")

// Planar decodes planar coding as the graphics pipeline has it (MS-RDPEGFX
// 2.2.4.3): the top row comes first. See [Decoder.Decode].
func (d *Decoder) Planar(data []byte, w, h int) ([]uint32, error) {
	if w < 1 || h < 1 || w*h > MaxPixels {
		return nil, fmt.Errorf("bitmap: impossible size %d × %d", w, h)
	}
	if err := d.planar(data, w, h); err != nil {
		return nil, err
	}
	return d.bottom, nil
}

// planar decodes planar coding, the first row first: MS-RDPEGDI 3.1.9.2.
func (d *Decoder) planar(data []byte, w, h int) error {
	if len(data) == 0 {
		return ErrShort
	}
	head, rest := data[0], data[1:]
	if head&(planarColorLoss|planarSubsampled) != 0 {
		return ErrColorLoss
	}
	n := w * h
	planes := 3
	if head&planarNoAlpha == 0 {
		planes = 4
	}
	// A control byte stands for at most 47 pixels of one row.
	if head&planarRLE != 0 && n > len(rest)*47 || head&planarRLE == 0 && n > len(rest) {
		return ErrShort
	}
	d.planes = sized(d.planes, 3*n)
	for i := range planes {
		// The alpha plane comes first and is thrown away: it lands where red
		// will be.
		plane := d.planes[max(i-(planes-3), 0)*n:][:n]
		var err error
		if rest, err = readPlane(plane, rest, w, head&planarRLE != 0); err != nil {
			return err
		}
	}
	// Planes that are not run length coded are followed by one byte of
	// padding, which not every server sends.
	if len(rest) > 1 || len(rest) == 1 && head&planarRLE != 0 {
		return ErrLong
	}
	d.bottom = sized(d.bottom, n)
	red, green, blue := d.planes[:n], d.planes[n:][:n], d.planes[2*n:][:n]
	for i := range d.bottom {
		d.bottom[i] = uint32(red[i])<<16 | uint32(green[i])<<8 | uint32(blue[i])
	}
	return nil
}

// readPlane reads one plane and returns what follows it.
func readPlane(plane, data []byte, w int, rle bool) ([]byte, error) {
	if !rle {
		if len(data) < len(plane) {
			return nil, ErrShort
		}
		copy(plane, data)
		return data[len(plane):], nil
	}
	var above []byte
	for y := 0; y < len(plane); y += w {
		row := plane[y : y+w]
		var err error
		if data, err = readRow(row, data); err != nil {
			return nil, err
		}
		for x := range above {
			row[x] = above[x] + unzigzag(row[x])
		}
		above = row
	}
	return data, nil
}

// unzigzag undoes the folding of differences: 0, -1, 1, -2 … are 0, 1, 2, 3 ….
func unzigzag(v byte) byte {
	if v&1 != 0 {
		return ^(v >> 1)
	}
	return v >> 1
}

// readRow reads the segments of one row: some bytes as they are, then the last
// of them again and again.
func readRow(row, data []byte) ([]byte, error) {
	last := byte(0)
	for x := 0; x < len(row); {
		if len(data) == 0 {
			return nil, ErrShort
		}
		run, raw := int(data[0]&0x0f), int(data[0]>>4)
		data = data[1:]
		switch run {
		case 1:
			run, raw = raw+16, 0
		case 2:
			run, raw = raw+32, 0
		}
		switch {
		case len(data) < raw:
			return nil, ErrShort
		case raw+run > len(row)-x:
			return nil, ErrLong
		}
		if raw > 0 {
			x += copy(row[x:], data[:raw])
			last = data[raw-1]
			data = data[raw:]
		}
		for range run {
			row[x] = last
			x++
		}
	}
	return data, nil
}
