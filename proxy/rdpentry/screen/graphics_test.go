package screen

import (
	"image"
	"slices"
	"testing"
)

func TestWhatIsThereAlreadyIsNoChange(t *testing.T) {
	s, err := New(60, 40)
	if err != nil {
		t.Fatal(err)
	}
	s.Changed()
	o := output{s}
	pix := NewPicture(50, 20)
	pix.Fill(image.Rect(0, 5, 50, 7), 0xffffff)
	o.Show(image.Rect(30, 10, 80, 30), pix.Pix, 50)
	if c := s.Changed(); len(c) != 1 || c[0] != image.Rect(30, 15, 60, 17) {
		t.Errorf("changed: %v", c)
	}
	o.Show(image.Rect(30, 10, 80, 30), pix.Pix, 50)
	if c := s.Changed(); len(c) != 0 {
		t.Errorf("changed again: %v", c)
	}
	if w, p := o.Words("RemoteFX"); w < 200 || len(p)%w != 0 || !slices.Contains(p, hiddenInk) {
		t.Errorf("words of %d pixels, %d wide", len(p), w)
	}
}
