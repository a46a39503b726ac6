package main

import (
	"testing"
	"time"
)

func TestTimesAreReadInTheZoneAskedFor(t *testing.T) {
	warsaw, err := time.LoadLocation("Europe/Warsaw")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 12, 24, 23, 30, 0, 0, time.UTC) // the 25th in Warsaw
	for _, c := range []struct{ typed, want string }{
		{"2026-12-24T08:00:00-05:00", "2026-12-24T13:00:00Z"},
		{"2026-12-24 08:00", "2026-12-24T07:00:00Z"},
		{"2026-06-24 08:00", "2026-06-24T06:00:00Z"},
		{"2026-12-24T08:00:30", "2026-12-24T07:00:30Z"},
		{"2026-12-24", "2026-12-23T23:00:00Z"},
		{"18:00", "2026-12-25T17:00:00Z"},
	} {
		got, err := parseWhen("--at", c.typed, warsaw, now)
		if err != nil || got.UTC().Format(time.RFC3339) != c.want {
			t.Errorf("parseWhen(%q) = %v, %v; want %s", c.typed, got.UTC(), err, c.want)
		}
	}
	for _, typed := range []string{"2027-03-28 02:30", "2026-02-30", "24:00", "8", "now", "2026-12-24 08:00 CET", "\x1b"} {
		if got, err := parseWhen("--at", typed, warsaw, now); err == nil {
			t.Errorf("parseWhen(%q) = %v, want an error", typed, got)
		}
	}
	if got, err := parseWhen("--at", "", warsaw, now); err != nil || !got.IsZero() {
		t.Errorf("no time is %v, %v", got, err)
	}
}
