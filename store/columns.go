package store

import (
	"crypto/rand"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/pawelmojski/inside/policy"
)

// How values lie in columns. Both engines keep exactly these bits, which is
// more than can be said of their own types for times, addresses and arrays.

// micros is a time as Unix microseconds; the zero time is 0.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func moment(micros int64) time.Time {
	if micros == 0 {
		return time.Time{}
	}
	return time.UnixMicro(micros).UTC()
}

// kept is a time as it will be read back.
func kept(t time.Time) time.Time { return moment(micros(t)) }

// newID makes an id nobody can guess: 130 random bits in lower-case base32.
func newID() string { return strings.ToLower(rand.Text()) }

// idNumber reads a numbered id. Only the spelling that was given out is one:
// "7", not "07" or "+7".
func idNumber(id string) (int64, bool) {
	n, err := strconv.ParseInt(id, 10, 64)
	return n, err == nil && n > 0 && strconv.FormatInt(n, 10) == id
}

// numberID writes a numbered id; 0 is none.
func numberID(n int64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatInt(n, 10)
}

// Lists lie one item a line.
func lines[S ~string](items []S) string {
	var b strings.Builder
	for i, s := range items {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(string(s))
	}
	return b.String()
}

func fromLines[S ~string](text string) []S {
	var items []S
	if text != "" {
		for s := range strings.SplitSeq(text, "\n") {
			items = append(items, S(s))
		}
	}
	return items
}

// A schedule lies as its zone, a space and its windows; names of zones have no
// spaces.
func scheduleLines(schedules []policy.Schedule) string {
	items := make([]string, len(schedules))
	for i, s := range schedules {
		items[i] = s.Zone() + " " + s.String()
	}
	return lines(items)
}

func parseScheduleLines(text string) ([]policy.Schedule, error) {
	var schedules []policy.Schedule
	for _, line := range fromLines[string](text) {
		zone, windows, _ := strings.Cut(line, " ")
		s, err := policy.ParseSchedule(windows, zone)
		if err != nil {
			return nil, err
		}
		schedules = append(schedules, s)
	}
	return schedules, nil
}

func prefixText(p netip.Prefix) string {
	if !p.IsValid() {
		return ""
	}
	return p.String()
}

func parsePrefix(text string) (netip.Prefix, error) {
	if text == "" {
		return netip.Prefix{}, nil
	}
	return netip.ParsePrefix(text)
}

func addrPortText(a netip.AddrPort) string {
	if !a.IsValid() {
		return ""
	}
	return unmapped(a).String()
}

func parseAddrPort(text string) (netip.AddrPort, error) {
	if text == "" {
		return netip.AddrPort{}, nil
	}
	return netip.ParseAddrPort(text)
}

// unmapped gives an IPv4 address that came through an IPv6 socket its own
// form, so that one address has one spelling.
func unmapped(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}
