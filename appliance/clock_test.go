package appliance

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pawelmojski/inside/netfilter/nettest"
	"github.com/pawelmojski/inside/policy"
)

// A step of a nanosecond is a step to the kernel, and nobody else will notice.
func TestAStepOfTheClockIsSeen(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	steps := make(chan struct{}, 1)
	if err := watchClock(ctx, steps); err != nil {
		t.Fatal(err)
	}
	forward, back := unix.Timeval{Usec: 1}, unix.Timeval{Sec: -1, Usec: 999_999_999} // of nanoseconds, with ADJ_NANO
	for _, by := range []unix.Timeval{forward, back} {                               // the timer stays armed
		if _, err := unix.Adjtimex(&unix.Timex{Modes: unix.ADJ_SETOFFSET | unix.ADJ_NANO, Time: by}); err != nil {
			nettest.Skip(t, "the clock cannot be set, which takes CAP_SYS_TIME: %v", err)
		}
		select {
		case <-steps:
		case <-time.After(10 * time.Second):
			t.Fatal("a step of the clock was not seen")
		}
	}
}

// Two mechanisms end a session, and neither needs the other: see
// TestTheDeadlineOfTheSocketIsABackstop for the one, this for the other.
func TestTheTimerEndsASessionWithoutDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		end := time.Now().Add(time.Hour)
		_, v := insider(t, policy.Grant{ID: "1", End: end})
		v.client.SetDeadline(time.Time{})
		<-v.ctx.Done()
		if cause := context.Cause(v.ctx); cause != policy.GrantExpired || !time.Now().Equal(end) {
			t.Errorf("ended %s after the end by %v", time.Since(end), cause)
		}
	})
}

// And whoever relays asks before each piece, should both be late.
func TestWhoAsksAfterTheEndIsToldSoWithoutTimerOrDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		end := time.Now().Add(time.Hour)
		a, v := insider(t, policy.Grant{ID: "1", End: end})
		v.disarm()
		time.Sleep(time.Hour - time.Nanosecond)
		if v.Over(0) {
			t.Fatal("over before the end")
		}
		time.Sleep(time.Nanosecond)
		if cause := context.Cause(v.ctx); !v.Over(0) || context.Cause(v.ctx) != policy.GrantExpired {
			t.Errorf("not over at the end; before somebody asked the cause was %v, then %v", cause, context.Cause(v.ctx))
		}
		_, again := insider(t, policy.Grant{ID: "1", End: time.Now().Add(time.Minute)})
		again.disarm()
		turn(t, a, policy.Grant{ID: "1"})
		again.house.book.Store(a.book.Load()) // extended, and nobody has said so
		time.Sleep(time.Minute)
		if again.Over(0) {
			t.Errorf("over although the grant was extended: %v", context.Cause(again.ctx))
		}
	})
}
