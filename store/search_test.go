package store_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/store"
	"github.com/pawelmojski/inside/store/storetest"
)

// A past is some hundred sessions and denied entries, and what a plain filter
// over them must know.
type past struct {
	persons  []policy.Person
	servers  []policy.Server
	grants   []policy.Grant
	sessions []policy.Session
	moved    map[policy.SessionID][]store.Left
	entryOf  map[policy.SessionID]int64
	denied   []store.Entry
	now      time.Time
}

var pastStart = time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC)

// logins, clients and dests of the past; some are alike.
var (
	pastLogins  = []string{"root", "Root", "admin", "DOMAIN\\Żaneta", "", "root2"}
	pastClients = []string{"100.64.0.20", "100.64.0.21", "100.64.1.20", "fd7a::1", "fd7a::1:1", "10.0.0.1"}
	pastDests   = []string{"10.30.0.140", "10.30.0.141", "fd00::140", "10.30.8.9"}
)

// makePast writes a past down, through the store as a gate would.
func makePast(tb testing.TB, s *store.Store, sessions, denials int) *past {
	tb.Helper()
	ctx := context.Background()
	check := func(err error) {
		tb.Helper()
		if err != nil {
			tb.Fatal(err)
		}
	}
	r := rand.New(rand.NewPCG(1, 2))
	p := &past{moved: map[policy.SessionID][]store.Left{}, entryOf: map[policy.SessionID]int64{}}
	for i, name := range []string{"alice", "bob", "carol"} {
		person, err := s.AddPerson(ctx, "root", policy.Person{Name: name, Addresses: []policy.Address{{Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{1, 1, 1, byte(i)}), 32)}}})
		check(err)
		p.persons = append(p.persons, person)
	}
	for i, name := range []string{"web", "db", "lab"} {
		server, err := s.AddServer(ctx, "root", policy.Server{Name: name, Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{2, 2, 2, byte(i)}), 32)})
		check(err)
		p.servers = append(p.servers, server)
	}
	for range 4 {
		g, err := s.CreateGrant(ctx, "root", policy.Grant{Person: p.persons[0].ID, Server: p.servers[0].ID})
		check(err)
		p.grants = append(p.grants, g)
	}
	at := func(texts []string, port uint16) netip.AddrPort {
		return netip.AddrPortFrom(netip.MustParseAddr(texts[r.IntN(len(texts))]), port)
	}
	protocols := []policy.Protocol{policy.SSH, policy.SSH, policy.SSH, policy.RDP}
	moment := func() time.Time { return pastStart.Add(time.Duration(r.IntN(200)) * time.Hour) } // many at once
	for range sessions {
		se, _, err := s.Enter(ctx, policy.Session{
			Person: p.persons[r.IntN(2)].ID, Server: p.servers[r.IntN(2)].ID, Grant: p.grants[r.IntN(3)].ID, Protocol: protocols[r.IntN(4)],
			Login: pastLogins[r.IntN(len(pastLogins))], Client: at(pastClients, 50000), Dest: at(pastDests, 22), Gate: "gate-1", Start: moment(),
		})
		check(err)
		entries, err := s.Entries(ctx, store.EntryFilter{Limit: 1})
		check(err)
		p.entryOf[se.ID] = entries[0].ID
		for r.IntN(8) == 0 {
			to := p.grants[r.IntN(4)].ID
			stay, err := s.Move(ctx, se.ID, to, se.Start.Add(time.Minute))
			check(err)
			if stay != se.Stay {
				p.moved[se.ID] = append(p.moved[se.ID], store.Left{Stay: se.Stay, Grant: se.Grant, Time: se.Start.Add(time.Minute)})
			}
			se.Stay, se.Grant = stay, to
		}
		if r.IntN(10) > 0 {
			se.End, se.Cause = se.Start.Add(time.Duration(r.Int64N(1<<r.IntN(20)))*time.Second), policy.ClientLeft
			se.Carried = policy.Carried{In: 5, Out: 7, Recordings: r.IntN(3), Forwarding: r.IntN(5) == 0, Files: r.IntN(4) == 0}
			check(s.Leave(ctx, se.ID, se.End, se.Cause, se.Carried))
		}
		p.sessions = append(p.sessions, se)
	}
	codes := []policy.Denial{policy.NoGrant, policy.WrongLogin, policy.UnknownPerson}
	for range denials {
		e := store.Entry{
			Time: moment(), Gate: "gate-1", Protocol: protocols[r.IntN(4)], Client: at(pastClients, 50000), Dest: at(pastDests, 22),
			Login: pastLogins[r.IntN(len(pastLogins))], Denial: codes[r.IntN(3)], Detail: "of a test",
		}
		if e.Denial != policy.UnknownPerson {
			e.Person, e.Server = p.persons[r.IntN(2)].ID, p.servers[r.IntN(2)].ID
		}
		if e.Denial == policy.WrongLogin {
			e.Grant = p.grants[r.IntN(3)].ID
		}
		check(s.Deny(ctx, e))
		entries, err := s.Entries(ctx, store.EntryFilter{Limit: 1})
		check(err)
		p.denied = append(p.denied, entries[0])
	}
	p.now = pastStart.Add(1000 * time.Hour)
	return p
}

