package appliance

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// A step is what the wall clock says when so much has passed.
type step struct{ wall, passed time.Duration }

// told tells the times of the steps, counted from the start.
func (m moments) told(steps ...step) []time.Duration {
	var told []time.Duration
	for _, s := range steps {
		told = append(told, m.tell(m.base.Add(s.wall), s.passed).Sub(m.base))
	}
	return told
}

func TestAClockSetBackNeverLengthensAGrant(t *testing.T) {
	const year = 365 * 24 * time.Hour
	for _, by := range []time.Duration{time.Second, time.Hour, year} {
		// Back, and forward again, and back beyond.
		got := newMoments(0).told(
			step{time.Minute, time.Minute}, step{2*time.Minute - by, 2 * time.Minute},
			step{3 * time.Minute, 3 * time.Minute}, step{4*time.Minute - 2*by, 4 * time.Minute})
		for i, told := range got {
			if want := time.Duration(i+1) * time.Minute; told != want {
				t.Errorf("set back by %s: told %s after %s", by, told, want)
			}
		}
		// Forward, a grant is given, and back.
		got = newMoments(0).told(step{time.Minute + by, time.Minute}, step{time.Hour, time.Hour}, step{2*time.Hour + 2*by, 2 * time.Hour}, step{3 * time.Hour, 3 * time.Hour})
		for i, want := range []time.Duration{time.Minute + by, time.Hour + by, 2*time.Hour + 2*by, 3*time.Hour + 2*by} {
			if got[i] != want {
				t.Errorf("set forward by %s and back: told %s, want %s", by, got[i], want)
			}
		}
	}
}

// However the clock is set: what is told never stands still or goes back, so
// that whatever was given at a moment told lasts no longer than its length on
// the monotonic clock, and it is never behind the wall clock, so that nothing
// lasts beyond its end on that one.
func TestTheTimeToldNeverGoesBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newMoments(0)
		var passed, told time.Duration
		for range rapid.IntRange(1, 50).Draw(t, "steps") {
			more := time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(t, "passed"))
			passed += more
			by := rapid.SampledFrom([]time.Duration{0, time.Second, time.Hour, 365 * 24 * time.Hour}).Draw(t, "by")
			wall := passed + by*time.Duration(rapid.IntRange(-2, 2).Draw(t, "direction"))
			now := m.told(step{wall, passed})[0]
			if now-told < more || now < wall {
				t.Fatalf("%s passed: told %s after %s, the wall clock says %s", more, now, told, wall)
			}
			told = now
		}
	})
}
