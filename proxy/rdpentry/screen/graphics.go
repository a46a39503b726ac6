package screen

import (
	"image"
	"slices"

	"github.com/pawelmojski/inside/proxy/rdpentry/gfx"
)

// Graphics draws messages of the graphics pipeline and returns where: see
// [gfx.Surfaces.Apply].
func (s *Screen) Graphics(messages []byte) (drawn []image.Rectangle, err error) {
	return s.Surfaces().Apply(messages)
}

// Surfaces are what the graphics pipeline draws on. The screen is their output.
func (s *Screen) Surfaces() *gfx.Surfaces {
	if s.surfaces == nil {
		s.surfaces = &gfx.Surfaces{Output: output{s}}
	}
	return s.surfaces
}

// Pipelined says whether the server has used the graphics pipeline.
func (s *Screen) Pipelined() bool { return s.surfaces != nil }

// An output is the screen as surfaces see it.
type output struct{ *Screen }

func (o output) Reset(w, h int) error { return o.Resize(w, h) }

// Show puts pixels onto the screen. What is there already does not count as a
// change: a place of words stays as it is however often it is drawn.
func (o output) Show(r image.Rectangle, pix []uint32, stride int) {
	shown := r.Intersect(o.Bounds())
	from, to := shown.Max.Y, shown.Min.Y
	for y := shown.Min.Y; y < shown.Max.Y; y++ {
		row := pix[(y-r.Min.Y)*stride+shown.Min.X-r.Min.X:][:shown.Dx()]
		old := o.picture.Pix[y*o.picture.W+shown.Min.X:][:shown.Dx()]
		if !slices.Equal(row, old) {
			copy(old, row)
			from, to = min(from, y), y+1
		}
	}
	if from < to {
		o.touch(image.Rect(shown.Min.X, from, shown.Max.X, to))
	}
}

// The colours and measures of the pattern in place of what cannot be shown.
const (
	hiddenPaper = 0x3a3f4b
	hiddenInk   = 0x8a93a3
	hiddenEdge  = 12
)

// Words is the pattern for a kind of graphics.
func (o output) Words(kind string) (width int, pix []uint32) {
	p, ok := o.words[kind]
	if !ok {
		text := "graphics of kind " + kind + " are not shown here"
		p = NewPicture(len(text)*TextWidth+2*hiddenEdge, 2*(TextHeight+hiddenEdge))
		p.Fill(p.bounds(), hiddenPaper)
		p.Text(image.Pt(hiddenEdge, hiddenEdge/2), text, hiddenInk, 1)
		if o.words == nil {
			o.words = map[string]Picture{}
		}
		o.words[kind] = p
	}
	return p.W, p.Pix
}