// holdsSession is a term, said again in Go.
func (p *past) holdsSession(t store.Term, se policy.Session) bool {
	stays, grants := []policy.StayID{se.Stay}, []policy.GrantID{se.Grant}
	for _, l := range p.moved[se.ID] {
		stays, grants = append(stays, l.Stay), append(grants, l.Grant)
	}
	lasted := p.now.Sub(se.Start)
	if !se.End.IsZero() {
		lasted = se.End.Sub(se.Start)
	}
	shares := func(n int, has func(int) bool) bool {
		for i := range n {
			if has(i) {
				return true
			}
		}
		return false
	}
	return slices.Contains(t.Persons, se.Person) || slices.Contains(t.Servers, se.Server) || slices.Contains(t.Protocols, se.Protocol) ||
		shares(len(t.Grants), func(i int) bool { return slices.Contains(grants, t.Grants[i]) }) ||
		shares(len(t.Stays), func(i int) bool { return slices.Contains(stays, t.Stays[i]) }) ||
		slices.Contains(t.Entries, p.entryOf[se.ID]) ||
		t.Session != "" && strings.HasPrefix(string(se.ID), t.Session) ||
		shares(len(t.Logins), func(i int) bool { return folded(t.Logins[i]) == folded(se.Login) }) ||
		t.LoginPart != "" && strings.Contains(folded(se.Login), folded(t.LoginPart)) ||
		shares(len(t.Addresses), func(i int) bool {
			return t.Addresses[i].Contains(se.Client.Addr()) || t.Addresses[i].Contains(se.Dest.Addr())
		}) ||
		t.Status == store.Active && se.End.IsZero() || t.Status == store.Ended && !se.End.IsZero() ||
		t.Longer > 0 && lasted >= t.Longer || t.Shorter > 0 && lasted <= t.Shorter ||
		t.Forwarding && se.Forwarding || t.Files && se.Files
}

// folded is how the store compares names.
func folded(s string) string { return strings.ToLower(s) }

func (p *past) holdsDenied(t store.Term, e store.Entry) bool {
	return slices.Contains(t.Persons, e.Person) || slices.Contains(t.Servers, e.Server) || slices.Contains(t.Protocols, e.Protocol) ||
		slices.Contains(t.Grants, e.Grant) && e.Grant != "" || slices.Contains(t.Entries, e.ID) ||
		slices.ContainsFunc(t.Logins, func(l string) bool { return folded(l) == folded(e.Login) }) ||
		t.LoginPart != "" && strings.Contains(folded(e.Login), folded(t.LoginPart)) ||
		slices.ContainsFunc(t.Addresses, func(a netip.Prefix) bool { return a.Contains(e.Client.Addr()) || a.Contains(e.Dest.Addr()) }) ||
		t.Status == store.Denied || slices.Contains(t.Denials, e.Denial)
}

