package store_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/store"
	"github.com/pawelmojski/inside/store/storetest"
)

// Whatever is asked in whatever order: what the store lets through, the policy
// can decide by, and each change left exactly one revision and one audit line.
func TestWhatTheStoreKeepsThePolicyCanUse(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		url := storetest.SQLite(t)
		s, err := store.Open(t.Context(), url)
		if err != nil {
			rt.Fatal(err)
		}
		defer s.Close()
		a := admin{T: rt, t: t, s: s}
		a.book = a.newBook(policy.Facts{})
		rt.Repeat(map[string]func(*rapid.T){
			"add person":    func(rt *rapid.T) { a.T = rt; a.addPerson() },
			"switch person": func(rt *rapid.T) { a.T = rt; a.switchPerson() },
			"address":       func(rt *rapid.T) { a.T = rt; a.address() },
			"server":        func(rt *rapid.T) { a.T = rt; a.server() },
			"group":         func(rt *rapid.T) { a.T = rt; a.group() },
			"grant":         func(rt *rapid.T) { a.T = rt; a.grant() },
			"":              func(rt *rapid.T) { a.T = rt; a.check() },
		})
	})
}

// An admin types whatever comes to mind.
type admin struct {
	*rapid.T
	t *testing.T
	s *store.Store

	book *policy.Book // amended with what the store says has changed
}

func (a *admin) newBook(f policy.Facts) *policy.Book {
	b, err := policy.NewBook(f)
	if err != nil {
		a.Fatalf("the policy refuses what the store kept: %v", err)
	}
	return b
}

// checkNews amends the book with what is new and compares it with everything.
func (a *admin) checkNews(f policy.Facts) {
	changed, err := a.s.FactsSince(a.t.Context(), a.book.Facts().Revision)
	if err != nil {
		a.Fatal(err)
	}
	if a.book.Facts().Revision == 0 {
		changed = f // 0 is everything, and the empty book is of no revision
	}
	if a.book, err = a.book.Amend(changed); err != nil {
		a.Fatal(err)
	}
	if diff := cmp.Diff(f, *a.book.Facts(), cmpopts.EquateComparable(netip.Prefix{}), cmp.Comparer(policy.Schedule.Equal), cmpopts.EquateEmpty()); diff != "" {
		a.Fatalf("the facts (-read +amended):\n%s", diff)
	}
}

// done takes a refusal for an answer and a broken database for none.
func (a *admin) done(err error) {
	if err != nil && !sentinel(err) {
		a.Fatal(err)
	}
}

func (a *admin) facts() policy.Facts {
	f, err := a.s.Facts(a.t.Context())
	if err != nil {
		a.Fatal(err)
	}
	return f
}

// seen is what the admin looked at before a change: mostly the newest facts.
func (a *admin) seen() int64 {
	return a.facts().Revision - rapid.SampledFrom([]int64{0, 0, 0, 1, 3}).Draw(a.T, "behind")
}

// pick draws one of the ids there are, or one there is not.
func pick[T any, ID ~string](a *admin, what string, of []T, id func(T) ID) ID {
	i := rapid.IntRange(0, len(of)).Draw(a.T, what)
	if i == len(of) {
		return "none"
	}
	return id(of[i])
}

func (a *admin) prefix() netip.Prefix {
	text := rapid.SampledFrom([]string{"10.0.0.0/8", "10.0.0.0/24", "10.0.0.7/32", "10.0.0.8/32", "10.0.0.7/24", "fd00::/64", "fd00::7/128", "::ffff:10.0.0.7/128"}).Draw(a.T, "prefix")
	return netip.MustParsePrefix(text)
}

func (a *admin) addPerson() {
	p := policy.Person{Name: rapid.SampledFrom([]string{"alice", "Bob", "c.c", "", "żółw", "?"}).Draw(a.T, "name"), Disabled: rapid.Bool().Draw(a.T, "disabled")}
	for range rapid.IntRange(0, 2).Draw(a.T, "addresses") {
		p.Addresses = append(p.Addresses, policy.Address{Prefix: a.prefix()})
	}
	_, err := a.s.AddPerson(a.t.Context(), "root", p)
	a.done(err)
}

func personID(p policy.Person) policy.PersonID { return p.ID }
func serverID(v policy.Server) policy.ServerID { return v.ID }
func groupID(g policy.Group) policy.GroupID    { return g.ID }
func grantID(g policy.Grant) policy.GrantID    { return g.ID }

func (a *admin) switchPerson() {
	id := pick(a, "person", a.facts().Persons, personID)
	a.done(a.s.DisablePerson(a.t.Context(), "root", id, a.seen(), rapid.Bool().Draw(a.T, "disabled")))
}

func (a *admin) address() {
	if rapid.Bool().Draw(a.T, "remove") {
		_, _, err := a.s.RemoveAddress(a.t.Context(), "root", policy.AddressID(fmt.Sprint(rapid.IntRange(0, 9).Draw(a.T, "number"))))
		a.done(err)
		return
	}
	_, err := a.s.AddAddress(a.t.Context(), "root", pick(a, "person", a.facts().Persons, personID), policy.Address{Prefix: a.prefix()})
	a.done(err)
}

