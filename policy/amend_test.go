package policy_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/pawelmojski/inside/policy"
)

// change draws what happens to facts between two revisions. Nothing is taken
// out, as nothing is in the store.
func change(t *rapid.T, f policy.Facts) (now, changed policy.Facts) {
	now = policy.Facts{
		Revision: f.Revision + 1, Persons: slices.Clone(f.Persons), Servers: slices.Clone(f.Servers),
		PersonGroups: slices.Clone(f.PersonGroups), ServerGroups: slices.Clone(f.ServerGroups), Grants: slices.Clone(f.Grants),
	}
	changed.Revision = now.Revision
	if len(f.Grants) > 0 && !oneIn(t, 3, "more than grants") {
		for range rapid.IntRange(1, 3).Draw(t, "changed") {
			i := rapid.IntRange(0, len(f.Grants)-1).Draw(t, "which")
			g := &now.Grants[i]
			switch rapid.IntRange(0, 4).Draw(t, "do") {
			case 4:
				g.Approved, g.ApprovedBy = drawMoment(t), "bob"
			case 0:
				g.Revoked = drawMoment(t)
			case 1:
				g.End, g.Approved, g.ApprovedBy = time.Time{}, time.Time{}, ""
			case 2:
				g.End = drawMoment(t)
			default:
				g.Schedules = nil
			}
			changed.Grants = slices.DeleteFunc(changed.Grants, func(x policy.Grant) bool { return x.ID == g.ID })
			changed.Grants = append(changed.Grants, *g)
		}
		return now, changed
	}
	if oneIn(t, 2, "person") {
		p := &now.Persons[rapid.IntRange(0, len(f.Persons)-1).Draw(t, "which")]
		p.Disabled = !p.Disabled
		changed.Persons = append(changed.Persons, *p)
	}
	if oneIn(t, 2, "server") {
		s := &now.Servers[rapid.IntRange(0, len(f.Servers)-1).Draw(t, "which")]
		if s.Sensitive = oneIn(t, 2, "sensitive"); oneIn(t, 2, "switch") {
			s.Disabled = !s.Disabled
		}
		changed.Servers = append(changed.Servers, *s)
	}
	if oneIn(t, 2, "another person") {
		name := fmt.Sprint("a-person-", len(now.Persons))
		p := policy.Person{ID: policy.PersonID(name), Name: name, Addresses: []policy.Address{{ID: "7", Prefix: netip.MustParsePrefix("10.0.0.3/32")}}}
		now.Persons, changed.Persons = append(now.Persons, p), append(changed.Persons, p)
	}
	if oneIn(t, 2, "member") {
		g := &now.PersonGroups[rapid.IntRange(0, len(f.PersonGroups)-1).Draw(t, "which")]
		g.Members = append(slices.Clone(g.Members), string(now.Persons[0].ID))
		changed.PersonGroups = append(changed.PersonGroups, *g)
	}
	if oneIn(t, 2, "server group") {
		g := &now.ServerGroups[rapid.IntRange(0, len(f.ServerGroups)-1).Draw(t, "which")]
		g.Sensitive = !g.Sensitive
		changed.ServerGroups = append(changed.ServerGroups, *g)
	}
	if oneIn(t, 2, "grant") {
		g := drawGrant(t, now, 50+len(now.Grants))
		now.Grants, changed.Grants = append(now.Grants, g), append(changed.Grants, g)
	}
	return now, changed
}

// inOrder brings facts into the order in which the store tells them.
func inOrder(f policy.Facts) policy.Facts {
	slices.SortFunc(f.Persons, func(a, b policy.Person) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(f.Servers, func(a, b policy.Server) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(f.Grants, func(a, b policy.Grant) int {
		if len(a.ID) != len(b.ID) {
			return len(a.ID) - len(b.ID)
		}
		return strings.Compare(string(a.ID), string(b.ID))
	})
	return f
}

var sameFacts = cmp.Options{cmpopts.EquateComparable(netip.Prefix{}), cmp.Comparer(policy.Schedule.Equal), cmpopts.EquateEmpty()}

func TestAnAmendedBookIsTheBookOfTheNewFacts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		facts := inOrder(drawFacts(t))
		amended, err := policy.NewBook(facts)
		if err != nil {
			t.Fatal(err)
		}
		first, before := amended, describe(facts)
		for range rapid.IntRange(1, 8).Draw(t, "changes") {
			var changed policy.Facts
			facts, changed = change(t, facts)
			facts = inOrder(facts)
			if amended, err = amended.Amend(changed); err != nil {
				t.Fatal(err)
			}
			fresh, err := policy.NewBook(facts)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(*fresh.Facts(), *amended.Facts(), sameFacts); diff != "" {
				t.Fatalf("facts (-fresh +amended):\n%s", diff)
			}
			for range 20 {
				flow, now := drawFlow(t, facts)
				if diff := cmp.Diff(inWords(fresh.Decide(flow, now)), inWords(amended.Decide(flow, now))); diff != "" {
					t.Fatalf("%+v at %s (-fresh +amended):\n%s\n%s", flow, now, diff, describe(facts))
				}
			}
			for _, g := range facts.Grants {
				if diff := cmp.Diff(g, *amended.Grant(g.ID), sameFacts); diff != "" {
					t.Fatalf("grant %s (-fresh +amended):\n%s", g.ID, diff)
				}
				until, denial := amended.Standing(g.ID, epoch)
				if waits := amended.Waits(g.ID, epoch); waits != fresh.Waits(g.ID, epoch) {
					t.Fatalf("grant %s waits: %v", g.ID, waits)
				}
				if wantUntil, want := fresh.Standing(g.ID, epoch); denial != want || !until.Equal(wantUntil) {
					t.Fatalf("grant %s stands %q until %s, want %q until %s", g.ID, denial, until, want, wantUntil)
				}
			}
		}
		if after := describe(*first.Facts()); after != before {
			t.Fatalf("a book changed after it was made:\n%s\nwas:\n%s", after, before)
		}
	})
}

func TestNewsOfAnOlderRevisionAreRefused(t *testing.T) {
	book := newBook(t, policy.Facts{Revision: 7})
	if _, err := book.Amend(policy.Facts{Revision: 6}); err == nil {
		t.Error("the book went back")
	}
}

func BenchmarkAmend(b *testing.B) {
	book := newBook(b, inOrder(manyFacts(b)))
	r := rand.New(rand.NewPCG(5, 6))
	b.ReportAllocs()
	for b.Loop() {
		g := book.Facts().Grants[r.IntN(manyGrants)]
		g.Revoked = benchNow
		var err error
		if book, err = book.Amend(policy.Facts{Revision: book.Facts().Revision + 1, Grants: []policy.Grant{g}}); err != nil {
			b.Fatal(err)
		}
	}
}
