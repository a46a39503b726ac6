package policy_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/pawelmojski/inside/policy"
)

// The house the benchmarks ask: ten thousand persons, a thousand servers, a
// hundred thousand grants.
const (
	manyPersons      = 10_000
	manyServers      = 1_000
	manyPersonGroups = 400
	manyServerGroups = 100
	manyGrants       = 100_000
)

var benchNow = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC) // a Wednesday

func personAddr(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 50, byte(i >> 8), byte(i)}) }
func serverAddr(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 60, byte(i >> 8), byte(i)}) }
func single(a netip.Addr) netip.Prefix {
	return netip.PrefixFrom(a, a.BitLen())
}

func benchFlow(person, server int, login string) policy.Flow {
	return policy.Flow{
		Client:   netip.AddrPortFrom(personAddr(person), 40000),
		Dest:     netip.AddrPortFrom(serverAddr(server), 22),
		Protocol: policy.SSH,
		Login:    login,
	}
}

// manyFacts draws the house, always the same. Persons have an address in the
// VPN and one at home, every tenth a whole office. Everybody is in two teams,
// twenty of which make a department, every server in two kinds, ten of which
// make an area. Two grants of ten are to a team or department, every fourth is
// for a kind or area. Six of ten have ended, as in a house that has been in
// use, one of ten has a schedule.
func manyFacts(b *testing.B) policy.Facts {
	r := rand.New(rand.NewPCG(1, 2))
	hours := schedule(b, "Mon-Fri 09:00-17:00; Sat 10:00-14:00", "Europe/Warsaw")
	f := policy.Facts{Revision: 1}
	for i := range manyPersons {
		p := policy.Person{ID: policy.PersonID(fmt.Sprintf("p%d", i)), Name: fmt.Sprintf("person.%d", i)}
		home := netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, byte(i >> 8), byte(i)})
		p.Addresses = []policy.Address{
			{ID: policy.AddressID(fmt.Sprint(3 * i)), Prefix: single(personAddr(i)), Label: "vpn"},
			{ID: policy.AddressID(fmt.Sprint(3*i + 1)), Prefix: netip.PrefixFrom(home, 64), Label: "home"},
		}
		if i%10 == 0 {
			office := netip.AddrFrom4([4]byte{172, 16 + byte(i/10>>8), byte(i / 10), 0})
			p.Addresses = append(p.Addresses, policy.Address{ID: policy.AddressID(fmt.Sprint(3*i + 2)), Prefix: netip.PrefixFrom(office, 24)})
		}
		f.Persons = append(f.Persons, p)
	}
	for i := range manyServers {
		s := policy.Server{ID: policy.ServerID(fmt.Sprintf("s%d", i)), Name: fmt.Sprintf("server-%d", i), Prefix: single(serverAddr(i))}
		f.Servers = append(f.Servers, s)
	}
	f.PersonGroups = manyGroups("pg", manyPersonGroups, 20)
	f.ServerGroups = manyGroups("sg", manyServerGroups, 10)
	for i := range 2 * manyPersons {
		g := &f.PersonGroups[r.IntN(manyPersonGroups)]
		g.Members = append(g.Members, string(f.Persons[i%manyPersons].ID))
	}
	for i := range 2 * manyServers {
		g := &f.ServerGroups[r.IntN(manyServerGroups)]
		g.Members = append(g.Members, string(f.Servers[i%manyServers].ID))
	}
	for i := range manyGrants {
		g := policy.Grant{ID: policy.GrantID(fmt.Sprint(i + 1)), Start: benchNow.Add(-time.Hour)}
		if i%10 < 8 {
			g.Person = f.Persons[r.IntN(manyPersons)].ID
		} else {
			g.PersonGroup = f.PersonGroups[r.IntN(manyPersonGroups)].ID
		}
		if i%4 < 3 {
			g.Server = f.Servers[r.IntN(manyServers)].ID
		} else {
			g.ServerGroup = f.ServerGroups[r.IntN(manyServerGroups)].ID
		}
		switch r.IntN(10) {
		case 0, 1, 2, 3, 4:
			g.End = benchNow.Add(-time.Duration(r.IntN(1000)) * time.Hour)
		case 5:
			g.Revoked = benchNow
		case 6:
			g.Schedules = []policy.Schedule{hours}
		default:
			g.End = benchNow.Add(time.Duration(1+r.IntN(1000)) * time.Hour)
			g.Protocols, g.Logins = []policy.Protocol{policy.SSH}, []string{"deploy", "root"}
		}
		f.Grants = append(f.Grants, g)
	}
	return f
}

