package storetest

import (
	"strings"
	"time"

	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/store"
)

func (s *subject) schedule(windows, zone string) policy.Schedule {
	s.Helper()
	sch, err := policy.ParseSchedule(windows, zone)
	s.check(err)
	return sch
}

var grants = []proof{
	{"a grant is kept as created, with everything it can hold", func(s *subject) {
		p, v := s.person("alice"), s.server("db", "10.30.0.1/32")
		asked := policy.Grant{
			Person: p.ID, Server: v.ID,
			Protocols: []policy.Protocol{policy.SSH, policy.RDP}, Logins: []string{"p.mojski", `DOMAIN\John Doe, jr`},
			From: prefix("100.64.0.20/32"), Forwarding: policy.Local | policy.Dynamic, Redirection: policy.Clipboard | policy.WebAuthn,
			Start: noon, End: later,
			Schedules: []policy.Schedule{
				s.schedule("Mon-Fri 09:00-17:00; Sat 10:00-14:00", "Europe/Warsaw"),
				s.schedule("Sun 00:00-24:00", "America/New_York"),
			},
			Reason: "ticket 7: żółw",
		}
		var g policy.Grant
		s.changed("grant.create", "grant 1", "person alice to server db, from 2026-06-01T12:00:00Z, until 2026-06-01T13:00:00Z, protocols: ssh rdp", func() (err error) {
			g, err = s.CreateGrant(s.ctx, by, asked)
			return err
		})
		if g.ID != "1" || g.CreatedBy != by || time.Since(g.Created) > time.Minute {
			s.Errorf("grant %q created by %q at %s", g.ID, g.CreatedBy, g.Created)
		}
		asked.ID, asked.Created, asked.CreatedBy, asked.Authors, asked.Version = g.ID, g.Created, g.CreatedBy, []string{by}, 3
		s.same(g, asked)
		s.same(s.facts().Grants, []policy.Grant{g})
	}},
	{"a grant may be for groups, from now on, for ever", func(s *subject) {
		ops, prod := s.group(store.PersonGroup, "ops"), s.group(store.ServerGroup, "prod")
		var g policy.Grant
		s.changed("grant.create", "grant 1", "person group ops to server group prod", func() (err error) {
			g, err = s.CreateGrant(s.ctx, by, policy.Grant{PersonGroup: ops.ID, ServerGroup: prod.ID})
			return err
		})
		if g.Start != g.Created || !g.End.IsZero() || !strings.Contains(s.lastDeed().Detail, "permanent") {
			s.Errorf("grant from %s (created %s) to %s", g.Start, g.Created, g.End)
		}
		s.same(s.facts().Grants, []policy.Grant{g})
	}},
	{"times are kept to the microsecond, in UTC", func(s *subject) {
		p, v := s.person("alice"), s.server("db", "10.30.0.1/32")
		zone := time.FixedZone("somewhere", 3600)
		g, err := s.CreateGrant(s.ctx, by, policy.Grant{Person: p.ID, Server: v.ID, Start: noon.In(zone).Add(789), End: later.In(zone).Add(789)})
		s.check(err)
		s.same(g.Start, noon)
		s.same(g.End, later)
	}},
	{"a grant that cannot be is refused", func(s *subject) {
		p, v := s.person("alice"), s.server("db", "10.30.0.1/32")
		ops, prod := s.group(store.PersonGroup, "ops"), s.group(store.ServerGroup, "prod")
		for _, c := range []struct {
			change   func(*policy.Grant)
			kind     error
			mentions string
		}{
			{func(g *policy.Grant) { g.Person = "" }, store.ErrInvalid, "a person or a person group"},
			{func(g *policy.Grant) { g.PersonGroup = ops.ID }, store.ErrInvalid, "a person or a person group"},
			{func(g *policy.Grant) { g.Server = "" }, store.ErrInvalid, "a server or a server group"},
			{func(g *policy.Grant) { g.ServerGroup = prod.ID }, store.ErrInvalid, "a server or a server group"},
			{func(g *policy.Grant) { g.Person = "x" }, store.ErrNotFound, `person with the id "x"`},
			{func(g *policy.Grant) { g.Person, g.PersonGroup = "", prod.ID }, store.ErrNotFound, "person group"},
			{func(g *policy.Grant) { g.Server = "x" }, store.ErrNotFound, `server with the id "x"`},
			{func(g *policy.Grant) { g.Server, g.ServerGroup = "", ops.ID }, store.ErrNotFound, "server group"},
			{func(g *policy.Grant) { g.Protocols = []policy.Protocol{"telnet"} }, store.ErrInvalid, "telnet"},
			{func(g *policy.Grant) { g.Logins = []string{"root", ""} }, store.ErrInvalid, "login"},
			{func(g *policy.Grant) { g.Logins = []string{"root\nadmin"} }, store.ErrInvalid, "login"},
			{func(g *policy.Grant) { g.From = prefix("10.0.0.7/24") }, store.ErrInvalid, "10.0.0.0/24"},
			{func(g *policy.Grant) { g.Forwarding = 8 }, store.ErrInvalid, "forwarding"},
			{func(g *policy.Grant) { g.Redirection = policy.AllRedirections + 1 }, store.ErrInvalid, "clipboard"},
			{func(g *policy.Grant) { g.Schedules = make([]policy.Schedule, 1) }, store.ErrInvalid, "schedule"},
			{func(g *policy.Grant) { g.End = g.Start }, store.ErrInvalid, "not after its start"},
			{func(g *policy.Grant) { g.End = g.Start.Add(time.Nanosecond) }, store.ErrInvalid, "not after its start"},
			{func(g *policy.Grant) { g.Start = time.Unix(1, 0) }, store.ErrInvalid, "1970"},
			{func(g *policy.Grant) { g.End = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) }, store.ErrInvalid, "9999"},
			{func(g *policy.Grant) { g.Revoked = noon }, store.ErrInvalid, "revoked"},
			{func(g *policy.Grant) { g.Reason = strings.Repeat("x", 1001) }, store.ErrInvalid, "reason"},
		} {
			g := policy.Grant{Person: p.ID, Server: v.ID, Start: noon}
			c.change(&g)
			s.unchanged(func() {
				_, err := s.CreateGrant(s.ctx, by, g)
				s.refused(err, c.kind, c.mentions)
			})
		}
		if g := s.grant(p, v); g.ID != "1" {
			s.Errorf("the first grant is number %s", g.ID)
		}
	}},
	{"the end of a grant moves both ways", func(s *subject) {
		_, _, g := s.granted()
		for _, c := range []struct {
			end    time.Time
			detail string
		}{
			{later, "permanent → until 2026-06-01T13:00:00Z"},
			{later.Add(time.Hour), "until 2026-06-01T13:00:00Z → until 2026-06-01T14:00:00Z"},
			{noon.Add(time.Minute), "until 2026-06-01T14:00:00Z → until 2026-06-01T12:01:00Z"},
			{time.Time{}, "until 2026-06-01T12:01:00Z → permanent"},
		} {
			s.changed("grant.end", "grant 1", c.detail, func() error { return s.SetGrantEnd(s.ctx, by, g.ID, s.seen(), c.end) })
			s.same(s.facts().Grants[0].End, c.end)
			s.unchanged(func() { s.check(s.SetGrantEnd(s.ctx, by, g.ID, s.seen(), c.end)) })
		}
		s.unchanged(func() {
			s.refused(s.SetGrantEnd(s.ctx, by, g.ID, s.seen(), noon), store.ErrInvalid, "not after its start")
			s.refused(s.SetGrantEnd(s.ctx, by, "7", s.seen(), later), store.ErrNotFound, "grant 7")
			s.refused(s.SetGrantEnd(s.ctx, by, "x", s.seen(), later), store.ErrNotFound, "grant x")
		})
	}},
	{"a grant is revoked once and stays so", func(s *subject) {
		_, _, g := s.granted()
		s.changed("grant.revoke", "grant 1", "permanent → revoked at 2026-06-01T13:00:00Z", func() error {
			return s.RevokeGrant(s.ctx, by, g.ID, later)
		})
		s.same(s.facts().Grants[0].Revoked, later)
		s.unchanged(func() {
			s.refused(s.RevokeGrant(s.ctx, by, g.ID, later), store.ErrConflict, "grant 1", "2026-06-01T13:00:00Z")
			s.refused(s.SetGrantEnd(s.ctx, by, g.ID, s.seen(), later), store.ErrConflict, "grant 1", "create a new one")
			s.refused(s.RevokeGrant(s.ctx, by, g.ID, time.Time{}), store.ErrInvalid, "time of the revocation")
			s.refused(s.RevokeGrant(s.ctx, by, "7", later), store.ErrNotFound, "grant 7")
		})
	}},
	{"numbers of grants go on by one", func(s *subject) {
		p, v, _ := s.granted()
		for _, want := range []policy.GrantID{"2", "3"} {
			if g := s.grant(p, v); g.ID != want {
				s.Errorf("got grant %s, want %s", g.ID, want)
			}
		}
	}},
}
