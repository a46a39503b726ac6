package policy

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// A Rate is how often something may happen: at most so many times in any
// period of that length. The zero Rate limits nothing.
type Rate struct {
	Most int
	Per  time.Duration
}

// mostOfARate is the highest number that limits anything, and that is still
// quickly counted.
const mostOfARate = 10_000

var ratePeriods = map[string]time.Duration{"m": time.Minute, "h": time.Hour, "d": day}

// ParseRate reads "5/m", "10/h" or "40/d": so many a minute, an hour or a day.
func ParseRate(s string) (Rate, error) {
	wrong := func(why string) (Rate, error) {
		return Rate{}, fmt.Errorf("%.40q is not a rate: %s, write for example 5/m, 10/h or 40/d", s, why)
	}
	number, unit, _ := strings.Cut(s, "/")
	per, known := ratePeriods[unit]
	if !known {
		return wrong("behind the number comes /m for a minute, /h for an hour or /d for a day")
	}
	n, err := strconv.Atoi(number)
	if err != nil || n < 1 || n > mostOfARate || strconv.Itoa(n) != number {
		return wrong(fmt.Sprintf("the number goes from 1 to %d", mostOfARate))
	}
	return Rate{n, per}, nil
}

// String writes a rate as ParseRate reads it, "" for the zero Rate.
func (r Rate) String() string {
	for unit, per := range ratePeriods {
		if r.Per == per {
			return fmt.Sprintf("%d/%s", r.Most, unit)
		}
	}
	return ""
}
