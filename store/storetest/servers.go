package storetest

import (
	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/store"
)

var servers = []proof{
	{"a server is kept as added", func(s *subject) {
		var v policy.Server
		s.changed("server.add", "server Prod-DB_1.a", "address 10.30.0.0/24, ssh port 2222, rdp port any", func() (err error) {
			v, err = s.AddServer(s.ctx, by, policy.Server{Name: "Prod-DB_1.a", Prefix: prefix("10.30.0.0/24"), SSHPort: 2222})
			return err
		})
		if v.ID == "" {
			s.Error("the server has no id")
		}
		s.same(s.facts().Servers, []policy.Server{v})
	}},
	{"a server that cannot be is refused", func(s *subject) {
		s.server("db", "10.30.0.1/32")
		for _, c := range []struct {
			v        policy.Server
			kind     error
			mentions []string
		}{
			{policy.Server{Prefix: prefix("10.30.0.2/32")}, store.ErrInvalid, []string{"name"}},
			{policy.Server{Name: "a b", Prefix: prefix("10.30.0.2/32")}, store.ErrInvalid, []string{"a b"}},
			{policy.Server{Name: "a"}, store.ErrInvalid, []string{"address of the server a"}},
			{policy.Server{Name: "a", Prefix: prefix("10.30.0.2/24")}, store.ErrInvalid, []string{"10.30.0.0/24"}},
			{policy.Server{Name: "db", Prefix: prefix("10.30.0.2/32")}, store.ErrConflict, []string{"named db"}},
			{policy.Server{Name: "db2", Prefix: prefix("10.30.0.1/32")}, store.ErrConflict, []string{"10.30.0.1/32", "db2", "server db:"}},
		} {
			s.unchanged(func() {
				_, err := s.AddServer(s.ctx, by, c.v)
				s.refused(err, c.kind, c.mentions...)
			})
		}
	}},
	{"servers may lie within each other", func(s *subject) {
		s.server("net", "10.30.0.0/16")
		s.server("host", "10.30.0.1/32")
		s.server("all", "0.0.0.0/0")
	}},
	{"a server is disabled and enabled", func(s *subject) {
		v := s.server("db", "10.30.0.1/32")
		s.changed("server.disable", "server db", "enabled → disabled", func() error { return s.DisableServer(s.ctx, by, v.ID, s.seen(), true) })
		if !s.facts().Servers[0].Disabled {
			s.Error("the server is not disabled")
		}
		s.unchanged(func() { s.check(s.DisableServer(s.ctx, by, v.ID, s.seen(), true)) })
		s.changed("server.enable", "server db", "disabled → enabled", func() error { return s.DisableServer(s.ctx, by, v.ID, s.seen(), false) })
		s.refused(s.DisableServer(s.ctx, by, "none", s.seen(), true), store.ErrNotFound, "none")
	}},
	{"a disabled server's address is free for another, and then enabling is refused", func(s *subject) {
		old := s.server("old", "10.30.0.1/32")
		s.check(s.DisableServer(s.ctx, by, old.ID, s.seen(), true))
		s.server("new", "10.30.0.1/32")
		s.unchanged(func() {
			s.refused(s.DisableServer(s.ctx, by, old.ID, s.seen(), false), store.ErrConflict, "10.30.0.1/32", "old", "new")
		})
		_, err := s.AddServer(s.ctx, by, policy.Server{Name: "spare", Prefix: prefix("10.30.0.1/32"), Disabled: true})
		s.check(err)
	}},
}