// plain names what a search must find, in no order.
func (p *past) plain(q store.Search) (names []string) {
	for _, se := range p.sessions {
		there := (q.From.IsZero() || se.End.IsZero() || !se.Start.Before(q.From) || se.End.After(q.From)) && (q.To.IsZero() || se.Start.Before(q.To))
		for _, t := range q.Terms {
			there = there && p.holdsSession(t, se)
		}
		if there {
			names = append(names, string(se.ID))
		}
	}
	for _, e := range p.denied {
		there := (q.From.IsZero() || !e.Time.Before(q.From)) && (q.To.IsZero() || e.Time.Before(q.To))
		for _, t := range q.Terms {
			there = there && p.holdsDenied(t, e)
		}
		if there {
			names = append(names, fmt.Sprint(e.ID))
		}
	}
	return names
}

func nameOf(f store.Found) string {
	if f.Session != nil {
		return string(f.Session.ID)
	}
	return fmt.Sprint(f.Entry.ID)
}

// read follows a search to its end and checks that each page is what it says.
func read(ctx context.Context, t interface{ Fatalf(string, ...any) }, s *store.Store, q store.Search) (names []string) {
	var last time.Time
	for pages := 0; ; pages++ {
		page, err := s.Search(ctx, q)
		if err != nil {
			t.Fatalf("%+v: %v", q, err)
		}
		for _, f := range page.Found {
			if !last.IsZero() && f.Start().After(last) {
				t.Fatalf("%+v: %s comes after an older one", q, nameOf(f))
			}
			last = f.Start()
			names = append(names, nameOf(f))
		}
		if q.Limit > 0 && len(page.Found) > q.Limit {
			t.Fatalf("%+v: %d on a page", q, len(page.Found))
		}
		if page.Next == "" {
			return names
		}
		if page.Next == q.After || pages > 10_000 {
			t.Fatalf("%+v: does not come to an end", q)
		}
		if !last.IsZero() && page.Reached.After(last) {
			t.Fatalf("%+v: reached %s, but found something of %s", q, page.Reached, last)
		}
		q.After = page.Next
	}
}

func drawTerm(rt *rapid.T, p *past) (t store.Term) {
	pick := func(label string, n int) int { return rapid.IntRange(0, n-1).Draw(rt, label) }
	for range rapid.SampledFrom([]int{1, 1, 1, 2, 3}).Draw(rt, "alternatives") {
		switch pick("field", 16) {
		case 0:
			t.Persons = append(t.Persons, p.persons[pick("person", 3)].ID)
		case 1:
			t.Servers = append(t.Servers, p.servers[pick("server", 3)].ID)
		case 2:
			t.Grants = append(t.Grants, p.grants[pick("grant", 4)].ID)
		case 3:
			t.Stays = append(t.Stays, policy.StayID(fmt.Sprint(1+pick("stay", 10))))
		case 4:
			t.Entries = append(t.Entries, int64(1+pick("entry", 200)))
		case 5:
			t.Session = string(p.sessions[pick("session", len(p.sessions))].ID)[:4]
		case 6:
			t.Logins = append(t.Logins, pastLogins[pick("login", len(pastLogins))])
		case 7:
			t.LoginPart = rapid.SampledFrom([]string{"oo", "ROOT", "żan", "\\", "2", "nobody"}).Draw(rt, "part")
		case 8:
			a := rapid.SampledFrom([]string{"100.64.0.20/32", "100.64.0.0/24", "100.64.0.0/10", "0.0.0.0/0", "fd7a::/16", "fd7a::1/128", "::/0", "10.30.0.140/31", "9.9.9.0/24"}).Draw(rt, "address")
			t.Addresses = append(t.Addresses, netip.MustParsePrefix(a))
		case 9:
			t.Protocols = append(t.Protocols, rapid.SampledFrom([]policy.Protocol{policy.SSH, policy.RDP, policy.HTTP}).Draw(rt, "protocol"))
		case 10:
			t.Denials = append(t.Denials, rapid.SampledFrom([]policy.Denial{policy.NoGrant, policy.WrongLogin, policy.Expired}).Draw(rt, "denial"))
		case 11:
			t.Status = rapid.SampledFrom([]store.Status{store.Active, store.Ended, store.Denied}).Draw(rt, "status")
		case 12:
			t.Longer = time.Duration(rapid.Int64Range(1, 1<<22).Draw(rt, "longer")) * time.Second
		case 13:
			t.Shorter = time.Duration(rapid.Int64Range(1, 1<<22).Draw(rt, "shorter")) * time.Second
		case 14:
			t.Forwarding = true
		case 15:
			t.Files = true
		}
	}
	return t
}

