package netfilter

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pawelmojski/inside/netfilter/nettest"
)

// sh runs a shell script in the gateway.
func sh(t testing.TB, lab *nettest.Lab, script string) string {
	t.Helper()
	out, err := lab.Gateway.Run(soon(t), "sh", "-ec", script)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestWhatSomebodyElseChangesIsPutBackWithinASecondAndToldOnce(t *testing.T) {
	nettest.Need(t, "nft", "ip")
	for name, c := range map[string]struct{ change, told string }{
		"everything flushed":           {`nft flush ruleset`, `the nftables table inet inside was deleted; nftables was last changed by "nft" \(pid \d+\)`},
		"our table deleted":            {`nft delete table inet inside`, `the nftables table inet inside was deleted`},
		"our table flushed":            {`nft flush table inet inside`, `nftables rules of chain protected-ip were deleted or changed: .*"ssh goes to the gate"`},
		"our table dormant":            {`nft add table inet inside '{ flags dormant; }'`, `got flags`},
		"a chain flushed":              {`nft flush chain inet inside forward`, `nftables rules of chain forward were deleted`},
		"the tproxy rule deleted":      {delRule("protected-ip", `"ssh goes`), `rules of chain protected-ip were deleted or changed: "ssh goes to the gate"`},
		"the refusal deleted":          {delRule("protected-ip6", `"ssh is refused`), `chain protected-ip6 were deleted or changed: "ssh is refused while the gate is away"`},
		"a policy changed":             {`nft chain inet inside input '{ policy drop; }'`, `chain input was changed`},
		"a rule of another in ours":    {`nft insert rule inet inside prerouting accept`, `^1 nftables rules were added to our chain prerouting; nft`},
		"a rule of another behind":     {`nft add rule inet inside input accept`, `^1 nftables rules were added to our chain input; nft`},
		"a chain of another in ours":   {`nft add chain inet inside mine`, `a nftables chain mine was added to our table`},
		"a rule replaced":              {replaceRule("input", `"the listener`, `accept comment '"the listener for ssh is not dialled directly"'`), `chain input were deleted or changed`},
		"the ip rule deleted":          {`ip rule del pref 900`, `a routing rule was deleted: ip rule add pref 900 iif c0`},
		"the guard deleted":            {`ip -6 rule del pref 910`, `a routing rule was deleted: ip -6 rule add pref 910 iif c0 to fd30::/64`},
		"a rule at our preference":     {`ip rule add pref 900 iif b0 fwmark 0x1000000/0x1000000 lookup 2600`, `a routing rule was added at our preference: ip rule add pref 900 iif b0`},
		"the IPv4 route table flushed": {`ip route flush table 2600`, `the IPv4 route of table 2600 was deleted`},
		"the IPv6 route table flushed": {`ip -6 route flush table 2600`, `the IPv6 route of table 2600 was deleted`},
		"lo taken down and up":         {`ip link set lo down; ip link set lo up`, `route of table 2600 was deleted`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			lab := nettest.For(t, nettest.Options{})
			serveNames(t, lab.Backend, ":22")
			g := openGate(t, lab, config())
			before := list(t, lab.Gateway)
			session, err := lab.Client.Dial(soon(t), "10.30.0.140:22")
			if err != nil {
				t.Fatal(err)
			}
			defer session.Close()
			began := time.Now()
			sh(t, lab, c.change)
			what := g.next(t)
			if took := time.Since(began); took > time.Second {
				t.Errorf("put back only after %v", took)
			}
			if !regexp.MustCompile(c.told).MatchString(what) {
				t.Errorf("told: %s\nwant: %s", what, c.told)
			}
			if name == "lo taken down and up" {
				// Two families, two losses, if both were seen apart.
				poll(t, "a healthy gate", func() bool { return g.Healthy() == nil })
			} else {
				defer g.nothingElse(t)
			}
			if d := cmp.Diff(before, list(t, lab.Gateway)); d != "" {
				t.Errorf("-before +after:\n%s", d)
			}
			if err := g.Healthy(); err != nil {
				t.Error(err)
			}
			expect(t, "IPv4", exchange(t, lab.Client, "10.30.0.140:22"), "gate: 10.50.0.2 to 10.30.0.140:22 | server: 10.30.0.1")
			expect(t, "IPv6", exchange(t, lab.Client, "[fd30::140]:22"), "gate: fd50::2 to [fd30::140]:22 | server: fd30::1")
			stillAlive(t, session)
		})
	}
}

