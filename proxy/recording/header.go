package recording

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"
)

// A Header is the first line of a recording.
type Header struct {
	Width, Height int
	Start         time.Time // zero is now
	Term          string    // TERM of the terminal
	Command       string    // for exec; "" is a shell
	Title         string    // filled in by the house, as are the following
	Person        string
	Server        string
	Login         string
	Source        string
	Grant         string
	Stay          string
	Session       string
	Channel       int
}

// headerLine is a Header as asciicast v2 has it. What asciicast has no place
// for stands in an object of our own, which players ignore.
type headerLine struct {
	Version   int               `json:"version"`
	Width     int               `json:"width"`
	Height    int               `json:"height"`
	Timestamp int64             `json:"timestamp"`
	Title     string            `json:"title,omitempty"`
	Env       map[string]string `json:"env,omitempty"`
	Inside    inside            `json:"inside"`
}

type inside struct {
	Start   time.Time `json:"start"` // the timestamp, but to the microsecond
	Person  string    `json:"person,omitempty"`
	Server  string    `json:"server,omitempty"`
	Login   string    `json:"login,omitempty"`
	Source  string    `json:"source,omitempty"`
	Grant   string    `json:"grant,omitempty"`
	Stay    string    `json:"stay,omitempty"`
	Session string    `json:"session,omitempty"`
	Channel int       `json:"channel"`
	Command string    `json:"command,omitempty"`
}

// Longest strings of a header: even if JSON writes each byte as six, the line
// stays under maxLine. The whole command stands in the event log.
const (
	maxField   = 512
	maxCommand = 4 << 10
)

// line returns the header as the first line of a recording.
func (h Header) line() ([]byte, error) {
	l := headerLine{
		Version:   2,
		Width:     clampSize(h.Width),
		Height:    clampSize(h.Height),
		Timestamp: max(h.Start.Unix(), 0),
		Title:     fit(h.Title, maxField),
		Inside: inside{
			Start:   h.Start.UTC().Truncate(time.Microsecond),
			Person:  fit(h.Person, maxField),
			Server:  fit(h.Server, maxField),
			Login:   fit(h.Login, maxField),
			Source:  fit(h.Source, maxField),
			Grant:   fit(h.Grant, maxField),
			Stay:    fit(h.Stay, maxField),
			Session: fit(h.Session, maxField),
			Channel: h.Channel,
			Command: fit(h.Command, maxCommand),
		},
	}
	if h.Term != "" {
		l.Env = map[string]string{"TERM": fit(h.Term, maxField)}
	}
	// RFC 4254 section 6.2: zero dimensions must be ignored. Players divide
	// by them.
	if l.Width == 0 || l.Height == 0 {
		l.Width, l.Height = 80, 24
	}
	b, err := json.Marshal(l)
	if err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	return append(b, '\n'), nil
}

// parseHeader is the reverse of Header.line.
func parseHeader(line []byte) (Header, error) {
	var l headerLine
	if err := json.Unmarshal(line, &l); err != nil {
		return Header{}, fmt.Errorf("the first line is not a header: %w", err)
	}
	if l.Version != 2 {
		return Header{}, fmt.Errorf("asciicast version %d is not known here, only 2 is", l.Version)
	}
	if l.Width < 0 || l.Height < 0 {
		return Header{}, errors.New("the header has a negative size")
	}
	h := Header{
		Width: l.Width, Height: l.Height,
		Start:   l.Inside.Start,
		Term:    l.Env["TERM"],
		Command: l.Inside.Command,
		Title:   l.Title,
		Person:  l.Inside.Person,
		Server:  l.Inside.Server,
		Login:   l.Inside.Login,
		Source:  l.Inside.Source,
		Grant:   l.Inside.Grant,
		Stay:    l.Inside.Stay,
		Session: l.Inside.Session,
		Channel: l.Inside.Channel,
	}
	if h.Start.IsZero() {
		h.Start = time.Unix(l.Timestamp, 0).UTC()
	}
	return h, nil
}

// clampSize keeps a terminal's dimension in the 16 bits that the kernel's
// struct winsize and other readers of asciicast have for it.
func clampSize(n int) int { return min(max(n, 0), 65535) }

// fit returns s as it goes into a header or a log: legible, and not much
// longer than limit bytes unless much of it is not UTF-8.
func fit(s string, limit int) string { return legible(cut(s, limit)) }

// legible returns s with each byte that is not UTF-8 written as \xNN, which a
// reader can still tell apart where JSON would make all of them U+FFFD.
func legible(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	var b []byte
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 {
			b = appendHex(append(b, '\\', 'x'), s[i])
		} else {
			b = append(b, s[i:i+n]...)
		}
		i += n
	}
	return string(b)
}

// cut shortens s to limit bytes and says so.
func cut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	mark := "… (cut, " + strconv.Itoa(len(s)) + " bytes)"
	s = s[:max(limit-len(mark), 0)]
	return s[:len(s)-unfinished([]byte(s[max(len(s)-utf8.UTFMax, 0):]))] + mark
}
