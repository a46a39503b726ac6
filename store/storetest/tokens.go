package storetest

import (
	"crypto/sha256"
	"strings"
	"time"

	"github.com/pawelmojski/inside/store"
)

func (s *subject) token(name string) store.Token {
	s.Helper()
	return s.tokenOf(by, name)
}

func (s *subject) tokenOf(maker, name string) store.Token {
	s.Helper()
	t, err := s.AddToken(s.ctx, maker, store.Token{Name: name, Role: "viewer", Hash: sha256.Sum256([]byte(name)), Created: noon, Expires: later})
	s.check(err)
	return t
}

func (s *subject) tokens(since time.Time) []store.Token {
	s.Helper()
	all, err := s.Tokens(s.ctx, since)
	s.check(err)
	return all
}

var tokens = []proof{
	{"a token is kept as added, by its hash", func(s *subject) {
		var t store.Token
		s.changed("token.create", "token ci", "role viewer, expires 2026-06-01T13:00:00Z", func() error { t = s.token("ci"); return nil })
		if t.ID == "" || t.By != by || !t.Created.Equal(noon) {
			s.Errorf("%+v", t)
		}
		s.same(s.tokens(time.Time{}), []store.Token{t})
		if deed := s.lastDeed(); strings.Contains(deed.Was+deed.Became, "hash") {
			s.Errorf("the audit trail holds %s", deed.Became)
		}
	}},
	{"a token that cannot be is refused", func(s *subject) {
		s.token("ci")
		revoked := s.token("old")
		_, err := s.RevokeToken(s.ctx, by, revoked.Name, later)
		s.check(err)
		hash := sha256.Sum256([]byte("x"))
		for _, c := range []struct {
			t        store.Token
			kind     error
			mentions []string
		}{
			{store.Token{Name: "a b", Role: "viewer", Hash: hash, Expires: later}, store.ErrInvalid, []string{"a b"}},
			{store.Token{Role: "viewer", Hash: hash, Expires: later}, store.ErrInvalid, []string{"name"}},
			{store.Token{Name: "x", Hash: hash, Expires: later}, store.ErrInvalid, []string{"role of the token x"}},
			{store.Token{Name: "x", Role: "viewer", Hash: hash}, store.ErrInvalid, []string{"end of the token x"}},
			{store.Token{Name: "ci", Role: "viewer", Hash: hash, Expires: later}, store.ErrConflict, []string{"ci", "another name"}},
			{store.Token{Name: "old", Role: "viewer", Hash: hash, Expires: later}, store.ErrConflict, []string{"old", "another name"}},
		} {
			s.unchanged(func() {
				_, err := s.AddToken(s.ctx, by, c.t)
				s.refused(err, c.kind, c.mentions...)
			})
		}
	}},
	{"a token is revoked once and for all", func(s *subject) {
		s.token("ci")
		var t store.Token
		s.changed("token.revoke", "token ci", "of role viewer", func() (err error) {
			t, err = s.RevokeToken(s.ctx, by, "ci", later)
			return err
		})
		if !t.Revoked.Equal(later) {
			s.Errorf("%+v", t)
		}
		s.same(s.tokens(time.Time{}), []store.Token{t})
		s.same(s.tokens(later), []store.Token{t})
		s.same(len(s.tokens(later.Add(time.Second))), 0)
		s.unchanged(func() {
			_, err := s.RevokeToken(s.ctx, by, "ci", later)
			s.refused(err, store.ErrConflict, "ci", "2026-06-01T13:00:00Z")
		})
		for _, name := range []string{"", "nobody", "a\x00b", "a b", strings.Repeat("x", 10_000)} {
			s.unchanged(func() {
				_, err := s.RevokeToken(s.ctx, by, name, later)
				s.refused(err, store.ErrNotFound, "no token")
			})
		}
	}},
	{"the last use of a token is no change of facts", func(s *subject) {
		t := s.token("ci")
		s.unchanged(func() {
			s.check(s.TokenUsed(s.ctx, t.ID, later))
			s.check(s.TokenUsed(s.ctx, t.ID, noon)) // told late
			s.check(s.TokenUsed(s.ctx, "99", later))
		})
		if got := s.tokens(time.Time{})[0].Used; !got.Equal(later) {
			s.Errorf("used %s", got)
		}
	}},
}
