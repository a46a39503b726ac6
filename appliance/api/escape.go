package api

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Escape makes text safe to show: what is not a letter, mark, number, sign or
// plain space becomes its code. This covers control characters of both kinds
// (C0, C1), the marks that turn the direction of text (U+202E and its like),
// and what is not UTF-8.
func Escape(s string) string {
	return escapeWith(s, func(b *strings.Builder, r rune, raw string) {
		switch {
		case r == utf8.RuneError && len(raw) == 1:
			fmt.Fprintf(b, `\x%02x`, raw[0])
		case r < utf8.RuneSelf:
			fmt.Fprintf(b, `\x%02x`, r)
		case r <= 0xffff:
			fmt.Fprintf(b, `\u%04x`, r)
		default:
			fmt.Fprintf(b, `\U%08x`, r)
		}
	})
}

// EscapeJSON does the same to JSON text, in the way JSON writes codes. Outside
// of strings JSON has nothing to escape but the ends of lines.
func EscapeJSON(s string) string {
	return escapeWith(s, func(b *strings.Builder, r rune, raw string) {
		switch {
		case r == '\n':
			b.WriteByte('\n')
		case r <= 0xffff:
			fmt.Fprintf(b, `\u%04x`, r)
		default:
			high, low := utf16Pair(r)
			fmt.Fprintf(b, `\u%04x\u%04x`, high, low)
		}
	})
}

func utf16Pair(r rune) (high, low rune) {
	r -= 0x10000
	return 0xd800 + r>>10, 0xdc00 + r&0x3ff
}

func escapeWith(s string, code func(b *strings.Builder, r rune, raw string)) string {
	if isPlain(s) {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		if unicode.IsPrint(r) && (r != utf8.RuneError || n > 1) {
			b.WriteString(s[:n])
		} else {
			code(&b, r, s[:n])
		}
		s = s[n:]
	}
	return b.String()
}

func isPlain(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
