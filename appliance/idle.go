package appliance

import (
	"fmt"
	"time"

	"github.com/pawelmojski/inside/policy"
)

// idleBackstop is how far behind the end of a session nobody uses the deadline
// of the sockets lies. It is longer than backstop: the deadline is put off when
// the timer sees that the session was used, and must not come before it.
const idleBackstop = time.Minute

// Used implements proxy.Visit. It is called for every piece a person sends, so
// it only notes the moment; the timer looks at it when the time would be over.
func (v *visit) Used() { v.used.Store(int64(time.Since(v.began))) }

// unused is for how long nobody has used the session.
func (v *visit) unused() time.Duration {
	return time.Since(v.began) - time.Duration(v.used.Load())
}

// armIdle needs mu.
func (v *visit) armIdle(idle time.Duration) {
	if v.idleTimer != nil {
		v.idleTimer.Stop()
		v.idleTimer = nil
	}
	v.idleDeadline = time.Time{}
	if idle == 0 {
		return
	}
	left := idle - v.unused()
	wait := max(left, 0)
	for _, before := range warnings {
		if left > before {
			wait = left - before
			break
		}
	}
	v.idleTimer = time.AfterFunc(wait, v.lookIdle)
	v.idleDeadline = time.Now().Add(left + idleBackstop)
}

// lookIdle ends a session nobody has used for too long, or says how much time
// is left, once for each warning. Whoever types then has all of it again.
func (v *visit) lookIdle() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.finished || v.ctx.Err() != nil || v.verdict.Grant == nil || v.verdict.Grant.Idle == 0 {
		return
	}
	idle := v.verdict.Grant.Idle
	left := idle - v.unused()
	if left <= 0 {
		v.end(policy.Idle)
		return
	}
	if used := v.used.Load(); used != v.idleTold.used || v.idleTold.left == 0 {
		v.idleTold.used, v.idleTold.left = used, idle
	}
	due := v.idleTold.left // the latest of the warnings that are due
	for _, before := range warnings {
		if left <= before && before < due {
			due = before
		}
	}
	if due < v.idleTold.left {
		v.idleTold.left = due
		v.notify(fmt.Sprintf("your session ends in %s because nobody uses it: type something to stay", inWords(due)))
	}
	v.armIdle(idle)
	v.setDeadlines()
}
