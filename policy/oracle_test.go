package policy_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/pawelmojski/inside/policy"
)

// slowDecide decides without any index, one question of the specification
// after the other. only limits the grants it looks at; "" is all. full deny
// as they say.
func slowDecide(f policy.Facts, fl policy.Flow, now time.Time, only policy.GrantID, full ...policy.Full) policy.Verdict {
	v := policy.Verdict{Protocol: fl.Protocol}
	client, dest := fl.Client.Addr().Unmap(), fl.Dest.Addr().Unmap()

	byAddress := func(p policy.Person) bool {
		return slices.ContainsFunc(p.Addresses, func(a policy.Address) bool { return !a.Disabled && a.Prefix.Contains(client) })
	}
	byAccount := !slices.ContainsFunc(f.Persons, byAddress)
	var enabled, disabled []*policy.Person
	for i, p := range f.Persons {
		comes := byAddress(p) || byAccount && p.Account != "" && strings.EqualFold(p.Account, fl.Identity.Account)
		if comes && p.Disabled {
			disabled = append(disabled, &f.Persons[i])
		} else if comes {
			enabled = append(enabled, &f.Persons[i])
		}
	}
	switch {
	case len(enabled) > 1:
		v.Denial = policy.AmbiguousPerson
		return v
	case len(enabled) == 1:
		v.Person = enabled[0]
	case len(disabled) > 0:
		v.Person, v.Denial = disabled[0], policy.PersonDisabled
		return v
	default:
		v.Denial = policy.UnknownPerson
		return v
	}

	for i, s := range f.Servers {
		if s.Prefix.Contains(dest) && (v.Server == nil || s.Prefix.Bits() > v.Server.Prefix.Bits()) {
			v.Server = &f.Servers[i]
		}
	}
	port := fl.Dest.Port()
	switch {
	case v.Server == nil:
		v.Denial = policy.UnknownServer
		return v
	case v.Server.Disabled:
		v.Denial = policy.ServerDisabled
		return v
	case fl.Protocol == policy.SSH && v.Server.SSHPort != 0 && v.Server.SSHPort != port,
		fl.Protocol == policy.RDP && v.Server.RDPPort != 0 && v.Server.RDPPort != port:
		v.Denial = policy.WrongProtocol
		return v
	}

	v.Denial = policy.NoGrant
	for i := range f.Grants {
		g := &f.Grants[i]
		if only != "" && g.ID != only ||
			g.Person != v.Person.ID && !slowHolds(f.PersonGroups, g.PersonGroup, string(v.Person.ID)) ||
			g.Server != v.Server.ID && !slowHolds(f.ServerGroups, g.ServerGroup, string(v.Server.ID)) {
			continue
		}
		denial, until := slowGrant(g, fl, client, slowSensitive(f, v.Server), now)
		var ends policy.EndCause
		if denial == "" {
			denial, until, ends = slowMaintenance(v.Server.Maintenance, v.Person.ID, fl.Inside, now, g, until)
		}
		if i := slices.IndexFunc(full, func(f policy.Full) bool { return f.Grant == g.ID }); denial == "" && i >= 0 {
			denial, until, ends = full[i].Denial, time.Time{}, ""
		}
		if slowBetter(v, g, denial, until) {
			v.Grant, v.Denial, v.Until, v.Ends = g, denial, until, ends
		}
	}
	return v
}

// slowMaintenance says what is left of a yes when the server is maintained, and
// what ends it.
func slowMaintenance(m *policy.Maintenance, p policy.PersonID, inside bool, now time.Time, g *policy.Grant, until time.Time) (policy.Denial, time.Time, policy.EndCause) {
	var ends policy.EndCause
	if !until.IsZero() && until.Equal(g.End) {
		ends = policy.GrantExpired
	} else if !until.IsZero() {
		ends = policy.ScheduleClosed
	}
	concerned := m != nil && (m.Until.IsZero() || now.Compare(m.Until) < 0)
	for i := 0; concerned && i < len(m.Exempt); i++ {
		concerned = m.Exempt[i] != p
	}
	if !concerned {
		return "", until, ends
	}
	last := m.From
	if inside {
		last = m.Clear
	}
	if now.Compare(last) >= 0 {
		return policy.UnderMaintenance, time.Time{}, ""
	}
	if until.IsZero() || m.Clear.Compare(until) < 0 {
		return "", m.Clear, policy.ServerMaintained
	}
	return "", until, ends
}