// manyGroups makes groups, of which each of the first outer ones holds its
// share of the others.
func manyGroups(kind string, n, outer int) []policy.Group {
	groups := make([]policy.Group, n)
	for i := range groups {
		groups[i] = policy.Group{ID: policy.GroupID(fmt.Sprint(kind, i)), Name: fmt.Sprint(kind, "-", i)}
		if i >= outer {
			groups[i%outer].Groups = append(groups[i%outer].Groups, groups[i].ID)
		}
	}
	return groups
}

func BenchmarkDecide(b *testing.B) {
	facts := manyFacts(b)
	hours := schedule(b, "Mon-Fri 09:00-17:00; Sat 10:00-14:00", "Europe/Warsaw")
	newYork := schedule(b, "Mon-Fri 06:00-12:00", "America/New_York")
	// Persons of their own for the flows that are to meet one case each.
	first := manyPersons
	own := func(grants ...policy.Grant) {
		i := len(facts.Persons)
		p := policy.Person{ID: policy.PersonID(fmt.Sprintf("p%d", i)), Name: fmt.Sprintf("person.%d", i)}
		p.Addresses = []policy.Address{{ID: policy.AddressID(fmt.Sprint(3 * i)), Prefix: single(personAddr(i))}}
		facts.Persons = append(facts.Persons, p)
		for _, g := range grants {
			g.ID, g.Person = policy.GrantID(fmt.Sprint(len(facts.Grants)+1)), p.ID
			if g.Server == "" {
				g.Server = "s7"
			}
			facts.Grants = append(facts.Grants, g)
		}
	}
	own(policy.Grant{End: benchNow.Add(time.Hour)})
	own(policy.Grant{End: benchNow.Add(-time.Hour)})
	own()
	own(policy.Grant{Schedules: []policy.Schedule{hours}})
	own(policy.Grant{Schedules: []policy.Schedule{hours, newYork}})
	ended := make([]policy.Grant, 1000)
	for i := range ended {
		ended[i].End = benchNow.Add(-time.Hour)
	}
	own(append(ended, policy.Grant{End: benchNow.Add(time.Hour)})...)
	// A person in twenty teams of twenty departments, a server in ten kinds of
	// ten areas: there are more than eight hundred ways from one to the other.
	for i := 20; i < 40; i++ {
		facts.PersonGroups[i].Members = append(facts.PersonGroups[i].Members, string(facts.Persons[first+2].ID))
	}
	for i := 10; i < 20; i++ {
		facts.ServerGroups[i].Members = append(facts.ServerGroups[i].Members, "s8")
	}
	book := newBook(b, facts)

	r := rand.New(rand.NewPCG(3, 4))
	anybody := make([]policy.Flow, 1<<14)
	for i := range anybody {
		anybody[i] = benchFlow(r.IntN(manyPersons), r.IntN(manyServers), "deploy")
	}
	home := benchFlow(0, 7, "root")
	home.Client = netip.MustParseAddrPort("[2001:db8::1]:40000")
	stranger := benchFlow(0, 7, "root")
	stranger.Client = netip.MustParseAddrPort("192.0.2.1:40000")
	for _, c := range []struct {
		name  string
		flows []policy.Flow
	}{
		{"anybody-anywhere", anybody},
		{"hit", []policy.Flow{benchFlow(first, 7, "root")}},
		{"hit-in-many-groups", []policy.Flow{benchFlow(first+2, 8, "root")}},
		{"hit-by-schedule", []policy.Flow{benchFlow(first+3, 7, "root")}},
		{"hit-by-schedules-of-two-zones", []policy.Flow{benchFlow(first+4, 7, "root")}},
		{"hit-after-1000-ended", []policy.Flow{benchFlow(first+5, 7, "root")}},
		{"miss-expired", []policy.Flow{benchFlow(first+1, 7, "root")}},
		{"miss-stranger", []policy.Flow{stranger}},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			allowed, i := 0, 0
			for b.Loop() {
				if book.Decide(c.flows[i%len(c.flows)], benchNow).Allowed() {
					allowed++
				}
				i++
			}
			b.ReportMetric(100*float64(allowed)/float64(i), "%allowed")
		})
	}
}

func BenchmarkNewBook(b *testing.B) {
	facts := manyFacts(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := policy.NewBook(facts); err != nil {
			b.Fatal(err)
		}
	}
}

func TestDecideDoesNotAllocate(t *testing.T) {
	facts, cases := loadTable(t)
	book := newBook(t, facts)
	for _, c := range cases {
		n := testing.AllocsPerRun(10, func() {
			book.DecideWithout(c.Full, c.Flow, c.At)
			book.DecideBy(c.Grant, c.Flow, c.At)
			book.Standing(c.Grant, c.At)
		})
		if n != 0 {
			t.Errorf("line %d: %v allocations", c.Line, n)
		}
	}
}
