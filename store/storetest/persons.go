package storetest

import (
	"strings"

	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/store"
)

var persons = []proof{
	{"a person is kept as added, with the addresses", func(s *subject) {
		p, err := s.AddPerson(s.ctx, by, policy.Person{
			Name: "p.mojski", FullName: "Paweł Mojski", Email: "p@example.org", Account: "pm@corp.example",
			Addresses: []policy.Address{
				{Prefix: prefix("100.64.0.20/32"), Label: "Tailscale Linux"},
				{Prefix: prefix("fd00::/64"), Label: "Biuro"},
			},
		})
		s.check(err)
		if p.ID == "" || p.Addresses[0].ID != "1" || p.Addresses[1].ID != "2" {
			s.Errorf("ids are %q, %q, %q", p.ID, p.Addresses[0].ID, p.Addresses[1].ID)
		}
		s.same(s.facts().Persons, []policy.Person{p})
	}},
	{"a person's account elsewhere changes, and who is late is told", func(s *subject) {
		p := s.person("alice", "10.0.0.7/32")
		seen := s.seen()
		s.changed("person.account", "person alice", `account "" → "alice@corp.example"`, func() error {
			return s.SetAccount(s.ctx, by, p.ID, seen, "alice@corp.example")
		})
		if d := s.lastDeed(); strings.Contains(d.Was, "corp") || !strings.Contains(d.Became, `"account":"alice@corp.example"`) {
			s.Errorf("before %s, after %s", d.Was, d.Became)
		}
		if got := s.facts().Persons[0].Account; got != "alice@corp.example" {
			s.Errorf("the account is %q", got)
		}
		s.unchanged(func() { s.check(s.SetAccount(s.ctx, by, p.ID, s.seen(), "alice@corp.example")) })
		s.unchanged(func() {
			s.refused(s.SetAccount(s.ctx, by, p.ID, seen, "other"), store.ErrConflict, "person alice has changed")
			s.refused(s.SetAccount(s.ctx, by, p.ID, s.seen(), "a\nb"), store.ErrInvalid, "account of alice")
			s.refused(s.SetAccount(s.ctx, by, p.ID, s.seen(), strings.Repeat("x", 256)), store.ErrInvalid, "account of alice")
			s.refused(s.SetAccount(s.ctx, by, "none", s.seen(), ""), store.ErrNotFound, "none")
		})
		s.check(s.SetAccount(s.ctx, by, p.ID, s.seen(), ""))
	}},
	{"an account is one person's, whatever its case", func(s *subject) {
		alice, bob := s.person("alice"), s.person("bob")
		s.check(s.SetAccount(s.ctx, by, alice.ID, s.seen(), "ops@corp.example"))
		s.unchanged(func() {
			s.refused(s.SetAccount(s.ctx, by, bob.ID, s.seen(), "Ops@corp.example"), store.ErrConflict, "that of alice", "inside person set-account alice ''")
			_, err := s.AddPerson(s.ctx, by, policy.Person{Name: "carol", Account: "OPS@corp.example"})
			s.refused(err, store.ErrConflict, "of carol is that of alice")
		})
		s.check(s.DisablePerson(s.ctx, by, alice.ID, s.seen(), true))
		s.check(s.SetAccount(s.ctx, by, bob.ID, s.seen(), "Ops@corp.example"))
		s.unchanged(func() {
			s.refused(s.DisablePerson(s.ctx, by, alice.ID, s.seen(), false), store.ErrConflict, "of alice is that of bob")
		})
		s.check(s.SetAccount(s.ctx, by, bob.ID, s.seen(), ""))
		s.check(s.DisablePerson(s.ctx, by, alice.ID, s.seen(), false))
	}},
	{"adding a person is audited", func(s *subject) {
		s.changed("person.add", "person alice", `address 1 (10.0.0.7/32 "at 10.0.0.7/32")`, func() error {
			s.person("alice", "10.0.0.7/32")
			return nil
		})
	}},
	{"a name as people write it becomes the name and stays the full name", func(s *subject) {
		p := s.person("John Doe")
		if p.Name != "john.doe" || p.FullName != "John Doe" {
			s.Errorf("got name %q, full name %q", p.Name, p.FullName)
		}
		s.same(s.facts().Persons, []policy.Person{p})
	}},
	{"the caller's addresses are left alone", func(s *subject) {
		asked := policy.Person{Name: "alice", Addresses: []policy.Address{{Prefix: prefix("10.0.0.7/32")}}}
		_, err := s.AddPerson(s.ctx, by, asked)
		s.check(err)
		if asked.Addresses[0].ID != "" {
			s.Error("AddPerson wrote into the slice it was given")
		}
	}},
	{"a person that cannot be is refused and nothing is kept", func(s *subject) {
		s.person("bob", "10.1.0.0/24")
		for _, c := range []struct {
			p        policy.Person
			kind     error
			mentions string
		}{
			{policy.Person{Name: ""}, store.ErrInvalid, "name"},
			{policy.Person{Name: "!"}, store.ErrInvalid, "!"},
			{policy.Person{Name: "Bob"}, store.ErrConflict, "bob"},
			{policy.Person{Name: "a", FullName: "a\x00b"}, store.ErrInvalid, "full name of a"},
			{policy.Person{Name: "a", FullName: "a\xffb"}, store.ErrInvalid, "utf-8"},
			{policy.Person{Name: "a", Email: strings.Repeat("x", 256)}, store.ErrInvalid, "email of a"},
			{policy.Person{Name: "a", Account: "a\tb"}, store.ErrInvalid, "account of a"},
			{withAddress("10.0.0.7/24"), store.ErrInvalid, "write 10.0.0.0/24"},
			{withAddress("::ffff:10.0.0.7/128"), store.ErrInvalid, "write 10.0.0.7"},
			{policy.Person{Name: "a", Addresses: make([]policy.Address, 1)}, store.ErrInvalid, "address of a"},
			{policy.Person{Name: "a", Addresses: []policy.Address{{Prefix: prefix("10.0.0.7/32"), Label: "x\ny"}}}, store.ErrInvalid, "label of 10.0.0.7/32"},
			{withAddress("10.0.0.7/32", "10.0.0.7/32"), store.ErrConflict, "10.0.0.7/32 is given twice"},
			{withAddress("10.0.0.7/32", "10.1.0.9/32"), store.ErrConflict, "10.1.0.0/24 of bob"},
		} {
			s.unchanged(func() {
				_, err := s.AddPerson(s.ctx, by, c.p)
				s.refused(err, c.kind, c.mentions)
			})
		}
		if n := len(s.facts().Persons); n != 1 {
			s.Errorf("%d persons were kept", n)
		}
	}},
	{"whoever changes something must be named", func(s *subject) {
		s.unchanged(func() {
			_, err := s.AddPerson(s.ctx, "", policy.Person{Name: "alice"})
			s.refused(err, store.ErrInvalid, "who makes the change")
		})
	}},
	{"a person is disabled and enabled", func(s *subject) {
		p := s.person("alice")
		for _, disabled := range []bool{true, false} {
			action, detail := "person.enable", "disabled → enabled"
			if disabled {
				action, detail = "person.disable", "enabled → disabled"
			}
			s.changed(action, "person alice", detail, func() error { return s.DisablePerson(s.ctx, by, p.ID, s.seen(), disabled) })
			if s.facts().Persons[0].Disabled != disabled {
				s.Errorf("disabled is not %v", disabled)
			}
			s.unchanged(func() { s.check(s.DisablePerson(s.ctx, by, p.ID, s.seen(), disabled)) })
		}
		s.refused(s.DisablePerson(s.ctx, by, "nobody", s.seen(), true), store.ErrNotFound, "nobody")
	}},
	{"an address is added and removed, and its number is never given again", func(s *subject) {
		p := s.person("alice")
		var a policy.Address
		s.changed("address.add", "person alice", `added address 1 (10.0.0.7/32 "home")`, func() (err error) {
			a, err = s.AddAddress(s.ctx, by, p.ID, policy.Address{Prefix: prefix("10.0.0.7/32"), Label: "home"})
			return err
		})
		s.same(s.facts().Persons[0].Addresses, []policy.Address{a})
		s.changed("address.remove", "person alice", `removed address 1 (10.0.0.7/32 "home")`, func() error {
			owner, removed, err := s.RemoveAddress(s.ctx, by, a.ID)
			a.Disabled = true
			s.same(owner, p.ID)
			s.same(removed, a)
			return err
		})
		s.same(s.facts().Persons[0].Addresses, []policy.Address{a})
		_, _, err := s.RemoveAddress(s.ctx, by, a.ID)
		s.refused(err, store.ErrConflict, "10.0.0.7/32", "alice", "removed already")
		again, err := s.AddAddress(s.ctx, by, p.ID, policy.Address{Prefix: prefix("10.0.0.7/32")})
		s.check(err)
		if again.ID != "2" {
			s.Errorf("the second address is number %s", again.ID)
		}
	}},
	{"an address that cannot be is refused", func(s *subject) {
		p := s.person("alice", "10.0.0.7/32")
		for _, c := range []struct {
			id       policy.PersonID
			a        policy.Address
			kind     error
			mentions string
		}{
			{"nobody", policy.Address{Prefix: prefix("10.0.0.8/32")}, store.ErrNotFound, "nobody"},
			{p.ID, policy.Address{}, store.ErrInvalid, "address of alice"},
			{p.ID, policy.Address{Prefix: prefix("10.0.0.7/24")}, store.ErrInvalid, "10.0.0.0/24"},
			{p.ID, policy.Address{Prefix: prefix("10.0.0.8/32"), Label: strings.Repeat("x", 256)}, store.ErrInvalid, "label"},
			{p.ID, policy.Address{Prefix: prefix("10.0.0.7/32")}, store.ErrConflict, "alice has the address 1"},
		} {
			s.unchanged(func() {
				_, err := s.AddAddress(s.ctx, by, c.id, c.a)
				s.refused(err, c.kind, c.mentions)
			})
		}
		for _, id := range []policy.AddressID{"", "2", "01", "+1", "-1", "x", "99999999999999999999"} {
			s.unchanged(func() {
				_, _, err := s.RemoveAddress(s.ctx, by, id)
				s.refused(err, store.ErrNotFound, "no address "+string(id))
			})
		}
	}},
	{"one person's addresses may lie within each other", func(s *subject) {
		p := s.person("alice", "10.0.0.0/24")
		_, err := s.AddAddress(s.ctx, by, p.ID, policy.Address{Prefix: prefix("10.0.0.7/32")})
		s.check(err)
	}},
	{"addresses of two persons never overlap", func(s *subject) {
		s.person("alice", "10.0.0.0/24", "fd00::7/128")
		bob := s.person("bob")
		for _, a := range []string{"10.0.0.0/24", "10.0.0.7/32", "10.0.0.0/8", "0.0.0.0/0", "fd00::/64"} {
			s.unchanged(func() {
				_, err := s.AddAddress(s.ctx, by, bob.ID, policy.Address{Prefix: prefix(a)})
				s.refused(err, store.ErrConflict, a, "bob", "alice", "remove that address or disable alice")
			})
		}
		for _, a := range []string{"10.0.1.0/24", "fd00::8/128"} {
			_, err := s.AddAddress(s.ctx, by, bob.ID, policy.Address{Prefix: prefix(a)})
			s.check(err)
		}
	}},
	{"a removed address is free for others", func(s *subject) {
		alice := s.person("alice", "10.0.0.7/32")
		_, _, err := s.RemoveAddress(s.ctx, by, alice.Addresses[0].ID)
		s.check(err)
		s.person("bob", "10.0.0.7/32")
		s.unchanged(func() {
			_, err := s.AddAddress(s.ctx, by, alice.ID, policy.Address{Prefix: prefix("10.0.0.7/32")})
			s.refused(err, store.ErrConflict, "bob")
		})
	}},
	{"a disabled person's address is free for others, and then enabling is refused", func(s *subject) {
		alice := s.person("alice", "10.0.0.7/32")
		s.check(s.DisablePerson(s.ctx, by, alice.ID, s.seen(), true))
		bob := s.person("bob", "10.0.0.0/24")
		s.unchanged(func() {
			s.refused(s.DisablePerson(s.ctx, by, alice.ID, s.seen(), false), store.ErrConflict, "10.0.0.7/32 of alice", "10.0.0.0/24 of bob")
		})
		s.check(s.DisablePerson(s.ctx, by, bob.ID, s.seen(), true))
		s.check(s.DisablePerson(s.ctx, by, alice.ID, s.seen(), false))
	}},
	{"a disabled person may be given any address", func(s *subject) {
		s.person("alice", "10.0.0.7/32")
		_, err := s.AddPerson(s.ctx, by, policy.Person{Name: "bob", Disabled: true, Addresses: []policy.Address{{Prefix: prefix("10.0.0.7/32")}}})
		s.check(err)
	}},
}

func withAddress(prefixes ...string) policy.Person {
	p := policy.Person{Name: "a"}
	for _, a := range prefixes {
		p.Addresses = append(p.Addresses, policy.Address{Prefix: prefix(a)})
	}
	return p
}
