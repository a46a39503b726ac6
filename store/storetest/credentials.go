package storetest

import (
	"errors"
	"net/netip"
	"strings"

	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/store"
)

// sealed stands for a secret; its seal is the caller's business.
func sealed(c store.Credential) ([]byte, error) { return []byte("sealed " + c.ID), nil }

func (s *subject) credential(c store.Credential) store.Credential {
	s.Helper()
	c, err := s.AddCredential(s.ctx, by, c, sealed)
	s.check(err)
	return c
}

func ids(cs []store.Credential) string {
	var all []string
	for _, c := range cs {
		all = append(all, c.ID)
	}
	return strings.Join(all, " ")
}

var credentials = []proof{
	{"a credential is kept with its seal, made for its number", func(s *subject) {
		p, v := s.person("alice", "10.0.0.1/32"), s.server("web", "10.30.0.7/32")
		c := s.credential(store.Credential{Person: p.ID, Server: v.ID, Login: "root", Kind: store.KeyCredential, Public: []byte("public")})
		if c.ID != "1" || string(c.Sealed) != "sealed 1" || c.By != by {
			s.Errorf("kept %+v", c)
		}
		row := s.lastDeed()
		if row.Action != "credential.add" || row.Object != "credential 1" || !strings.Contains(row.Detail, "stored a key SHA256:") ||
			!strings.Contains(row.Detail, "for alice as root on web") || strings.Contains(row.Became, "sealed") {
			s.Errorf("audit says %+v", row)
		}
		all, err := s.Credentials(s.ctx, p.ID)
		s.check(err)
		s.same(all, []store.Credential{c})
		none, err := s.Credentials(s.ctx, s.person("bob", "10.0.0.2/32").ID)
		s.check(err)
		s.same(none, []store.Credential(nil))
	}},
	{"a password that needs no proof is kept as such, and the audit trail says so", func(s *subject) {
		p, v := s.person("alice", "10.0.0.1/32"), s.server("web", "10.30.0.7/32")
		c := s.credential(store.Credential{Person: p.ID, Server: v.ID, Kind: store.PasswordCredential, Unproven: true})
		if row := s.lastDeed(); !strings.Contains(row.Detail, "needs no proof") || !strings.Contains(row.Became, `"without_proof":true`) {
			s.Errorf("audit says %+v", row)
		}
		s.credential(store.Credential{Person: p.ID, Login: "root", Kind: store.PasswordCredential})
		s.credential(store.Credential{Person: p.ID, Login: "root", Kind: store.KeyCredential})
		s.credential(store.Credential{Person: p.ID, Server: s.server("db", "10.30.0.8/32").ID, Kind: store.PasswordCredential})
		held, err := s.Passwords(s.ctx, p.ID, v.ID)
		s.check(err)
		if len(held) != 2 || held[0].ID != c.ID || !held[0].Unproven || held[1].Login != "root" || held[1].Unproven {
			s.Errorf("the passwords for web are %+v", held)
		}
	}},
	{"there is one credential of a kind for a person, server and login", func(s *subject) {
		p := s.person("alice", "10.0.0.1/32")
		s.credential(store.Credential{Person: p.ID, Kind: store.PasswordCredential})
		s.unchanged(func() {
			_, err := s.AddCredential(s.ctx, by, store.Credential{Person: p.ID, Kind: store.PasswordCredential}, sealed)
			s.refused(err, store.ErrConflict, "password for alice on any server", "credential 1", "remove it first")
		})
		s.credential(store.Credential{Person: p.ID, Kind: store.KeyCredential})
		s.credential(store.Credential{Person: p.ID, Login: "root", Kind: store.PasswordCredential})
	}},
	{"a credential that cannot be is refused and leaves nothing", func(s *subject) {
		p := s.person("alice", "10.0.0.1/32")
		s.unchanged(func() {
			for mentions, c := range map[string]store.Credential{
				"person with the id": {Person: "nobody", Kind: store.KeyCredential},
				"server with the id": {Person: p.ID, Server: "nowhere", Kind: store.KeyCredential},
			} {
				_, err := s.AddCredential(s.ctx, by, c, sealed)
				s.refused(err, store.ErrNotFound, mentions)
			}
			_, err := s.AddCredential(s.ctx, by, store.Credential{Person: p.ID, Login: "a\nb"}, sealed)
			s.refused(err, store.ErrInvalid, "login")
			_, err = s.AddCredential(s.ctx, by, store.Credential{Person: p.ID}, func(store.Credential) ([]byte, error) { return make([]byte, 1<<20), nil })
			s.refused(err, store.ErrInvalid, "sealed")
			lost := errors.New("no data key")
			_, err = s.AddCredential(s.ctx, by, store.Credential{Person: p.ID}, func(store.Credential) ([]byte, error) { return nil, lost })
			if !errors.Is(err, lost) {
				s.Errorf("the seal's error is lost: %v", err)
			}
			_, err = s.RemoveCredential(s.ctx, by, "1")
			s.refused(err, store.ErrNotFound, `credential "1"`)
		})
	}},
	{"a keyring holds what serves for the login, the most specific first", func(s *subject) {
		p, other := s.person("alice", "10.0.0.1/32"), s.person("bob", "10.0.0.2/32")
		v, w := s.server("web", "10.30.0.140/32"), s.server("db", "10.30.0.8/32")
		add := func(p policy.Person, server policy.ServerID, login string, k store.CredentialKind) string {
			return s.credential(store.Credential{Person: p.ID, Server: server, Login: login, Kind: k}).ID
		}
		anyKey := add(p, "", "", store.KeyCredential)
		login := add(p, "", "root", store.KeyCredential)
		server := add(p, v.ID, "", store.KeyCredential)
		both := add(p, v.ID, "root", store.KeyCredential)
		password := add(p, v.ID, "root", store.PasswordCredential)
		own := add(p, "", "", store.OwnKey)
		add(p, w.ID, "root", store.KeyCredential)
		add(p, v.ID, "admin", store.KeyCredential)
		add(other, "", "", store.KeyCredential)
		ring, err := s.Keyring(s.ctx, "gate-1", p.ID, v.ID, dest, "root")
		s.check(err)
		s.same(ids(ring.Credentials), strings.Join([]string{both, password, server, login, anyKey}, " "))

		// The gate's own key serves where it is enrolled, and first.
		e := store.Enrolment{Gate: "gate-1", Person: p.ID, Server: v.ID, Dest: dest, Login: "root", Credential: own, State: store.EnrolmentBegun, Since: noon}
		s.check(s.SetEnrolment(s.ctx, by, e))
		ring, err = s.Keyring(s.ctx, "gate-1", p.ID, v.ID, dest, "root")
		s.check(err)
		if ring.Enrolment == nil || len(ring.Credentials) != 5 {
			s.Errorf("an enrolment that was only begun: %+v", ring)
		}
		e.State = store.Enrolled
		s.check(s.SetEnrolment(s.ctx, by, e))
		ring, err = s.Keyring(s.ctx, "gate-1", p.ID, v.ID, mapped(dest), "root")
		s.check(err)
		s.same(ids(ring.Credentials), strings.Join([]string{own, both, password, server, login, anyKey}, " "))
		s.same(*ring.Enrolment, e)
		ring, err = s.Keyring(s.ctx, "gate-2", p.ID, v.ID, dest, "root")
		s.check(err)
		if ring.Enrolment != nil || len(ring.Credentials) != 5 {
			s.Errorf("at another gate, which the line does not name: %+v", ring)
		}
		ring, err = s.Keyring(s.ctx, "gate-1", p.ID, v.ID, netip.MustParseAddrPort("10.30.0.140:2222"), "root")
		s.check(err)
		if ring.Enrolment != nil || len(ring.Credentials) != 5 {
			s.Errorf("at another port: %+v", ring)
		}
	}},
	{"a public key is one person's, at one place or everywhere", func(s *subject) {
		p, other, v := s.person("alice", "10.0.0.1/32"), s.person("bob", "10.0.0.2/32"), s.server("web", "10.30.0.7/32")
		k, err := s.AddPersonKey(s.ctx, by, store.PersonKey{Person: p.ID, Key: []byte("k"), Label: "laptop"})
		s.check(err)
		here, err := s.AddPersonKey(s.ctx, by, store.PersonKey{Person: p.ID, Server: v.ID, Login: "root", Dest: dest, Key: []byte("h")})
		s.check(err)
		s.unchanged(func() {
			_, err = s.AddPersonKey(s.ctx, by, store.PersonKey{Person: p.ID, Key: []byte("k")})
			s.refused(err, store.ErrConflict, "registered for alice on any server already", "key 1")
			_, err = s.AddPersonKey(s.ctx, by, store.PersonKey{Person: other.ID, Server: v.ID, Key: []byte("k")})
			s.refused(err, store.ErrConflict, "registered for alice", "proves neither")
		})
		holder, err := s.KeyHolder(s.ctx, []byte("k"))
		s.check(err)
		s.same(holder, p.ID)
		ring, err := s.Keyring(s.ctx, "gate-1", p.ID, v.ID, dest, "root")
		s.check(err)
		s.same(len(ring.Keys), 2)
		for _, elsewhere := range []store.PersonKey{{Login: "admin", Dest: dest}, {Login: "root", Dest: client}} {
			ring, err = s.Keyring(s.ctx, "gate-1", p.ID, v.ID, elsewhere.Dest, elsewhere.Login)
			s.check(err)
			s.same(ring.Keys, []store.PersonKey{k})
		}
		_, err = s.RemovePersonKey(s.ctx, by, k.ID)
		s.check(err)
		if row := s.lastDeed(); row.Action != "person-key.remove" || !strings.Contains(row.Was, `"label":"laptop"`) {
			s.Errorf("audit says %+v", row)
		}
		holder, err = s.KeyHolder(s.ctx, []byte("k"))
		s.check(err)
		s.same(holder, policy.PersonID(""))
		all, err := s.PersonKeys(s.ctx, "")
		s.check(err)
		s.same(all, []store.PersonKey{here})
	}},
	{"what the gate may do at a server is written down", func(s *subject) {
		v := s.server("web", "10.30.0.7/32")
		s.check(s.SetEnrolling(s.ctx, by, v.ID, true))
		s.check(s.SetTrustsUserCA(s.ctx, by, v.ID, true))
		if row := s.lastDeed(); row.Action != "server.user-ca" || row.Object != "server web" || !strings.Contains(row.Was, `"user_ca":false`) {
			s.Errorf("audit says %+v", row)
		}
		s.unchanged(func() { s.check(s.SetEnrolling(s.ctx, by, v.ID, true)) })
		all, err := s.ServerLogins(s.ctx)
		s.check(err)
		s.same(all, []store.ServerLogin{{Server: v.ID, Enrolling: true, UserCA: true}})
		s.refused(s.SetEnrolling(s.ctx, by, "nowhere", true), store.ErrNotFound, "server")
	}},
	{"the user CA and the one before it are kept", func(s *subject) {
		seal := func(ca store.UserCA) ([]byte, error) { return []byte("sealed " + ca.ID), nil }
		p, v := s.person("alice", "10.0.0.1/32"), s.server("web", "10.30.0.7/32")
		s.check(s.SetTrustsUserCA(s.ctx, by, v.ID, true))
		s.check(s.AddUserCA(s.ctx, by, false, []byte("one"), seal))
		s.unchanged(func() { s.check(s.AddUserCA(s.ctx, by, false, []byte("other"), seal)) })
		s.check(s.AddUserCA(s.ctx, by, true, []byte("two"), seal))
		s.check(s.AddUserCA(s.ctx, by, true, []byte("three"), seal))
		ring, err := s.Keyring(s.ctx, "gate-1", p.ID, v.ID, dest, "root")
		s.check(err)
		if cas := ring.UserCAs; len(cas) != 2 || string(cas[0].Public) != "three" || string(cas[1].Public) != "two" {
			s.Errorf("kept %+v", cas)
		}
		for want := uint64(1); want <= 2; want++ {
			serial, err := s.IssueCertificate(s.ctx, by, "for alice")
			s.check(err)
			s.same(serial, want)
		}
		if row := s.lastDeed(); row.Action != "certificate.issue" || row.Object != "certificate 2" {
			s.Errorf("audit says %+v", row)
		}
	}},
	{"an enrolment is written down at every step and forgotten in the end", func(s *subject) {
		p, v := s.person("alice", "10.0.0.1/32"), s.server("web", "10.30.0.7/32")
		own := s.credential(store.Credential{Person: p.ID, Kind: store.OwnKey})
		e := store.Enrolment{Gate: "gate-1", Person: p.ID, Server: v.ID, Dest: dest, Login: "root", Credential: own.ID, State: store.EnrolmentFailed, Detail: "no\x1b", Since: noon}
		s.check(s.SetEnrolment(s.ctx, by, e))
		e.Detail = `no\x1b`
		all, err := s.Enrolments(s.ctx, p.ID)
		s.check(err)
		s.same(all, []store.Enrolment{e})
		if row := s.lastDeed(); row.Action != "credential.enroll" || row.Detail != `for alice as root on web (10.30.0.140:22): failed, no\x1b` {
			s.Errorf("audit says %+v", row)
		}
		e.State, e.Detail = store.Enrolled, ""
		s.check(s.SetEnrolment(s.ctx, by, e))
		_, err = s.RemoveCredential(s.ctx, by, own.ID)
		s.refused(err, store.ErrConflict, "enrolled in 1 accounts")
		s.check(s.TellEnrolment(s.ctx, e))
		all, err = s.Enrolments(s.ctx, "")
		s.check(err)
		s.same(all[0].Told, true)
		e.State = store.EnrolmentEnded
		s.check(s.SetEnrolment(s.ctx, by, e))
		_, err = s.RemoveCredential(s.ctx, by, own.ID)
		s.check(err)
		s.check(s.ForgetEnrolment(s.ctx, by, e, "taken out"))
		if row := s.lastDeed(); row.Action != "credential.unenroll" || !strings.HasSuffix(row.Detail, "taken out") {
			s.Errorf("audit says %+v", row)
		}
	}},
}
