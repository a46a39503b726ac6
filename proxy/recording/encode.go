package recording

import (
	"encoding/binary"
	"slices"
	"strconv"
	"sync"
	"time"
	"unicode/utf8"
)

// Most bytes of output in one line. JSON writes a byte with six at worst, so
// that a line stays under maxLine, also with a "b" event's two per byte.
const maxText = 10 << 10

// lines holds buffers for lines on their way to the file: one per call that
// is under way, none per idle writer.
var lines = sync.Pool{New: func() any { b := make([]byte, 0, 48<<10); return &b }}

// appendOutput appends the event or events that hold p. Bytes that are not
// UTF-8 are kept in a "b" event before it; see the package comment.
func appendOutput(dst []byte, t time.Duration, p []byte) []byte {
	if utf8.Valid(p) {
		return appendEvent(dst, t, 'o', p)
	}
	scratch := lines.Get().(*[]byte)
	defer lines.Put(scratch)
	text := (*scratch)[:0]
	dst = appendStart(dst, t, 'b')
	for i := 0; i < len(p); {
		if p[i] < utf8.RuneSelf {
			text = append(text, p[i])
			i++
			continue
		}
		r, n := utf8.DecodeRune(p[i:])
		text = utf8.AppendRune(text, r)
		switch {
		case r == utf8.RuneError && n == 1:
			dst = appendHex(dst, p[i])
		case r == utf8.RuneError: // that was really sent
			dst = appendHex(dst, 0)
		}
		i += n
	}
	dst = append(dst, "\"]\n"...)
	*scratch = text
	return appendEvent(dst, t, 'o', text)
}

// appendEvent appends a whole line. text must be UTF-8.
func appendEvent(dst []byte, t time.Duration, kind byte, text []byte) []byte {
	dst = appendStart(dst, t, kind)
	dst = appendText(dst, text)
	return append(dst, "\"]\n"...)
}

// appendStart appends a line up to its text. Times are fixed-point numbers,
// never a formatted float.
func appendStart(dst []byte, t time.Duration, kind byte) []byte {
	us := t.Microseconds()
	dst = append(dst, '[')
	dst = strconv.AppendInt(dst, us/1e6, 10)
	f := us % 1e6
	dst = append(dst, '.',
		'0'+byte(f/1e5), '0'+byte(f/1e4%10), '0'+byte(f/1e3%10),
		'0'+byte(f/100%10), '0'+byte(f/10%10), '0'+byte(f%10))
	return append(dst, ',', '"', kind, '"', ',', '"')
}

// appendText appends UTF-8 as the inside of a JSON string. Besides what JSON
// asks for it escapes DEL, C1 and the line separators U+2028 and U+2029: a
// .cast that is shown by cat(1) or pasted into a script must do no harm.
func appendText(dst, p []byte) []byte {
	dst = slices.Grow(dst, 6*len(p)+8)
	d, o := dst[:cap(dst)], len(dst)
	for i := 0; i < len(p); {
		if i+8 <= len(p) {
			// All eight are copied, and those that count are kept. A table is
			// faster here than arithmetic on the word.
			q := p[i : i+8 : i+8]
			binary.LittleEndian.PutUint64(d[o:], binary.LittleEndian.Uint64(q))
			if special[q[0]]|special[q[1]]|special[q[2]]|special[q[3]]|
				special[q[4]]|special[q[5]]|special[q[6]]|special[q[7]] == 0 {
				i, o = i+8, o+8
				continue
			}
			for special[p[i]] == 0 {
				i, o = i+1, o+1
			}
		}
		c := p[i]
		switch {
		case c < 0x80:
			e := &escapes[c]
			binary.LittleEndian.PutUint64(d[o:], e.text)
			i, o = i+1, o+e.n
		case c == 0xc2 && p[i+1] < 0xa0: // C1
			o = len(appendEscape(d[:o], rune(p[i+1])))
			i += 2
		case c == 0xe2 && p[i+1] == 0x80 && p[i+2]|1 == 0xa9:
			o = len(appendEscape(d[:o], 0x2000|rune(p[i+2]&0x3f)))
			i += 3
		default:
			d[o] = c
			i, o = i+1, o+1
		}
	}
	return d[:o]
}

// special is not zero for bytes that need a look: those that never stand in a
// JSON string as they are, and C2 and E2, which begin C1 and the separators.
var special = func() (all [0x100]byte) {
	for c := range all {
		if c < 0x20 || c == '"' || c == '\\' || c == 0x7f || c == 0xc2 || c == 0xe2 {
			all[c] = 1
		}
	}
	return all
}()

// escapes holds how each ASCII character stands in a JSON string: up to six
// bytes, the first lowest.
var escapes = func() (all [0x80]struct {
	text uint64
	n    int
}) {
	for c := range all {
		text := []byte{byte(c)}
		switch {
		case c == '"' || c == '\\':
			text = []byte{'\\', byte(c)}
		case c == '\n':
			text = []byte(`\n`)
		case c == '\r':
			text = []byte(`\r`)
		case c == '\t':
			text = []byte(`\t`)
		case c < 0x20 || c == 0x7f:
			text = appendEscape(nil, rune(c))
		}
		for i, b := range text {
			all[c].text |= uint64(b) << (8 * i)
		}
		all[c].n = len(text)
	}
	return all
}()

func appendEscape(dst []byte, r rune) []byte {
	return appendHex(appendHex(append(dst, '\\', 'u'), byte(r>>8)), byte(r))
}

func appendHex(dst []byte, c byte) []byte {
	const digits = "0123456789abcdef"
	return append(dst, digits[c>>4], digits[c&15])
}

// unfinished returns how many bytes at the end of p begin a character that
// may be completed by what follows.
func unfinished(p []byte) int {
	for n := 1; n <= 3 && n <= len(p); n++ {
		if c := p[len(p)-n]; utf8.RuneStart(c) {
			if c >= 0xc0 && !utf8.FullRune(p[len(p)-n:]) {
				return n
			}
			return 0
		}
	}
	return 0
}
