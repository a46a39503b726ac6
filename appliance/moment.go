package appliance

import "time"

// moments tells the time for decisions. A clock that is set back must not
// lengthen a grant, so the time it tells is never behind what has passed on
// the monotonic clock since the daemon started.
type moments struct{ start time.Time }

func newMoments() moments { return moments{start: time.Now()} }

func (m moments) now() time.Time {
	wall := time.Now()
	if passed := m.start.Add(wall.Sub(m.start)); passed.Round(0).After(wall.Round(0)) {
		return passed.Round(0)
	}
	return wall.Round(0)
}
