package netfilter

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pawelmojski/inside/netfilter/nettest"
)

// load puts rules into the gateway and takes them away when the test ends.
func load(t *testing.T, lab *nettest.Lab, rules string) {
	t.Helper()
	for _, table := range strings.Split(rules, "table ")[1:] {
		name := strings.Join(strings.Fields(table)[:2], " ")
		t.Cleanup(func() { lab.Gateway.Run(context.Background(), "nft", "delete table "+name) })
	}
	if _, err := lab.Gateway.Run(soon(t), "nft", rules); err != nil {
		t.Fatal(err)
	}
}

// notStopped dials servers from the client, through the gate, and returns
// those that answered. Who should answer is waited for, who should not for a
// moment only.
func notStopped(t *testing.T, lab *nettest.Lab, should map[string]bool) map[string]bool {
	t.Helper()
	type result struct {
		address string
		ok      bool
	}
	results := make(chan result, len(should))
	for address, ok := range should {
		ctx, cancel := context.WithTimeout(t.Context(), map[bool]time.Duration{true: 10 * time.Second, false: 300 * time.Millisecond}[ok])
		go func() {
			defer cancel()
			conn, err := lab.Client.Dial(ctx, address)
			if err == nil {
				conn.Close()
			}
			results <- result{address, err == nil}
		}()
	}
	got := map[string]bool{}
	for range should {
		r := <-results
		got[r.address] = r.ok
	}
	return got
}

const (
	server4 = "10.30.0.140:22"
	server6 = "[fd30::140]:22"
)

