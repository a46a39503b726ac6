package policy_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/pawelmojski/inside/policy"
)

func TestAPersonIsKnownByTheAccountTheNetworkNames(t *testing.T) {
	office := policy.Address{ID: "1", Prefix: netip.MustParsePrefix("100.64.0.7/32")}
	gone := policy.Address{ID: "2", Prefix: netip.MustParsePrefix("100.64.0.8/32"), Disabled: true}
	book, err := policy.NewBook(policy.Facts{
		Revision: 1,
		Persons: []policy.Person{
			{ID: "a", Name: "alice", Account: "alice@corp.test", Addresses: []policy.Address{gone}},
			{ID: "b", Name: "bob", Account: "Bob@Corp.Test", Addresses: []policy.Address{office}},
			{ID: "c", Name: "carol", Account: "carol@corp.test", Disabled: true},
			{ID: "d", Name: "dave", Account: "team@corp.test"},
			{ID: "e", Name: "erin", Account: "TEAM@corp.test"},
			{ID: "f", Name: "frank"},
			{ID: "g", Name: "karl", Account: "karl@corp.test"},
			{ID: "h", Name: "old.karl", Account: "KARL@corp.test", Disabled: true},
		},
		Servers: []policy.Server{{ID: "s", Name: "db", Prefix: netip.MustParsePrefix("10.30.0.1/32")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		from, account string
		person        string
		denial        policy.Denial
	}{
		"an account of a person is that person":                    {"100.64.0.2", "alice@corp.test", "alice", policy.NoGrant},
		"whatever the case of its letters":                         {"100.64.0.2", "ALICE@corp.TEST", "alice", policy.NoGrant},
		"and that of the account that was given":                   {"100.64.0.2", "bob@corp.test", "bob", policy.NoGrant},
		"a letter that only looks alike makes nobody":              {"100.64.0.2", "\u212aarl@corp.test", "", policy.UnknownPerson},
		"an account that no person has is nobody":                  {"100.64.0.2", "mallory@corp.test", "", policy.UnknownPerson},
		"no account is nobody, also where persons have none":       {"100.64.0.2", "", "", policy.UnknownPerson},
		"a part of an account is nobody":                           {"100.64.0.2", "alice", "", policy.UnknownPerson},
		"an explicit address wins":                                 {"100.64.0.7", "alice@corp.test", "bob", policy.NoGrant},
		"an address that was removed does not":                     {"100.64.0.8", "bob@corp.test", "bob", policy.NoGrant},
		"the account of a disabled person stays disabled":          {"100.64.0.2", "carol@corp.test", "carol", policy.PersonDisabled},
		"an account of two persons is ambiguous":                   {"100.64.0.2", "team@corp.test", "", policy.AmbiguousPerson},
		"an account that somebody disabled had too is the other's": {"100.64.0.2", "karl@corp.test", "karl", policy.NoGrant},
	} {
		t.Run(name, func(t *testing.T) {
			v := book.Decide(policy.Flow{
				Client: netip.AddrPortFrom(netip.MustParseAddr(c.from), 40000), Dest: netip.MustParseAddrPort("10.30.0.1:22"), Protocol: policy.SSH,
				Identity: policy.Identity{Account: c.account, Node: "laptop"},
			}, time.Now())
			person := ""
			if v.Person != nil {
				person = v.Person.Name
			}
			if person != c.person || v.Denial != c.denial {
				t.Errorf("%q, %q; want %q, %q", person, v.Denial, c.person, c.denial)
			}
		})
	}
	for addr, want := range map[string]bool{"100.64.0.7": true, "::ffff:100.64.0.7": true, "100.64.0.8": false, "100.64.0.2": false} {
		if got := book.KnownAt(netip.MustParseAddr(addr)); got != want {
			t.Errorf("known at %s: %v", addr, got)
		}
	}
}

func TestAnAccountThatMovesToAnotherPersonIsHers(t *testing.T) {
	facts := policy.Facts{Revision: 1, Persons: []policy.Person{
		{ID: "a", Name: "alice", Account: "ops@corp.test"}, {ID: "b", Name: "bob"},
	}}
	book, err := policy.NewBook(facts)
	if err != nil {
		t.Fatal(err)
	}
	book, err = book.Amend(policy.Facts{Revision: 2, Persons: []policy.Person{
		{ID: "a", Name: "alice"}, {ID: "b", Name: "bob", Account: "ops@corp.test"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	v := book.Decide(policy.Flow{Client: netip.MustParseAddrPort("100.64.0.2:1"), Identity: policy.Identity{Account: "ops@corp.test"}}, time.Now())
	if v.Person == nil || v.Person.Name != "bob" {
		t.Errorf("%+v", v.Person)
	}
}