func TestASearchFindsWhatAPlainFilterFinds(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		s := storetest.Open(t, url)
		p := makePast(t, s, 120, 80)
		for _, rows := range []int{5, 2048} {
			t.Run(fmt.Sprintf("steps of %d", rows), func(t *testing.T) {
				store.SmallSteps(t, rows)
				rapid.Check(t, func(rt *rapid.T) {
					q := store.Search{Now: p.now, Limit: rapid.SampledFrom([]int{0, 1, 3, 50}).Draw(rt, "limit")}
					for range rapid.IntRange(0, 3).Draw(rt, "terms") {
						q.Terms = append(q.Terms, drawTerm(rt, p))
					}
					hour := func(label string) time.Time {
						if rapid.Bool().Draw(rt, label) {
							return time.Time{}
						}
						return pastStart.Add(time.Duration(rapid.IntRange(-5, 205).Draw(rt, label+" hour")) * time.Hour)
					}
					q.From, q.To = hour("from"), hour("to")
					got, want := read(t.Context(), rt, s, q), p.plain(q)
					slices.Sort(got)
					slices.Sort(want)
					if diff := cmp.Diff(want, got); diff != "" {
						rt.Fatalf("%+v: want -, got +:\n%s", q, diff)
					}
				})
			})
		}
	})
}

// Whatever is written meanwhile: what was there when the first page was read
// is on exactly one page.
func TestPagesLoseAndDoubleNothingWhileRowsAreWritten(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		store.SmallSteps(t, 16)
		s := storetest.Open(t, url)
		p := makePast(t, s, 60, 60)
		stop := make(chan struct{})
		var writers sync.WaitGroup
		writers.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				old := p.sessions[i%len(p.sessions)]
				old.ID, old.Start, old.End = "", pastStart.Add(time.Duration(i%300)*time.Hour), time.Time{}
				_, _, err := s.Enter(t.Context(), old)
				err = errors.Join(err, s.Deny(t.Context(), store.Entry{Gate: "gate-1", Time: old.Start, Denial: policy.NoGrant}))
				if err != nil && t.Context().Err() == nil {
					t.Error(err)
					return
				}
			}
		})
		for range 5 {
			seen := map[string]int{}
			for _, name := range read(t.Context(), t, s, store.Search{Limit: 7}) {
				seen[name]++
			}
			for _, name := range p.plain(store.Search{}) {
				if seen[name] != 1 {
					t.Errorf("%s was on %d pages", name, seen[name])
				}
			}
			for name, n := range seen {
				if n > 1 {
					t.Errorf("%s was on %d pages", name, n)
				}
			}
		}
		close(stop)
		writers.Wait()
	})
}

