package api

import (
	"fmt"
	"strings"
	"time"
)

// Words says a stay in one sentence, with the times of a zone; dates are left
// out where they are now's:
//
//	p.mojski was inside prod-db-01 from 09:00 to 13:00 by grant 42, 3 sessions, 2 recordings
//	p.mojski is inside prod-db-01 since 09:00, for 30 minutes, until 14:30, by grant 42, 1 session, 1 recording, present now
func (s Stay) Words(now time.Time, zone *time.Location) string {
	clock := func(t, day time.Time) string {
		t = t.In(zone)
		if t.Format(time.DateOnly) == day.In(zone).Format(time.DateOnly) {
			return t.Format("15:04")
		}
		return t.Format("2006-01-02 15:04")
	}
	var b strings.Builder
	if s.End.IsZero() {
		fmt.Fprintf(&b, "%s is inside %s since %s, for %s, ", s.Person, s.places(), clock(s.Start, now), Lasting(s.Seconds))
		if s.Until.IsZero() {
			b.WriteString("without an end, ")
		} else {
			fmt.Fprintf(&b, "until %s, ", clock(s.Until, now))
		}
	} else {
		// The end names its day where it is another than the start's.
		fmt.Fprintf(&b, "%s was inside %s from %s to %s ", s.Person, s.places(), clock(s.Start, now), clock(s.End, s.Start))
	}
	fmt.Fprintf(&b, "by grant %s, %s, %s", s.Grant, Count(s.Sessions, "session"), Count(s.Recordings, "recording"))
	switch {
	case s.Present:
		b.WriteString(", present now")
	case s.End.IsZero():
		b.WriteString(", absent now")
	}
	return b.String()
}

// places names where somebody was.
func (s Stay) places() string {
	const most = 3
	names := s.Servers
	switch n := len(names); {
	case n == 0:
		return s.Where
	case n == 1:
		return names[0]
	case n > most:
		return fmt.Sprintf("%s and %d more servers", strings.Join(names[:most-1], ", "), n-most+1)
	default:
		return strings.Join(names[:n-1], ", ") + " and " + names[n-1]
	}
}

// Lasting says how long something took: "30 minutes", "4 hours", "1 hour 30
// minutes", "2 days 3 hours".
func Lasting(seconds int64) string {
	units := []struct {
		length int64
		name   string
	}{{86400, "day"}, {3600, "hour"}, {60, "minute"}, {1, "second"}}
	for i, u := range units {
		if seconds < u.length {
			continue
		}
		text := Count(int(seconds/u.length), u.name)
		if rest := seconds % u.length; i+2 < len(units) && rest >= units[i+1].length {
			text += " " + Count(int(rest/units[i+1].length), units[i+1].name)
		}
		return text
	}
	return "0 seconds"
}

// Count says how many there are of something: "1 session", "3 sessions".
func Count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
