package storetest

import (
	"time"

	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/store"
)

var versions = []proof{
	{"of two changes made of one look the second is a conflict and changes nothing", func(s *subject) {
		p, v, g := s.granted()
		seen := s.seen()
		s.check(s.SetGrantEnd(s.ctx, "anna", g.ID, seen, later))
		s.check(s.DisablePerson(s.ctx, "anna", p.ID, seen, true))
		s.check(s.DisableServer(s.ctx, "anna", v.ID, seen, true))
		s.unchanged(func() {
			day := time.Now().UTC().Format("2006-01-02T")
			s.refused(s.SetGrantEnd(s.ctx, by, g.ID, seen, later.Add(time.Hour)), store.ErrConflict, "grant 1 has changed since you looked at it: anna did that at "+day)
			s.refused(s.DisablePerson(s.ctx, by, p.ID, seen, true), store.ErrConflict, "person p.mojski", "anna")
			s.refused(s.DisableServer(s.ctx, by, v.ID, seen, false), store.ErrConflict, "server test-ssh-server", "anna")
			s.refused(s.Maintain(s.ctx, by, v.ID, seen, &policy.Maintenance{From: noon, Clear: later}), store.ErrConflict, "server test-ssh-server", "anna")
		})
		s.check(s.SetGrantEnd(s.ctx, by, g.ID, s.seen(), later.Add(time.Hour)))
		s.check(s.DisablePerson(s.ctx, by, p.ID, s.seen(), false))
	}},
	{"a change of one thing is none of another", func(s *subject) {
		p, v, g := s.granted()
		other := s.grant(p, v)
		seen := s.seen()
		s.check(s.SetGrantEnd(s.ctx, by, g.ID, seen, later))
		s.check(s.SetGrantEnd(s.ctx, by, other.ID, seen, later))
	}},
	{"a grant is revoked whatever somebody changed meanwhile, and then not extended", func(s *subject) {
		_, _, g := s.granted()
		seen := s.seen()
		s.check(s.SetGrantEnd(s.ctx, "anna", g.ID, seen, later.Add(time.Hour)))
		s.check(s.RevokeGrant(s.ctx, by, g.ID, later))
		s.refused(s.SetGrantEnd(s.ctx, "anna", g.ID, s.seen(), later), store.ErrConflict, "revoked")
	}},
	{"a thing's version is the revision that changed it last", func(s *subject) {
		p, v, g := s.granted()
		if p.Version != 1 || v.Version != 2 || g.Version != 3 {
			s.Errorf("versions %d, %d, %d, want 1, 2, 3", p.Version, v.Version, g.Version)
		}
		_, err := s.AddAddress(s.ctx, by, p.ID, policy.Address{Prefix: prefix("10.9.9.9/32")})
		s.check(err)
		f := s.facts()
		if f.Persons[0].Version != 4 || f.Servers[0].Version != 2 || f.Grants[0].Version != 3 {
			s.Errorf("after an address: %+v", f)
		}
	}},
	{"what changed since a revision is told whole, and nothing else", func(s *subject) {
		p, v, g := s.granted()
		ops := s.group(store.PersonGroup, "ops")
		s.check(s.AddMember(s.ctx, by, store.PersonGroup, ops.ID, string(p.ID), ""))
		before := s.facts()
		bob := s.person("bob", "10.0.0.9/32")
		s.check(s.AddMember(s.ctx, by, store.PersonGroup, ops.ID, string(bob.ID), ""))
		more := s.grant(p, v)
		s.check(s.RevokeGrant(s.ctx, by, g.ID, later))
		after := s.facts()
		got, err := s.FactsSince(s.ctx, before.Revision)
		s.check(err)
		s.same(got, policy.Facts{
			Revision: after.Revision, Persons: []policy.Person{bob}, PersonGroups: after.PersonGroups,
			Grants: after.Grants[:2],
		})
		if len(got.PersonGroups) != 1 || len(got.PersonGroups[0].Members) != 2 || got.Grants[1].ID != more.ID {
			s.Errorf("not whole: %+v", got)
		}
		got, err = s.FactsSince(s.ctx, after.Revision)
		s.check(err)
		s.same(got, policy.Facts{Revision: after.Revision})
	}},
}

