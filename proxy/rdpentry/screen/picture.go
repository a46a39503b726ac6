package screen

import (
	"image"

	"github.com/pawelmojski/inside/proxy/rdpentry/codec"
)

// A Picture is pixels 0x00RRGGBB, row by row from the top.
type Picture struct {
	W, H int
	Pix  []uint32
}

// NewPicture makes a black picture.
func NewPicture(w, h int) Picture { return Picture{w, h, make([]uint32, w*h)} }

func (p Picture) bounds() image.Rectangle { return image.Rect(0, 0, p.W, p.H) }

// Fill fills r with a colour.
func (p Picture) Fill(r image.Rectangle, colour uint32) {
	r = r.Intersect(p.bounds())
	for y := r.Min.Y; y < r.Max.Y; y++ {
		row := p.Pix[y*p.W+r.Min.X : y*p.W+r.Max.X]
		for i := range row {
			row[i] = colour
		}
	}
}

// copy copies pixels whose rows are stride apart, from the point from on, to
// r, which must lie within p.
func (p Picture) copy(r image.Rectangle, pix []uint32, stride int, from image.Point) {
	for y := range r.Dy() {
		copy(p.Pix[(r.Min.Y+y)*p.W+r.Min.X:][:r.Dx()], pix[(from.Y+y)*stride+from.X:])
	}
}

// Bitmaps makes a bitmap update of the part r of p, to be shown with its
// corner at to. No bitmap has more than limit bytes of data.
func (p Picture) Bitmaps(r image.Rectangle, to image.Point, depth uint16, limit int) []codec.Bitmap {
	r = r.Intersect(p.bounds())
	if r.Empty() {
		return nil
	}
	return codec.Raw(to.X, to.Y, r.Dx(), r.Dy(), p.Pix[r.Min.Y*p.W+r.Min.X:], p.W, depth, limit)
}
