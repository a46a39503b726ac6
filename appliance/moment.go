package appliance

import (
	"sync/atomic"
	"time"
)

// moments tells the time for decisions, and it never goes back: a clock that
// is set back must not lengthen a grant, nor one that is set forward, has a
// grant given by it, and is set right again.
//
// It goes as the monotonic clock does, which nobody can set, and follows the
// wall clock's steps forward only. A step back is held until the daemon is
// started again, when somebody has looked at which of the two is right; until
// then the gate denies rather than allows.
type moments struct {
	base  time.Time     // what the wall clock said at the start
	start time.Time     // the same moment, with its monotonic reading
	ahead *atomic.Int64 // how far the wall clock has stepped forward since, at most
}

// newMoments begins with a time that is so far ahead of the wall clock.
func newMoments(ahead time.Duration) moments {
	start := time.Now()
	m := moments{base: start.Round(0), start: start, ahead: new(atomic.Int64)}
	m.ahead.Store(int64(ahead))
	return m
}

func (m moments) now() time.Time {
	t := time.Now()
	return m.tell(t.Round(0), t.Sub(m.start))
}

// tell tells the time when the wall clock says wall and so much has passed on
// the monotonic clock since the start.
func (m moments) tell(wall time.Time, passed time.Duration) time.Time {
	stepped := int64(wall.Sub(m.base) - passed)
	for {
		most := m.ahead.Load()
		if stepped <= most {
			return m.base.Add(passed + time.Duration(most))
		}
		if m.ahead.CompareAndSwap(most, stepped) {
			return wall
		}
	}
}

// behind is how far the wall clock is behind the time that is told.
func (m moments) behind() time.Duration {
	t := time.Now()
	return m.tell(t.Round(0), t.Sub(m.start)).Sub(t.Round(0))
}