func slowHolds(groups []policy.Group, id policy.GroupID, member string) bool {
	return slices.ContainsFunc(groups, func(g policy.Group) bool {
		return g.ID == id && (slices.Contains(g.Members, member) ||
			slices.ContainsFunc(g.Groups, func(inner policy.GroupID) bool { return slowHolds(groups, inner, member) }))
	})
}

// slowSensitive asks each server with all the addresses of this one, and each
// group that holds it.
func slowSensitive(f policy.Facts, s *policy.Server) bool {
	return slices.ContainsFunc(f.Servers, func(around policy.Server) bool {
		return around.Prefix.Bits() <= s.Prefix.Bits() && around.Prefix.Overlaps(s.Prefix) &&
			(around.Sensitive || slices.ContainsFunc(f.ServerGroups, func(g policy.Group) bool {
				return g.Sensitive && slowHolds(f.ServerGroups, g.ID, string(around.ID))
			}))
	})
}

// slowGrant walks time in half hours: the schedules it is given change then.
func slowGrant(g *policy.Grant, fl policy.Flow, client netip.Addr, sensitive bool, now time.Time) (policy.Denial, time.Time) {
	inside := func(t time.Time) bool {
		return len(g.Schedules) == 0 || slices.ContainsFunc(g.Schedules, func(s policy.Schedule) bool { return s.Contains(t) })
	}
	switch {
	case g.Protocols != nil && !slices.Contains(g.Protocols, fl.Protocol):
		return policy.WrongProtocol, time.Time{}
	case g.From != netip.Prefix{} && !g.From.Contains(client):
		return policy.WrongSource, time.Time{}
	case g.Logins != nil && fl.Login != "" && !slices.Contains(g.Logins, fl.Login):
		return policy.WrongLogin, time.Time{}
	case g.Revoked != time.Time{}:
		return policy.Revoked, time.Time{}
	case g.End != time.Time{} && now.Compare(g.End) >= 0:
		return policy.Expired, time.Time{}
	case sensitive && g.Approved == time.Time{}:
		return policy.NotApproved, time.Time{}
	case now.Compare(g.Start) < 0:
		return policy.NotYet, time.Time{}
	case !inside(now):
		return policy.OutsideSchedule, time.Time{}
	}
	for t := now; t.Sub(now) < 400*24*time.Hour; t = t.Truncate(30 * time.Minute).Add(30 * time.Minute) {
		if !g.End.IsZero() && t.After(g.End) {
			break
		}
		if !inside(t) {
			return "", t
		}
	}
	return "", g.End
}

func slowBetter(v policy.Verdict, g *policy.Grant, denial policy.Denial, until time.Time) bool {
	const forever = 1 << 40
	seconds := func(t time.Time) float64 {
		if t.IsZero() {
			return forever
		}
		return t.Sub(epoch).Seconds()
	}
	number := func(g *policy.Grant) int {
		n, _ := strconv.Atoi(string(g.ID))
		return n
	}
	order := func(d policy.Denial) int { return slices.Index(policy.Denials(), d) }
	switch {
	case v.Denial == "" && denial == "" && seconds(until) != seconds(v.Until):
		return seconds(until) > seconds(v.Until)
	case v.Denial == "" && denial == "":
		return number(g) < number(v.Grant)
	case v.Denial == "" || denial == "":
		return denial == ""
	case v.Denial == denial:
		return number(g) > number(v.Grant)
	default:
		return order(denial) > order(v.Denial)
	}
}

