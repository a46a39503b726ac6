package appliance

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/pawelmojski/inside/appliance/config"
	"github.com/pawelmojski/inside/appliance/tailscale"
	"github.com/pawelmojski/inside/policy"
)

// A tailnet is a tailscaled on a socket of its own: who is logged in at which
// address.
type tailnet struct {
	mu     sync.Mutex
	logins map[string]string // "": a tagged node
	asked  int
	server *http.Server
}

// join has the appliance ask a tailnet who comes.
func join(t *testing.T, a *Appliance) *tailnet {
	t.Helper()
	n := &tailnet{logins: map[string]string{}}
	socket := filepath.Join(t.TempDir(), "tailscaled.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	n.server = &http.Server{Handler: n}
	go n.server.Serve(l)
	t.Cleanup(n.leave)
	a.tailscale = tailscale.NewDaemon(socket)
	a.settings = newSettings(config.Config{Identity: config.Identity{Tailscale: true}})
	return n
}

// leave is tailscaled stopping.
func (n *tailnet) leave() { n.server.Close() }

func (n *tailnet) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asked++
	addr, err := netip.ParseAddrPort(r.URL.Query().Get("addr"))
	login, known := n.logins[addr.Addr().String()]
	if err != nil || !known {
		http.NotFound(w, r)
		return
	}
	tags := ""
	if login == "" {
		login, tags = "tagged-devices", `"tag:ci"`
	}
	fmt.Fprintf(w, `{"Node": {"Name": "laptop.corp.ts.net.", "Addresses": ["%s/%d"], "Tags": [%s]}, "UserProfile": {"LoginName": %q}}`,
		addr.Addr(), addr.Addr().BitLen(), tags, login)
}

// is has somebody logged in at an address: "-" takes the node away.
func (n *tailnet) is(addr, login string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.logins[addr] = login
	if login == "-" {
		delete(n.logins, addr)
	}
}

func (n *tailnet) times() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.asked
}

