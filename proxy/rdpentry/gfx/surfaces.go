package gfx

import (
	"image"
	"maps"
	"slices"

	"github.com/pawelmojski/inside/proxy/rdpentry/codec"
)

// Bounds of what one server may have kept, in pixels: surfaces for the largest
// desktop there is (screen.CheckSize), and twice the cache that is negotiated.
const (
	mostPixels   = 1 << 25
	mostCached   = 1 << 23
	mostSurfaces = 1 << 12
	mostSide     = 1 << 14
	mostDamage   = 16

	// mostDrawn is how many pixels one transmission may draw: a message of some
	// bytes can fill or copy a whole surface thousands of times.
	mostDrawn = 1 << 27
)

// An Output is the desktop that surfaces are mapped to.
type Output interface {
	// Reset makes it another size, and black.
	Reset(w, h int) error
	// Show puts pixels, whose rows are stride apart, to r, which may reach
	// over its edge.
	Show(r image.Rectangle, pix []uint32, stride int)
	// Words is a pattern, of this width, to be put where graphics of a kind
	// cannot be shown.
	Words(kind string) (width int, pix []uint32)
}

// Surfaces are what a server draws on. They are for one goroutine at a time.
type Surfaces struct {
	Output Output
	Video  func(Video) (Frame, error) // decodes H.264; nil: it is not shown
	Hidden func(NotShown)             // hears of what is not shown; nil: nobody does

	of      map[uint16]*surface
	cache   map[uint16]tile
	pixels  int // of all surfaces
	cached  int // pixels of the cache
	left    int // pixels that the messages at hand may still draw
	framed  bool
	streams Streams
	decoder codec.Decoder
	drawn   []image.Rectangle // on the output, by the messages at hand
}

type tile struct {
	w, h int
	pix  []uint32
}

type surface struct {
	tile
	mapped bool
	at     image.Point
	damage []image.Rectangle // drawn on, and not on the output yet

	words image.Rectangle // holds nothing but words about a codec, and the output shows them
	about uint16
	again image.Rectangle // within words: would have been drawn on once more
}

func (t tile) bounds() image.Rectangle { return image.Rect(0, 0, t.w, t.h) }

// NotShown says what cannot be shown. The place where it belongs says so, too.
type NotShown struct {
	Kind string
	Why  error // it did not decode; nil: nobody here can
}

func (e NotShown) Error() string {
	if e.Why != nil {
		return "graphics of kind " + e.Kind + " could not be decoded: " + e.Why.Error()
	}
	return "graphics of kind " + e.Kind + " cannot be shown yet: the recording holds them"
}

// Apply draws what messages say; what cannot be shown is shown in words. It
// returns where the output was drawn on. After an error no more is to be drawn.
func (s *Surfaces) Apply(messages []byte) (drawn []image.Rectangle, err error) {
	s.drawn, s.left = nil, mostDrawn
	for len(messages) > 0 {
		m, rest, err := next(messages)
		if err == nil {
			err = s.message(m)
		}
		if err == nil && s.left < 0 {
			err = ErrTooMuch
		}
		if err != nil {
			return s.drawn, err
		}
		messages = rest
	}
	if !s.framed {
		s.flush()
	}
	return s.drawn, nil
}

// spend reports whether so much may still be drawn.
func (s *Surfaces) spend(size image.Point) bool {
	s.left -= size.X * size.Y
	return s.left >= 0
}

// hidden tells of something that is not shown.
func (s *Surfaces) hidden(kind string, why error) {
	if s.Hidden != nil {
		s.Hidden(NotShown{kind, why})
	}
}

// Framed says whether the server is in the middle of a frame.
func (s *Surfaces) Framed() bool { return s.framed }