func (a *admin) server() {
	if rapid.Bool().Draw(a.T, "switch") {
		id := pick(a, "server", a.facts().Servers, serverID)
		if rapid.Bool().Draw(a.T, "maintenance") {
			a.maintain(id)
			return
		}
		if rapid.Bool().Draw(a.T, "sensitive") {
			a.done(a.s.SetServerSensitive(a.t.Context(), "root", id, a.seen(), rapid.Bool().Draw(a.T, "on")))
			return
		}
		a.done(a.s.DisableServer(a.t.Context(), "root", id, a.seen(), rapid.Bool().Draw(a.T, "disabled")))
		return
	}
	_, err := a.s.AddServer(a.t.Context(), "root", policy.Server{Name: rapid.StringMatching(`[a-d ]`).Draw(a.T, "name"), Prefix: a.prefix()})
	a.done(err)
}

func (a *admin) maintain(id policy.ServerID) {
	var m *policy.Maintenance
	if rapid.Bool().Draw(a.T, "on") {
		from := time.Unix(1_800_000_000, 0)
		m = &policy.Maintenance{
			From: from, Clear: from.Add(time.Duration(rapid.IntRange(-1, 3).Draw(a.T, "grace"))),
			Exempt: []policy.PersonID{pick(a, "exempt", a.facts().Persons, personID)},
		}
	}
	a.done(a.s.Maintain(a.t.Context(), "root", id, a.seen(), m))
}

func (a *admin) group() {
	ctx, k := a.t.Context(), rapid.SampledFrom([]store.Kind{store.PersonGroup, store.ServerGroup}).Draw(a.T, "kind")
	f := a.facts()
	groups, member := f.PersonGroups, string(pick(a, "person", f.Persons, personID))
	if k == store.ServerGroup {
		groups, member = f.ServerGroups, string(pick(a, "server", f.Servers, serverID))
	}
	inner := pick(a, "inner", groups, groupID)
	if rapid.Bool().Draw(a.T, "a group inside") {
		member = ""
	} else {
		inner = ""
	}
	switch outer := pick(a, "outer", groups, groupID); rapid.IntRange(0, 4).Draw(a.T, "do") {
	case 4:
		a.done(a.s.SetGroupSensitive(ctx, "root", outer, a.seen(), rapid.Bool().Draw(a.T, "on")))
	case 0:
		_, err := a.s.CreateGroup(ctx, "root", k, policy.Group{Name: rapid.StringMatching(`[a-d]`).Draw(a.T, "name")})
		a.done(err)
	case 1:
		a.done(a.s.RemoveMember(ctx, "root", k, outer, member, inner))
	default:
		a.done(a.s.AddMember(ctx, "root", k, outer, member, inner))
	}
}

func (a *admin) grant() {
	ctx, f := a.t.Context(), a.facts()
	id := pick(a, "grant", f.Grants, grantID)
	when := time.Unix(1_800_000_000+rapid.Int64Range(-5, 5).Draw(a.T, "when"), 0)
	switch rapid.IntRange(0, 4).Draw(a.T, "do") {
	case 4:
		a.done(a.s.ApproveGrant(ctx, rapid.SampledFrom([]string{"root", "anna", "anna"}).Draw(a.T, "by"), id, a.seen(), when))
	case 0:
		a.done(a.s.RevokeGrant(ctx, "root", id, when))
	case 1:
		a.done(a.s.SetGrantEnd(ctx, "root", id, a.seen(), when))
	default:
		g := policy.Grant{Start: when, From: a.prefix()}
		if rapid.Bool().Draw(a.T, "for a group") {
			g.PersonGroup = pick(a, "person group", f.PersonGroups, groupID)
		} else {
			g.Person = pick(a, "person", f.Persons, personID)
		}
		if rapid.Bool().Draw(a.T, "to a group") {
			g.ServerGroup = pick(a, "server group", f.ServerGroups, groupID)
		} else {
			g.Server = pick(a, "server", f.Servers, serverID)
		}
		_, err := a.s.CreateGrant(ctx, "root", g)
		a.done(err)
	}
}

func (a *admin) check() {
	f := a.facts()
	a.newBook(f)
	a.checkNews(f)
	for i, p := range f.Persons {
		for _, q := range f.Persons[:i] {
			for _, x := range p.Addresses {
				for _, y := range q.Addresses {
					if !p.Disabled && !q.Disabled && !x.Disabled && !y.Disabled && x.Prefix.Overlaps(y.Prefix) {
						a.Fatalf("%s of %s overlaps %s of %s", x.Prefix, p.Name, y.Prefix, q.Name)
					}
				}
			}
		}
	}
	rows, err := a.s.AuditRows(a.t.Context(), store.AuditFilter{Limit: 1})
	if err != nil {
		a.Fatal(err)
	}
	if len(rows) > 0 && rows[0].ID != f.Revision || len(rows) == 0 && f.Revision != 0 {
		a.Fatalf("revision %d, newest audit line %+v", f.Revision, rows)
	}
}