// The world of the random facts: all in one week, over a change of the clocks,
// so that windows, ends and moments meet.
var epoch = time.Date(2026, 3, 26, 0, 0, 0, 0, time.UTC)

var (
	prefixes = map[bool][]string{ // of persons, of servers
		true:  {"10.0.0.1/32", "10.0.0.2/32", "10.0.0.3/32", "10.0.0.4/32", "10.0.0.0/30", "10.0.1.0/24", "fd00::1/128", "fd00::/64", "0.0.0.0/0"},
		false: {"10.1.0.1/32", "10.1.0.2/32", "10.1.0.0/30", "10.1.0.0/16", "10.2.0.1/32", "fd01::1/128", "fd01::/32"},
	}
	clients = []string{"10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.1.9", "fd00::1", "fd00::2", "::ffff:10.0.0.1", "10.9.9.9", "fe80::1%eth0"}
	dests   = []string{"10.1.0.1", "10.1.0.2", "10.1.0.3", "10.1.77.1", "10.2.0.1", "fd01::1", "fd01::2", "::ffff:10.1.0.1", "10.3.0.1"}
	logins  = []string{"root", "admin", "Root"}

	accounts = []string{"", "", "", "anna@corp.test", "Anna@corp.test", "bob@corp.test", "bob@other.test", "carol@corp.test", "dave@corp.test"}
)

func oneIn(t *rapid.T, n int, label string) bool { return rapid.IntRange(1, n).Draw(t, label) == 1 }

func drawFacts(t *rapid.T) policy.Facts {
	f := policy.Facts{Revision: 1}
	for i := range rapid.IntRange(2, 4).Draw(t, "persons") {
		p := policy.Person{ID: policy.PersonID(fmt.Sprint("p", i)), Name: fmt.Sprint("person-", i), Disabled: oneIn(t, 16, "disabled")}
		p.Account = rapid.SampledFrom(accounts).Draw(t, "account")
		for j := range rapid.IntRange(1, 3).Draw(t, "addresses") {
			all := prefixes[true]
			if !oneIn(t, 12, "shared") { // mostly each person its own
				all = []string{all[i], all[5+i%3]}
			}
			p.Addresses = append(p.Addresses, policy.Address{
				ID:       policy.AddressID(fmt.Sprint(i, j)),
				Prefix:   netip.MustParsePrefix(rapid.SampledFrom(all).Draw(t, "prefix")),
				Disabled: oneIn(t, 16, "deactivated"),
			})
		}
		f.Persons = append(f.Persons, p)
	}
	taken := rapid.Permutation(prefixes[false]).Draw(t, "prefixes")
	for i := range rapid.IntRange(1, 5).Draw(t, "servers") {
		s := policy.Server{ID: policy.ServerID(fmt.Sprint("s", i)), Name: fmt.Sprint("server-", i), Prefix: netip.MustParsePrefix(taken[i]), Disabled: oneIn(t, 16, "disabled"), Sensitive: oneIn(t, 5, "sensitive")}
		if oneIn(t, 12, "ports") {
			s.SSHPort, s.RDPPort = 2222, 3389
		}
		if oneIn(t, 5, "maintenance") {
			m := &policy.Maintenance{From: drawMoment(t)}
			m.Clear = m.From.Add(time.Duration(rapid.IntRange(0, 48).Draw(t, "grace")) * 30 * time.Minute)
			if oneIn(t, 2, "over") {
				m.Until = m.Clear.Add(time.Duration(rapid.IntRange(1, 48).Draw(t, "length")) * 30 * time.Minute)
			}
			if oneIn(t, 4, "exempt") {
				m.Exempt = []policy.PersonID{"p1", "p0"}
			}
			s.Maintenance = m
		}
		f.Servers = append(f.Servers, s)
	}
	f.PersonGroups = drawGroups(t, "p", len(f.Persons))
	f.ServerGroups = drawGroups(t, "s", len(f.Servers))
	for i := range rapid.SampledFrom([]int{0, 1, 4, 8, 12, 16}).Draw(t, "grants") {
		f.Grants = append(f.Grants, drawGrant(t, f, i))
	}
	f.Grants = rapid.Permutation(f.Grants).Draw(t, "order")
	return f
}

