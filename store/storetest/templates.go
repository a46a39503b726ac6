package storetest

import (
	"strings"
	"time"

	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/store"
)

func (s *subject) template(t store.Template) store.Template {
	s.Helper()
	t, err := s.CreateTemplate(s.ctx, by, t)
	s.check(err)
	return t
}

func (s *subject) templates() []store.Template {
	s.Helper()
	all, err := s.Templates(s.ctx)
	s.check(err)
	return all
}

func (s *subject) hours(windows string) []policy.Schedule {
	s.Helper()
	schedule, err := policy.ParseSchedule(windows, "Europe/Warsaw")
	s.check(err)
	return []policy.Schedule{schedule}
}

var templates = []proof{
	{"a template is kept as created, and its making is in the audit trail", func(s *subject) {
		var t store.Template
		s.changed("template.create", "template contractor",
			"for 14d, protocols: ssh, logins: root deploy, forwarding: local, idle: 30m, sessions at a time: 2, entries: 10/h, renews itself by: 14d, schedule: ", func() error {
				t = s.template(store.Template{Name: "contractor", Length: 14 * 24 * time.Hour, Options: policy.Grant{
					Protocols: []policy.Protocol{policy.SSH}, Logins: []string{"root", "deploy"}, Forwarding: policy.Local,
					Schedules: s.hours("Mon-Fri 09:00-17:00"), Idle: 30 * time.Minute, MaxSessions: 2, Reason: "work",
					MaxEntries: policy.Rate{Most: 10, Per: time.Hour}, Renew: 14 * 24 * time.Hour,
				}})
				return nil
			})
		if age := time.Since(t.Options.Created); age < 0 || age > time.Minute || t.Options.CreatedBy != by {
			s.Errorf("%+v", t)
		}
		const known = `{"name":"contractor","protocols":["ssh"],"logins":["root","deploy"],"forwarding":"local","length":"14d","permanent":false,` +
			`"schedules":["Mon-Fri 09:00-17:00 Europe/Warsaw"],"idle":"30m","max_sessions":2,"reason":"work","created_by":"root","max_entries":"10/h","renew":"14d"}`
		if deed := s.lastDeed(); deed.Was != "" || deed.Became != known {
			s.Errorf("from %q to %s", deed.Was, deed.Became)
		}
		ever := s.template(store.Template{Name: "Ever", Permanent: true})
		bare := s.template(store.Template{Name: "bare"})
		s.same(s.templates(), []store.Template{ever, bare, t})
	}},
	{"a template is refused where a grant would be, and where its name is taken", func(s *subject) {
		s.template(store.Template{Name: "taken"})
		grants := func(g policy.Grant) store.Template { return store.Template{Name: "x", Options: g} }
		for _, c := range []struct {
			t        store.Template
			kind     error
			mentions string
		}{
			{store.Template{}, store.ErrInvalid, "name"},
			{store.Template{Name: "a b"}, store.ErrInvalid, "a b"},
			{store.Template{Name: "x", Permanent: true, Length: time.Hour}, store.ErrInvalid, "not both"},
			{store.Template{Name: "x", Length: -time.Hour}, store.ErrInvalid, "not after its start"},
			{store.Template{Name: "x", Length: time.Hour + 1}, store.ErrInvalid, "cannot be kept"},
			{grants(policy.Grant{Protocols: []policy.Protocol{"telnet"}}), store.ErrInvalid, "telnet"},
			{grants(policy.Grant{Logins: []string{"a\nb"}}), store.ErrInvalid, "login"},
			{grants(policy.Grant{Forwarding: 64}), store.ErrInvalid, "port forwarding"},
			{grants(policy.Grant{Schedules: make([]policy.Schedule, 1)}), store.ErrInvalid, "schedule"},
			{grants(policy.Grant{Idle: time.Second}), store.ErrInvalid, "idle time of 1s"},
			{grants(policy.Grant{MaxSessions: -1}), store.ErrInvalid, "-1 sessions"},
			{grants(policy.Grant{MaxEntries: policy.Rate{Most: 1, Per: time.Second}}), store.ErrInvalid, "1 entries in 1s"},
			{grants(policy.Grant{Renew: time.Hour}), store.ErrInvalid, "by its length"},
			{store.Template{Name: "x", Length: 2 * time.Hour, Options: policy.Grant{Renew: time.Hour}}, store.ErrInvalid, "by its length, 2h, not by 1h"},
			{store.Template{Name: "x", Length: time.Minute, Options: policy.Grant{Renew: time.Minute}}, store.ErrInvalid, "from 1 hour"},
			{grants(policy.Grant{Reason: strings.Repeat("x", 10_000)}), store.ErrInvalid, "reason"},
			{store.Template{Name: "taken"}, store.ErrConflict, "taken already"},
		} {
			s.unchanged(func() {
				_, err := s.CreateTemplate(s.ctx, by, c.t)
				s.refused(err, c.kind, c.mentions)
			})
		}
	}},
	{"a template is removed, which changes no grant, and its name is free again", func(s *subject) {
		_, _, g := s.granted()
		t := s.template(store.Template{Name: "contractor", Permanent: true})
		s.changed("template.remove", "template contractor", "permanent", func() error {
			gone, err := s.RemoveTemplate(s.ctx, by, "contractor")
			s.same(gone, t)
			return err
		})
		if deed := s.lastDeed(); deed.Became != "" || !strings.Contains(deed.Was, `"name":"contractor"`) {
			s.Errorf("from %s to %q", deed.Was, deed.Became)
		}
		s.same(len(s.templates()), 0)
		s.same(s.facts().Grants, []policy.Grant{g})
		for _, name := range []string{"", "contractor", "a\x00b", "\xff", strings.Repeat("x", 10_000)} {
			s.unchanged(func() {
				_, err := s.RemoveTemplate(s.ctx, by, name)
				s.refused(err, store.ErrNotFound, "no template")
			})
		}
		s.template(store.Template{Name: "contractor"})
	}},
}
