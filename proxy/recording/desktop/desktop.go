// Package desktop writes what a desktop session showed, and reads it back: the
// server's updates as they came, decompressed and in order, with whole
// pictures in between. It is append-only and written before it is forwarded;
// the live view is the same file, followed. Keystrokes, passwords and the
// packets that hold them have no place in it. It knows neither connections nor
// rights: the entry fills it, the API follows it, inside-render makes a video
// of it.
//
// # The recording, desktop.rdpr
//
// One line of JSON, the header, and then blocks. A block is a record of 64
// bytes (see ondisk.Record: length, time, CRC-32C and a SHA-256 chain over all
// that came before, the header line first) and one zstd frame that stands
// alone. The kinds of records are
//
//	b  events
//	k  a keyframe: one event, from which on the picture is known, and where
//	   the graphics pipeline was used one more, the surfaces
//	r  events that Recover took from the tail
//	e  the end; no length
//	x  the end, made by Recover; no length
//
// Within a block, an event is the time since the event before it, or the
// record's time, in microseconds (uvarint), its kind (a byte), the length of
// its data (uvarint) and the data: see [Kind]. Reading the records alone is
// enough to find the keyframe before a moment: they are the index.
//
// # The tail, desktop.tail
//
// What was written since the last block. Each event is handed to the kernel in
// the tail before the call that made it returns; once a second, or when a
// mebibyte has come together, it is compressed into a block and the tail is
// emptied. Blocks are made durable once a second. After a crash of the process
// nothing that was shown is missing, after a power cut about a second may be.
// A tail entry is, little endian, the length of its body (4), the CRC-32C of
// the offset of the block to come (8) and the body (4), and the body: time in
// microseconds (8), kind (1), data. An entry whose checksum differs belongs to
// an earlier block or was not written whole: the tail ends before it.
package desktop

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"strings"
	"time"

	"github.com/pawelmojski/inside/proxy/rdpentry/codec"
	"github.com/pawelmojski/inside/proxy/rdpentry/gfx"
	"github.com/pawelmojski/inside/proxy/rdpentry/screen"
	"github.com/pawelmojski/inside/proxy/recording"
	"github.com/pawelmojski/inside/proxy/recording/internal/ondisk"
)

// Name is the recording of a session in its folder.
const Name = "desktop.rdpr"

// A Kind is what an event is, and what its data holds.
type Kind byte

const (
	Update   Kind = 'u' // TS_UPDATE_BITMAP_DATA, as codec.ParseBitmaps reads it
	Pointer  Kind = 'p' // the fast-path code of a pointer update, and its contents
	Move     Kind = 'm' // where the client moved the pointer: x and y, 16 bits each
	Resize   Kind = 's' // the new width and height, 16 bits each: all is black
	Palette  Kind = 'c' // 256 colours: red, green, blue
	Channel  Kind = 'h' // what went through a channel, in words
	Notice   Kind = 'n' // a line the gate shows over the desktop; "" takes it away
	Keyframe Kind = 'k' // screen.AppendState
	Graphics Kind = 'g' // messages of the graphics pipeline, with segments and compression undone
	Surfaces Kind = 'f' // gfx.Surfaces.AppendState, after a keyframe: for who begins there
	End      Kind = 'e' // why the session ended, in words
)

// An Event is one thing that happened on the desktop.
type Event struct {
	Time time.Duration // since the start of the recording
	Kind Kind
	Data []byte // valid until the next event is read
}

const (
	// MaxData bounds the data of an event but a keyframe's.
	MaxData = 8 << 20

	maxBlock    = 256 << 20 // a keyframe of the largest screen and its surfaces, expanded
	blockSize   = 1 << 20   // of events that make a block
	maxHeader   = 64 << 10
	longest     = 10 * 365 * 24 * time.Hour // that a recording can be
	keyEvery    = 30 * time.Second
	keyBytes    = 4 << 20 // compressed
	keyRest     = 20      // times as long as a keyframe takes there is none
	kindEvents  = 'b'
	kindKey     = 'k'
	kindRescued = 'r'
	kindEnd     = 'e'
	kindCrashed = 'x'
)

// Apply does to a screen what the event did to the session's. Events that draw
// nothing are nothing.
func (e Event) Apply(s *screen.Screen) error {
	switch e.Kind {
	case Update:
		return s.Update(e.Data)
	case Pointer:
		if len(e.Data) == 0 {
			return errEvent
		}
		return s.Pointer(e.Data[0], e.Data[1:])
	case Move, Resize:
		if len(e.Data) != 4 {
			return errEvent
		}
		x, y := int(binary.LittleEndian.Uint16(e.Data)), int(binary.LittleEndian.Uint16(e.Data[2:]))
		if e.Kind == Resize {
			return s.Resize(x, y)
		}
		s.MovePointer(x, y)
	case Palette:
		if len(e.Data) != 3*len(codec.Palette{}) {
			return errEvent
		}
		var p codec.Palette
		for i := range p {
			p[i] = uint32(e.Data[3*i])<<16 | uint32(e.Data[3*i+1])<<8 | uint32(e.Data[3*i+2])
		}
		s.SetPalette(p)
	case Notice:
		s.SetNotice(string(e.Data))
	case Keyframe:
		return s.SetState(e.Data)
	case Graphics:
		_, err := s.Graphics(e.Data)
		return err
	case Surfaces:
		return s.Surfaces().SetState(e.Data)
	}
	return nil
}