// drawGroups draws groups that hold only groups drawn before them.
func drawGroups(t *rapid.T, kind string, members int) []policy.Group {
	var groups []policy.Group
	for i := range rapid.IntRange(1, 5).Draw(t, "groups") {
		g := policy.Group{ID: policy.GroupID(fmt.Sprint(kind, "group", i)), Name: fmt.Sprint("group-", i)}
		g.Sensitive = kind == "s" && oneIn(t, 8, "sensitive")
		for range rapid.IntRange(0, 4).Draw(t, "members") {
			g.Members = append(g.Members, fmt.Sprint(kind, rapid.IntRange(0, members-1).Draw(t, "member")))
		}
		for range rapid.IntRange(0, min(i, 2)).Draw(t, "inner groups") {
			g.Groups = append(g.Groups, groups[rapid.IntRange(0, i-1).Draw(t, "inner group")].ID)
		}
		groups = append(groups, g)
	}
	return groups
}

func drawGrant(t *rapid.T, f policy.Facts, i int) policy.Grant {
	g := policy.Grant{ID: policy.GrantID(fmt.Sprint(7 + i))} // ids of one and two digits
	if len(f.PersonGroups) > 0 && oneIn(t, 2, "to a group") {
		g.PersonGroup = rapid.SampledFrom(f.PersonGroups).Draw(t, "who").ID
	} else {
		g.Person = rapid.SampledFrom(f.Persons).Draw(t, "who").ID
	}
	if len(f.ServerGroups) > 0 && oneIn(t, 2, "for a group") {
		g.ServerGroup = rapid.SampledFrom(f.ServerGroups).Draw(t, "where").ID
	} else {
		g.Server = rapid.SampledFrom(f.Servers).Draw(t, "where").ID
	}
	if oneIn(t, 5, "protocol") {
		g.Protocols = []policy.Protocol{rapid.SampledFrom([]policy.Protocol{policy.SSH, policy.RDP}).Draw(t, "protocol")}
	}
	if oneIn(t, 6, "source") {
		g.From = netip.MustParsePrefix(rapid.SampledFrom(prefixes[true]).Draw(t, "source"))
	}
	if oneIn(t, 4, "login") {
		g.Logins = []string{rapid.SampledFrom(logins).Draw(t, "login")}
	}
	if oneIn(t, 4, "start") {
		g.Start = drawMoment(t)
	}
	if oneIn(t, 2, "end") {
		g.End = drawMoment(t)
	}
	if oneIn(t, 12, "revoked") {
		g.Revoked = drawMoment(t)
	}
	if oneIn(t, 2, "approved") {
		g.Approved, g.ApprovedBy, g.Authors = drawMoment(t), "anna", []string{"root"}
	}
	if oneIn(t, 3, "schedule") {
		for range rapid.IntRange(1, 3).Draw(t, "schedules") {
			s, err := policy.ParseSchedule(drawSchedule(t), rapid.SampledFrom([]string{"Europe/Warsaw", "America/New_York"}).Draw(t, "zone"))
			if err != nil {
				t.Fatal(err)
			}
			g.Schedules = append(g.Schedules, s)
		}
	}
	return g
}

// drawMoment draws a half hour of the week, or the last nanosecond before it.
func drawMoment(t *rapid.T) time.Time {
	m := epoch.Add(time.Duration(rapid.IntRange(0, 14*24).Draw(t, "half hour")) * 30 * time.Minute)
	if oneIn(t, 4, "just before") {
		m = m.Add(-time.Nanosecond)
	}
	return m
}