// corp is a book of two persons who have accounts, and one with an address of
// Tailscale's.
func corp(t *testing.T, a *Appliance, bobs string) {
	t.Helper()
	book, err := policy.NewBook(policy.Facts{
		Persons: []policy.Person{
			{ID: "p", Name: "alice", Account: "alice@corp.test"},
			{ID: "q", Name: "bob", Account: bobs},
			{ID: "r", Name: "carol", Addresses: []policy.Address{{ID: "1", Prefix: netip.MustParsePrefix("100.64.0.7/32")}}},
		},
		PersonGroups: []policy.Group{{ID: "g", Name: "staff", Members: []string{"p", "q", "r"}}},
		Servers:      []policy.Server{{ID: "v", Name: "v", Prefix: netip.MustParsePrefix("10.30.0.140/32")}},
		Grants:       []policy.Grant{{ID: "1", PersonGroup: "g", Server: "v"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	a.book.Store(book)
	a.live.reconsider()
}

// comes is somebody at the door, as far as who they are.
func comes(a *Appliance, from string) *visit {
	v := &visit{house: a, flow: policy.Flow{Client: netip.MustParseAddrPort(from), Dest: netip.MustParseAddrPort("10.30.0.140:22"), Protocol: policy.SSH}}
	v.flow.Identity, v.unidentified = a.whoComes(context.Background(), v.flow.Client)
	return v
}

func TestWhoComesIsAskedOfTailscale(t *testing.T) {
	a, _ := insider(t, policy.Grant{ID: "1"})
	n := join(t, a)
	corp(t, a, "bob@corp.test")
	n.is("100.64.0.2", "alice@corp.test")
	n.is("100.64.0.3", "mallory@corp.test")
	n.is("100.64.0.4", "")
	n.is("100.64.0.7", "alice@corp.test")
	n.is("10.50.0.9", "alice@corp.test")
	for name, c := range map[string]struct {
		from   string
		person string
		denial policy.Denial
		detail string
		asked  int
	}{
		"a person's account is that person":               {"100.64.0.2:1", "alice", "", "", 1},
		"an account of nobody's is unknown, and told":     {"100.64.0.3:1", "", policy.UnknownPerson, "inside person set-account PERSON mallory@corp.test", 1},
		"a tagged node is nobody":                         {"100.64.0.4:1", "", policy.UnknownPerson, "tagged", 1},
		"where no node is, nobody is":                     {"100.64.0.5:1", "", policy.UnknownPerson, "no node", 1},
		"an explicit address wins, and nobody is asked":   {"100.64.0.7:1", "carol", "", "", 0},
		"of an address that is not Tailscale's, likewise": {"10.50.0.9:1", "", policy.UnknownPerson, "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			before := n.times()
			v := comes(a, c.from)
			verdict := v.house.book.Load().Decide(v.believed(), a.clock.now())
			person := ""
			if verdict.Person != nil {
				person = verdict.Person.Name
			}
			detail := v.notKnown(verdict.Denial)
			if person != c.person || verdict.Denial != c.denial || !strings.Contains(detail, c.detail) || (detail == "") != (c.detail == "") {
				t.Errorf("%q, %q, %q", person, verdict.Denial, detail)
			}
			if asked := n.times() - before; asked != c.asked {
				t.Errorf("asked %d times", asked)
			}
		})
	}
	a.settings.set(config.Config{})
	if v := comes(a, "100.64.0.2:1"); v.flow.Identity != (policy.Identity{}) || v.unidentified != nil {
		t.Errorf("asked though nobody said so: %+v, %v", v.flow.Identity, v.unidentified)
	}
}

func TestWhileTailscaledIsGoneNobodyNewIsKnownByIt(t *testing.T) {
	a, _ := insider(t, policy.Grant{ID: "1"})
	n := join(t, a)
	corp(t, a, "bob@corp.test")
	n.is("100.64.0.2", "alice@corp.test")
	v := comes(a, "100.64.0.2:1")
	n.leave()
	if _, err := v.stillThem(t.Context()); err == nil || errors.Is(err, tailscale.ErrNobody) {
		t.Errorf("let in by an old answer: %v", err)
	}
	v = comes(a, "100.64.0.2:2")
	if verdict := v.Decide("root"); verdict.Denial != policy.Unidentified || !strings.HasPrefix(v.notKnown(verdict.Denial), "tailscaled does not answer") {
		t.Errorf("%q, %q", verdict.Denial, v.notKnown(verdict.Denial))
	}
}

func TestWhoWaitsAtTheDoorIsAskedForAgain(t *testing.T) {
	a, _ := insider(t, policy.Grant{ID: "1"})
	n := join(t, a)
	corp(t, a, "bob@corp.test")
	n.is("100.64.0.2", "alice@corp.test")
	v := comes(a, "100.64.0.2:1")
	if id, err := v.stillThem(t.Context()); err != nil || id.Account != "alice@corp.test" {
		t.Errorf("%+v, %v", id, err)
	}
	for login, want := range map[string]string{
		"bob@corp.test": "alice@corp.test on laptop has come, and bob@corp.test on laptop is there now",
		"":              "alice@corp.test on laptop has come, and nobody on laptop is there now",
		"-":             "alice@corp.test on laptop has come, and nobody is there now",
	} {
		n.is("100.64.0.2", login)
		if _, err := v.stillThem(t.Context()); err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
	stranger := comes(a, "100.64.0.9:1")
	n.is("100.64.0.9", "bob@corp.test")
	if _, err := stranger.stillThem(t.Context()); err == nil {
		t.Error("nobody has become bob on the way in")
	}
}

// seated is a session of somebody known by their account.
func seated(t *testing.T, a *Appliance, v *visit, from string, id policy.Identity, p policy.PersonID) {
	t.Helper()
	v.flow.Client, v.flow.Identity, v.session.Person = netip.MustParseAddrPort(from), id, p
	corp(t, a, "bob@corp.test")
	if v.ctx.Err() != nil {
		t.Fatal(context.Cause(v.ctx))
	}
}

func TestASessionEndsWhenAnotherIsLoggedInWhereItComesFrom(t *testing.T) {
	alice := policy.Identity{Account: "alice@corp.test", Node: "laptop"}
	for name, c := range map[string]struct {
		now   []string // at each look
		stays bool
	}{
		"the same, in other letters":        {[]string{"Alice@corp.test", "ALICE@corp.test"}, true},
		"another, with the same grant":      {[]string{"bob@corp.test"}, false},
		"a tag":                             {[]string{""}, false},
		"no node any more":                  {[]string{"-", "-"}, false},
		"no node once":                      {[]string{"-", "alice@corp.test", "-", "alice@corp.test"}, true},
		"no node, while tailscaled starts":  {[]string{"-"}, true},
		"no node, and then another's login": {[]string{"-", "bob@corp.test"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			a, v := insider(t, policy.Grant{ID: "1"})
			n := join(t, a)
			seated(t, a, v, "100.64.0.2:1", alice, "p")
			missing := map[netip.Addr]bool{}
			for _, login := range c.now {
				n.is("100.64.0.2", login)
				a.askAgain(t.Context(), missing)
			}
			if (v.ctx.Err() == nil) != c.stays {
				t.Errorf("%v", context.Cause(v.ctx))
			}
			if !c.stays && !errors.Is(context.Cause(v.ctx), policy.NoLongerAllowed) {
				t.Error(context.Cause(v.ctx))
			}
		})
	}
}

func TestWhoIsInsideStaysWhileTailscaledIsGone(t *testing.T) {
	a, v := insider(t, policy.Grant{ID: "1"})
	n := join(t, a)
	seated(t, a, v, "100.64.0.2:1", policy.Identity{Account: "alice@corp.test"}, "p")
	n.leave()
	for range 3 {
		a.askAgain(t.Context(), map[netip.Addr]bool{})
		a.live.reconsider()
	}
	if v.ctx.Err() != nil {
		t.Error(context.Cause(v.ctx))
	}
}

func TestWhoIsKnownByAnAddressIsNotAskedFor(t *testing.T) {
	a, v := insider(t, policy.Grant{ID: "1"})
	n := join(t, a)
	seated(t, a, v, "100.64.0.7:1", policy.Identity{}, "r")
	n.is("100.64.0.7", "mallory@corp.test")
	a.askAgain(t.Context(), map[netip.Addr]bool{})
	if v.ctx.Err() != nil || n.times() > 0 {
		t.Errorf("asked %d times, %v", n.times(), context.Cause(v.ctx))
	}
}

func TestASessionEndsWhenTheAccountIsAnotherPersons(t *testing.T) {
	a, v := insider(t, policy.Grant{ID: "1"})
	join(t, a)
	seated(t, a, v, "100.64.0.2:1", policy.Identity{Account: "bob@corp.test"}, "q")
	book, err := policy.NewBook(policy.Facts{
		Persons:      []policy.Person{{ID: "p", Name: "alice", Account: "bob@corp.test"}, {ID: "q", Name: "bob"}},
		PersonGroups: []policy.Group{{ID: "g", Name: "staff", Members: []string{"p", "q"}}},
		Servers:      []policy.Server{{ID: "v", Name: "v", Prefix: netip.MustParsePrefix("10.30.0.140/32")}},
		Grants:       []policy.Grant{{ID: "1", PersonGroup: "g", Server: "v"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	a.book.Store(book)
	a.live.reconsider()
	if !errors.Is(context.Cause(v.ctx), policy.NoLongerAllowed) {
		t.Errorf("bob's session goes on as alice's: %v", context.Cause(v.ctx))
	}
}

func TestWithoutTheSettingNobodyStaysWhoWasKnownByIt(t *testing.T) {
	a, v := insider(t, policy.Grant{ID: "1"})
	join(t, a)
	seated(t, a, v, "100.64.0.2:1", policy.Identity{Account: "alice@corp.test"}, "p")
	a.settings.set(config.Config{})
	a.live.reconsider()
	if !errors.Is(context.Cause(v.ctx), policy.NoLongerAllowed) {
		t.Error(context.Cause(v.ctx))
	}
}
