package main

import (
	"fmt"
	"time"
)

// layouts of times as people type them. What has no date is today's.
var layouts = []string{"2006-01-02 15:04", "2006-01-02T15:04", "2006-01-02 15:04:05", "2006-01-02T15:04:05", "2006-01-02"}

// parseWhen reads the time given for a flag; "" is no time. A time with a zone
// of its own (RFC 3339) keeps it, others are of zone.
func parseWhen(flag, typed string, zone *time.Location, now time.Time) (time.Time, error) {
	if typed == "" {
		return time.Time{}, nil
	}
	if t, err := time.Parse(time.RFC3339, typed); err == nil {
		return t, nil
	}
	full := typed
	if _, err := time.Parse("15:04", typed); err == nil {
		full = now.In(zone).Format("2006-01-02 ") + typed
	}
	for _, layout := range layouts {
		t, err := time.ParseInLocation(layout, full, zone)
		if err != nil {
			continue
		}
		// Where clocks go forward, an hour is missing; Go answers with another.
		if t.Format(layout) != full {
			return time.Time{}, fmt.Errorf("%s %q: there is no such time in %s, clocks are put forward then", flag, typed, zone)
		}
		return t, nil
	}
	return time.Time{}, fmt.Errorf("%s %q is not a time: write for example %q, 18:00 or 2026-12-24T08:00:00+01:00", flag, typed, "2026-12-24 08:00")
}

// zoneOf finds a time zone by its IANA name; "" is that of this machine.
func zoneOf(name string) (*time.Location, error) {
	if name == "" {
		return time.Local, nil
	}
	zone, err := time.LoadLocation(name)
	if err != nil || name == "Local" {
		return nil, fmt.Errorf("unknown time zone %q: use an IANA name such as Europe/Warsaw", name)
	}
	return zone, nil
}

func errMissing(flag, what string) error { return fmt.Errorf("%s is missing: %s", flag, what) }
