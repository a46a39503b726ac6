package policy

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

var dayNames = [7]string{"Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"}

// A daySet is the days of one part of a schedule and how to write them.
type daySet struct {
	set  [7]bool // Monday first
	text string
}

func parseZone(name string) (*time.Location, error) {
	const hint = "use an IANA name such as Europe/Warsaw"
	// Go takes "" for UTC and "Local" for whatever the gate is set to.
	if name == "" {
		return nil, fmt.Errorf("time zone is missing: %s", hint)
	}
	if len(name) > 64 || name == "Local" {
		return nil, fmt.Errorf("unknown time zone %.64q: %s", name, hint)
	}
	location, err := time.LoadLocation(name)
	if err != nil {
		return nil, fmt.Errorf("unknown time zone %q: %s", name, hint)
	}
	return location, nil
}

// parseWindows reads "Mon-Fri 09:00-17:00".
func parseWindows(part string) (daySet, window, error) {
	fields := strings.Fields(part)
	if len(fields) != 2 {
		return daySet{}, window{}, fmt.Errorf("%q is not days and hours: write for example Mon-Fri 09:00-17:00", strings.TrimSpace(part))
	}
	days, err := parseDays(fields[0])
	if err != nil {
		return daySet{}, window{}, err
	}
	hours, err := parseHours(fields[1])
	return days, hours, err
}

// parseDays reads "Mon", "Mon-Fri", "Sat,Sun" or "Mon-Wed,Fri".
func parseDays(text string) (daySet, error) {
	var (
		days  daySet
		parts []string
	)
	for part := range strings.SplitSeq(text, ",") {
		first, last, ranged := strings.Cut(part, "-")
		from, err := parseDay(first)
		if err != nil {
			return daySet{}, err
		}
		to := from
		if ranged {
			if to, err = parseDay(last); err != nil {
				return daySet{}, err
			}
		}
		for d := from; ; d = (d + 1) % 7 {
			days.set[d] = true
			if d == to {
				break
			}
		}
		if from == to {
			parts = append(parts, dayNames[from])
		} else {
			parts = append(parts, dayNames[from]+"-"+dayNames[to])
		}
	}
	days.text = strings.Join(parts, ",")
	return days, nil
}

func parseDay(name string) (int, error) {
	d := slices.IndexFunc(dayNames[:], func(day string) bool { return strings.EqualFold(day, name) })
	if d < 0 {
		return 0, fmt.Errorf("%q is not a day: use Mon Tue Wed Thu Fri Sat Sun", name)
	}
	return d, nil
}

// parseHours reads "09:00-17:00" as minutes since the day began; the end of a
// window over midnight is beyond 24 hours.
func parseHours(text string) (window, error) {
	first, last, ok := strings.Cut(text, "-")
	if !ok {
		return window{}, fmt.Errorf("%q has no end: write for example 09:00-17:00", text)
	}
	from, err := parseClock(first)
	if err != nil {
		return window{}, err
	}
	to, err := parseClock(last)
	if err != nil {
		return window{}, err
	}
	if from == minutesOfDay {
		return window{}, fmt.Errorf("%q starts at the end of the day: start the next day at 00:00", text)
	}
	if to == minutesOfDay-1 {
		to = minutesOfDay
	}
	switch {
	case from == to:
		return window{}, fmt.Errorf("%q is empty: for a whole day write 00:00-24:00", text)
	case to < from:
		to += minutesOfDay
	}
	return window{from, to}, nil
}

func parseClock(text string) (int32, error) {
	wrong := func() (int32, error) {
		return 0, fmt.Errorf("%q is not a time of day: write hours and minutes from 00:00 to 24:00", text)
	}
	if len(text) != len("00:00") || text[2] != ':' {
		return wrong()
	}
	var digits [4]int32
	for i, at := range [4]int{0, 1, 3, 4} {
		if text[at] < '0' || text[at] > '9' {
			return wrong()
		}
		digits[i] = int32(text[at] - '0')
	}
	hour, minute := digits[0]*10+digits[1], digits[2]*10+digits[3]
	clock := hour*60 + minute
	if minute > 59 || clock > minutesOfDay {
		return wrong()
	}
	return clock, nil
}

// String writes the hours of one day as parseHours reads them.
func (w window) String() string {
	to := w.to
	if to > minutesOfDay {
		to -= minutesOfDay
	}
	return fmt.Sprintf("%02d:%02d-%02d:%02d", w.from/60, w.from%60, to/60, to%60)
}
