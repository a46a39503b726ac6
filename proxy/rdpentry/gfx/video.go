package gfx

import "image"

// A Video is one picture of H.264 (RFX_AVC420_BITMAP_STREAM, 2.2.4.4): of
// which stream it is, the parts of it that are shown, and its bytes as Annex B
// of H.264 has them. A stream is the pictures of one surface from its creation
// on, since each builds on those before it.
type Video struct {
	Stream        int // the number of the surface, in the order they were created
	Picture       int // from 0 on
	Width, Height int // of the surface
	Parts         []image.Rectangle
	Data          []byte
}

// mostParts bounds the rectangles of one picture.
const mostParts = 1 << 14

// parseVideo reads an RFX_AVC420_BITMAP_STREAM.
func parseVideo(b []byte) (v Video, err error) {
	if len(b) < 4 {
		return v, malformed("a picture of H.264 without rectangles")
	}
	n := le.Uint32(b)
	b = b[4:]
	if n > mostParts || len(b) < 10*int(n) {
		return v, malformed("%d rectangles in %d bytes", n, len(b))
	}
	v.Parts = make([]image.Rectangle, n)
	for i := range v.Parts {
		if v.Parts[i], err = rectangle(b[8*i:]); err != nil {
			return v, err
		}
	}
	v.Data = b[10*n:] // two bytes more for each rectangle say how good it is
	return v, nil
}

// Streams numbers the streams in messages, as [Surfaces] does.
type Streams struct {
	of   map[uint16]*stream
	made int
}

type stream struct {
	number, next, width, height int
}

func (s *Streams) create(id uint16, w, h int) {
	if s.of == nil {
		s.of = map[uint16]*stream{}
	}
	s.of[id] = &stream{number: s.made, width: w, height: h}
	s.made++
}

// video reads a picture for a surface; nil: for none that there is.
func (s *Streams) video(id uint16, b []byte) (*Video, error) {
	v, err := parseVideo(b)
	of := s.of[id]
	if err != nil || of == nil {
		return nil, err
	}
	v.Stream, v.Picture, v.Width, v.Height = of.number, of.next, of.width, of.height
	of.next++
	return &v, nil
}

// Pictures yields the pictures of H.264 in some messages, as far as they can be
// read, and says which streams are over after them.
func (s *Streams) Pictures(messages []byte, yield func(Video) bool) (over []int) {
	end := func(id uint16) {
		if of := s.of[id]; of != nil {
			over = append(over, of.number)
		}
	}
	for len(messages) > 0 {
		m, rest, err := next(messages)
		if err != nil {
			return over
		}
		messages = rest
		switch m.kind {
		case createSurface:
			id, w, h, err := parseSurface(m.body)
			if err != nil {
				return over
			}
			end(id)
			s.create(id, w, h)
		case deleteSurface:
			end(le.Uint16(m.body))
			delete(s.of, le.Uint16(m.body))
		case wireToSurface:
			d, err := parseDrawing(m.body)
			if err != nil {
				return over
			}
			if d.codec != codecAVC420 {
				continue
			}
			v, err := s.video(d.surface, d.data)
			if err != nil {
				return over
			}
			if v != nil && !yield(*v) {
				return over
			}
		}
	}
	return over
}

// A Frame is a decoded picture: planes of luma and, at half the size, chroma.
type Frame struct {
	W, H    int
	Y, U, V []byte
}

// Planes splits the bytes of a frame, which must be as many as there are.
func Planes(w, h int, b []byte) (Frame, bool) {
	half := (w + 1) / 2 * ((h + 1) / 2)
	if len(b) != w*h+2*half {
		return Frame{}, false
	}
	return Frame{w, h, b[:w*h], b[w*h:][:half], b[w*h+half:]}, true
}

// row converts the pixels of a row from x on, as 3.3.8.3.1 says: BT.709, full
// range.
func (f Frame) row(out []uint32, x, y int) {
	half := (f.W + 1) / 2
	luma, blue, red := f.Y[y*f.W+x:][:len(out)], f.U[y/2*half:][:half], f.V[y/2*half:][:half]
	for i := range out {
		l, u, v := int(luma[i])<<8, int(blue[(x+i)/2])-128, int(red[(x+i)/2])-128
		out[i] = clamp(l+403*v)<<16 | clamp(l-48*u-120*v)<<8 | clamp(l+475*u)
	}
}

func clamp(v int) uint32 { return uint32(min(max(v>>8, 0), 255)) }