var maintenance = []proof{
	{"a server is put under maintenance and taken out of it", func(s *subject) {
		v, p := s.server("db", "10.30.0.1/32"), s.person("alice")
		m := &policy.Maintenance{From: noon, Clear: later, Until: later.Add(time.Hour), Exempt: []policy.PersonID{p.ID}, Reason: "new disks"}
		s.changed("server.maintenance", "server db", "no maintenance → maintenance from 2026-06-01T12:00:00Z, sessions end at 2026-06-01T13:00:00Z, over at 2026-06-01T14:00:00Z, but for alice, reason: new disks", func() error {
			return s.Maintain(s.ctx, by, v.ID, s.seen(), m)
		})
		s.same(s.facts().Servers[0].Maintenance, m)
		s.changed("server.maintenance", "server db", "→ maintenance from 2026-06-01T13:00:00Z, sessions end at 2026-06-01T13:00:00Z", func() error {
			return s.Maintain(s.ctx, by, v.ID, s.seen(), &policy.Maintenance{From: later, Clear: later})
		})
		s.changed("server.maintenance", "server db", "→ no maintenance", func() error { return s.Maintain(s.ctx, by, v.ID, s.seen(), nil) })
		s.unchanged(func() { s.check(s.Maintain(s.ctx, by, v.ID, s.seen(), nil)) })
		if s.facts().Servers[0].Maintenance != nil {
			s.Error("the server is still under maintenance")
		}
	}},
	{"maintenance that cannot be is refused", func(s *subject) {
		v := s.server("db", "10.30.0.1/32")
		for _, c := range []struct {
			m        policy.Maintenance
			kind     error
			mentions string
		}{
			{policy.Maintenance{}, store.ErrInvalid, "beginning of the maintenance"},
			{policy.Maintenance{From: noon}, store.ErrInvalid, "end of the sessions"},
			{policy.Maintenance{From: later, Clear: noon}, store.ErrInvalid, "before the maintenance begins"},
			{policy.Maintenance{From: noon, Clear: later, Until: later}, store.ErrInvalid, "not after the sessions end"},
			{policy.Maintenance{From: noon, Clear: later, Until: time.Unix(1, 0)}, store.ErrInvalid, "1970"},
			{policy.Maintenance{From: noon, Clear: later, Exempt: []policy.PersonID{"x"}}, store.ErrNotFound, `person with the id "x"`},
			{policy.Maintenance{From: noon, Clear: later, Exempt: make([]policy.PersonID, 101)}, store.ErrInvalid, "101 persons"},
			{policy.Maintenance{From: noon, Clear: later, Reason: "a\nb"}, store.ErrInvalid, "control character"},
		} {
			s.unchanged(func() {
				s.refused(s.Maintain(s.ctx, by, v.ID, s.seen(), &c.m), c.kind, c.mentions)
			})
		}
		s.refused(s.Maintain(s.ctx, by, "none", s.seen(), &policy.Maintenance{From: noon, Clear: later}), store.ErrNotFound, "none")
	}},
}

// limited is a person, a server and a grant of so many sessions at a time.
func (s *subject) limited(most int) (policy.Person, policy.Server, policy.Grant) {
	s.Helper()
	p, v := s.person("p.mojski", "100.64.0.20/32"), s.server("test-ssh-server", "10.30.0.140/32")
	g, err := s.CreateGrant(s.ctx, by, policy.Grant{Person: p.ID, Server: v.ID, Start: noon, Idle: 90 * time.Minute, MaxSessions: most})
	s.check(err)
	return p, v, g
}

// often is a person, a server and a grant of so many entries.
func (s *subject) often(most policy.Rate) (policy.Person, policy.Server, policy.Grant) {
	s.Helper()
	p, v := s.person("p.mojski", "100.64.0.20/32"), s.server("test-ssh-server", "10.30.0.140/32")
	g, err := s.CreateGrant(s.ctx, by, policy.Grant{Person: p.ID, Server: v.ID, Start: noon, MaxEntries: most})
	s.check(err)
	return p, v, g
}

