package policy

import (
	"fmt"
	"math"
	"time"
)

const day = 24 * time.Hour

// durationUnits in the order they are written.
var durationUnits = [...]struct {
	letter byte
	length time.Duration
}{
	{'w', 7 * day},
	{'d', day},
	{'h', time.Hour},
	{'m', time.Minute},
	{'s', time.Second},
}

// ParseDuration reads "8h", "1h30m", "14d", "1w", "2d12h": a day is 24 hours,
// a week seven days, each unit at most once and the longer before the shorter.
// Zero and negative durations are errors.
func ParseDuration(s string) (time.Duration, error) {
	wrong := func(why string) (time.Duration, error) {
		return 0, fmt.Errorf("%.40q is not a duration: %s, write for example 8h, 1h30m, 14d or 1w", s, why)
	}
	if s == "" {
		return wrong("it is empty")
	}
	var sum time.Duration
	units := durationUnits[:] // those that may still come
	for rest := s; rest != ""; {
		digits := 0
		var n int64
		for digits < len(rest) && '0' <= rest[digits] && rest[digits] <= '9' {
			d := int64(rest[digits] - '0')
			if n > (math.MaxInt64-d)/10 {
				return wrong("it is too long")
			}
			n = n*10 + d
			digits++
		}
		if digits == 0 || digits == len(rest) {
			return wrong("it takes whole numbers, each with its unit")
		}
		for len(units) > 0 && units[0].letter != rest[digits] {
			units = units[1:]
		}
		if len(units) == 0 {
			return wrong("units are w, d, h, m and s in this order")
		}
		unit := units[0].length
		if n > int64((math.MaxInt64-sum)/unit) {
			return wrong("it is too long")
		}
		sum += time.Duration(n) * unit
		units, rest = units[1:], rest[digits+1:]
	}
	if sum == 0 {
		return wrong("it must be longer than nothing")
	}
	return sum, nil
}

// FormatDuration writes a duration as ParseDuration reads it, at most two
// units, rounded down: "2d12h", "1h30m", "45s"; what is under a second is "0s".
// It counts in days, not weeks, as people read "10d" more easily than "1w3d".
func FormatDuration(d time.Duration) string {
	for i, unit := range durationUnits {
		if unit.letter == 'w' || d < unit.length {
			continue
		}
		text := fmt.Sprintf("%d%c", d/unit.length, unit.letter)
		if i+1 < len(durationUnits) {
			next := durationUnits[i+1]
			if n := d % unit.length / next.length; n > 0 {
				text += fmt.Sprintf("%d%c", n, next.letter)
			}
		}
		return text
	}
	return "0s"
}

// ExactDuration writes a duration of whole seconds as ParseDuration reads it
// back, "" for 0: as FormatDuration does where nothing is rounded away.
func ExactDuration(d time.Duration) string {
	if d == 0 {
		return ""
	}
	short := FormatDuration(d)
	if back, err := ParseDuration(short); err == nil && back == d {
		return short
	}
	return d.String()
}