// drawFlow draws any flow, or, mostly, one that a grant might be meant for.
func drawFlow(t *rapid.T, f policy.Facts) (policy.Flow, time.Time) {
	client, dest := rapid.SampledFrom(clients).Draw(t, "client"), rapid.SampledFrom(dests).Draw(t, "dest")
	protocol := rapid.SampledFrom([]policy.Protocol{policy.SSH, policy.RDP, policy.HTTP}).Draw(t, "protocol")
	login := rapid.SampledFrom(append(logins, "")).Draw(t, "login")
	now := drawMoment(t)
	if len(f.Grants) > 0 && !oneIn(t, 12, "any flow") {
		g := rapid.SampledFrom(f.Grants).Draw(t, "grant")
		for _, p := range f.Persons {
			if p.ID == g.Person || slowHolds(f.PersonGroups, g.PersonGroup, string(p.ID)) {
				client = rapid.SampledFrom(p.Addresses).Draw(t, "address").Prefix.Addr().String()
			}
		}
		for _, s := range f.Servers {
			if s.ID == g.Server || slowHolds(f.ServerGroups, g.ServerGroup, string(s.ID)) {
				dest = s.Prefix.Addr().String()
			}
		}
		if g.Protocols != nil && !oneIn(t, 4, "another protocol") {
			protocol = g.Protocols[0]
		}
		if g.Logins != nil && !oneIn(t, 4, "another login") {
			login = g.Logins[0]
		}
		if edge := rapid.SampledFrom([]time.Time{g.Start, g.End}).Draw(t, "edge"); !edge.IsZero() && oneIn(t, 4, "at an edge") {
			now = edge
		}
	}
	port := rapid.SampledFrom([]uint16{22, 2222, 3389}).Draw(t, "port")
	return policy.Flow{
		Client:   netip.AddrPortFrom(netip.MustParseAddr(client), 40000),
		Dest:     netip.AddrPortFrom(netip.MustParseAddr(dest), port),
		Protocol: protocol,
		Login:    login,
		Inside:   oneIn(t, 2, "inside"),
		Identity: policy.Identity{Account: rapid.SampledFrom(accounts).Draw(t, "identity"), Node: "laptop"},
	}, now
}

// likeTheOracle draws facts, asks so many flows of the book and of the oracle,
// and returns what was said how often.
func likeTheOracle(t *rapid.T, flows int) map[policy.Denial]int {
	said := map[policy.Denial]int{}
	facts := drawFacts(t)
	book, err := policy.NewBook(facts)
	if err != nil {
		t.Fatal(err)
	}
	for range flows {
		flow, now := drawFlow(t, facts)
		want := slowDecide(facts, flow, now, "")
		if diff := cmp.Diff(inWords(want), inWords(book.Decide(flow, now))); diff != "" {
			t.Fatalf("%+v at %s (-want +got):\n%s\n%s", flow, now, diff, describe(facts))
		}
		said[want.Denial]++
		if want.Allowed() && oneIn(t, 4, "full") {
			why := rapid.SampledFrom([]policy.Denial{policy.TooManySessions, policy.TooManyEntries}).Draw(t, "why full")
			full := []policy.Full{{Grant: "99", Denial: policy.TooManySessions}, {Grant: want.Grant.ID, Denial: why}}
			want = slowDecide(facts, flow, now, "", full...)
			if diff := cmp.Diff(inWords(want), inWords(book.DecideWithout(full, flow, now))); diff != "" {
				t.Fatalf("without %+v: %+v at %s (-want +got):\n%s\n%s", full, flow, now, diff, describe(facts))
			}
			said[want.Denial]++
		}
		if len(facts.Grants) == 0 {
			continue
		}
		only := rapid.SampledFrom(facts.Grants).Draw(t, "only")
		want = slowDecide(facts, flow, now, only.ID)
		if diff := cmp.Diff(inWords(want), inWords(book.DecideBy(only.ID, flow, now))); diff != "" {
			t.Fatalf("grant %s only: %+v at %s (-want +got):\n%s\n%s", only.ID, flow, now, diff, describe(facts))
		}
		checkStanding(t, facts, book, &only, now)
	}
	return said
}

