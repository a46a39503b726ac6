package policy

import (
	"slices"
	"time"
)

// mergeByZone joins the schedules of one zone into one, so that an edge where
// one of them closes and another opens is none.
func mergeByZone(schedules []Schedule) []Schedule {
	if len(schedules) < 2 {
		return schedules
	}
	var merged []Schedule
	for _, s := range schedules {
		i := slices.IndexFunc(merged, func(m Schedule) bool { return m.Zone() == s.Zone() })
		if i < 0 {
			merged = append(merged, s)
			continue
		}
		merged[i].week = newWeek(slices.Concat(merged[i].week, s.week))
	}
	return merged
}

// unionHorizon is how far the end of windows that follow one another without a
// gap is looked for. Schedules in zones that change their clocks on different
// days may have their first gap months away. After a year and a month every
// pair of their offsets has had its turn; what has had no gap by then has none.
const unionHorizon = 400 * 24 * time.Hour

// unionEdge returns the first moment after now at which none of the schedules
// contains it any more; one of them must contain now. It returns zero when
// there is no such moment before the limit (a zero limit is none).
func unionEdge(schedules []Schedule, now, limit time.Time) time.Time {
	for t := now; ; {
		var reach time.Time // as far as the schedules open at t carry
		for _, s := range schedules {
			if !s.Contains(t) {
				continue
			}
			edge := s.Edge(t)
			if edge.IsZero() {
				return time.Time{}
			}
			if edge.After(reach) {
				reach = edge
			}
		}
		switch {
		case reach.IsZero():
			return t
		case !limit.IsZero() && !reach.Before(limit), reach.Sub(now) > unionHorizon:
			return time.Time{}
		}
		t = reach
	}
}