// stillAlive checks that a connection that was opened before still echoes.
func stillAlive(t *testing.T, conn net.Conn) {
	t.Helper()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	fmt.Fprintln(conn, "still there")
	r := bufio.NewReader(conn)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Errorf("the running session died: %v", err)
			return
		}
		if line == "still there\n" {
			return
		}
	}
}

func TestRunningSessionsOutliveAReloadThatNoLongerInterceptsTheirPort(t *testing.T) {
	for _, source := range []Source{Gateway, Client} {
		lab := nettest.For(t, nettest.Options{})
		serveNames(t, lab.Backend, ":22")
		c := config()
		c.Source = source
		g := openGate(t, lab, c)
		var sessions []net.Conn
		for _, addr := range []string{"10.30.0.140:22", "[fd30::140]:22"} {
			conn, err := lab.Client.Dial(soon(t), addr)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			stillAlive(t, conn)
			sessions = append(sessions, conn)
		}
		c = config()
		c.Source = source
		c.Entries[0].Ports = []uint16{2222}
		if err := g.Reload(c); err != nil {
			t.Fatal(err)
		}
		for _, conn := range sessions {
			stillAlive(t, conn)
		}
		expect(t, "a new one", exchange(t, lab.Client, "10.30.0.140:22"), "server: 10.50.0.2")
	}
}

func TestAReloadThatCannotBeDoneChangesNothing(t *testing.T) {
	lab := nettest.For(t, nettest.Options{})
	g := openGate(t, lab, config())
	before := list(t, lab.Gateway)
	for name, change := range map[string]func(*Config){
		"no interfaces":                func(c *Config) { c.Interfaces = nil },
		"entries and address families": func(c *Config) { c.Entries[0].Listen++ },
		"change with a restart only":   func(c *Config) { c.Protect = c.Protect[:1] },
		"systemctl restart inside":     func(c *Config) { c.Entries[0].Name = "rdp" },
	} {
		c := config()
		change(&c)
		if err := g.Reload(c); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("want an error with %q, got %v", name, err)
		}
	}
	if d := cmp.Diff(before, list(t, lab.Gateway)); d != "" {
		t.Errorf("-before +after:\n%s", d)
	}
	if err := g.Healthy(); err != nil {
		t.Error(err)
	}
}

