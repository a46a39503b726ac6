package recording

import (
	"encoding/binary"
	"encoding/hex"
	"math/bits"
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
		r, n := utf8.DecodeRune(p[i:])
		text = utf8.AppendRune(text, r)
		if r == utf8.RuneError {
			raw := p[i]
			if n > 1 {
				raw = 0 // a U+FFFD that was really sent
			}
			dst = hex.AppendEncode(dst, []byte{raw})
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
	for len(p) > 0 {
		n := plain(p)
		dst = append(dst, p[:n]...)
		p = p[n:]
		if len(p) == 0 {
			break
		}
		switch c := p[0]; {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c == '\n':
			dst = append(dst, '\\', 'n')
		case c == '\r':
			dst = append(dst, '\\', 'r')
		case c == '\t':
			dst = append(dst, '\\', 't')
		case c < 0x80: // C0 and DEL
			dst = appendEscape(dst, rune(c))
		default: // what plain stops at above ASCII
			r, size := utf8.DecodeRune(p)
			dst = appendEscape(dst, r)
			p = p[size:]
			continue
		}
		p = p[1:]
	}
	return dst
}

func appendEscape(dst []byte, r rune) []byte {
	const digits = "0123456789abcdef"
	return append(dst, '\\', 'u', digits[r>>12&15], digits[r>>8&15], digits[r>>4&15], digits[r&15])
}

// plain returns how many bytes at the start of the UTF-8 text p stand in a
// JSON string as they are.
func plain(p []byte) int {
	i := 0
	for i < len(p) {
		if i+8 <= len(p) {
			n := plainWord(binary.LittleEndian.Uint64(p[i:]))
			if i += n; n == 8 {
				continue
			}
		}
		switch c := p[i]; {
		case c < 0x20 || c == '"' || c == '\\' || c == 0x7f:
			return i
		case c < 0x80:
			i++
		case c == 0xc2:
			if p[i+1] < 0xa0 { // C1
				return i
			}
			i += 2
		case c == 0xe2:
			if p[i+1] == 0x80 && p[i+2]|1 == 0xa9 { // U+2028, U+2029
				return i
			}
			i += 3
		default:
			for i++; i < len(p) && p[i] >= 0x80 && p[i] != 0xc2 && p[i] != 0xe2; i++ {
			}
		}
	}
	return i
}

// plainWord returns how many of eight bytes, the lowest first, are ASCII that
// stands in a JSON string as it is. Each test sets the high bit of the bytes
// it looks for; a borrow may set it in bytes above a hit, never below.
func plainWord(x uint64) int {
	const ones, high = 0x0101010101010101, 0x8080808080808080
	quote, slash, del := x^ones*'"', x^ones*'\\', x^ones*0x7f
	hit := x | (x-ones*0x20)&^x | (quote-ones)&^quote | (slash-ones)&^slash | (del-ones)&^del
	return bits.TrailingZeros64(hit&high) / 8 // 64 zeros if nothing was hit
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
