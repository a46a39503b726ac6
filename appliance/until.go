package appliance

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/store"
)

// warnings are how long before its end a person is told of it.
var warnings = []time.Duration{5 * time.Minute, time.Minute}

// farthest is how far ahead an end is waited for, which then is decided again. A
// time.Duration ends after 292 years: what is added to one that long overflows,
// and people write 2999 where they mean for ever.
const farthest = 100 * 365 * 24 * time.Hour

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
	if before.Waived != "" && v.staysWaived(book, before, now) {
		return
	}
	verdict := book.DecideBy(se.Grant, v.believed(), now)
	if verdict.Person != nil && verdict.Person.ID != se.Person {
		// The address, or the account, is somebody else's now.
		if verdict.Denial = policy.UnknownPerson; !v.warned(book, verdict, now) {
			v.end(policy.NoLongerAllowed)
		}
		return
	}
	if !verdict.Allowed() {
		var err error
		if verdict, err = v.move(book, verdict, now); err != nil {
			v.house.log.Error("session not moved to another grant", "session", se.ID, "error", err)
		}
		if !verdict.Allowed() {
			if !v.warned(book, verdict, now) {
				v.end(causeOfDenial(verdict.Denial))
			}
			return
		}
	}
	if until := v.house.drainsUntil(); !until.IsZero() && (verdict.Until.IsZero() || until.Before(verdict.Until)) {
		if verdict.Until, verdict.Ends = until, policy.GateUpgraded; !now.Before(until) {
			v.end(policy.GateUpgraded)
			return
		}
	}
	v.mu.Lock()
	v.verdict = verdict
	v.mu.Unlock()
	if !verdict.Until.Equal(before.Until) && !renewedInTime(before, verdict, now) && !upgradedInTime(verdict, now) {
		v.tellNewEnd(verdict, now)
	}
	v.arm(verdict, now)
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
	case policy.UnderMaintenance:
		return policy.ServerMaintained
	}
	return policy.NoLongerAllowed
}

// move puts the session under another grant that still lets the person stay and
// has room for one more. It returns the verdict by that grant, or the denial
// by the old one where there is none, or it could not be written down: no
// record, no stay.
func (v *visit) move(book *policy.Book, denied policy.Verdict, now time.Time) (policy.Verdict, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(v.ctx), writeDown)
	defer cancel()
	var full []policy.Full
	for {
		other := book.DecideWithout(full, v.believed(), now)
		if !other.Allowed() {
			return denied, nil
		}
		to := other.Grant.ID
		stay, err := v.house.store.Move(ctx, v.session.ID, to, now)
		if errors.Is(err, store.ErrFull) {
			full = append(full, policy.Full{Grant: to, Denial: policy.TooManySessions})
			continue
		}
		if err != nil {
			return denied, err
		}
		v.mu.Lock()
		v.session.Grant, v.session.Stay = to, stay
		se := v.session
		v.mu.Unlock()
		v.house.live.moved(v, se)
		return other, nil
	}
}

// tellNewEnd tells the person of an end that has changed.
func (v *visit) tellNewEnd(verdict policy.Verdict, now time.Time) {
	if verdict.Until.IsZero() {
		v.notify("your stay no longer ends by itself")
		return
	}
	v.notify(fmt.Sprintf("%s now ends in %s, at %s, %s", whatEnds(verdict.Ends), inWords(verdict.Until.Sub(now)),
		verdict.Until.Local().Format("15:04 MST"), whenItEnds(verdict.Ends)))
}

// upgradedInTime reports whether a session ends only because the gate was
// upgraded, and so late that the warnings are enough: an upgrade is nothing a
// person should notice.
func upgradedInTime(verdict policy.Verdict, now time.Time) bool {
	return verdict.Ends == policy.GateUpgraded && verdict.Until.Sub(now) > warnings[0]
}

// whatEnds and whenItEnds say an end that is to come: the end of a grant ends
// the stay, maintenance of a server or an upgrade the session only.
func whatEnds(why policy.EndCause) string {
	if why == policy.ServerMaintained || why == policy.GateUpgraded {
		return "your session"
	}
	return "your stay"
}

func whenItEnds(why policy.EndCause) string {
	switch why {
	case policy.ScheduleClosed:
		return "when the hours of your grant are over"
	case policy.ServerMaintained:
		return "when maintenance of the server begins"
	case policy.GateUpgraded:
		return "because the gate was upgraded: connect again"
	}
	return "when your grant expires"
}

// arm sets what will happen by itself: the warnings, the end, and the deadline
// of both sockets, which ends the session even if the timers should not.
func (v *visit) arm(verdict policy.Verdict, now time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, t := range v.timers {
		t.Stop()
	}
	v.timers = v.timers[:0]
	if v.finished {
		return
	}
	v.endDeadline = time.Time{}
	v.ends.Store(0)
	if !verdict.Until.IsZero() {
		left := min(verdict.Until.Sub(now), farthest)
		v.ends.Store(int64(time.Since(v.began) + left))
		for _, before := range warnings {
			if left > before {
				v.timers = append(v.timers, time.AfterFunc(left-before, func() {
					v.notify(fmt.Sprintf("%s ends in %s, %s", whatEnds(verdict.Ends), inWords(before), whenItEnds(verdict.Ends)))
				}))
			}
		}
		v.timers = append(v.timers, time.AfterFunc(left, v.reconsider))
		v.endDeadline = time.Now().Add(left + backstop)
	}
	v.armIdle(verdict.Grant.Idle)
	v.setDeadlines()
}

// Over implements proxy.Visit. It is asked before every piece that is relayed:
// a process that was stopped (SIGSTOP, a paused machine) goes on where it was,
// and neither timers nor deadlines need come before the next byte.
func (v *visit) Over(since time.Duration) bool {
	ends := v.ends.Load()
	if ends == 0 || int64(time.Since(v.began)-since) < ends {
		return false
	}
	v.reconsider()
	return v.ctx.Err() != nil
}

// setDeadlines needs mu.
func (v *visit) setDeadlines() {
	at := v.endDeadline
	if !v.idleDeadline.IsZero() && (at.IsZero() || v.idleDeadline.Before(at)) {
		at = v.idleDeadline
	}
	v.client.SetDeadline(at)
	if v.server != nil {
		v.server.SetDeadline(at)
	}
}

func (v *visit) disarm() {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, t := range v.timers {
		t.Stop()
	}
	v.timers = nil
	if v.idleTimer != nil {
		v.idleTimer.Stop()
	}
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
