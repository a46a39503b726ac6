package gfx

import "image"

// The codecs of RDPGFX_WIRE_TO_SURFACE_PDU_1 and 2 (2.2.2.1, 2.2.2.2).
const (
	codecUncompressed = 0x00
	codecRemoteFX     = 0x03
	codecClear        = 0x08
	codecProgressive  = 0x09
	codecPlanar       = 0x0a
	codecAVC420       = 0x0b
	codecAlpha        = 0x0c
	codecAVC444       = 0x0e
	codecAVC444v2     = 0x0f
)

var codecNames = map[uint16]string{
	codecRemoteFX: "RemoteFX", codecClear: "ClearCodec", codecProgressive: "RemoteFX progressive",
	codecPlanar: "planar", codecAVC420: "H.264 (AVC420)", codecAVC444: "H.264 (AVC444)", codecAVC444v2: "H.264 (AVC444)",
}

func codecName(codec uint16) string {
	if name, ok := codecNames[codec]; ok {
		return name
	}
	return "unknown"
}

// A drawing is RDPGFX_WIRE_TO_SURFACE_PDU_1.
type drawing struct {
	surface, codec uint16
	at             image.Rectangle
	data           []byte
}

func parseDrawing(b []byte) (d drawing, err error) {
	d.surface, d.codec = le.Uint16(b), le.Uint16(b[2:])
	if d.at, err = rectangle(b[5:]); err != nil {
		return d, err
	}
	length := le.Uint32(b[13:])
	if d.data = b[17:]; uint64(length) > uint64(len(d.data)) {
		return d, malformed("a bitmap has %d of its %d bytes", len(d.data), length)
	}
	d.data = d.data[:length]
	return d, nil
}

func (s *Surfaces) draw(b []byte) error {
	d, err := parseDrawing(b)
	if err != nil {
		return err
	}
	f := s.of[d.surface]
	if d.codec == codecAVC420 {
		return s.video(f, d)
	}
	if f == nil || d.codec == codecAlpha || d.at.Empty() { // how much of it is seen: the desktop has nothing behind it
		return nil
	}
	w, h := d.at.Dx(), d.at.Dy()
	if !s.spend(d.at.Size()) {
		return ErrTooMuch
	}
	switch d.codec {
	case codecUncompressed:
		if len(d.data) < 4*w*h {
			return malformed("%d × %d pixels in %d bytes", w, h, len(d.data))
		}
		f.raw(d.at, d.data)
		return nil
	case codecPlanar:
		pix, err := s.decoder.Planar(d.data, w, h)
		if err == nil {
			f.put(tile{w, h, pix}, image.Rect(0, 0, w, h), d.at.Min)
			return nil
		}
	}
	s.hide(f, d.codec, nil, d.at)
	return nil
}

// raw draws pixels as they are.
func (f *surface) raw(at image.Rectangle, data []byte) {
	shown := at.Intersect(f.bounds())
	for y := shown.Min.Y; y < shown.Max.Y; y++ {
		in := data[4*((y-at.Min.Y)*at.Dx()+shown.Min.X-at.Min.X):]
		out := f.pix[y*f.w+shown.Min.X : y*f.w+shown.Max.X]
		for i := range out {
			out[i] = le.Uint32(in[4*i:]) & 0xffffff
		}
	}
	f.touch(shown)
}

// video draws a picture of H.264, or words in its place.
func (s *Surfaces) video(f *surface, d drawing) error {
	v, err := s.streams.video(d.surface, d.data)
	if err != nil || v == nil || f == nil {
		return err
	}
	if s.Video == nil {
		s.hide(f, d.codec, nil, v.Parts...)
		return nil
	}
	frame, err := s.Video(*v)
	if err != nil {
		s.hide(f, d.codec, err, v.Parts...)
		return nil
	}
	for _, r := range v.Parts {
		r = r.Intersect(f.bounds()).Intersect(image.Rect(0, 0, frame.W, frame.H))
		if !s.spend(r.Size()) {
			break
		}
		for y := r.Min.Y; y < r.Max.Y; y++ {
			frame.row(f.pix[y*f.w+r.Min.X:y*f.w+r.Max.X], r.Min.X, y)
		}
		f.touch(r)
	}
	return nil
}

// progressive finds where RDPGFX_WIRE_TO_SURFACE_PDU_2 draws, which nobody
// here can do: RemoteFX progressive (2.2.4.2).
func (s *Surfaces) progressive(b []byte) error {
	f, codec, length := s.of[le.Uint16(b)], le.Uint16(b[2:]), le.Uint32(b[9:])
	data := b[13:]
	if uint64(length) > uint64(len(data)) {
		return malformed("a bitmap has %d of its %d bytes", len(data), length)
	}
	if f == nil {
		return nil
	}
	places := []image.Rectangle{f.bounds()}
	if codec == codecProgressive {
		places = regions(data[:length], f.bounds())
	}
	s.hide(f, codec, nil, places...)
	return nil
}

// regions are the rectangles of RFX_PROGRESSIVE_REGION (2.2.4.2.1.5); all, if
// they cannot be read.
func regions(b []byte, all image.Rectangle) (rects []image.Rectangle) {
	const region, fixed, rect = 0xccc4, 18, 8
	for len(b) >= 6 {
		kind, length := le.Uint16(b), le.Uint32(b[2:])
		if length < 6 || uint64(length) > uint64(len(b)) {
			return []image.Rectangle{all}
		}
		block := b[:length]
		b = b[length:]
		if kind != region {
			continue
		}
		n := 0
		if len(block) >= fixed {
			n = int(le.Uint16(block[7:]))
		}
		if len(block) < fixed+rect*n {
			return []image.Rectangle{all}
		}
		for i := range n {
			at := block[fixed+rect*i:]
			x, y := int(le.Uint16(at)), int(le.Uint16(at[2:]))
			rects = append(rects, image.Rect(x, y, x+int(le.Uint16(at[4:])), y+int(le.Uint16(at[6:]))))
		}
	}
	return rects
}

// hide draws words over what cannot be shown.
func (s *Surfaces) hide(f *surface, codec uint16, why error, places ...image.Rectangle) {
	name := codecName(codec)
	w, words := s.Output.Words(name)
	for _, r := range places {
		r = r.Intersect(f.bounds())
		if r.In(f.words) && f.about == codec {
			f.again = f.again.Union(r) // a film would fill the same place thirty times a second
			continue
		}
		if !s.spend(r.Size()) {
			break
		}
		for y := r.Min.Y; y < r.Max.Y; y++ {
			row := words[y*w%len(words):][:w]
			out := f.pix[y*f.w : (y+1)*f.w]
			for x := r.Min.X; x < r.Max.X; x++ {
				out[x] = row[x%w]
			}
		}
		f.touch(r)
		f.words, f.about = r, codec
	}
	s.hidden(name, why)
}
