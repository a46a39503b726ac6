package storetest

import (
	"strings"
	"time"

	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/store"
)

// renewing is a person, a server and a grant that renews itself by an hour.
func (s *subject) renewing() (policy.Person, policy.Server, policy.Grant) {
	s.Helper()
	p, v := s.person("p.mojski", "100.64.0.20/32"), s.server("test-ssh-server", "10.30.0.140/32")
	g, err := s.CreateGrant(s.ctx, by, policy.Grant{Person: p.ID, Server: v.ID, Start: noon, End: later, Renew: time.Hour})
	s.check(err)
	return p, v, g
}

// used tells whether a gate sees that a grant was used.
func (s *subject) used(gate string, g policy.Grant) bool {
	s.Helper()
	ids, err := s.UsedGrants(s.ctx, gate, []policy.GrantID{"77", g.ID})
	s.check(err)
	return len(ids) == 1 && ids[0] == g.ID
}

var renewals = []proof{
	{"a grant keeps by how much it renews itself", func(s *subject) {
		_, _, g := s.renewing()
		if d := s.lastDeed(); !strings.Contains(d.Detail, "renews itself by: 1h") || !strings.Contains(d.Became, `"renew":"1h"`) {
			s.Errorf("audit says %+v", d)
		}
		s.same(s.facts().Grants, []policy.Grant{g})
	}},
	{"a grant that cannot renew itself is refused", func(s *subject) {
		p, v := s.person("alice"), s.server("db", "10.30.0.1/32")
		for _, g := range []policy.Grant{
			{Renew: time.Hour}, // permanent
			{End: later, Renew: time.Hour - time.Second}, {End: later, Renew: -time.Hour}, {End: later, Renew: time.Hour + 1},
			{End: later, Renew: 11 * 366 * 24 * time.Hour}, {End: later, Renew: time.Hour, Renewed: noon},
		} {
			g.Person, g.Server, g.Start = p.ID, v.ID, noon
			s.unchanged(func() {
				_, err := s.CreateGrant(s.ctx, by, g)
				s.refused(err, store.ErrInvalid)
			})
		}
	}},
	{"a grant is renewed by its length once somebody has entered since the last time", func(s *subject) {
		p, v, g := s.renewing()
		nearly := later.Add(-5 * time.Minute)
		s.unchanged(func() {
			s.refused(s.RenewGrant(s.ctx, "gate-1", g.ID, s.seen(), nearly), store.ErrConflict, "nobody has entered under grant 1")
		})
		first := s.enter(visit(p, v, g))
		s.check(s.Leave(s.ctx, first.ID, noon.Add(time.Minute), policy.ClientLeft, policy.Carried{}))
		revision, _ := s.trace()
		s.check(s.RenewGrant(s.ctx, "gate-1", g.ID, s.seen(), nearly))
		got := s.facts().Grants[0]
		if !got.End.Equal(later.Add(time.Hour)) || !got.Renewed.Equal(nearly) || got.Version != revision+1 || got.Renew != time.Hour {
			s.Errorf("renewed: %+v", got)
		}
		d := s.lastDeed()
		if d.By != "gate:gate-1" || d.Action != "grant.renew" || d.Object != "grant 1" ||
			d.Detail != "until 2026-06-01T13:00:00Z → until 2026-06-01T14:00:00Z" ||
			!strings.Contains(d.Was, `"end":"2026-06-01T13:00:00`) || !strings.Contains(d.Became, `"end":"2026-06-01T14:00:00`) {
			s.Errorf("audit says %+v", d)
		}
		s.unchanged(func() {
			s.refused(s.RenewGrant(s.ctx, "gate-1", g.ID, s.seen(), nearly.Add(time.Hour)), store.ErrConflict, "nobody has entered")
		})
		again := visit(p, v, g)
		again.Start = later
		s.enter(again)
		s.check(s.RenewGrant(s.ctx, "gate-1", g.ID, s.seen(), nearly.Add(time.Hour)))
	}},
	{"a grant that has changed, ended, was revoked or does not renew itself is not renewed", func(s *subject) {
		p, v, g := s.renewing()
		s.enter(visit(p, v, g))
		plain, err := s.CreateGrant(s.ctx, by, policy.Grant{Person: p.ID, Server: v.ID, Start: noon, End: later})
		s.check(err)
		s.enter(visit(p, v, plain))
		base := s.seen()
		s.check(s.SetGrantEnd(s.ctx, by, g.ID, base, later.Add(time.Minute)))
		s.unchanged(func() {
			s.refused(s.RenewGrant(s.ctx, "gate-1", g.ID, base, noon), store.ErrConflict, "grant 1 has changed since", by)
			s.refused(s.RenewGrant(s.ctx, "gate-1", g.ID, s.seen(), later.Add(time.Minute)), store.ErrConflict, "grant 1")
			s.refused(s.RenewGrant(s.ctx, "gate-1", plain.ID, s.seen(), noon), store.ErrConflict, "grant 2")
			s.refused(s.RenewGrant(s.ctx, "gate-1", "77", s.seen(), noon), store.ErrNotFound, "grant 77")
			s.refused(s.RenewGrant(s.ctx, "gate-1", g.ID, s.seen(), time.Time{}), store.ErrInvalid, "time of the renewal")
		})
		s.check(s.RevokeGrant(s.ctx, by, g.ID, later))
		s.unchanged(func() {
			s.refused(s.RenewGrant(s.ctx, "gate-1", g.ID, s.seen(), noon), store.ErrConflict, "was revoked")
		})
	}},
	{"who is inside uses a grant, and whoever moved away from it has used it; what another gate left open does not count", func(s *subject) {
		p, v, g := s.renewing()
		other := s.grant(p, v)
		old := visit(p, v, g)
		old.Start = noon.Add(-time.Hour) // before it began, as if renewed since
		se := s.enter(old)
		if !s.used("gate-1", g) || s.used("gate-2", g) {
			s.Error("a session that is open counts for its gate, and for no other")
		}
		s.check(s.Leave(s.ctx, se.ID, noon, policy.ClientLeft, policy.Carried{}))
		if s.used("gate-1", g) {
			s.Error("a session of before counts though it is over")
		}
		moved := s.enter(visit(p, v, g))
		_, err := s.Move(s.ctx, moved.ID, other.ID, later)
		s.check(err)
		if !s.used("gate-2", g) {
			s.Error("a session that moved away does not count")
		}
	}},
	{"an admin's end is the end: an earlier one, or none, ends the renewals, a later one does not", func(s *subject) {
		_, _, g := s.renewing()
		s.check(s.SetGrantEnd(s.ctx, by, g.ID, s.seen(), later.Add(time.Hour)))
		if got := s.facts().Grants[0]; got.Renew != time.Hour {
			s.Errorf("extended, it renews itself by %s", got.Renew)
		}
		s.changed("grant.end", "grant 1", "→ until 2026-06-01T13:00:00Z, no longer renews itself", func() error {
			return s.SetGrantEnd(s.ctx, by, g.ID, s.seen(), later)
		})
		if got := s.facts().Grants[0]; got.Renew != 0 || strings.Contains(s.lastDeed().Became, "renew") {
			s.Errorf("shortened, it renews itself by %s", got.Renew)
		}
		g, err := s.CreateGrant(s.ctx, by, policy.Grant{Person: g.Person, Server: g.Server, Start: noon, End: later, Renew: time.Hour})
		s.check(err)
		s.check(s.SetGrantEnd(s.ctx, by, g.ID, s.seen(), time.Time{}))
		if got := s.facts().Grants[1]; got.Renew != 0 {
			s.Errorf("permanent, it renews itself by %s", got.Renew)
		}
	}},
	{"renewals are stopped, and the end stays", func(s *subject) {
		_, _, g := s.renewing()
		base := s.seen()
		s.changed("grant.no-renew", "grant 1", "renews itself by 1h → no longer, until 2026-06-01T13:00:00Z", func() error {
			return s.StopRenewal(s.ctx, by, g.ID, base)
		})
		got := s.facts().Grants[0]
		if got.Renew != 0 || !got.End.Equal(later) {
			s.Errorf("stopped: %+v", got)
		}
		s.unchanged(func() {
			s.check(s.StopRenewal(s.ctx, by, g.ID, s.seen()))
			s.refused(s.StopRenewal(s.ctx, by, g.ID, base), store.ErrConflict, "has changed since")
			s.refused(s.StopRenewal(s.ctx, by, "77", base), store.ErrNotFound, "grant 77")
		})
	}},
}