func (s *Surfaces) message(m message) error {
	switch m.kind {
	case startFrame:
		s.framed = true
	case endFrame:
		s.framed = false
		s.flush()
	case resetGraphics:
		s.framed = false
		w, h := le.Uint32(m.body), le.Uint32(m.body[4:])
		if w > mostSide || h > mostSide {
			return malformed("a desktop of %d × %d", w, h)
		}
		if !s.spend(image.Pt(int(w), int(h))) {
			return ErrTooMuch
		}
		for _, f := range s.of {
			f.words = image.Rectangle{} // nor does the output show them
		}
		return s.Output.Reset(int(w), int(h))
	case createSurface:
		return s.create(m.body)
	case deleteSurface:
		s.remove(le.Uint16(m.body))
	case mapToOutput, mapToScaledOutput:
		return s.mapped(m)
	case mapToWindow, mapToScaledWindow:
		s.hidden("remote application", nil)
	case wireToSurface:
		return s.draw(m.body)
	case wireToSurface2:
		return s.progressive(m.body)
	case solidFill:
		return s.fill(m.body)
	case surfaceToSurface:
		return s.copy(m.body)
	case surfaceToCache:
		return s.keep(m.body)
	case cacheToSurface:
		return s.paste(m.body)
	case evictCache:
		s.evict(le.Uint16(m.body))
	}
	return nil // capabilities, contexts of codecs, and what is not known
}

// parseSurface reads an RDPGFX_CREATE_SURFACE_PDU.
func parseSurface(b []byte) (id uint16, w, h int, err error) {
	id, w, h = le.Uint16(b), int(le.Uint16(b[2:])), int(le.Uint16(b[4:]))
	if w == 0 || h == 0 || w > mostSide || h > mostSide {
		err = malformed("a surface of %d × %d", w, h)
	}
	return id, w, h, err
}

func (s *Surfaces) create(b []byte) error {
	id, w, h, err := parseSurface(b)
	if err != nil {
		return err
	}
	s.remove(id)
	if s.pixels+w*h > mostPixels || len(s.of) >= mostSurfaces || !s.spend(image.Pt(w, h)) {
		return ErrTooMuch
	}
	if s.of == nil {
		s.of = map[uint16]*surface{}
	}
	s.pixels += w * h
	s.of[id] = &surface{tile: tile{w, h, make([]uint32, w*h)}}
	s.streams.create(id, w, h)
	return nil
}

func (s *Surfaces) remove(id uint16) {
	if f := s.of[id]; f != nil {
		s.pixels -= f.w * f.h
		delete(s.of, id)
		delete(s.streams.of, id)
	}
}

func (s *Surfaces) mapped(m message) error {
	f := s.of[le.Uint16(m.body)]
	x, y := le.Uint32(m.body[4:]), le.Uint32(m.body[8:])
	if x > mostSide || y > mostSide {
		return malformed("a surface at %d, %d", x, y)
	}
	if f == nil {
		return nil
	}
	f.mapped, f.at = true, image.Pt(int(x), int(y))
	f.touch(f.bounds())
	if m.kind == mapToScaledOutput {
		s.hidden("scaled output", nil)
	}
	return nil
}

// touch notes that a surface was drawn on.
func (f *surface) touch(r image.Rectangle) {
	if r = r.Intersect(f.bounds()); r.Empty() {
		return
	}
	if r.Overlaps(f.words) {
		f.words = image.Rectangle{}
	}
	for _, old := range f.damage {
		if r.In(old) {
			return
		}
	}
	f.damage = append(f.damage, r)
	if len(f.damage) > mostDamage {
		all := image.Rectangle{}
		for _, d := range f.damage {
			all = all.Union(d)
		}
		f.damage = append(f.damage[:0], all)
	}
}

// flush brings what was drawn onto the output.
func (s *Surfaces) flush() {
	for _, id := range slices.Sorted(maps.Keys(s.of)) {
		f := s.of[id]
		for _, d := range f.damage {
			if f.mapped && s.spend(d.Size()) {
				s.Output.Show(d.Add(f.at), f.pix[d.Min.Y*f.w+d.Min.X:], f.w)
				s.drawn = append(s.drawn, d.Add(f.at))
			}
		}
		if f.mapped && !f.again.Empty() {
			s.drawn = append(s.drawn, f.again.Add(f.at))
		}
		f.damage, f.again = f.damage[:0], image.Rectangle{}
	}
}

