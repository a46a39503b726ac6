package desktop

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/draw"
	"image/png"
	"io"

	"github.com/pawelmojski/inside/proxy/rdpentry/screen"
)

// maxMessage bounds a message of the live view: a frame of the largest screen
// as a PNG is smaller.
const maxMessage = 4*screen.MaxSide*screen.MaxSide + 1<<16

var errView = errors.New("this is not a live view")

// Watch reads a live view, as [View] writes it, to its end and returns why that
// came. shown is given the picture after each frame; the next is drawn into it.
func Watch(r io.Reader, shown func(*image.RGBA) error) (why string, err error) {
	var picture *image.RGBA
	var contents bytes.Buffer
	for {
		var head [5]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return "", unfinished(err)
		}
		size := int64(binary.LittleEndian.Uint32(head[1:]))
		if size > maxMessage {
			return "", errView
		}
		contents.Reset()
		if _, err := io.CopyN(&contents, r, size); err != nil {
			return "", unfinished(err)
		}
		switch head[0] {
		case viewEnd:
			return contents.String(), nil
		case viewFrame:
			if picture, err = drawFrame(picture, contents.Bytes()); err == nil {
				err = shown(picture)
			}
			if err != nil {
				return "", err
			}
		}
	}
}

// unfinished says of an end that comes before the last message that it does.
func unfinished(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// drawFrame draws a frame into a picture, or into a new one where that has
// another size.
func drawFrame(p *image.RGBA, b []byte) (*image.RGBA, error) {
	u16 := func(at int) int { return int(binary.LittleEndian.Uint16(b[at:])) }
	if len(b) < 11 || screen.CheckSize(u16(5), u16(7)) != nil {
		return nil, errView
	}
	bounds := image.Rect(0, 0, u16(5), u16(7))
	if p == nil || p.Rect != bounds {
		p = image.NewRGBA(bounds)
	}
	n := u16(9)
	b = b[11:]
	for range n {
		if len(b) < 12 {
			return nil, errView
		}
		r := image.Rect(0, 0, u16(4), u16(6)).Add(image.Pt(u16(0), u16(2)))
		size := int64(binary.LittleEndian.Uint32(b[8:]))
		if b = b[12:]; int64(len(b)) < size || !r.In(bounds) {
			return nil, errView
		}
		part, err := decodePNG(b[:size], r.Size())
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errView, err)
		}
		draw.Draw(p, r, part, part.Bounds().Min, draw.Src)
		b = b[size:]
	}
	if len(b) > 0 {
		return nil, errView
	}
	return p, nil
}

// decodePNG decodes a picture of this size and no other.
func decodePNG(b []byte, size image.Point) (image.Image, error) {
	c, err := png.DecodeConfig(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	if c.Width != size.X || c.Height != size.Y {
		return nil, fmt.Errorf("a rectangle of %d × %d says it is %v", c.Width, c.Height, size)
	}
	return png.Decode(bytes.NewReader(b))
}
