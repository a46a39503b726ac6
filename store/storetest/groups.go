package storetest

import (
	"slices"
	"strings"

	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/store"
)

var groups = []proof{
	{"a group is kept as created, each kind by itself", func(s *subject) {
		var ops, prod policy.Group
		s.changed("group.create", "person group team", "created", func() (err error) {
			ops, err = s.CreateGroup(s.ctx, by, store.PersonGroup, policy.Group{Name: "team", Description: "who is on call"})
			return err
		})
		s.changed("group.create", "server group team", "created", func() (err error) {
			prod, err = s.CreateGroup(s.ctx, by, store.ServerGroup, policy.Group{Name: "team"})
			return err
		})
		f := s.facts()
		s.same(f.PersonGroups, []policy.Group{ops})
		s.same(f.ServerGroups, []policy.Group{prod})
	}},
	{"a group that cannot be is refused", func(s *subject) {
		s.group(store.ServerGroup, "prod")
		for _, c := range []struct {
			k        store.Kind
			g        policy.Group
			kind     error
			mentions string
		}{
			{store.ServerGroup, policy.Group{}, store.ErrInvalid, "name"},
			{store.ServerGroup, policy.Group{Name: "-"}, store.ErrInvalid, "-"},
			{"cat", policy.Group{Name: "a"}, store.ErrInvalid, "cat"},
			{store.ServerGroup, policy.Group{Name: "a", Description: strings.Repeat("x", 1001)}, store.ErrInvalid, "description of a"},
			{store.ServerGroup, policy.Group{Name: "a", Members: []string{"x"}}, store.ErrInvalid, "add them"},
			{store.ServerGroup, policy.Group{Name: "prod"}, store.ErrConflict, "server group named prod"},
		} {
			s.unchanged(func() {
				_, err := s.CreateGroup(s.ctx, by, c.k, c.g)
				s.refused(err, c.kind, c.mentions)
			})
		}
	}},
	{"members come and go", func(s *subject) {
		ops, all := s.group(store.PersonGroup, "ops"), s.group(store.PersonGroup, "all")
		alice, bob := s.person("alice"), s.person("bob")
		prod, db := s.group(store.ServerGroup, "prod"), s.server("db", "10.30.0.1/32")
		s.changed("group.add", "person group ops", "added person alice", func() error {
			return s.AddMember(s.ctx, by, store.PersonGroup, ops.ID, string(alice.ID), "")
		})
		s.check(s.AddMember(s.ctx, by, store.PersonGroup, ops.ID, string(bob.ID), ""))
		s.changed("group.add", "person group all", "added group ops", func() error {
			return s.AddMember(s.ctx, by, store.PersonGroup, all.ID, "", ops.ID)
		})
		s.changed("group.add", "server group prod", "added server db", func() error {
			return s.AddMember(s.ctx, by, store.ServerGroup, prod.ID, string(db.ID), "")
		})
		s.unchanged(func() { s.check(s.AddMember(s.ctx, by, store.PersonGroup, all.ID, "", ops.ID)) })

		all.Groups, all.Version = []policy.GroupID{ops.ID}, 9
		ops.Version, prod.Version = 8, 10
		ops.Members = []string{string(alice.ID), string(bob.ID)}
		slices.Sort(ops.Members)
		prod.Members = []string{string(db.ID)}
		s.same(s.facts().PersonGroups, []policy.Group{all, ops})
		s.same(s.facts().ServerGroups, []policy.Group{prod})

		s.changed("group.remove", "person group ops", "removed person alice", func() error {
			return s.RemoveMember(s.ctx, by, store.PersonGroup, ops.ID, string(alice.ID), "")
		})
		s.check(s.RemoveMember(s.ctx, by, store.PersonGroup, all.ID, "", ops.ID))
		all.Groups, ops.Members = nil, []string{string(bob.ID)}
		all.Version, ops.Version = 12, 11
		s.same(s.facts().PersonGroups, []policy.Group{all, ops})
	}},
	{"a membership that cannot be is refused", func(s *subject) {
		ops, prod := s.group(store.PersonGroup, "ops"), s.group(store.ServerGroup, "prod")
		alice, db := s.person("alice"), s.server("db", "10.30.0.1/32")
		for _, c := range []struct {
			k        store.Kind
			into     policy.GroupID
			member   string
			group    policy.GroupID
			kind     error
			mentions string
		}{
			{"cat", ops.ID, string(alice.ID), "", store.ErrInvalid, "cat"},
			{store.PersonGroup, ops.ID, "", "", store.ErrInvalid, "either a person or a person group"},
			{store.PersonGroup, ops.ID, string(alice.ID), ops.ID, store.ErrInvalid, "either a person or a person group"},
			{store.PersonGroup, "none", string(alice.ID), "", store.ErrNotFound, "person group with the id \"none\""},
			{store.PersonGroup, prod.ID, string(alice.ID), "", store.ErrNotFound, "person group"},
			{store.PersonGroup, ops.ID, string(db.ID), "", store.ErrNotFound, "person with the id"},
			{store.ServerGroup, prod.ID, string(alice.ID), "", store.ErrNotFound, "server with the id"},
			{store.ServerGroup, prod.ID, "", ops.ID, store.ErrNotFound, "server group"},
		} {
			s.unchanged(func() {
				s.refused(s.AddMember(s.ctx, by, c.k, c.into, c.member, c.group), c.kind, c.mentions)
				s.refused(s.RemoveMember(s.ctx, by, c.k, c.into, c.member, c.group), c.kind, c.mentions)
			})
		}
		s.unchanged(func() {
			s.refused(s.RemoveMember(s.ctx, by, store.PersonGroup, ops.ID, string(alice.ID), ""), store.ErrNotFound, "person alice", "person group ops")
		})
	}},
	{"a group never holds itself, however long the way round", func(s *subject) {
		var chain []policy.Group
		for _, name := range []string{"a", "b", "c", "d"} {
			chain = append(chain, s.group(store.ServerGroup, name))
		}
		hold := func(outer, inner int) error {
			return s.AddMember(s.ctx, by, store.ServerGroup, chain[outer].ID, "", chain[inner].ID)
		}
		s.check(hold(0, 1))
		s.check(hold(1, 2))
		s.check(hold(2, 3))
		s.check(hold(0, 3)) // twice inside is no circle
		s.unchanged(func() {
			s.refused(hold(1, 1), store.ErrConflict, "group b cannot hold itself")
			s.refused(hold(1, 0), store.ErrConflict, "group b cannot hold a")
			s.refused(hold(3, 0), store.ErrConflict, "group d cannot hold a")
		})
	}},
}
