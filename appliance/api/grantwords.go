package api

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/pawelmojski/inside/policy"
)

// Words says what a grant makes possible, for whom and until when; moment says
// a time.
func (g Grant) Words(moment func(time.Time) string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s may enter %s", g.Who(), g.Where())
	part := func(format string, values ...any) { fmt.Fprintf(&b, format, values...) }
	if len(g.Protocols) > 0 {
		part(" by %s", strings.Join(g.Protocols, " or "))
	}
	if len(g.Logins) > 0 {
		part(" as %s", strings.Join(g.Logins, " or "))
	}
	if g.SourceIP != "" {
		part(" from %s", g.SourceIP)
	}
	if len(g.Schedules) > 0 {
		part(", %s,", Hours(g.Schedules))
	}
	if g.Denial == string(policy.NotYet) {
		part(" from %s", moment(g.Start))
	}
	switch {
	case g.Permanent:
		part(" without an end")
	case g.DefaultLength:
		part(" until %s (1 hour, as no length was given)", moment(g.End))
	default:
		part(" until %s", moment(g.End))
	}
	if g.MaxSessions > 0 {
		part(", with at most %s of a person at a time", Count(g.MaxSessions, "session"))
	}
	if g.MaxEntries != "" {
		most, period := Often(g.MaxEntries)
		part(", with at most %s of a person in any %s", most, period)
	}
	if g.Idle != "" {
		part(", for at most %s unused", g.Idle)
	}
	if g.Renew != "" {
		part(", and by %s more while it is used", g.Renew)
	}
	if len(g.Forwarding) > 0 {
		part(", with %s port forwarding", strings.Join(g.Forwarding, ", "))
	}
	if len(g.Redirection) > 0 {
		part(", with %s over RDP", strings.Join(g.Redirection, ", "))
	}
	return b.String()
}

// Often says "10/h" in words: "10 entries" and "hour".
func Often(rate string) (most, period string) {
	number, unit, _ := strings.Cut(rate, "/")
	most = number + " entries"
	if number == "1" {
		most = "1 entry"
	}
	return most, cmp.Or(map[string]string{"m": "minute", "h": "hour", "d": "day"}[unit], unit)
}

// Who are those a grant is for.
func (g Grant) Who() string {
	if g.PersonGroup != "" {
		return "everybody in " + g.PersonGroup
	}
	return g.Person
}

// Where is what they may enter.
func (g Grant) Where() string {
	if g.Group != "" {
		return "every server in " + g.Group
	}
	return g.Server
}

// Hours are schedules in a line.
func Hours(schedules []Schedule) string {
	var texts []string
	for _, s := range schedules {
		texts = append(texts, s.Windows+" ("+s.Zone+")")
	}
	return strings.Join(texts, " or ")
}
