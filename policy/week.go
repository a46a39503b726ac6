package policy

import (
	"cmp"
	"slices"
	"time"
)

// newWeek folds windows that go over the end of the week back to its
// beginning and joins those that overlap or touch.
func newWeek(windows []window) week {
	var folded []window
	for _, w := range windows {
		if w.to > minutesOfWeek {
			folded = append(folded, window{0, w.to - minutesOfWeek})
			w.to = minutesOfWeek
		}
		folded = append(folded, w)
	}
	slices.SortFunc(folded, func(a, b window) int { return cmp.Compare(a.from, b.from) })
	var joined week
	for _, w := range folded {
		if last := len(joined) - 1; last >= 0 && w.from <= joined[last].to {
			joined[last].to = max(joined[last].to, w.to)
		} else {
			joined = append(joined, w)
		}
	}
	return joined
}

// constant reports whether there is no edge: no window, or one that is the
// whole week.
func (w week) constant() bool {
	return len(w) == 0 || w[0] == window{0, minutesOfWeek}
}

// contains reports whether a time since Monday 00:00 is in a window.
func (w week) contains(wall time.Duration) bool {
	minute := int32(wall / time.Minute)
	for _, win := range w {
		if minute < win.to {
			return minute >= win.from
		}
	}
	return false
}

// next returns the time since this Monday 00:00 of the first edge after wall,
// perhaps beyond the end of the week. inside says whether wall is in a window.
// The week must not be constant.
func (w week) next(wall time.Duration, inside bool) time.Duration {
	minute := int32(wall / time.Minute)
	for _, win := range w {
		switch {
		case inside && minute < win.to:
			// Sunday's last window may go on in Monday's first.
			if win.to == minutesOfWeek && w[0].from == 0 {
				return minutes(minutesOfWeek + w[0].to)
			}
			return minutes(win.to)
		case !inside && minute < win.from:
			return minutes(win.from)
		}
	}
	return minutes(minutesOfWeek + w[0].from)
}

func minutes(n int32) time.Duration { return time.Duration(n) * time.Minute }
