package recording

import (
	"bytes"
	"io"
	"unicode/utf8"
)

// NewFilter returns a writer that makes the output of a terminal safe to be
// shown on another one, and passes it on to w. What was recorded was meant for
// the terminal of the person inside; sent as it is to an admin's terminal it
// could set the clipboard, make the terminal type answers, or worse
// (CVE-2003-0063, CVE-2022-45872 and many more).
//
// Only what is known to draw passes: text in UTF-8, the control characters
// and escape sequences of the tables below. Everything else is dropped: OSC,
// DCS, APC, PM and SOS strings, C1 characters, queries, reports, modes that
// make a terminal send bytes or change what its keys send, title, window and
// printer control, and the change to another encoding. A byte that is not
// UTF-8 becomes U+FFFD. The filter keeps its state from one Write to the next
// and is idempotent. It needs no terminal model and a few hundred bytes.
func NewFilter(w io.Writer) io.Writer { return &filter{w: w} }

// Reset brings a terminal back from wherever a replay left it: out of the
// alternate screen, with its usual modes, colours and characters. It passes
// the filter itself and does not move the cursor.
const Reset = "\x0f\x1b(B\x1b[m\x1b[?1047l" +
	"\x1b7\x1b[r\x1b8" + // margins; setting them moves the cursor
	"\x1b[!p\x1b[4l\x1b[?5l\x1b[?7h\x1b[?25h\x1b[?69l\x1b[0 q"

const (
	maxSequence = 128     // parameters and intermediates of a sequence
	maxString   = 1 << 20 // of an OSC or the like without an end
	maxNumber   = 9999    // a repeat of millions keeps a terminal busy
)

// What the filter is in the middle of.
const (
	inText    = iota
	inEscape  // after ESC; intermediates are collected
	inControl // after ESC [
	inString  // after ESC ] and the like: dropped up to its end
)

type filter struct {
	w     io.Writer
	state int
	seq   []byte // of an escape or control sequence, without its beginning
	long  bool   // the sequence was longer than maxSequence
	osc   bool   // the string is an OSC, which BEL ends too
	skip  int    // bytes of the string so far
	char  []byte // the beginning of a cut character
	out   []byte
}

func (f *filter) Write(p []byte) (int, error) {
	f.out = f.out[:0]
	n := len(p)
	if len(f.char) > 0 {
		p = append(f.char, p...)
		f.char = nil
	}
	for len(p) > 0 {
		p = p[f.step(p):]
	}
	if len(f.out) == 0 {
		return n, nil
	}
	if _, err := f.w.Write(f.out); err != nil {
		return 0, err
	}
	if cap(f.out) > maxLine { // an idle viewer keeps little
		f.out = nil
	}
	return n, nil
}

// step takes one character, or a run of text, and returns its length.
func (f *filter) step(p []byte) int {
	c := p[0]
	if f.state == inText && c >= 0x20 && c < 0x7f {
		n := 1
		for n < len(p) && p[n] >= 0x20 && p[n] < 0x7f {
			n++
		}
		f.out = append(f.out, p[:n]...)
		return n
	}
	if f.state == inString {
		return f.inString(p)
	}
	if c >= utf8.RuneSelf {
		return f.character(p)
	}
	switch {
	case c == 0x1b:
		f.begin(inEscape)
	case c == 0x18 || c == 0x1a: // CAN and SUB end a sequence
		f.state = inText
	case c < 0x20:
		// Terminals obey a control character also inside a sequence.
		if passesControl(c) {
			f.out = append(f.out, c)
		}
	case c == 0x7f: // nothing, anywhere
	case f.state == inEscape:
		f.escape(c)
	case f.state == inControl:
		f.control(c)
	}
	return 1
}

func (f *filter) begin(state int) {
	f.state, f.seq, f.long, f.skip = state, f.seq[:0], false, 0
}

// character takes a character above ASCII, which ends any sequence.
func (f *filter) character(p []byte) int {
	f.state = inText
	if !utf8.FullRune(p) {
		f.char = append([]byte(nil), p...)
		return len(p)
	}
	r, n := utf8.DecodeRune(p)
	switch {
	case r == utf8.RuneError:
		f.out = utf8.AppendRune(f.out, r)
	case r >= 0xa0: // not C1
		f.out = append(f.out, p[:n]...)
	}
	return n
}

// inString drops a string up to what may end it. Some programs forget the
// end; a recording must not stay dark for ever.
func (f *filter) inString(p []byte) int {
	p = p[:min(len(p), maxString-f.skip)]
	n := bytes.IndexAny(p, "\x1b\x18\x1a\a")
	if n < 0 {
		if f.skip += len(p); f.skip == maxString {
			f.state = inText
		}
		return len(p)
	}
	f.skip += n
	switch {
	case p[n] == 0x1b: // of ST, or of the next sequence
		f.begin(inEscape)
	case p[n] != '\a' || f.osc:
		f.state = inText
	default:
		if f.skip++; f.skip == maxString {
			f.state = inText
		}
	}
	return n + 1
}

// escape takes a character of a sequence that is no control sequence.
func (f *filter) escape(c byte) {
	if c < 0x30 { // an intermediate
		f.collect(c)
		return
	}
	f.state = inText
	if len(f.seq) == 0 {
		switch c {
		case '[':
			f.begin(inControl)
			return
		case ']', 'P', 'X', '^', '_': // OSC, DCS, SOS, PM, APC
			f.begin(inString)
			f.osc = c == ']'
			return
		}
	}
	if !f.long && passesEscape(f.seq, c) {
		f.out = append(f.out, 0x1b)
		f.out = append(f.out, f.seq...)
		f.out = append(f.out, c)
	}
}

// control takes a character of a control sequence.
func (f *filter) control(c byte) {
	if c < 0x40 {
		f.collect(c)
		return
	}
	f.state = inText
	if f.long {
		return
	}
	private, params, inter := splitSequence(f.seq)
	if private == '?' && (c == 'h' || c == 'l') && len(inter) == 0 {
		params = passingModes(params)
		if params == nil {
			return
		}
	} else if !passesSequence(private, params, inter, c) {
		return
	}
	f.out = append(f.out, "\x1b["...)
	if private != 0 {
		f.out = append(f.out, private)
	}
	f.out = append(f.out, params...)
	f.out = append(f.out, inter...)
	f.out = append(f.out, c)
}

func (f *filter) collect(c byte) {
	if len(f.seq) == maxSequence {
		f.long = true
		return
	}
	f.seq = append(f.seq, c)
}
