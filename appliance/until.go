package appliance

import (
	"context"
	"fmt"
	"time"

	"github.com/pawelmojski/inside/policy"
)

// warnings are how long before its end a person is told of it.
var warnings = []time.Duration{5 * time.Minute, time.Minute}

// reconsider asks the current book about a live session: it goes on, goes on
// with another end, moves under another grant, or ends. It is called when the
// book changes and when the end has come.
func (v *visit) reconsider() {
	v.deciding.Lock() // a decision by an older book must not overwrite one by a newer
	defer v.deciding.Unlock()
	v.mu.Lock()
	se, before := v.session, v.verdict
	v.mu.Unlock()
	if v.ctx.Err() != nil {
		return
	}
	now, book := v.house.clock.now(), v.house.book.Load()
	verdict := book.DecideBy(se.Grant, v.flow, now)
	if !verdict.Allowed() {
		other := book.Decide(v.flow, now)
		if !other.Allowed() {
			v.end(causeOfDenial(verdict.Denial))
			return
		}
		verdict = other
		v.move(other.Grant.ID, now)
	}
	v.mu.Lock()
	v.verdict = verdict
	v.mu.Unlock()
	if !verdict.Until.Equal(before.Until) {
		v.tellNewEnd(verdict.Until, now)
	}
	v.arm(verdict.Until, now)
}

// causeOfDenial says why a session ends whose grant no longer serves.
func causeOfDenial(d policy.Denial) policy.EndCause {
	switch d {
	case policy.Expired:
		return policy.GrantExpired
	case policy.Revoked:
		return policy.GrantRevoked
	case policy.OutsideSchedule:
		return policy.ScheduleClosed
	}
	return policy.NoLongerAllowed
}

// move puts the session under another grant that still lets the person stay.
func (v *visit) move(to policy.GrantID, now time.Time) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(v.ctx), writeDown)
	defer cancel()
	stay, err := v.house.store.Move(ctx, v.session.ID, to, now)
	if err != nil {
		v.house.log.Error("session not moved", "session", v.session.ID, "grant", to, "error", err)
		v.end(policy.NoLongerAllowed)
		return
	}
	v.mu.Lock()
	v.session.Grant, v.session.Stay = to, stay
	se := v.session
	v.mu.Unlock()
	v.house.live.moved(v, se)
}

func (v *visit) tellNewEnd(until, now time.Time) {
	if until.IsZero() {
		v.notify("your stay no longer ends by itself")
		return
	}
	v.notify(fmt.Sprintf("your stay now ends in %s, at %s", inWords(until.Sub(now)), until.Local().Format("15:04 MST")))
}

// arm sets what will happen by itself: the warnings, the end, and the deadline
// of both sockets, which ends the session even if the timers should not.
func (v *visit) arm(until, now time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, t := range v.timers {
		t.Stop()
	}
	v.timers = v.timers[:0]
	if v.finished || until.IsZero() {
		v.setDeadlines(time.Time{})
		return
	}
	left := until.Sub(now)
	for _, before := range warnings {
		if left > before {
			v.timers = append(v.timers, time.AfterFunc(left-before, func() {
				v.notify("your stay ends in " + inWords(before))
			}))
		}
	}
	v.timers = append(v.timers, time.AfterFunc(left, v.reconsider))
	v.setDeadlines(time.Now().Add(left + backstop))
}

func (v *visit) setDeadlines(t time.Time) {
	v.client.SetDeadline(t)
	if v.server != nil {
		v.server.SetDeadline(t)
	}
}

func (v *visit) disarm() {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, t := range v.timers {
		t.Stop()
	}
	v.timers = nil
}

// inWords says a duration to a person: "5 minutes", "1 minute", "40 seconds".
func inWords(d time.Duration) string {
	count := func(n int64, unit string) string {
		if n == 1 {
			return "1 " + unit
		}
		return fmt.Sprintf("%d %ss", n, unit)
	}
	switch {
	case d >= 48*time.Hour:
		return count(int64(d/(24*time.Hour)), "day")
	case d >= 2*time.Hour:
		return count(int64(d/time.Hour), "hour")
	case d >= time.Minute:
		return count(int64(d/time.Minute), "minute")
	}
	return count(int64(max(d, 0)/time.Second), "second")
}
