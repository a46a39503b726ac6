package appliance

import (
	"net/netip"
	"slices"
	"time"

	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/proxy/recording"
)

// In networks that only warn nobody is denied by the book, at the door or later.
// What would have been said is kept: with the entry, and among the events of the
// session where it would have ended.
//
// A session that was let in that way outlives the moment in which its network
// begins to be protected: it goes on for as long as nothing else speaks against
// it than what did not count before.

// warns reports whether an address is in a network that only warns.
func (a *Appliance) warns(dest netip.AddrPort) bool {
	c, _ := a.settings.now()
	return c.Intercept != nil && slices.ContainsFunc(c.Intercept.Warn, func(p netip.Prefix) bool { return p.Contains(dest.Addr().Unmap()) })
}

// warned lets a session go on that would end, where the network only warns.
func (v *visit) warned(book *policy.Book, denied policy.Verdict, now time.Time) bool {
	if !v.house.warns(v.flow.Dest) {
		return false
	}
	if err := v.Note(recording.Event{Kind: "warned", Detail: string(denied.Denial)}); err != nil {
		v.house.log.Error("warning not noted", "session", v.session.ID, "error", err)
	}
	v.house.log.Info("would have ended", "session", v.session.ID, "denial", string(denied.Denial))
	v.goOn(book.Waive(denied, v.believed()), now)
	return true
}

// staysWaived asks the book about a session that was let in, or let stay, though
// it would be denied. It reports false where a grant serves it now, or something
// new speaks against it.
func (v *visit) staysWaived(book *policy.Book, before policy.Verdict, now time.Time) bool {
	f := v.believed()
	verdict := book.Decide(f, now)
	switch {
	case verdict.Allowed():
		if verdict.Person.ID == v.session.Person && verdict.Server.ID == v.session.Server {
			return false // it moves under the grant
		}
		// It began as nobody's, and a record does not change: it stays so.
		verdict.Denial = before.Waived
	case !v.house.warns(v.flow.Dest) && verdict.Denial != before.Waived:
		return false
	}
	v.goOn(book.Waive(verdict, f), now)
	return true
}

// goOn keeps a session by a verdict that has no end.
func (v *visit) goOn(verdict policy.Verdict, now time.Time) {
	v.mu.Lock()
	v.verdict = verdict
	v.mu.Unlock()
	v.arm(verdict, now)
}
