package store

import (
	"fmt"
	"net/netip"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Longest texts in bytes. They are generous: their purpose is that no row
// grows without end.
const (
	maxName   = 255
	maxText   = 1000
	maxDetail = 4000
)

// checkText refuses what one engine would take and the other not (PostgreSQL:
// no NUL, only valid UTF-8), what would break a table on a terminal, and what
// has no end. The text must not be empty.
func checkText(what, s string, longest int) error {
	if s == "" {
		return refuse(ErrInvalid, "%s is missing", what)
	}
	return checkOptional(what, s, longest)
}

func checkOptional(what, s string, longest int) error {
	switch {
	case len(s) > longest:
		return refuse(ErrInvalid, "%s is %d bytes long: at most %d are kept", what, len(s), longest)
	case !utf8.ValidString(s):
		return refuse(ErrInvalid, "%s %q is not valid utf-8", what, s)
	case strings.ContainsFunc(s, unicode.IsControl):
		return refuse(ErrInvalid, "%s %q has a control character in it", what, s)
	}
	return nil
}

// checkPrefix refuses what the lookup by address could not find again.
func checkPrefix(what string, p netip.Prefix) error {
	switch {
	case !p.IsValid():
		return refuse(ErrInvalid, "%s is missing or not an address", what)
	case p.Addr().Is4In6():
		return refuse(ErrInvalid, "%s %s is an IPv4 address in IPv6 form: write %s", what, p, p.Addr().Unmap())
	case p != p.Masked():
		return refuse(ErrInvalid, "%s %s has host bits set: write %s", what, p, p.Masked())
	}
	return nil
}

// checkMoment refuses times no calendar of ours holds.
func checkMoment(what string, t time.Time) error {
	if t.IsZero() {
		return refuse(ErrInvalid, "%s is missing", what)
	}
	if t.Year() < 1971 || t.Year() > 9999 {
		return refuse(ErrInvalid, "%s %s is not between 1971 and 9999", what, t.UTC().Format(time.RFC3339))
	}
	return nil
}

// readable makes text from strangers (a login, an error of theirs) fit for
// both engines without losing what it was: bytes that are not text become
// \xNN. An entry must not be refused for them, it must be written down.
func readable(s string, longest int) string {
	s = s[:min(len(s), longest)]
	if utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl) {
		return s
	}
	var b strings.Builder
	for len(s) > 0 && b.Len() < longest {
		r, n := utf8.DecodeRuneInString(s)
		if r == utf8.RuneError && n == 1 || unicode.IsControl(r) {
			for _, c := range []byte(s[:n]) {
				fmt.Fprintf(&b, `\x%02x`, c)
			}
		} else {
			b.WriteString(s[:n])
		}
		s = s[n:]
	}
	return b.String()
}
