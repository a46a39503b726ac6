package appliance

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pawelmojski/inside/policy"
)

const (
	idleIn5 = "your session ends in 5 minutes because nobody uses it: type something to stay"
	idleIn1 = "your session ends in 1 minute because nobody uses it: type something to stay"
)

// wantAt sleeps until so long after a moment and wants this notice there.
func wantAt(t *testing.T, v *visit, from time.Time, after time.Duration, notice string) {
	t.Helper()
	time.Sleep(time.Until(from.Add(after)))
	synctest.Wait()
	if got := told(v); got != notice {
		t.Errorf("after %s the person is told %q, want %q", after, got, notice)
	}
}

func TestASessionNobodyUsesEndsAfterItsIdleTimeWithWarnings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, v := insider(t, policy.Grant{ID: "1", Idle: time.Hour})
		v.Used()
		used := time.Now()
		wantAt(t, v, used, 55*time.Minute-1, "")
		wantAt(t, v, used, 55*time.Minute, idleIn5)
		wantAt(t, v, used, 59*time.Minute-1, "")
		wantAt(t, v, used, 59*time.Minute, idleIn1)
		wantAt(t, v, used, time.Hour-1, "")
		if v.ctx.Err() != nil {
			t.Fatalf("ended early: %v", context.Cause(v.ctx))
		}
		wantAt(t, v, used, time.Hour, "")
		if cause := context.Cause(v.ctx); cause != policy.Idle {
			t.Errorf("cause %v, want %v", cause, policy.Idle)
		}
	})
}

func TestWhoTypesAfterAWarningHasAllOfTheTimeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, v := insider(t, policy.Grant{ID: "1", Idle: time.Hour})
		v.Used()
		used := time.Now()
		wantAt(t, v, used, 55*time.Minute, idleIn5)
		v.Used()
		used = time.Now()
		wantAt(t, v, used, 55*time.Minute-1, "")
		wantAt(t, v, used, 55*time.Minute, idleIn5)
		wantAt(t, v, used, 59*time.Minute, idleIn1)
		v.Used()
		used = time.Now()
		wantAt(t, v, used, 55*time.Minute, idleIn5)
		wantAt(t, v, used, 59*time.Minute, idleIn1)
		wantAt(t, v, used, time.Hour-1, "")
		if v.ctx.Err() != nil {
			t.Fatalf("ended: %v", context.Cause(v.ctx))
		}
	})
}

func TestASessionInUseIsNeverIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, v := insider(t, policy.Grant{ID: "1", Idle: time.Minute})
		for range 1000 {
			v.Used()
			time.Sleep(59 * time.Second)
			if v.ctx.Err() != nil {
				t.Fatalf("ended: %v", context.Cause(v.ctx))
			}
		}
		if got := told(v); got != "" {
			t.Errorf("told %q", got)
		}
	})
}

// The sockets end an idle session even if nobody else should, and none that is
// used.
func TestTheDeadlineOfTheSocketEndsAnIdleSessionToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, v := insider(t, policy.Grant{ID: "1", Idle: time.Hour, End: time.Now().Add(8 * time.Hour)})
		used := time.Now()
		v.disarm()
		if _, err := v.client.Read(make([]byte, 1)); err == nil || time.Since(used) != time.Hour+idleBackstop {
			t.Errorf("reading ended %s after the last use with %v", time.Since(used), err)
		}
	})
}

func TestAnIdleTimeOfAnotherGrantCountsAfterAMove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, v := insider(t, policy.Grant{ID: "1", Idle: time.Hour})
		v.Used()
		used := time.Now()
		turn(t, a, policy.Grant{ID: "1", Idle: 10 * time.Minute}) // as if it were another
		told(v)
		wantAt(t, v, used, 5*time.Minute, idleIn5)
		wantAt(t, v, used, 9*time.Minute, idleIn1)
		wantAt(t, v, used, 10*time.Minute, "")
		if cause := context.Cause(v.ctx); cause != policy.Idle {
			t.Errorf("cause %v, want %v", cause, policy.Idle)
		}
	})
}
