package storetest

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/store"
)

// told wants the newest audit row to keep a thing before and after as JSON
// that says these things; "" wants none.
func (s *subject) told(action, was, became string) {
	s.Helper()
	row := s.lastDeed()
	if row.Action != action {
		s.Errorf("the newest row is %s, want %s", row.Action, action)
	}
	for what, kept := range map[string][2]string{"before": {row.Was, was}, "after": {row.Became, became}} {
		if (kept[0] == "") != (kept[1] == "") || kept[1] != "" && (!json.Valid([]byte(kept[0])) || !strings.Contains(kept[0], kept[1])) {
			s.Errorf("%s, %s: %q, want %q", action, what, kept[0], kept[1])
		}
	}
}

// verified wants the whole record to be good.
func (s *subject) verified(heads ...store.Head) store.Verified {
	s.Helper()
	good, err := s.Verify(s.ctx, store.Verification{Heads: heads})
	s.check(err)
	return good
}

var chain = []proof{
	{"every change of a fact keeps the thing before and after, by its names", func(s *subject) {
		p := s.person("alice", "100.64.0.20/32")
		s.told("person.add", "", `"name":"alice"`)
		a, err := s.AddAddress(s.ctx, by, p.ID, policy.Address{Prefix: prefix("10.0.0.9/32"), Label: "office"})
		s.check(err)
		s.told("address.add", "", `"person":"alice","address":"10.0.0.9/32","label":"office"`)
		_, _, err = s.RemoveAddress(s.ctx, by, a.ID)
		s.check(err)
		s.told("address.remove", `"disabled":false`, `"disabled":true`)
		v := s.server("web", "10.30.0.7/32")
		s.told("server.add", "", `"name":"web","address":"10.30.0.7/32"`)
		g := s.group(store.ServerGroup, "prod")
		s.told("group.create", "", `"kind":"server","name":"prod"`)
		s.check(s.AddMember(s.ctx, by, store.ServerGroup, g.ID, string(v.ID), ""))
		s.told("group.add", "", `{"group":"prod","member":"server web"}`)
		s.check(s.RemoveMember(s.ctx, by, store.ServerGroup, g.ID, string(v.ID), ""))
		s.told("group.remove", `{"group":"prod","member":"server web"}`, "")
		gr := s.grant(p, v)
		s.told("grant.create", "", `"who":"person alice","where":"server web"`)
		s.check(s.RevokeGrant(s.ctx, by, gr.ID, noon))
		s.told("grant.revoke", `"who":"person alice"`, `"revoked":"2026-06-01T12:00:00.123456Z"`)
		s.check(s.PinHostKey(s.ctx, store.HostKey{Addr: dest, Type: "t", Key: []byte("key"), By: by}))
		s.told("host-key.pin", "", `"type":"t","key":"a2V5"`)
		_, err = s.ForgetHostKeys(s.ctx, by, dest)
		s.check(err)
		s.told("host-key.forget", `"type":"t","key":"a2V5"`, "")
		s.verified()
	}},
	{"ends of sessions and stays are in the trail, and beginnings of stays", func(s *subject) {
		p, v, g := s.granted()
		se := s.enter(visit(p, v, g))
		s.told("stay.started", "", `"stay":"`+string(se.Stay)+`"`)
		s.check(s.Leave(s.ctx, se.ID, later, policy.ClientLeft, policy.Carried{}))
		s.told("session.ended", "", `"cause":"client-left"`)
		s.unchanged(func() { s.check(s.Leave(s.ctx, se.ID, later, policy.Failed, policy.Carried{})) })
		s.check(s.EndStay(s.ctx, se.Stay, later, policy.GrantExpired))
		s.told("stay.ended", "", `"cause":"grant-expired"`)
		s.unchanged(func() { s.check(s.EndStay(s.ctx, se.Stay, later, policy.AdminEnded)) })
		if good := s.verified(); good.Entries != 1 || good.Links != good.Audits+1 {
			s.Errorf("%+v", good)
		}
	}},
	{"the audit trail is filtered by who, what, where and when, and goes on page by page", func(s *subject) {
		for _, row := range [][3]string{{"jon", "grant.end", "grant 1"}, {"jon", "grant.revoke", "grant 2"}, {"ann", "grant.end", "grant 2"}, {"ann", "grants.x", "grant 22"}} {
			s.check(s.Audit(s.ctx, row[0], row[1], row[2], ""))
		}
		tomorrow := time.Now().Add(24 * time.Hour)
		for want, f := range map[string]store.AuditFilter{
			"4321": {}, "21": {By: "jon"}, "31": {Action: "grant.end"}, "321": {Action: "grant"}, "32": {Object: "grant 2"}, "4": {Action: "grants.x"},
			"3": {By: "ann", Action: "grant", Object: "grant 2"}, "2": {Before: 3, Limit: 1}, "43": {Limit: 2},
			"": {From: tomorrow}, "4321 ": {Until: tomorrow}, "4321  ": {From: tomorrow.Add(-48 * time.Hour)}, " ": {Until: tomorrow.Add(-48 * time.Hour)},
		} {
			rows, err := s.AuditRows(s.ctx, f)
			s.check(err)
			got := ""
			for _, row := range rows {
				got += string(rune('0' + row.ID))
			}
			if got != strings.TrimSpace(want) {
				s.Errorf("%+v: %q, want %q", f, got, want)
			}
		}
	}},
	{"a session is sealed once, after its end", func(s *subject) {
		p, v, g := s.granted()
		se := s.enter(visit(p, v, g))
		unsealed := func() int {
			sessions, err := s.Unsealed(s.ctx, "gate-1", 10)
			s.check(err)
			return len(sessions)
		}
		s.same(unsealed(), 0)
		s.unchanged(func() { s.check(s.Seal(s.ctx, se, "too early", nil)) })
		s.check(s.Leave(s.ctx, se.ID, later, policy.ClientLeft, policy.Carried{}))
		s.same(unsealed(), 1)
		s.check(s.Seal(s.ctx, se, "2 files", []string{"x"}))
		s.told(store.ActionSealed, "", `["x"]`)
		s.same(unsealed(), 0)
		s.unchanged(func() { s.check(s.Seal(s.ctx, se, "again", nil)) })
		s.verified()
	}},
	{"a state is written down when it changes", func(s *subject) {
		s.check(s.AuditState(s.ctx, by, "settings.change", "settings of gate-1", "", map[string]int{"a": 1}))
		s.told("settings.change", "", `{"a":1}`)
		s.unchanged(func() {
			s.check(s.AuditState(s.ctx, by, "settings.change", "settings of gate-1", "", map[string]int{"a": 1}))
		})
		s.check(s.AuditState(s.ctx, by, "settings.change", "settings of gate-1", "", map[string]int{"a": 2}))
		s.told("settings.change", `{"a":1}`, `{"a":2}`)
	}},
	{"the head is signed when there is something new, and not over another past", func(s *subject) {
		_, key, err := ed25519.GenerateKey(nil)
		s.check(err)
		sign := func(last store.Head) (store.Head, bool) {
			s.Helper()
			h, signed, err := s.SignHead(s.ctx, last, "gate-1", key, noon)
			s.check(err)
			return h, signed
		}
		if _, signed := sign(store.Head{}); signed {
			s.Error("nothing was signed")
		}
		s.check(s.RegisterKey(s.ctx, "gate-1", key.Public().(ed25519.PublicKey)))
		s.unchanged(func() { s.check(s.RegisterKey(s.ctx, "gate-1", key.Public().(ed25519.PublicKey))) })
		first, _ := sign(store.Head{})
		if again, signed := sign(first); signed {
			s.Errorf("%+v was signed twice", again)
		}
		s.check(s.Audit(s.ctx, by, "a", "", ""))
		second, signed := sign(first)
		if !signed || !second.Check() || second.Link != 2 || !second.Time.Equal(noon) {
			s.Errorf("%+v", second)
		}
		kept, err := s.LastHead(s.ctx, "gate-1")
		s.check(err)
		s.same(kept, second)
		if _, err := s.LastHead(s.ctx, "gate-2"); !errors.Is(err, store.ErrNotFound) {
			s.Errorf("a gate that signed nothing: %v", err)
		}
		s.verified(first, second)
		other := second
		other.Hash = first.Hash
		if _, _, err := s.SignHead(s.ctx, other, "gate-1", key, noon); !errors.Is(err, store.ErrRewritten) {
			s.Errorf("over another past: %v", err)
		}
		other.Sign(key)
		if other.Hash = second.Hash; other.Check() {
			s.Error("a head whose hash was changed still has its signature")
		}
	}},
}
