package storetest

import (
	"strings"
	"sync"
	"time"

	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/store"
)

var record = []proof{
	{"a denied entry is kept as written, with what is known", func(s *subject) {
		denied := store.Entry{
			Time: noon, Gate: "gate-1", Client: client, Dest: dest, Protocol: policy.SSH, Login: "root",
			Person: "p", Server: "v", Grant: "7", Denial: policy.WrongLogin, Detail: "grant 7 lets in: ideo",
			Identity: policy.Identity{Account: "alice@corp.test", Node: "alice-laptop"},
		}
		s.check(s.Deny(s.ctx, denied))
		s.check(s.Deny(s.ctx, store.Entry{Gate: "gate-1", Denial: policy.UnknownPerson}))
		entries, err := s.Entries(s.ctx, store.EntryFilter{})
		s.check(err)
		stranger := entries[0]
		if age := time.Since(stranger.Time); age < 0 || age > time.Minute {
			s.Errorf("an entry without a time is from %s", stranger.Time)
		}
		stranger.Time = time.Time{}
		denied.ID = 1
		s.same(stranger, store.Entry{ID: 2, Gate: "gate-1", Denial: policy.UnknownPerson})
		s.same(entries[1], denied)
	}},
	{"nothing a stranger sends keeps a denied entry from being written", func(s *subject) {
		s.check(s.Deny(s.ctx, store.Entry{
			Gate: "gate-1", Denial: policy.ProtocolError, Protocol: "\x00\xff", Grant: "no number",
			Login: strings.Repeat("\x00", 1<<20), Detail: strings.Repeat("\xff", 1<<20),
			Client: mapped(client), Identity: policy.Identity{Account: "\x00", Node: "\x1b"},
		}))
		entries, err := s.Entries(s.ctx, store.EntryFilter{})
		s.check(err)
		e := entries[0]
		if e.Client != client || e.Protocol != `\x00\xff` || !strings.HasPrefix(e.Login, `\x00\x00`) || len(e.Login) > 2000 || len(e.Detail) > 5000 {
			s.Errorf("client %s, protocol %q, login of %d and detail of %d bytes", e.Client, e.Protocol, len(e.Login), len(e.Detail))
		}
	}},
	{"a denial that says nothing is refused", func(s *subject) {
		s.refused(s.Deny(s.ctx, store.Entry{Gate: "gate-1"}), store.ErrInvalid, "no denial")
		s.refused(s.Deny(s.ctx, store.Entry{Denial: policy.NoGrant}), store.ErrInvalid, "gate")
	}},
	{"entries are listed newest first, a hundred unless told", func(s *subject) {
		for range 105 {
			s.check(s.Deny(s.ctx, store.Entry{Gate: "gate-1", Denial: policy.NoGrant}))
		}
		for limit, want := range map[int]int{0: 100, 3: 3, 1000: 105, -1: 100} {
			entries, err := s.Entries(s.ctx, store.EntryFilter{Limit: limit})
			s.check(err)
			if len(entries) != want || entries[0].ID != 105 || entries[want-1].ID != int64(106-want) {
				s.Errorf("limit %d: %d entries, from %d", limit, len(entries), entries[0].ID)
			}
		}
	}},
	{"an audit line of its own is kept and moves no revision", func(s *subject) {
		before := s.facts().Revision
		s.check(s.Audit(s.ctx, "insided", "rules.repaired", "table inet inside", "2 rules were gone → back"))
		row := s.lastDeed()
		if time.Since(row.Time) > time.Minute {
			s.Errorf("the line is from %s", row.Time)
		}
		row.Time, row.Hash = time.Time{}, ""
		s.same(row, store.AuditRow{ID: 1, Link: 1, By: "insided", Action: "rules.repaired", Object: "table inet inside", Detail: "2 rules were gone → back"})
		if after := s.facts().Revision; after != before {
			s.Errorf("revision %d → %d", before, after)
		}
	}},
	{"an audit line without who or what is refused", func(s *subject) {
		s.refused(s.Audit(s.ctx, "", "a", "", ""), store.ErrInvalid, "who")
		s.refused(s.Audit(s.ctx, by, "", "", ""), store.ErrInvalid, "action")
	}},
	{"an audit line takes any text", func(s *subject) {
		s.check(s.Audit(s.ctx, by, "a", "\x00", strings.Repeat("\xff", 1<<20)))
		if row := s.lastDeed(); row.Object != `\x00` || len(row.Detail) > 5000 {
			s.Errorf("object %q, detail of %d bytes", row.Object, len(row.Detail))
		}
	}},
	{"audit lines are numbered without gaps, whatever was refused between", func(s *subject) {
		var writing sync.WaitGroup
		for range 10 {
			writing.Go(func() {
				if err := s.Audit(s.ctx, by, "a", "", ""); err != nil {
					s.Error(err)
				}
				_ = s.RevokeGrant(s.ctx, by, "7", noon)
			})
		}
		writing.Wait()
		rows, err := s.AuditRows(s.ctx, store.AuditFilter{})
		s.check(err)
		for i, row := range rows {
			if want := int64(len(rows) - i); row.ID != want || len(rows) != 10 {
				s.Errorf("line %d of %d has the number %d", i, len(rows), row.ID)
			}
		}
	}},
	{"a store answers that it can be written", func(s *subject) {
		s.unchanged(func() { s.check(s.Ping(s.ctx)) })
	}},
}