// provesMuch wants a share of flows that were let in and every denial a book
// can say: a test of denials alone would prove little, and one that misses some
// too.
func provesMuch(t *testing.T, said map[policy.Denial]int) {
	t.Helper()
	flows := 0
	for _, n := range said {
		flows += n
	}
	if t.Failed() || flows < 2000 {
		return
	}
	if share := float64(said[""]) / float64(flows); share < 0.1 {
		t.Errorf("only %.1f%% of %d flows were let in", 100*share, flows)
	}
	for _, d := range decidable {
		if said[d] == 0 {
			t.Errorf("%q was never said in %d flows", d, flows)
		}
	}
	t.Logf("%d flows: %v", flows, said)
}

func TestDecideLikeTheSlowOracle(t *testing.T) {
	said := map[policy.Denial]int{}
	rapid.Check(t, func(t *rapid.T) {
		for d, n := range likeTheOracle(t, 25) {
			said[d] += n
		}
	})
	provesMuch(t, said)
}

func checkStanding(t *rapid.T, f policy.Facts, book *policy.Book, g *policy.Grant, now time.Time) {
	timesOnly := *g
	timesOnly.Protocols, timesOnly.From, timesOnly.Logins = nil, netip.Prefix{}, nil
	wantDenial, wantUntil := slowGrant(&timesOnly, policy.Flow{}, netip.Addr{}, slowAll(f, g), now)
	until, denial := book.Standing(g.ID, now)
	if denial != wantDenial || !until.Equal(wantUntil) {
		t.Fatalf("Standing(%s, %s) = %s, %q, want %s, %q", g.ID, now, until, denial, wantUntil, wantDenial)
	}
	some := slices.ContainsFunc(f.ServerGroups, func(inner policy.Group) bool {
		return slowWithin(f.ServerGroups, g.ServerGroup, inner.ID) && slices.ContainsFunc(f.ServerGroups, func(around policy.Group) bool {
			return around.Sensitive && slowWithin(f.ServerGroups, around.ID, inner.ID)
		})
	})
	for i := range f.Servers {
		s := &f.Servers[i]
		some = some || slowSensitive(f, s) && (g.Server == s.ID || slowHolds(f.ServerGroups, g.ServerGroup, string(s.ID)))
	}
	over := denial == policy.Expired || denial == policy.Revoked
	if got, want := book.Waits(g.ID, now), g.Approved.IsZero() && !over && (some || slowAll(f, g)); got != want {
		t.Fatalf("grant %s waits: %v, want %v\n%s", g.ID, got, want, describe(f))
	}
}

// slowAll reports whether a grant is for nothing but sensitive servers: its
// server is one, or a sensitive group is its group or around it.
func slowAll(f policy.Facts, g *policy.Grant) bool {
	for i := range f.Servers {
		if f.Servers[i].ID == g.Server {
			return slowSensitive(f, &f.Servers[i])
		}
	}
	return slices.ContainsFunc(f.ServerGroups, func(around policy.Group) bool {
		return around.Sensitive && slowWithin(f.ServerGroups, around.ID, g.ServerGroup)
	})
}

// slowWithin reports whether a group is another or inside it.
func slowWithin(groups []policy.Group, outer, inner policy.GroupID) bool {
	return outer == inner || slices.ContainsFunc(groups, func(g policy.Group) bool {
		return g.ID == outer && slices.ContainsFunc(g.Groups, func(id policy.GroupID) bool { return slowWithin(groups, id, inner) })
	})
}

func describe(f policy.Facts) string {
	var b strings.Builder
	for _, part := range []any{f.Persons, f.Servers, f.PersonGroups, f.ServerGroups} {
		fmt.Fprintf(&b, "%+v\n", part)
	}
	for _, g := range f.Grants {
		fmt.Fprintf(&b, "%+v\n", g)
	}
	return b.String()
}