var limits = []proof{
	{"a grant keeps its idle time and its number of sessions", func(s *subject) {
		_, _, g := s.limited(3)
		if d := s.lastDeed().Detail; d == "" || g.Idle != 90*time.Minute || g.MaxSessions != 3 {
			s.Errorf("%+v: %s", g, d)
		}
		s.same(s.facts().Grants, []policy.Grant{g})
	}},
	{"limits that cannot be are refused", func(s *subject) {
		p, v := s.person("alice"), s.server("db", "10.30.0.1/32")
		for _, g := range []policy.Grant{
			{Idle: time.Second}, {Idle: -time.Hour}, {Idle: 31 * 24 * time.Hour}, {Idle: time.Hour + 1}, {MaxSessions: -1}, {MaxSessions: 10_001},
			{MaxEntries: policy.Rate{Most: 10, Per: time.Minute + 1}}, {MaxEntries: policy.Rate{Per: time.Hour}}, {MaxEntries: policy.Rate{Most: -1, Per: time.Hour}},
			{MaxEntries: policy.Rate{Most: 10_001, Per: time.Hour}}, {MaxEntries: policy.Rate{Most: 1}},
		} {
			g.Person, g.Server, g.Start = p.ID, v.ID, noon
			_, err := s.CreateGrant(s.ctx, by, g)
			s.refused(err, store.ErrInvalid)
		}
	}},
	{"nobody enters beside as many sessions as the grant allows, and one that ends makes place", func(s *subject) {
		p, v, g := s.limited(2)
		first := s.enter(visit(p, v, g))
		s.enter(visit(p, v, g))
		_, _, err := s.Enter(s.ctx, visit(p, v, g))
		s.refused(err, store.ErrFull, "grant 1", "2")
		s.check(s.Leave(s.ctx, first.ID, later, policy.ClientLeft, policy.Carried{}))
		s.enter(visit(p, v, g))
		_, _, err = s.Enter(s.ctx, visit(p, v, g))
		s.refused(err, store.ErrFull)
		entries, err := s.Entries(s.ctx, store.EntryFilter{})
		s.check(err)
		if len(entries) != 3 {
			s.Errorf("%d entries are written, want 3", len(entries))
		}
	}},
	{"what a crashed gate left open makes place when it starts again", func(s *subject) {
		p, v, g := s.limited(1)
		s.enter(visit(p, v, g))
		elsewhere := visit(p, v, g)
		elsewhere.Gate = "gate-2"
		_, _, err := s.Enter(s.ctx, elsewhere)
		s.refused(err, store.ErrFull)
		_, err = s.CloseOrphans(s.ctx, "gate-1", later)
		s.check(err)
		s.enter(elsewhere)
	}},
	{"a new stay does not forget the sessions of the one before", func(s *subject) {
		p, v, g := s.limited(1)
		se := s.enter(visit(p, v, g))
		s.check(s.EndStay(s.ctx, se.Stay, later, policy.AdminEnded))
		_, _, err := s.Enter(s.ctx, visit(p, v, g))
		s.refused(err, store.ErrFull)
	}},
	{"each person has the sessions of a grant to a group for themselves", func(s *subject) {
		p, v, _ := s.granted()
		q, ops := s.person("bob"), s.group(store.PersonGroup, "ops")
		g, err := s.CreateGrant(s.ctx, by, policy.Grant{PersonGroup: ops.ID, Server: v.ID, Start: noon, MaxSessions: 1})
		s.check(err)
		s.enter(visit(p, v, g))
		s.enter(visit(q, v, g))
		_, _, err = s.Enter(s.ctx, visit(q, v, g))
		s.refused(err, store.ErrFull)
	}},
	{"nobody enters more often than the grant allows, and later they do again", func(s *subject) {
		p, v, g := s.often(policy.Rate{Most: 2, Per: time.Hour})
		s.same(s.facts().Grants, []policy.Grant{g})
		at := func(d time.Duration) policy.Session {
			se := visit(p, v, g)
			se.Start = noon.Add(d)
			return se
		}
		s.check(s.Leave(s.ctx, s.enter(at(0)).ID, later, policy.ClientLeft, policy.Carried{})) // who leaves has entered all the same
		s.enter(at(20 * time.Minute))
		_, _, err := s.Enter(s.ctx, at(time.Hour-time.Microsecond))
		s.refused(err, store.ErrOften, "grant 1", "2")
		s.enter(at(time.Hour))
		_, _, err = s.Enter(s.ctx, at(time.Hour+time.Minute))
		s.refused(err, store.ErrOften)
		n, err := s.EntriesUnder(s.ctx, g.ID, p.ID, noon)
		s.check(err)
		if n != 2 { // the first was at noon, which is no longer since noon
			s.Errorf("%d entries are counted, want 2", n)
		}
	}},
	{"a denied entry under a grant does not count, nor one of somebody else", func(s *subject) {
		p, v, g := s.often(policy.Rate{Most: 1, Per: 24 * time.Hour})
		s.check(s.Deny(s.ctx, store.Entry{Time: noon, Gate: "gate-1", Person: p.ID, Server: v.ID, Grant: g.ID, Denial: policy.ServerUnreachable}))
		s.enter(visit(s.person("bob"), v, g))
		s.enter(visit(p, v, g))
		_, _, err := s.Enter(s.ctx, visit(p, v, g))
		s.refused(err, store.ErrOften)
	}},
	{"a session that moves does not count where it comes to, only where it began", func(s *subject) {
		p, v, g := s.often(policy.Rate{Most: 1, Per: time.Hour})
		wide := s.grant(p, v)
		moved := s.enter(visit(p, v, wide))
		_, err := s.Move(s.ctx, moved.ID, g.ID, later)
		s.check(err)
		began := s.enter(visit(p, v, g))
		_, err = s.Move(s.ctx, began.ID, wide.ID, later)
		s.check(err)
		_, _, err = s.Enter(s.ctx, visit(p, v, g))
		s.refused(err, store.ErrOften)
	}},
	{"a grant nobody entered under since then is unused, unless somebody is inside", func(s *subject) {
		p, v, g := s.granted()
		begun := time.Now().Add(time.Minute) // after the grants were made
		at := func(d time.Duration) policy.Session {
			se := visit(p, v, g)
			se.Start = begun.Add(d).Truncate(time.Microsecond)
			return se
		}
		unused := func(d time.Duration) map[policy.GrantID]time.Time {
			found, err := s.UnusedGrants(s.ctx, begun.Add(d), begun.Add(d+time.Hour))
			s.check(err)
			return found
		}
		never := map[policy.GrantID]time.Time{g.ID: {}}
		s.same(unused(-24*time.Hour), map[policy.GrantID]time.Time{}) // it is younger
		s.same(unused(0), never)
		s.check(s.Deny(s.ctx, store.Entry{Time: begun, Gate: "gate-1", Person: p.ID, Server: v.ID, Grant: g.ID, Denial: policy.HostKeyChanged}))
		s.same(unused(time.Hour), never) // a denied entry is no use
		first, se := s.enter(at(0)), s.enter(at(time.Minute))
		s.check(s.Leave(s.ctx, first.ID, begun.Add(2*time.Minute), policy.ClientLeft, policy.Carried{}))
		s.same(unused(time.Hour), map[policy.GrantID]time.Time{}) // one is inside
		s.check(s.Leave(s.ctx, se.ID, begun.Add(2*time.Minute), policy.ClientLeft, policy.Carried{}))
		s.same(unused(time.Minute-time.Microsecond), map[policy.GrantID]time.Time{})
		s.same(unused(time.Minute), map[policy.GrantID]time.Time{g.ID: se.Start.UTC()})
		other := s.grant(p, v)
		s.same(len(unused(time.Hour)), 2)
		s.check(s.SetGrantEnd(s.ctx, by, other.ID, s.seen(), begun.Add(90*time.Minute)))
		s.same(len(unused(time.Hour)), 1) // it has ended by then
		s.check(s.RevokeGrant(s.ctx, by, g.ID, begun))
		s.same(unused(time.Hour), map[policy.GrantID]time.Time{})
	}},
	{"a session does not move under a grant that has no room", func(s *subject) {
		p, v, g := s.limited(1)
		wide := s.grant(p, v)
		s.enter(visit(p, v, g))
		se := s.enter(visit(p, v, wide))
		_, err := s.Move(s.ctx, se.ID, g.ID, later)
		s.refused(err, store.ErrFull)
		found, err := s.Session(s.ctx, string(se.ID))
		s.check(err)
		s.same(found, se)
	}},
}