func TestHealthySaysWhatIsWrong(t *testing.T) {
	lab := nettest.For(t, nettest.Options{})
	var g *Gate
	ctx, cancel := context.WithCancel(t.Context())
	err := lab.Gateway.Do(func() (err error) {
		g, err = Open(ctx, config(), nil, slog.New(slog.DiscardHandler), func(string) {})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close(false)
	cancel()
	g.events.close()
	g.wg.Wait() // nobody repairs any more
	if err := g.Healthy(); err != nil {
		t.Error(err)
	}
	sh(t, lab, "nft flush ruleset; ip rule del pref 900")
	if err := g.Healthy(); err == nil || !strings.Contains(err.Error(), "a routing rule was deleted: ip rule add pref 900 iif c0") || !strings.Contains(err.Error(), "table inet inside was deleted") {
		t.Errorf("said %v", err)
	}
}

func TestAServerBehindAnInterfaceThatIsNewIsReachedInTheClientsName(t *testing.T) {
	lab := nettest.For(t, nettest.Options{})
	c := config()
	c.Source = Client
	c.Protect = append(c.Protect, netip.MustParsePrefix("10.77.0.0/16"))
	g := openGate(t, lab, c)
	far, err := lab.Host("far")
	if err != nil {
		t.Fatal(err)
	}
	serveNames(t, far, ":22")
	sh(t, lab, "ip link add x0 type veth peer name eth0 netns "+far.Name+"; ip addr add 10.77.5.1/24 dev x0; ip link set x0 up")
	sh2(t, far, "ip addr add 10.77.5.9/24 dev eth0; ip link set eth0 up; ip route add default via 10.77.5.1")
	expect(t, "at the first try", exchange(t, lab.Client, "10.77.5.9:22"), "gate: 10.50.0.2 to 10.77.5.9:22 | server: 10.50.0.2")
	g.nothingElse(t) // what the gate learned is no loss
}

// delRule deletes the rule of a chain that has a comment.
func delRule(chain, comment string) string {
	return `nft delete rule inet inside ` + chain + ` handle $(nft -a list chain inet inside ` + chain + ` | sed -n 's/.*` + comment + `.*# handle //p')`
}

func replaceRule(chain, comment, by string) string {
	return strings.Replace(delRule(chain, comment), "nft delete", "nft replace", 1) + " " + by
}

func TestAReplacedInterfaceIsInterceptedAgainAndItsAbsenceIsNoError(t *testing.T) {
	lab := nettest.For(t, nettest.Options{})
	serveNames(t, lab.Backend, ":22")
	c := config()
	c.Interfaces = append(c.Interfaces, "tailscale0") // never there
	g := openGate(t, lab, c)
	for range 3 {
		expect(t, "plugged", exchange(t, lab.Client, "10.30.0.140:22"), "gate: 10.50.0.2 to 10.30.0.140:22 | server: 10.30.0.1")
		if err := lab.Unplug(); err != nil {
			t.Fatal(err)
		}
		if err := g.Healthy(); err != nil {
			t.Errorf("without c0: %v", err)
		}
		absent(t, g, "c0", "tailscale0")
		if err := lab.Plug(); err != nil {
			t.Fatal(err)
		}
		absent(t, g, "tailscale0")
		expect(t, "plugged again", exchange(t, lab.Client, "[fd30::140]:22"), "gate: fd50::2 to [fd30::140]:22 | server: fd30::1")
	}
	g.nothingElse(t)
}

func absent(t *testing.T, g *testGate, want ...string) {
	t.Helper()
	got, err := g.Absent()
	if d := cmp.Diff(want, got); d != "" || err != nil {
		t.Errorf("who is not there: %s %v", d, err)
	}
}

func TestAGateOpensBeforeItsInterfaceExists(t *testing.T) {
	lab := nettest.For(t, nettest.Options{})
	serveNames(t, lab.Backend, ":22")
	if err := lab.Unplug(); err != nil {
		t.Fatal(err)
	}
	g := openGate(t, lab, config())
	if err := lab.Plug(); err != nil {
		t.Fatal(err)
	}
	expect(t, "IPv4", exchange(t, lab.Client, "10.30.0.140:22"), "gate: 10.50.0.2 to 10.30.0.140:22 | server: 10.30.0.1")
	g.nothingElse(t)
}

// What others may have: a table with our mark's neighbours, rules at our
// preferences that are not of our shape, routes in our table.
const foreign = `
nft -f - <<'END'
table inet docker { chain pre { type filter hook prerouting priority mangle; ip daddr 203.0.113.1 meta mark set 0x40000 counter drop; }; }
table ip inside { chain input { type filter hook input priority 0; counter accept; }; }
END
ip rule add pref 900 from 203.0.113.0/24 lookup main
ip rule add pref 910 to 203.0.113.0/24 prohibit
ip rule add pref 900 iif b0 fwmark 0x2000000/0x3000000 lookup 2600
ip rule add pref 5210 fwmark 0x80000/0xff0000 lookup main
ip -6 rule add pref 910 iif c0 to fd30::/64 ipproto udp sport 53 prohibit
ip route add 203.0.113.7 dev b0 table 2600
`

// others lists what is not ours: other tables, rules and routes, and every
// sysctl that does not count something.
func others(t testing.TB, lab *nettest.Lab) string {
	t.Helper()
	return withoutCounts(sh(t, lab, `nft list table inet docker; nft list table ip inside
		for f in -4 -6; do ip $f rule | grep -v 'fwmark 0x1000000/0x1000000 iif [ce]\|iif [ce][h0-9]* .*ipproto tcp dport 22 prohibit'; done
		ip route show table 2600 | grep -v ^local
		sysctl -a 2>/dev/null | grep -e rp_filter -e src_valid_mark -e forward -e accept_local -e route_localnet -e redirects`))
}

func TestNothingOfOthersIsTouched(t *testing.T) {
	nettest.Need(t, "nft", "ip", "sysctl")
	lab := nettest.For(t, nettest.Options{})
	sh(t, lab, foreign)
	before := others(t, lab)
	g := openGate(t, lab, config())
	sh(t, lab, "nft delete table inet inside; ip rule del pref 880 iif c0") // others stand at 900 and 910
	g.next(t)
	poll(t, "a healthy gate", func() bool { return g.Healthy() == nil })
	c := config()
	c.Interfaces = []string{"c0", "eth9"}
	if err := g.Reload(c); err != nil {
		t.Fatal(err)
	}
	if err := g.Reload(config()); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(before, others(t, lab)); d != "" {
		t.Errorf("-before +with a gate:\n%s", d)
	}
	if err := g.Close(true); err != nil {
		t.Error(err)
	}
	if d := cmp.Diff(before, others(t, lab)); d != "" {
		t.Errorf("-before +after it:\n%s", d)
	}
}

func TestLeftoversOfAPredecessorAreReplacedAndCleanupRemovesEverything(t *testing.T) {
	lab := nettest.For(t, nettest.Options{})
	state := func() string {
		return withoutCounts(sh(t, lab, `nft list ruleset; for f in -4 -6; do ip $f rule; ip $f route show table 2600 2>/dev/null || true; done`))
	}
	untouched := state()
	old := config()
	old.Other, old.Source = Drop, Client
	old.Interfaces = []string{"c0", "eth7"}
	startGate(t, lab, old).Kill()
	g := openGate(t, lab, config())
	with := state()
	if strings.Contains(with, "eth7") || strings.Contains(with, "admin-prohibited") {
		t.Errorf("something of the predecessor is left:\n%s", with)
	}
	if err := g.Close(false); err != nil {
		t.Error(err)
	}
	if d := cmp.Diff(with, state()); d != "" {
		t.Errorf("closing changed the rules:\n%s", d)
	}
	for range 2 { // the second has nothing to do
		if err := lab.Gateway.Do(Cleanup); err != nil {
			t.Error(err)
		}
		if d := cmp.Diff(untouched, state()); d != "" {
			t.Errorf("-before +after cleanup:\n%s", d)
		}
	}
}

// wg-quick adds its rules without a preference, which puts them before ours:
// what is intercepted would be routed on, and past the guard.
func TestRoutingRulesOfOthersDoNotComeBeforeOurs(t *testing.T) {
	nettest.Need(t, "ip", "nft")
	lab := nettest.For(t, nettest.Options{})
	serveNames(t, lab.Backend, ":22")
	g := openGate(t, lab, config())
	before := sh(t, lab, "ip rule; ip -6 rule")
	for round := range 2 {
		for _, add := range []string{"not fwmark 51820 table 51820", "table main suppress_prefixlength 0"} {
			sh(t, lab, "ip rule add "+add+"; ip -6 rule add "+add)
		}
		what := g.next(t)
		poll(t, "rules that moved", func() bool { return g.Healthy() == nil })
		if round == 0 && !strings.Contains(what, "a routing rule of somebody else's stands before ours, which go to preference 8") {
			t.Errorf("told: %s", what)
		}
		expect(t, "IPv4", exchange(t, lab.Client, "10.30.0.140:22"), "gate: 10.50.0.2 to 10.30.0.140:22 | server: 10.30.0.1")
		expect(t, "IPv6", exchange(t, lab.Client, "[fd30::140]:22"), "gate: fd50::2 to [fd30::140]:22 | server: fd30::1")
		if round == 0 {
			sh(t, lab, `for f in -4 -6; do ip $f rule del table 51820; ip $f rule del table main suppress_prefixlength 0; done`)
			poll(t, "rules that are back", func() bool { return sh(t, lab, "ip rule; ip -6 rule") == before })
		}
	}
	// The guard stands before them, too.
	if err := g.Close(false); err != nil {
		t.Fatal(err)
	}
	sh(t, lab, "nft flush ruleset")
	reached := map[string]bool{server4: false, server6: false}
	if d := cmp.Diff(reached, notStopped(t, lab, reached)); d != "" {
		t.Error(d)
	}
	if err := lab.Gateway.Do(Cleanup); err != nil {
		t.Fatal(err)
	}
	if left := sh(t, lab, "ip rule; ip -6 rule"); strings.Contains(left, "prohibit") || strings.Contains(left, "0x1000000") {
		t.Errorf("left behind:\n%s", left)
	}
}
