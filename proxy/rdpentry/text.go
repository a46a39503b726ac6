package rdpentry

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/proxy"
)

// maxName bounds a name that a peer sends.
const maxName = 255

// plainLine makes text of a peer fit for one line of a log or a window: valid
// UTF-8, no control characters, nothing that reorders or hides other text.
func plainLine(s string, limit int) string {
	var b strings.Builder
	for _, r := range strings.ToValidUTF8(s, "?") {
		if unicode.IsControl(r) || hides(r) {
			continue
		}
		if b.Len()+utf8.RuneLen(r) > limit {
			break
		}
		b.WriteRune(r)
	}
	return b.String()
}

func hides(r rune) bool { return unicode.In(r, unicode.Zl, unicode.Zp, unicode.Cf) }

// soundLogin reports whether a login may be asked about.
func soundLogin(name string) bool {
	return name != "" && len(name) <= maxName && plainLine(name, maxName) == name
}

// where is the server in words.
func (f *flow) where() string {
	where := f.dest.Addr().String()
	if s := f.visit.Verdict().Server; s != nil {
		where = fmt.Sprintf("%s (%s)", s.Name, where)
	}
	return where
}

// denialText says to a person who is refused, where, why, and whom to ask, one
// paragraph a line.
func (f *flow) denialText(r *proxy.Refusal) []string {
	v := r.Verdict
	who := f.visit.Flow().Client.Addr().String()
	if v.Person != nil {
		who = v.Person.Name
	}
	where := f.where()
	if r.Login != "" {
		where = r.Login + " on " + where
	}
	lines := []string{fmt.Sprintf("Inside: %s may not enter %s: %s.", who, where, v.Denial.Sentence())}
	if v.Grant != nil && !v.Grant.End.IsZero() && v.Denial == policy.Expired {
		lines = append(lines, fmt.Sprintf("Grant %s ended %s.", v.Grant.ID, v.Grant.End.Format(time.RFC1123)))
	}
	if r.Err != nil && (v.Denial == policy.NotServed || v.Denial == policy.HostKeyChanged || v.Denial == policy.NotAuthenticated) {
		lines = append(lines, fmt.Sprintf("%s.", r.Err))
	}
	lines = append(lines, "Please ask the administrator of this gateway.")
	for i := range lines {
		lines[i] = plainLine(lines[i], 1024)
	}
	return lines
}

// inFewWords shortens an error that quotes a peer at length: x509 tells what it
// could not read of a certificate, all of it.
func inFewWords(err error) error {
	if text := err.Error(); len(text) > 4*maxName {
		return errors.New(plainLine(text, maxName) + " …")
	}
	return err
}