// fill is RDPGFX_SOLIDFILL_PDU.
func (s *Surfaces) fill(b []byte) error {
	f := s.of[le.Uint16(b)]
	colour := uint32(b[2]) | uint32(b[3])<<8 | uint32(b[4])<<16
	n := int(le.Uint16(b[6:]))
	b = b[8:]
	if len(b) < 8*n {
		return malformed("%d rectangles in %d bytes", n, len(b))
	}
	if f == nil {
		return nil
	}
	for i := range n {
		r, err := rectangle(b[8*i:])
		if err != nil {
			return err
		}
		if r = r.Intersect(f.bounds()); s.spend(r.Size()) {
			f.fill(r, colour)
		}
	}
	return nil
}

func (f *surface) fill(r image.Rectangle, colour uint32) {
	for y := r.Min.Y; y < r.Max.Y; y++ {
		row := f.pix[y*f.w+r.Min.X : y*f.w+r.Max.X]
		for i := range row {
			row[i] = colour
		}
	}
	f.touch(r)
}

// put draws the part r of a picture with its corner at a point. The picture
// may be the surface's own.
func (f *surface) put(from tile, r image.Rectangle, at image.Point) {
	r = r.Intersect(from.bounds())
	to := r.Add(at.Sub(r.Min)).Intersect(f.bounds())
	r = to.Sub(at.Sub(r.Min))
	for i := range to.Dy() {
		y := i
		if to.Min.Y > r.Min.Y {
			y = to.Dy() - 1 - i // from below, where it may be copied over itself
		}
		copy(f.pix[(to.Min.Y+y)*f.w+to.Min.X:][:to.Dx()], from.pix[(r.Min.Y+y)*from.w+r.Min.X:][:to.Dx()])
	}
	f.touch(to)
}

// copy is RDPGFX_SURFACE_TO_SURFACE_PDU.
func (s *Surfaces) copy(b []byte) error {
	from, to := s.of[le.Uint16(b)], s.of[le.Uint16(b[2:])]
	r, err := rectangle(b[4:])
	if err != nil {
		return err
	}
	ps, err := points(b[12:])
	if err != nil || from == nil || to == nil {
		return err
	}
	for _, p := range ps {
		if s.spend(r.Intersect(from.bounds()).Size()) {
			to.put(from.tile, r, p)
		}
	}
	return nil
}

// keep is RDPGFX_SURFACE_TO_CACHE_PDU.
func (s *Surfaces) keep(b []byte) error {
	f, slot := s.of[le.Uint16(b)], le.Uint16(b[10:])
	r, err := rectangle(b[12:])
	if err != nil || f == nil {
		return err
	}
	s.evict(slot)
	r = r.Intersect(f.bounds())
	if r.Empty() || !s.spend(r.Size()) {
		return nil
	}
	return s.store(slot, f.cut(r))
}

func (s *Surfaces) store(slot uint16, t tile) error {
	if s.cached+t.w*t.h > mostCached {
		return ErrTooMuch
	}
	if s.cache == nil {
		s.cache = map[uint16]tile{}
	}
	s.cache[slot] = t
	s.cached += t.w * t.h
	return nil
}

func (t tile) cut(r image.Rectangle) tile {
	out := tile{r.Dx(), r.Dy(), make([]uint32, 0, r.Dx()*r.Dy())}
	for y := r.Min.Y; y < r.Max.Y; y++ {
		out.pix = append(out.pix, t.pix[y*t.w+r.Min.X:y*t.w+r.Max.X]...)
	}
	return out
}

func (s *Surfaces) evict(slot uint16) {
	s.cached -= s.cache[slot].w * s.cache[slot].h
	delete(s.cache, slot)
}

// paste is RDPGFX_CACHE_TO_SURFACE_PDU.
func (s *Surfaces) paste(b []byte) error {
	t, cached := s.cache[le.Uint16(b)]
	f := s.of[le.Uint16(b[2:])]
	ps, err := points(b[4:])
	if err != nil || !cached || f == nil {
		return err
	}
	for _, p := range ps {
		if s.spend(image.Pt(t.w, t.h)) {
			f.put(t, t.bounds(), p)
		}
	}
	return nil
}