// What the gate says of the rules of others is what real connections find, and
// the command that it prints lets them through.
func TestAnObstacleIsFoundAndItsCommandRemovesIt(t *testing.T) {
	for _, c := range []struct {
		name, rules string
		chain       string // "": nothing is in the way
		maybe       bool
		family      string // "4", "6": only that one is stopped
	}{
		{name: "nobody else", rules: ""},
		{name: "a policy of accept", rules: `table inet f { chain input { type filter hook input priority 0; meta l4proto ipv6-icmp accept; tcp dport 80 drop; }; }`},
		{name: "a policy of drop", rules: `table inet f { chain input { type filter hook input priority 0; policy drop; meta l4proto ipv6-icmp accept; ct state established,related accept; iifname "lo" accept; ip protocol icmp accept; }; }`, chain: "chain input of table inet f"},
		{name: "a policy of drop, and the port is let in", rules: `table inet f { chain input { type filter hook input priority 0; policy drop; meta l4proto ipv6-icmp accept; ct state vmap { established : accept, related : accept, invalid : drop }; tcp dport { 22, 443 } accept; }; }`},
		{name: "a policy of drop, and other ports are let in", rules: `table inet f { chain input { type filter hook input priority 0; policy drop; meta l4proto ipv6-icmp accept; ct state established,related accept; tcp dport { 80, 443, 1000-2000 } accept; }; }`, chain: "chain input of table inet f"},
		{name: "ranges, one of which has the port", rules: `table inet f { chain input { type filter hook input priority 0; policy drop; meta l4proto ipv6-icmp accept; ct state established,related accept; tcp dport { 1-5, 20-23, 100-200 } accept; }; }`},
		{name: "marked packets are let in", rules: `table inet f { chain input { type filter hook input priority 0; policy drop; meta l4proto ipv6-icmp accept; meta mark and 0x01000000 == 0x01000000 accept; }; }`},
		{name: "a reject at the end", rules: `table inet f { chain zones { iifname vmap { "c0" : goto zone, "eth9" : drop } ; } ; chain zone { tcp dport 443 accept; } ; chain input { type filter hook input priority 0; meta l4proto ipv6-icmp accept; ct state established accept; jump zones; reject with icmpx admin-prohibited; }; }`, chain: "chain input of table inet f"},
		{name: "a zone that lets it in", rules: `table inet f { chain zone { tcp dport 22 accept; } ; chain zones { iifname "c0" goto zone; drop; } ; chain input { type filter hook input priority 0; meta l4proto ipv6-icmp accept; ct state established accept; jump zones; reject; }; }`},
		{name: "another interface is let in", rules: `table inet f { chain input { type filter hook input priority 0; policy drop; meta l4proto ipv6-icmp accept; ct state established accept; iifname { "eth0", "wg0" } accept; }; }`, chain: "chain input of table inet f"},
		{name: "its own interface is let in", rules: `table inet f { chain input { type filter hook input priority 0; policy drop; meta l4proto ipv6-icmp accept; iifname "c*" accept; ct state established accept; }; }`},
		{name: "IPv4 only", rules: `table ip filter { chain INPUT { type filter hook input priority 0; policy drop; meta l4proto ipv6-icmp accept; ct state established accept; }; }`, chain: "chain INPUT of table ip filter", family: "4"},
		{name: "IPv6 only", rules: `table ip6 f { chain input { type filter hook input priority 0; policy drop; meta l4proto ipv6-icmp accept; ct state established accept; }; }`, chain: "chain input of table ip6 f", family: "6"},
		{name: "what is not for the router's own addresses", rules: `table inet f { chain input { type filter hook input priority 0; meta l4proto ipv6-icmp accept; ct state established accept; fib daddr type { unicast } drop; }; }`, chain: "chain input of table inet f"},
		{name: "protected addresses are let in", rules: `table inet f { chain input { type filter hook input priority 0; policy drop; meta l4proto ipv6-icmp accept; ct state established accept; ip daddr 10.30.0.0/16 accept; ip6 daddr fd30::/16 accept; }; }`},
		{name: "other addresses are let in", rules: `table inet f { chain input { type filter hook input priority 0; policy drop; meta l4proto ipv6-icmp accept; ct state established accept; ip daddr 10.31.0.0/16 accept; ip6 daddr fd31::/16 accept; }; }`, chain: "chain input of table inet f"},
		{name: "a rate that may be exceeded", rules: `table inet f { chain input { type filter hook input priority 0; policy drop; meta l4proto ipv6-icmp accept; ct state established accept; tcp dport 22 limit rate 100/second accept; }; }`, chain: "chain input of table inet f", maybe: true},
		{name: "after the mark, before routing", rules: `table inet f { chain pre { type filter hook prerouting priority -100; tcp dport 22 drop; }; }`, chain: "chain pre of table inet f"},
		{name: "a check of senders by the routes", rules: `table inet f { chain pre { type filter hook prerouting priority 10; fib saddr . mark . iif oif missing drop; fib saddr . iif oif 0 drop; fib saddr oifname != "c0" drop; }; }`},
		{name: "a raw chain before ours", rules: `table inet f { chain pre { type filter hook prerouting priority -300; tcp dport 23 drop; }; }`},
	} {
		t.Run(c.name, func(t *testing.T) {
			lab := nettest.For(t, nettest.Options{})
			gate := openQuiet(t, lab, config())
			if c.rules != "" {
				load(t, lab, c.rules)
			}
			found, err := gate.Obstacles()
			if err != nil {
				t.Fatal(err)
			}
			want := map[string]bool{}
			if c.chain != "" {
				want[c.chain] = !c.maybe
			}
			got := map[string]bool{}
			for _, o := range found {
				got[o.Chain] = o.Certain
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatal(diff)
			}
			certain := c.chain != "" && !c.maybe
			reached := map[string]bool{server4: !certain || c.family == "6", server6: !certain || c.family == "4"}
			if diff := cmp.Diff(reached, notStopped(t, lab, reached)); diff != "" {
				t.Error(diff)
			}
			for _, o := range found {
				if strings.HasPrefix(o.Cure, "iptables") {
					o.Cure = "nft insert rule ip filter INPUT meta mark and 0x01000000 == 0x01000000 accept" // what it does, without iptables
				}
				if out, err := lab.Gateway.Run(soon(t), "sh", "-c", o.Cure); err != nil {
					t.Fatalf("%s: %v", o.Cure, out)
				}
			}
			if found, err := gate.Obstacles(); err != nil || len(found) > 0 {
				t.Errorf("after its command: %+v %v", found, err)
			}
			reached = map[string]bool{server4: true, server6: true}
			if diff := cmp.Diff(reached, notStopped(t, lab, reached)); diff != "" {
				t.Errorf("after its command: %s", diff)
			}
		})
	}
}

