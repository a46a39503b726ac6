package sshentry

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// plain makes text of a peer, or about one, fit for a person's terminal: no
// control characters but newline and tab, no escape sequences, no characters
// that turn the direction of writing, valid UTF-8, at most limit bytes.
func plain(s string, limit int) string {
	var b strings.Builder
	for i := 0; i < len(s) && b.Len() < limit; {
		r, size := utf8.DecodeRuneInString(s[i:])
		i += size
		switch {
		case r == utf8.RuneError && size == 1:
			r = '?'
		case r == '\n' || r == '\t':
		case unicode.IsControl(r), isInvisible(r):
			continue
		}
		if b.Len()+utf8.RuneLen(r) > limit {
			break
		}
		b.WriteRune(r)
	}
	return b.String()
}

// plainLine is plain for what must stay one line.
func plainLine(s string, limit int) string {
	return strings.Join(strings.FieldsFunc(plain(s, limit), func(r rune) bool { return r == '\n' || r == '\t' }), " ")
}

// isInvisible reports line separators and the marks that reorder or hide
// text: U+2028 and U+2029, and the format characters (bidirectional controls,
// zero-width characters).
func isInvisible(r rune) bool {
	return unicode.In(r, unicode.Zl, unicode.Zp, unicode.Cf)
}

// soundLogin reports whether a login name may be asked about at all. The
// empty name is not: to the book it would mean any login.
func soundLogin(name string) bool {
	if name == "" || len(name) > maxName || !utf8.ValidString(name) {
		return false
	}
	for _, r := range name {
		if unicode.IsControl(r) || isInvisible(r) {
			return false
		}
	}
	return true
}

// maxName bounds the names a peer may send: logins, hosts, variables.
const maxName = 255
