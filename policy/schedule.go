package policy

import (
	"fmt"
	"strings"
	"time"
)

// A Schedule is a set of weekly windows on the wall clock of a time zone.
//
// A moment is inside when its local weekday and time of day are in a window;
// nothing else is asked. Windows are half-open: at 17:00 sharp a window that
// ends at 17:00 has closed. What happens when clocks change follows from that:
//
//   - A time that is shown twice is inside twice. In Warsaw the hour from
//     02:00 comes twice in the last night of October, so a window that ends at
//     02:30 closes at the first 02:30, opens again when the clock goes back to
//     02:00 and closes for good at the second 02:30.
//   - A time that is not shown is never inside. Where the clock jumps from
//     02:00 to 03:00 a window from 02:00 to 03:00 does not happen that day; one
//     that should open at 02:30 opens at the jump, at 03:00, and one that
//     should close at 02:30 closes at the jump.
//
// The zero Schedule has no windows and contains nothing.
type Schedule struct {
	zone *time.Location
	text string
	week week
}

// A week is the windows in minutes since Monday 00:00, sorted, disjoint and
// not touching, none of them beyond the end of the week.
type week []window

type window struct{ from, to int32 } // [from, to)

const (
	minutesOfDay  = 24 * 60
	minutesOfWeek = 7 * minutesOfDay

	maxScheduleText = 1000
)

// ParseSchedule reads weekly windows such as
//
//	Mon-Fri 09:00-17:00; Sat,Sun 10:00-14:00; Fri 22:00-02:00
//
// in an IANA time zone. A window whose end is not after its start goes over
// midnight and belongs to the day it starts on. A range of days may go over the
// end of the week (Fri-Mon). The end of a day is 24:00; 23:59 as an end means
// the whole last minute and is read as 24:00.
//
// The zone is looked up each time, which may read a file: keep the result.
func ParseSchedule(text, zone string) (Schedule, error) {
	location, err := parseZone(zone)
	if err != nil {
		return Schedule{}, err
	}
	if len(text) > maxScheduleText {
		return Schedule{}, fmt.Errorf("schedule is longer than %d characters", maxScheduleText)
	}
	var (
		windows []window
		parts   []string
	)
	for part := range strings.SplitSeq(text, ";") {
		days, hours, err := parseWindows(part)
		if err != nil {
			return Schedule{}, fmt.Errorf("schedule %q: %w", text, err)
		}
		for d, on := range days.set {
			if on {
				start := int32(d * minutesOfDay)
				windows = append(windows, window{start + hours.from, start + hours.to})
			}
		}
		parts = append(parts, days.text+" "+hours.String())
	}
	return Schedule{
		zone: location,
		text: strings.Join(parts, "; "),
		week: newWeek(windows),
	}, nil
}

// String returns the windows as ParseSchedule reads them and as it understood
// them: an end of 23:59 comes back as 24:00.
func (s Schedule) String() string { return s.text }

// Zone returns the IANA name of the zone, "" for the zero Schedule.
func (s Schedule) Zone() string {
	if s.zone == nil {
		return ""
	}
	return s.zone.String()
}

// Equal reports whether both schedules have the same text in the same zone.
func (s Schedule) Equal(other Schedule) bool {
	return s.text == other.text && s.Zone() == other.Zone()
}

// Contains reports whether t is inside a window.
func (s Schedule) Contains(t time.Time) bool {
	if len(s.week) == 0 {
		return false
	}
	return s.week.contains(sinceMonday(t.In(s.zone)))
}

// Edge returns the next moment after t at which Contains changes; zero when
// it never does.
//
// It goes from one change of the zone's offset to the next: between two of
// them the wall clock runs evenly, so the next edge is a subtraction; at the
// change itself the wall clock jumps, perhaps in or out of a window.
func (s Schedule) Edge(after time.Time) time.Time {
	if s.week.constant() {
		return time.Time{}
	}
	t := after.In(s.zone) // without a monotonic reading, and so are edges
	inside := s.week.contains(sinceMonday(t))
	for {
		wall := sinceMonday(t)
		edge := t.Add(s.week.next(wall, inside) - wall)
		jump := offsetEnd(t)
		if jump.IsZero() || edge.Before(jump) {
			return edge.UTC()
		}
		if s.week.contains(sinceMonday(jump)) != inside {
			return jump.UTC()
		}
		t = jump
	}
}

// sinceMonday returns what the wall clock of t's location shows, counted from
// Monday 00:00.
func sinceMonday(t time.Time) time.Duration {
	const (
		weekSeconds = minutesOfWeek * 60
		epochMonday = 4 * minutesOfDay * 60 // 1970-01-05
	)
	_, offset := t.Zone()
	seconds := (t.Unix() + int64(offset) - epochMonday) % weekSeconds
	if seconds < 0 {
		seconds += weekSeconds
	}
	return time.Duration(seconds)*time.Second + time.Duration(t.Nanosecond())
}

// offsetEnd returns a moment after t up to which the offset of t's location
// does not change; zero when it never does again.
//
// ZoneBounds alone does not do: for years beyond the zone's table Go takes
// every year for 365 days long (tzset in time/zoneinfo.go), so that on the
// last day of a leap year the bound it gives has already passed. No rule
// changes an offset on that day, so it lasts to the end of it, in UTC.
func offsetEnd(t time.Time) time.Time {
	_, end := t.ZoneBounds()
	if end.IsZero() || end.After(t) {
		return end
	}
	return t.Truncate(24 * time.Hour).Add(24 * time.Hour)
}