func TestTheCommandIsThatOfTheProgramWhichRulesThere(t *testing.T) {
	f := &strangers{chains: map[chainName]*foreignChain{{2, "filter", "ufw-before-input"}: {}}}
	v4 := tryout{firstPacket{iif: "eth1", to: netip.MustParseAddr("10.30.0.1"), dport: 22}, nettest.BackendNet4}
	v6 := tryout{firstPacket{iif: "eth1", to: netip.MustParseAddr("fd30::1"), dport: 3389}, nettest.BackendNet6}
	for _, c := range []struct {
		chain foreignChain
		want  string
	}{
		{foreignChain{family: 2, table: "filter", name: "INPUT", hook: hookInput}, `sed -i '/^# End required lines/a -A ufw-before-input -m mark --mark 0x01000000/0x01000000 -j ACCEPT' /etc/ufw/before.rules && ufw reload`},
		{foreignChain{family: 10, table: "filter", name: "INPUT", hook: hookInput}, `ip6tables -I INPUT -m mark --mark 0x01000000/0x01000000 -j ACCEPT`},
		{foreignChain{family: 2, table: "mangle", name: "PREROUTING"}, `iptables -t mangle -I PREROUTING -m mark --mark 0x01000000/0x01000000 -j ACCEPT`},
		{foreignChain{family: 1, table: "firewalld", name: "filter_INPUT", hook: hookInput}, `firewall-cmd --permanent --zone="$(firewall-cmd --get-zone-of-interface=eth1 || firewall-cmd --get-default-zone)" --add-rich-rule='rule family="ipv4" destination address="10.30.0.0/24" port port="22" protocol="tcp" accept' --add-rich-rule='rule family="ipv6" destination address="fd30::/64" port port="3389" protocol="tcp" accept' && firewall-cmd --reload`},
		{foreignChain{family: 1, table: "filter", name: "input", hook: hookInput}, `nft insert rule inet filter input meta mark and 0x01000000 == 0x01000000 accept`},
	} {
		if got := f.cure(&c.chain, []tryout{v4, v6}); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", &c.chain, got, c.want)
		}
		if strings.HasPrefix(c.want, "nft") {
			continue
		}
		if out, err := exec.Command("sh", "-n", "-c", c.want).CombinedOutput(); err != nil {
			t.Errorf("%s: %s", c.want, out)
		}
	}
}

