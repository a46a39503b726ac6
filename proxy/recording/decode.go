package recording

import (
	"encoding/hex"
	"encoding/json"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// A Frame is one event of a terminal recording.
type Frame struct {
	Time time.Duration // since the start of the channel
	Kind byte          // 'o' output, 'r' resize, 'm' marker
	Data []byte
}

// Largest terminal a player should have to draw. A client may claim any size
// at all, and a player that believes it runs out of memory.
const maxCells = 1000

// Size returns the size a resize frame names, kept within what a player can
// draw; ok is false for other frames.
func (f Frame) Size() (width, height int, ok bool) {
	if f.Kind != 'r' {
		return 0, 0, false
	}
	w, h, ok := strings.Cut(string(f.Data), "x")
	if !ok {
		return 0, 0, false
	}
	width, errW := strconv.Atoi(w)
	height, errH := strconv.Atoi(h)
	if errW != nil || errH != nil {
		return 0, 0, false
	}
	return min(max(width, 1), maxCells), min(max(height, 1), maxCells), true
}

// A decoder turns the lines after the header into frames.
type decoder struct {
	raw     []byte // of the "b" event before the next output
	carried Frame  // a "c" event that nothing followed yet
}

// line decodes one line without its newline. ok is false for a line that is
// no frame of its own; what says why a line is bad.
func (d *decoder) line(line []byte) (f Frame, ok bool, what string) {
	var event []json.RawMessage
	if err := json.Unmarshal(line, &event); err != nil || len(event) != 3 {
		return Frame{}, false, "a line is not an event"
	}
	t, err := parseTime(event[0])
	if err != nil {
		return Frame{}, false, "an event has no time"
	}
	var kind, text string
	if json.Unmarshal(event[1], &kind) != nil || json.Unmarshal(event[2], &text) != nil {
		return Frame{}, false, "an event is not made of strings"
	}
	f = Frame{Time: t}
	switch kind {
	case "o":
		data, good := mend(text, d.raw)
		d.raw, d.carried = nil, Frame{}
		if !good {
			return Frame{}, false, "a text does not fit its raw bytes"
		}
		f.Kind, f.Data = 'o', data
		return f, true, ""
	case "r", "m":
		f.Kind, f.Data = kind[0], []byte(text)
		return f, true, ""
	case "b", "c":
		raw, err := hex.DecodeString(text)
		if err != nil || len(raw) == 0 {
			return Frame{}, false, "raw bytes are not hexadecimal"
		}
		if kind == "b" {
			d.raw = raw
		} else {
			f.Kind, f.Data = 'o', raw
			d.carried = f
		}
	}
	return Frame{}, false, "" // kinds that other programs may have added
}

// rest returns the bytes of a character that was cut and never completed.
func (d *decoder) rest() (Frame, bool) {
	f := d.carried
	d.carried = Frame{}
	return f, f.Data != nil
}

// mend puts raw bytes back in the place of the U+FFFD that stand for them.
func mend(text string, raw []byte) ([]byte, bool) {
	if raw == nil {
		return []byte(text), true
	}
	out := make([]byte, 0, len(text))
	for i := 0; i < len(text); {
		n := strings.IndexRune(text[i:], utf8.RuneError)
		if n < 0 {
			out = append(out, text[i:]...)
			break
		}
		if len(raw) == 0 {
			return nil, false
		}
		out = append(out, text[i:i+n]...)
		if raw[0] == 0 {
			out = append(out, "\ufffd"...)
		} else {
			out = append(out, raw[0])
		}
		raw = raw[1:]
		i += n + len("\ufffd")
	}
	return out, len(raw) == 0
}
