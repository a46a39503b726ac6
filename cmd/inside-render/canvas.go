package main

import (
	"image"

	"github.com/pawelmojski/inside/proxy/rdpentry/screen"
)

// A canvas is a frame as the encoder takes it: planes of luma and of chroma at
// half the size (I420), by BT.601 with its limited range. Only what changed is
// converted.
type canvas struct {
	w, h int
	data []byte
}

// newCanvas makes a black canvas; its sides are even.
func newCanvas(w, h int) *canvas {
	c := &canvas{w: (w + 1) &^ 1, h: (h + 1) &^ 1}
	c.data = make([]byte, c.w*c.h*3/2)
	c.clear()
	return c
}

func (c *canvas) clear() {
	for i := range c.data {
		c.data[i] = 128
		if i < c.w*c.h {
			c.data[i] = 16
		}
	}
}

// draw converts the part r of a picture that stands at the canvas's corner.
func (c *canvas) draw(p screen.Picture, r image.Rectangle) {
	r = image.Rect(r.Min.X&^1, r.Min.Y&^1, (r.Max.X+1)&^1, (r.Max.Y+1)&^1)
	u := c.data[c.w*c.h:]
	v := u[c.w*c.h/4:]
	for y := r.Min.Y; y < r.Max.Y; y += 2 {
		top := p.Pix[y*p.W:][:p.W]
		bottom := top
		if y+1 < p.H {
			bottom = p.Pix[(y+1)*p.W:][:p.W]
		}
		luma, below := c.data[y*c.w:], c.data[(y+1)*c.w:]
		for x := r.Min.X; x < r.Max.X; x += 2 {
			right := min(x+1, p.W-1)
			a, b, d, e := top[x], top[right], bottom[x], bottom[right]
			luma[x], luma[x+1] = light(a), light(b)
			below[x], below[x+1] = light(d), light(e)
			// The sums of four colours go into one each.
			rb := a&0xff00ff + b&0xff00ff + d&0xff00ff + e&0xff00ff
			red, green, blue := int(rb>>16), int(a>>8&0xff+b>>8&0xff+d>>8&0xff+e>>8&0xff), int(rb&0xffff)
			i := y/2*(c.w/2) + x/2
			u[i] = byte((-38*red-74*green+112*blue+512)>>10 + 128)
			v[i] = byte((112*red-94*green-18*blue+512)>>10 + 128)
		}
	}
}

func light(p uint32) byte {
	return byte((66*(p>>16&0xff)+129*(p>>8&0xff)+25*(p&0xff)+128)>>8 + 16)
}