func TestMarksThatSomebodyTakesOffAreNamed(t *testing.T) {
	lab := nettest.For(t, nettest.Options{})
	gate := openQuiet(t, lab, config())
	for _, c := range []struct {
		rule string
		lost bool
	}{
		{"meta mark set 0x1", true},
		{"tcp dport 22 meta mark set meta mark and 0x00ffffff", true},
		{"meta mark set meta mark or 0x1", false},
		{"tcp dport 80 meta mark set 0x1", false},
		{"meta mark set ct mark", true},
	} {
		t.Run(c.rule, func(t *testing.T) {
			load(t, lab, fmt.Sprintf("table inet f { chain pre { type filter hook prerouting priority -120; %s; }; }", c.rule))
			lost, err := gate.MarkLosses()
			if err != nil || (len(lost) > 0) != c.lost {
				t.Errorf("%v %v", lost, err)
			}
			reached := map[string]bool{server4: !c.lost}
			if diff := cmp.Diff(reached, notStopped(t, lab, reached)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestRDPOverUDPIsOpenUntilARuleStopsIt(t *testing.T) {
	lab := nettest.For(t, nettest.Options{})
	gate := openQuiet(t, lab, config())
	stopped := func() bool {
		t.Helper()
		stopped, err := gate.UDPStopped(3389)
		if err != nil {
			t.Fatal(err)
		}
		return stopped
	}
	if stopped() {
		t.Error("stopped by nobody")
	}
	load(t, lab, `table inet no-rdp-udp { chain forward { type filter hook forward priority -5; iifname "c0" udp dport 3389 drop; }; }`)
	if !stopped() {
		t.Error("a rule stops it, and it is said to be open")
	}
	c := config()
	c.Other = Drop
	if err := gate.Reload(c); err != nil {
		t.Fatal(err)
	}
	lab.Gateway.Run(soon(t), "nft", "delete table inet no-rdp-udp")
	if !stopped() {
		t.Error(`other = "drop" stops it, and it is said to be open`)
	}
}

func TestSurroundingsAreAsTheKernelHasThem(t *testing.T) {
	lab := nettest.For(t, nettest.Options{})
	gate := openQuiet(t, lab, config())
	links, err := gate.Links()
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, l := range links {
		names[l.Name] = l.Up
		if l.Name == nettest.ClientSide && !strings.Contains(fmt.Sprint(l.Addresses), "10.50.0.1/24") {
			t.Errorf("addresses of c0: %v", l.Addresses)
		}
	}
	if diff := cmp.Diff(map[string]bool{nettest.ClientSide: true, nettest.BackendSide: true}, names); diff != "" {
		t.Error(diff)
	}
	for _, c := range []struct {
		sysctl string
		of     netip.Addr
	}{{"net/ipv4/ip_forward", nettest.BackendIP4}, {"net/ipv6/conf/all/forwarding", nettest.BackendIP6}} {
		for _, on := range []bool{false, true} {
			if err := lab.Gateway.Sysctl(c.sysctl, map[bool]string{true: "1", false: "0"}[on]); err != nil {
				t.Fatal(err)
			}
			if got, err := gate.Forwards(c.of); err != nil || got != on {
				t.Errorf("%s is %v: %v %v", c.sysctl, on, got, err)
			}
		}
	}
	for _, c := range []struct{ prefix, host, by, err string }{
		{"10.30.0.0/24", "10.30.0.2", "b0", ""}, // .1 is the gateway
		{"10.30.0.140/32", "10.30.0.140", "b0", ""},
		{"fd30::/64", "fd30::2", "b0", ""},
		{"10.30.0.1/32", "10.30.0.1", "", "10.30.0.1 is the gateway's own"},
		{"192.0.2.0/24", "192.0.2.1", "", "route to 192.0.2.1: network is unreachable"},
	} {
		host, by, err := gate.Behind(netip.MustParsePrefix(c.prefix))
		if host.String() != c.host || by != c.by || (err == nil) != (c.err == "") || err != nil && err.Error() != c.err {
			t.Errorf("%s: %s %s %v", c.prefix, host, by, err)
		}
	}
}

// The kernel's own answer, with each setting of rp_filter and src_valid_mark:
// it is what becomes of a real connection.
func TestWhomTheKernelDelivers(t *testing.T) {
	lab := nettest.For(t, nettest.Options{})
	gate := openQuiet(t, lab, config())
	backendsNeighbour := netip.MustParseAddr("10.30.0.77")
	for _, c := range []struct {
		rpFilter, srcValidMark string
		from                   netip.Addr
		want                   bool
	}{
		{"0", "0", nettest.ClientIP4, true},
		{"1", "0", nettest.ClientIP4, true},
		{"1", "1", nettest.ClientIP4, true},
		{"2", "1", nettest.ClientIP4, true},
		{"0", "1", nettest.ClientIP4, true},
		{"1", "0", backendsNeighbour, false}, // its answers would go out by b0
		{"0", "0", backendsNeighbour, true},
	} {
		for key, value := range map[string]string{"all/rp_filter": c.rpFilter, "c0/rp_filter": c.rpFilter, "all/src_valid_mark": c.srcValidMark} {
			if err := lab.Gateway.Sysctl("net/ipv4/conf/"+key, value); err != nil {
				t.Fatal(err)
			}
		}
		if err := gate.Delivers(nettest.ClientSide, c.from, nettest.BackendIP4); (err == nil) != c.want || !c.want && !errors.Is(err, ErrForged) {
			t.Errorf("rp_filter %s, src_valid_mark %s, from %s: %v", c.rpFilter, c.srcValidMark, c.from, err)
		}
		if c.from == nettest.ClientIP4 && !notStopped(t, lab, map[string]bool{server4: true})[server4] {
			t.Errorf("rp_filter %s, src_valid_mark %s: a real connection does not arrive", c.rpFilter, c.srcValidMark)
		}
	}
	if err := gate.Delivers(nettest.ClientSide, nettest.ClientIP6, nettest.BackendIP6); err != nil {
		t.Errorf("IPv6: %v", err)
	}
	if _, err := lab.Gateway.Run(soon(t), "ip", "rule", "add", "pref", "50", "iif", "c0", "lookup", "main"); err != nil {
		t.Fatal(err)
	}
	if err := gate.Delivers(nettest.ClientSide, nettest.ClientIP4, nettest.BackendIP4); err == nil || !strings.Contains(err.Error(), "another routing rule comes first") {
		t.Errorf("a rule before ours: %v", err)
	}
	if err := gate.Delivers("eth9", nettest.ClientIP4, nettest.BackendIP4); err == nil || err.Error() != "there is no interface eth9" {
		t.Errorf("no interface: %v", err)
	}
}
