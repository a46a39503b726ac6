package storetest

import (
	"time"

	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/store"
)

// ends is a grant for an hour from noon.
func (s *subject) ends() (policy.Server, policy.Grant) {
	s.Helper()
	p, v := s.person("alice"), s.server("db", "10.30.0.1/32")
	g, err := s.CreateGrant(s.ctx, by, policy.Grant{Person: p.ID, Server: v.ID, Start: noon, End: later})
	s.check(err)
	return v, g
}

var approval = []proof{
	{"servers and server groups are marked sensitive and unmarked", func(s *subject) {
		v, prod := s.server("db", "10.30.0.1/32"), s.group(store.ServerGroup, "prod")
		s.changed("server.approval", "server db", "no approval needed → approval needed", func() error {
			return s.SetServerSensitive(s.ctx, by, v.ID, s.seen(), true)
		})
		s.changed("group.approval", "server group prod", "no approval needed → approval needed", func() error {
			return s.SetGroupSensitive(s.ctx, by, prod.ID, s.seen(), true)
		})
		f := s.facts()
		if !f.Servers[0].Sensitive || !f.ServerGroups[0].Sensitive {
			s.Errorf("%+v", f)
		}
		ops := s.group(store.PersonGroup, "ops")
		s.unchanged(func() {
			s.check(s.SetServerSensitive(s.ctx, by, v.ID, s.seen(), true))
			s.check(s.SetGroupSensitive(s.ctx, by, prod.ID, s.seen(), true))
			s.refused(s.SetServerSensitive(s.ctx, by, v.ID, v.Version, false), store.ErrConflict, "server db has changed")
			s.refused(s.SetGroupSensitive(s.ctx, by, prod.ID, prod.Version, false), store.ErrConflict, "server group prod has changed")
			s.refused(s.SetServerSensitive(s.ctx, by, "none", s.seen(), true), store.ErrNotFound, "none")
			s.refused(s.SetGroupSensitive(s.ctx, by, ops.ID, s.seen(), true), store.ErrNotFound, "server group")
		})
		s.changed("server.approval", "server db", "approval needed → no approval needed", func() error {
			return s.SetServerSensitive(s.ctx, by, v.ID, s.seen(), false)
		})
		s.changed("group.approval", "server group prod", "approval needed → no approval needed", func() error {
			return s.SetGroupSensitive(s.ctx, by, prod.ID, s.seen(), false)
		})
	}},
	{"another than who made a grant approves it, once", func(s *subject) {
		_, g := s.ends()
		s.unchanged(func() {
			s.refused(s.ApproveGrant(s.ctx, by, g.ID, s.seen(), noon), store.ErrConflict, "root made or extended grant 1: another admin or operator must approve it")
			s.refused(s.ApproveGrant(s.ctx, "anna", "7", s.seen(), noon), store.ErrNotFound, "grant 7")
			s.refused(s.ApproveGrant(s.ctx, "anna", g.ID, s.seen(), time.Time{}), store.ErrInvalid, "time of the approval")
		})
		before := s.seen()
		s.check(s.ApproveGrant(s.ctx, "anna", g.ID, before, noon))
		if d := s.lastDeed(); d.By != "anna" || d.Action != "grant.approve" || d.Object != "grant 1" || d.Detail != "approved, made or extended by root" {
			s.Errorf("%+v", d)
		}
		g.Approved, g.ApprovedBy, g.Version = noon, "anna", before+1
		s.same(s.facts().Grants, []policy.Grant{g})
		told, err := s.FactsSince(s.ctx, before)
		s.check(err)
		s.same(told.Grants, []policy.Grant{g})
		s.unchanged(func() {
			s.refused(s.ApproveGrant(s.ctx, "bob", g.ID, s.seen(), later), store.ErrConflict, "approved already, by anna")
		})
		s.check(s.RevokeGrant(s.ctx, by, g.ID, later))
		s.refused(s.ApproveGrant(s.ctx, "bob", g.ID, s.seen(), later), store.ErrConflict, "revoked")
	}},
	{"what was extended after the approver looked is not approved", func(s *subject) {
		_, g := s.ends()
		seen := s.seen()
		s.check(s.SetGrantEnd(s.ctx, by, g.ID, seen, later.Add(time.Hour)))
		s.unchanged(func() {
			s.refused(s.ApproveGrant(s.ctx, "anna", g.ID, seen, noon), store.ErrConflict, "has changed since you looked at it: root")
		})
	}},
	{"a later end takes the approval away, an earlier one does not", func(s *subject) {
		_, g := s.ends()
		approved := func() string { return s.facts().Grants[0].ApprovedBy }
		s.check(s.ApproveGrant(s.ctx, "anna", g.ID, s.seen(), noon))
		s.check(s.SetGrantEnd(s.ctx, by, g.ID, s.seen(), later.Add(-time.Minute)))
		if approved() != "anna" {
			s.Error("a shorter grant has lost its approval")
		}
		s.check(s.SetGrantEnd(s.ctx, "anna", g.ID, s.seen(), later))
		if d := s.lastDeed(); approved() != "" || !s.facts().Grants[0].Approved.IsZero() || d.Detail != "until 2026-06-01T12:59:00Z → until 2026-06-01T13:00:00Z, no longer approved" {
			s.Errorf("approved by %q after %s", approved(), d.Detail)
		}
		// Now it is anna's, and root may approve it.
		s.refused(s.ApproveGrant(s.ctx, "anna", g.ID, s.seen(), noon), store.ErrConflict, "anna made or extended")
		s.check(s.ApproveGrant(s.ctx, by, g.ID, s.seen(), noon))
		s.check(s.SetGrantEnd(s.ctx, by, g.ID, s.seen(), time.Time{}))
		if approved() != "" {
			s.Error("a grant that became permanent is still approved")
		}
		s.check(s.ApproveGrant(s.ctx, "anna", g.ID, s.seen(), noon))
		s.check(s.SetGrantEnd(s.ctx, by, g.ID, s.seen(), later))
		if approved() != "anna" {
			s.Error("a permanent grant that got an end has lost its approval")
		}
	}},
	{"of those who made and extended a grant that waits none approves it", func(s *subject) {
		_, g := s.ends()
		s.check(s.SetGrantEnd(s.ctx, "anna", g.ID, s.seen(), later.Add(time.Hour)))
		s.check(s.SetGrantEnd(s.ctx, "carol", g.ID, s.seen(), later)) // shorter: that is not carol's grant
		for _, author := range []string{by, "anna"} {
			s.refused(s.ApproveGrant(s.ctx, author, g.ID, s.seen(), noon), store.ErrConflict, author+" made or extended")
		}
		s.check(s.ApproveGrant(s.ctx, "carol", g.ID, s.seen(), noon))
	}},
	{"a token is the admin who made it: nobody approves by one what they made, or made by one", func(s *subject) {
		_, g := s.ends()
		s.tokenOf(by, "own")
		s.tokenOf("token:own", "child") // and the token of a token
		s.tokenOf("anna", "annas")
		s.unchanged(func() {
			for _, name := range []string{"token:own", "token:child"} {
				s.refused(s.ApproveGrant(s.ctx, name, g.ID, s.seen(), noon), store.ErrConflict, "root made or extended grant 1, and "+name+" is the same admin's")
			}
			s.refused(s.ApproveGrant(s.ctx, "token:none", g.ID, s.seen(), noon), store.ErrNotFound, "none")
		})
		s.check(s.SetGrantEnd(s.ctx, "token:annas", g.ID, s.seen(), later.Add(time.Hour)))
		_, err := s.RevokeToken(s.ctx, "anna", "annas", later) // which makes it nobody else's
		s.check(err)
		s.refused(s.ApproveGrant(s.ctx, "anna", g.ID, s.seen(), noon), store.ErrConflict, "token:annas made or extended grant 1, and anna is the same admin's")
		s.tokenOf("bob", "bobs")
		s.check(s.ApproveGrant(s.ctx, "token:bobs", g.ID, s.seen(), noon))
	}},
	{"nothing begins sensitive or approved", func(s *subject) {
		p, v := s.person("alice"), s.server("db", "10.30.0.1/32")
		_, err := s.AddServer(s.ctx, by, policy.Server{Name: "web", Prefix: prefix("10.30.0.2/32"), Sensitive: true})
		s.refused(err, store.ErrInvalid, "then mark it")
		_, err = s.CreateGroup(s.ctx, by, store.ServerGroup, policy.Group{Name: "web", Sensitive: true})
		s.refused(err, store.ErrInvalid, "then mark it")
		_, err = s.CreateGrant(s.ctx, by, policy.Grant{Person: p.ID, Server: v.ID, Start: noon, Approved: noon})
		s.refused(err, store.ErrInvalid, "approved")
	}},
}