var errEvent = errors.New("desktop: an event has the wrong length")

// appendEvent appends an event as a block has it.
func appendEvent(dst []byte, since time.Duration, k Kind, data []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(since.Microseconds()))
	dst = append(dst, byte(k))
	dst = binary.AppendUvarint(dst, uint64(len(data)))
	return append(dst, data...)
}

// events reads the events of a block that begins at a time.
func events(block []byte, at time.Duration, yield func(Event) bool) (more bool, err error) {
	for len(block) > 0 {
		dt, n := binary.Uvarint(block)
		if n <= 0 || n == len(block) || dt > math.MaxInt64/2000 {
			return false, ErrBlock
		}
		e := Event{Kind: Kind(block[n])}
		block = block[n+1:]
		length, n := binary.Uvarint(block)
		if n <= 0 || length > uint64(len(block)-n) {
			return false, ErrBlock
		}
		e.Data, block = block[n:n+int(length)], block[n+int(length):]
		if at += time.Duration(dt) * time.Microsecond; at < 0 || at > longest {
			return false, ErrBlock
		}
		e.Time = at
		if !yield(e) {
			return false, nil
		}
	}
	return true, nil
}

// ErrBlock says that a block, though it is as it was written, holds no events.
var ErrBlock = errors.New("an event of a block is cut, or of an impossible time")

// Size returns the size of the desktop from the event on, if it says one.
func (e Event) Size() (w, h int, ok bool) {
	if e.Kind == Graphics {
		w, h, ok = gfx.OutputSize(e.Data)
		return w, h, ok && screen.CheckSize(w, h) == nil
	}
	if (e.Kind != Resize || len(e.Data) != 4) && (e.Kind != Keyframe || len(e.Data) < 4) {
		return 0, 0, false
	}
	w, h = int(binary.LittleEndian.Uint16(e.Data)), int(binary.LittleEndian.Uint16(e.Data[2:]))
	return w, h, screen.CheckSize(w, h) == nil
}

const (
	tailHead = 8
	tailBody = 9 // before the data
)

// appendTail appends an event as the tail has it, before the block at gen.
func appendTail(dst []byte, gen int64, at time.Duration, k Kind, data []byte) []byte {
	from := len(dst)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(tailBody+len(data)))
	dst = append(dst, 0, 0, 0, 0)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(at.Microseconds()))
	dst = append(dst, byte(k))
	dst = append(dst, data...)
	binary.LittleEndian.PutUint32(dst[from+4:], tailSum(gen, dst[from+tailHead:]))
	return dst
}

func tailSum(gen int64, body []byte) uint32 {
	g := binary.LittleEndian.AppendUint64(nil, uint64(gen))
	return crc32.Update(crc32.Checksum(g, ondisk.Castagnoli), ondisk.Castagnoli, body)
}

// headerLine is the first line of a recording.
type headerLine struct {
	Format  string    `json:"format"`
	Width   int       `json:"width"`
	Height  int       `json:"height"`
	Start   time.Time `json:"start"`
	Title   string    `json:"title,omitempty"`
	Person  string    `json:"person,omitempty"`
	Server  string    `json:"server,omitempty"`
	Login   string    `json:"login,omitempty"`
	Source  string    `json:"source,omitempty"`
	Grant   string    `json:"grant,omitempty"`
	Stay    string    `json:"stay,omitempty"`
	Session string    `json:"session,omitempty"`
}

const format = "inside desktop 1"

// line returns h as the first line of a recording.
func line(h recording.Header) ([]byte, error) {
	if err := screen.CheckSize(h.Width, h.Height); err != nil {
		return nil, err
	}
	l := headerLine{
		Format: format, Width: h.Width, Height: h.Height, Start: h.Start.UTC().Truncate(time.Microsecond),
		Title: fit(h.Title), Person: fit(h.Person), Server: fit(h.Server), Login: fit(h.Login), Source: fit(h.Source),
		Grant: fit(h.Grant), Stay: fit(h.Stay), Session: fit(h.Session),
	}
	b, err := json.Marshal(l)
	return append(b, '\n'), err
}

// fit bounds a field of the header; logins come from strangers.
func fit(s string) string { return strings.ToValidUTF8(s[:min(len(s), 512)], "?") }

func parseHeader(b []byte) (recording.Header, error) {
	var l headerLine
	if err := json.Unmarshal(b, &l); err != nil {
		return recording.Header{}, fmt.Errorf("the first line is not a header: %w", err)
	}
	if l.Format != format {
		return recording.Header{}, fmt.Errorf("format %q is not known here, only %q is", l.Format, format)
	}
	if err := screen.CheckSize(l.Width, l.Height); err != nil {
		return recording.Header{}, err
	}
	return recording.Header{
		Width: l.Width, Height: l.Height, Start: l.Start, Title: l.Title, Person: l.Person, Server: l.Server,
		Login: l.Login, Source: l.Source, Grant: l.Grant, Stay: l.Stay, Session: l.Session,
	}, nil
}