func TestAPlaceToGoOnFromThatIsNoneIsRefused(t *testing.T) {
	s := storetest.Open(t, storetest.SQLite(t))
	makePast(t, s, 3, 0)
	for _, after := range []string{"x", "1", "1.", "1.s", "1.e", "1.e0", "1.e-1", "0.e1", "-1.e1", "1.sSHOUTING12345678", "1.sshort", "1.x1", "01.e1", "1.e1 ", strings.Repeat("z", 100) + ".e1", "1.s' OR 1=1 --"} {
		if _, err := s.Search(t.Context(), store.Search{After: after}); !errors.Is(err, store.ErrInvalid) {
			t.Errorf("%q: %v", after, err)
		}
	}
}

// A database from before there were searches is searched like any other.
func TestWhatWasThereBeforeTheKeysIsFound(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		old, err := store.OpenUnmigrated(url)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(store.FirstSchema(t.Context(), old), old.Close()); err != nil {
			t.Fatal(err)
		}
		execute(t, raw(t, url),
			"INSERT INTO persons VALUES ('p', 'alice', '', '', false)",
			"INSERT INTO servers VALUES ('v', 'db', '10.30.0.140/32', 0, 0, false)",
			"INSERT INTO grants VALUES (1, 'p', '', 'v', '', '', '', '', 0, 5, 0, '', '', 0, 5, 'root')",
			"INSERT INTO stays VALUES (1, 'p', 1, 10, 0, '')",
			"INSERT INTO sessions VALUES ('aaaaaaaaaaaaaaaa', 'aaaa', 1, 'p', 'v', 1, 'ssh', 'Ideo', '1.2.3.4:5', '1.2.3.5:22', 'gate-1', 10, 90000010, 'client-left')",
			"INSERT INTO sessions VALUES ('bbbbbbbbbbbbbbbb', 'bbbb', 1, 'p', 'v', 1, 'ssh', 'root', '[fd00::1]:5', '1.2.3.5:22', 'gate-1', 40, 0, '')",
			"INSERT INTO entries VALUES (1, 10, 'gate-1', '1.2.3.4:5', '1.2.3.5:22', 'ssh', 'Ideo', 'p', 'v', 1, '', '', 'aaaaaaaaaaaaaaaa')",
			"INSERT INTO entries VALUES (2, 40, 'gate-1', '[fd00::1]:5', '1.2.3.5:22', 'ssh', 'root', 'p', 'v', 1, '', '', 'bbbbbbbbbbbbbbbb')",
			"INSERT INTO entries VALUES (3, 50, 'gate-1', '1.2.3.4:5', '1.2.3.5:22', 'ssh', 'ROOT', 'p', 'v', 0, 'no-grant', '', '')",
			"UPDATE counters SET n = 3 WHERE name IN ('entry', 'stay')")
		s := storetest.Open(t, url)
		for _, c := range []struct {
			term store.Term
			want []string
		}{
			{store.Term{Addresses: []netip.Prefix{netip.MustParsePrefix("1.2.3.4/32")}}, []string{"3", "aaaaaaaaaaaaaaaa"}},
			{store.Term{Addresses: []netip.Prefix{netip.MustParsePrefix("fd00::/8")}}, []string{"bbbbbbbbbbbbbbbb"}},
			{store.Term{Logins: []string{"ideo"}}, []string{"aaaaaaaaaaaaaaaa"}},
			{store.Term{LoginPart: "roo"}, []string{"3", "bbbbbbbbbbbbbbbb"}},
			{store.Term{Longer: 90 * time.Second, Denials: []policy.Denial{policy.NoGrant}}, []string{"3", "bbbbbbbbbbbbbbbb", "aaaaaaaaaaaaaaaa"}},
		} {
			q := store.Search{Terms: []store.Term{c.term}, Now: time.Now()}
			if diff := cmp.Diff(c.want, read(t.Context(), t, s, q)); diff != "" {
				t.Errorf("%+v: want -, got +:\n%s", c.term, diff)
			}
		}
		stay, err := s.Stay(t.Context(), "1")
		if err != nil || stay.Sessions != 2 || len(stay.Servers) != 1 {
			t.Errorf("stay %+v, %v", stay, err)
		}
	})
}
