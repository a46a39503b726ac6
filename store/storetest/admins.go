package storetest

import (
	"crypto/sha256"
	"strings"
	"time"

	"github.com/pawelmojski/inside/store"
)

func (s *subject) admin(name, role string) store.Admin {
	s.Helper()
	a, err := s.AddAdmin(s.ctx, by, store.Admin{Name: name, Role: role, Password: "$argon2id$" + name, Created: noon})
	s.check(err)
	return a
}

// signin is an admin's, in the browser of a name.
func (s *subject) signin(a store.Admin, browser string) store.Signin {
	s.Helper()
	in := store.Signin{Hash: sha256.Sum256([]byte(browser)), Client: "127.0.0.1", Began: noon, Seen: noon, Ends: later}
	s.check(s.SignIn(s.ctx, a, in, noon.Add(-time.Hour)))
	return in
}

func (s *subject) gone(in store.Signin) {
	s.Helper()
	_, _, err := s.Signed(s.ctx, in.Hash)
	s.refused(err, store.ErrNotFound, "signed in")
}

var admins = []proof{
	{"an admin is kept as added, and the audit trail knows no password", func(s *subject) {
		var a store.Admin
		s.changed("admin.create", "admin jon", "role operator", func() error { a = s.admin("jon", "operator"); return nil })
		if a.ID == "" || a.By != by || a.PasswordBy != by || !a.Created.Equal(noon) || a.Actor() != "admin:jon" {
			s.Errorf("%+v", a)
		}
		b := s.admin("eve", "viewer")
		if deed := s.lastDeed(); strings.Contains(deed.Was+deed.Became, "argon2") {
			s.Errorf("the audit trail holds %s", deed.Became)
		}
		all, err := s.Admins(s.ctx)
		s.check(err)
		s.same(all, []store.Admin{a, b})
		got, err := s.Admin(s.ctx, "jon")
		s.check(err)
		s.same(got, a)
		for _, name := range []string{"nobody", "", "a b", "\xff"} {
			_, err = s.Admin(s.ctx, name)
			s.refused(err, store.ErrNotFound, "no admin")
		}
	}},
	{"an admin that cannot be is refused", func(s *subject) {
		s.admin("jon", "viewer")
		s.admin("old", "viewer")
		_, err := s.RemoveAdmin(s.ctx, by, "old", later)
		s.check(err)
		for _, c := range []struct {
			a     store.Admin
			kind  error
			about string
		}{
			{store.Admin{Name: "a b", Role: "viewer", Password: "x"}, store.ErrInvalid, "a b"},
			{store.Admin{Name: "x", Password: "x"}, store.ErrInvalid, "role of the admin x"},
			{store.Admin{Name: "x", Role: "viewer"}, store.ErrInvalid, "password of the admin x"},
			{store.Admin{Name: "x", Role: "viewer", Password: strings.Repeat("x", 513)}, store.ErrInvalid, "password of the admin x"},
			{store.Admin{Name: "jon", Role: "viewer", Password: "x"}, store.ErrConflict, "another name"},
			{store.Admin{Name: "old", Role: "viewer", Password: "x"}, store.ErrConflict, "another name"},
		} {
			s.unchanged(func() {
				_, err := s.AddAdmin(s.ctx, by, c.a)
				s.refused(err, c.kind, c.about)
			})
		}
	}},
	{"a sign-in is whose it is, until it is ended", func(s *subject) {
		a := s.admin("jon", "viewer")
		before := s.seen()
		in := s.signin(a, "firefox")
		s.same(s.seen(), before) // no change of the facts
		if d := s.lastDeed(); d.By != "admin:jon" || d.Action != "admin.signin" || !strings.Contains(d.Detail, "127.0.0.1") {
			s.Errorf("%+v", d)
		}
		a.Used = noon
		who, got, err := s.Signed(s.ctx, in.Hash)
		s.check(err)
		s.same(who, a)
		s.same(got, in)
		s.check(s.SigninSeen(s.ctx, in.Hash, noon.Add(time.Minute)))
		s.check(s.SigninSeen(s.ctx, in.Hash, noon)) // told late
		_, got, err = s.Signed(s.ctx, in.Hash)
		s.check(err)
		s.same(got.Seen, noon.Add(time.Minute))
		s.check(s.SignOut(s.ctx, a, in.Hash))
		if d := s.lastDeed(); d.By != "admin:jon" || d.Action != "admin.signout" {
			s.Errorf("%+v", d)
		}
		s.gone(in)
		s.unchanged(func() { s.check(s.SignOut(s.ctx, a, in.Hash)) })
	}},
	{"another password ends the sign-ins with the old one, but for the one that is kept", func(s *subject) {
		a, other := s.admin("jon", "viewer"), s.admin("eve", "viewer")
		one, two, hers := s.signin(a, "one"), s.signin(a, "two"), s.signin(other, "hers")
		s.changed("admin.password", "admin jon", "set", func() error {
			_, err := s.SetAdminPassword(s.ctx, by, "jon", "$argon2id$new", two.Hash)
			return err
		})
		s.gone(one)
		for _, in := range []store.Signin{two, hers} {
			_, _, err := s.Signed(s.ctx, in.Hash)
			s.check(err)
		}
		// Whoever has proven the old password too late stays out.
		s.refused(s.SignIn(s.ctx, a, store.Signin{Hash: one.Hash, Client: "x", Began: noon, Ends: later}, noon), store.ErrNotFound, "sign in again")
		s.gone(one)
		now, err := s.Admin(s.ctx, "jon")
		s.check(err)
		s.same([]string{now.Password, now.PasswordBy}, []string{"$argon2id$new", by})
		_, err = s.SetAdminPassword(s.ctx, by, "nobody", "x", two.Hash)
		s.refused(err, store.ErrNotFound, "nobody")
	}},
	{"another role counts at once, and whoever is disabled or removed is signed out", func(s *subject) {
		a := s.admin("jon", "viewer")
		in := s.signin(a, "one")
		set := func(role string, disabled bool) func() error {
			return func() error { _, err := s.SetAdmin(s.ctx, by, "jon", role, disabled); return err }
		}
		s.changed("admin.change", "admin jon", "viewer → operator", set("operator", false))
		s.unchanged(func() { s.check(set("operator", false)()) })
		who, _, err := s.Signed(s.ctx, in.Hash)
		s.check(err)
		s.same(who.Role, "operator")
		s.changed("admin.change", "admin jon", "operator → operator, disabled", set("operator", true))
		s.gone(in)
		s.refused(s.SignIn(s.ctx, a, in, noon), store.ErrNotFound, "jon")
		s.changed("admin.change", "admin jon", "operator, disabled → operator", set("operator", false))
		s.gone(in)
		again := s.signin(a, "two")
		s.changed("admin.remove", "admin jon", "operator", func() error {
			_, err := s.RemoveAdmin(s.ctx, by, "jon", later)
			return err
		})
		s.gone(again)
		s.refused(s.SignIn(s.ctx, a, in, noon), store.ErrNotFound, "jon")
		_, err = s.RemoveAdmin(s.ctx, by, "jon", later)
		s.refused(err, store.ErrNotFound, "jon")
		all, err := s.Admins(s.ctx)
		s.check(err)
		s.same(len(all), 0)
	}},
	{"sign-ins that are over are forgotten with the next", func(s *subject) {
		a := s.admin("jon", "viewer")
		idle, ended := s.signin(a, "idle"), s.signin(a, "ended")
		now := later.Add(time.Minute)
		s.check(s.SignIn(s.ctx, a, store.Signin{Hash: sha256.Sum256([]byte("new")), Client: "x", Began: now, Ends: now.Add(time.Hour)}, noon.Add(time.Minute)))
		s.gone(idle)
		s.gone(ended)
	}},
	{"who set an admin's password is the same pair of eyes, until the admin has chosen one", func(s *subject) {
		_, g := s.ends()
		a := s.admin("jon", "operator")
		s.refused(s.ApproveGrant(s.ctx, a.Actor(), g.ID, s.seen(), noon), store.ErrConflict, "another admin or operator")
		_, err := s.SetAdminPassword(s.ctx, a.Actor(), "jon", "$argon2id$own", [32]byte{})
		s.check(err)
		s.check(s.ApproveGrant(s.ctx, a.Actor(), g.ID, s.seen(), noon))
	}},
}
