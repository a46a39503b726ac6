package channels

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/pawelmojski/inside/proxy/rdpentry/wire"
	"github.com/pawelmojski/inside/proxy/recording"
)

// A clipFile is a file one side offers.
type clipFile struct {
	name  string
	size  uint64 // as the list said
	moved uint64
}

// list takes a list of files.
func (c *Clipboard) list(from *clipper, m clipMessage, msg []byte) (Out, error) {
	from.asked = false
	if m.flags&clipFail != 0 {
		return c.towards(from, clipNo), nil
	}
	r := wire.Read(m.body)
	n := int64(r.U32())
	if len(m.body) < 4 || n*clipDescriptor > int64(len(r.Rest())) { // the answer to a request before, perhaps
		return c.towards(from, clipNo), nil
	}
	c.left(from)
	for range n {
		d := wire.Read(r.Take(clipDescriptor))
		d.Take(64)
		high, low := d.U32(), d.U32()
		name, sound := pathOf(d.Take(520))
		if !sound || name == "" || strings.Contains(name, ":") || isSeparator(rune(name[0])) {
			from.files = nil
			c.note(recording.Event{Kind: "denied", Path: name, Detail: "clipboard: a file that is to lie elsewhere"})
			return c.towards(from, clipNo), nil
		}
		from.files = append(from.files, &clipFile{name: name, size: uint64(high)<<32 | uint64(low)})
	}
	c.note(from.event("clipboard", "", fmt.Sprintf("names of %d files", n), uint64(m.length)))
	return c.towards(from, msg), nil
}

// askContents notes which file the other side wants a part of.
func (s *clipper) askContents(body []byte) error {
	r := wire.Read(body)
	stream, index, flags := r.U32(), r.U32(), r.U32()
	r.U64() // where
	r.U32() // how much
	if err := r.End("a request for a part of a file"); err != nil {
		return err
	}
	files := s.files
	if len(r.Rest()) >= 4 {
		if kept, ok := s.locked[r.U32()]; ok {
			files = kept
		}
	}
	if len(s.parts) >= maxParts {
		clear(s.parts) // nobody answers them any more
	}
	switch {
	case flags&clipRange == 0:
		s.parts[stream] = nil
	case int64(index) < int64(len(files)):
		s.parts[stream] = files[index]
	default: // of a list that is there no more
		s.parts[stream] = &clipFile{name: fmt.Sprintf("file %d of the clipboard", index), size: 1}
	}
	return nil
}

// contents counts a part of a file. What a file has all of is written down at
// once, the rest when it is left.
func (c *Clipboard) contents(from *clipper, m clipMessage) (pass bool) {
	stream := binary.LittleEndian.Uint32(m.body)
	f, asked := from.parts[stream]
	delete(from.parts, stream)
	n := uint64(m.length - 4)
	switch {
	case !asked, f == nil && n > 8:
		return false
	case f == nil, n == 0:
		return true
	}
	if f.moved += n; f.size > 0 && f.moved >= f.size {
		c.note(from.event("file", f.name, "clipboard", f.moved))
		f.moved = 0
	}
	return true
}

// left writes down of which files only a part has passed, or nobody knows
// whether it was all, when something else is offered.
func (c *Clipboard) left(from *clipper) {
	for _, f := range from.files {
		if f.moved > 0 {
			c.note(from.event("file", f.name, "clipboard, a part of it", f.moved))
			f.moved = 0
		}
	}
	from.files = nil
}

// lock keeps a list of files, or lets it go.
func (s *clipper) lock(m clipMessage) error {
	r := wire.Read(m.body)
	id := r.U32()
	if err := r.End("a lock of the clipboard"); err != nil {
		return err
	}
	if m.kind == clipUnlock {
		delete(s.locked, id)
	} else if len(s.locked) < maxLocked {
		s.locked[id] = s.files
	}
	return nil
}
