package netfilter

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"golang.org/x/sys/unix"
)

// tableName is our nftables table, of family inet. No other is ever touched.
const tableName = "inside"

// Chains by which our table is told from another of its name.
const (
	peopleChain = "people"
	aroundChain = "around"
)

// Rules is everything a gate wants from the kernel, as data. Two of them are
// the same when their String is.
//
// The nftables rules hold interfaces, prefixes and ports as literals, not in
// sets. Sets would be shorter, but are not safe here: while one generation of
// rules replaces the other, a packet that is walked through the old rules
// finds the old sets already empty, matches nothing and passes by. Measured
// on Linux 6.18: 13 of 170,000 connects during 500 replacements, which only
// the ip rules then stopped; with literals none.
type Rules struct {
	chains  []chain
	ipRules []ipRule
	routes  []family // which get "everything is local" in our route table
}

// A chain without a hook is only jumped to.
type chain struct {
	name     string
	hook     *nftables.ChainHook
	priority nftables.ChainPriority
	rules    []rule
}

type rule struct {
	comment string
	clauses []clause
}

func (c *chain) add(comment string, clauses ...clause) {
	c.rules = append(c.rules, rule{comment, clauses})
}

// Desired computes the rules. It is pure; egress names the interfaces towards
// the protected prefixes, which only Source Client needs.
func Desired(c Config, egress ...string) (Rules, error) {
	c, err := c.checked()
	if err != nil {
		return Rules{}, err
	}
	return desired(c, egress), nil
}

// desired is Desired for a checked config.
func desired(c Config, egress []string) Rules {
	r := Rules{ipRules: desiredIPRules(c, egress), routes: c.families()}
	// What is jumped to comes first, as nft -f wants it.
	for _, f := range c.families() {
		if len(f.only(c.Protect)) > 0 {
			r.chains = append(r.chains, protected(c, f))
		}
		if len(f.only(c.Observe)) > 0 {
			r.chains = append(r.chains, observed(c, f))
		}
	}
	if len(c.Observe) > 0 {
		r.chains = append(r.chains, answers(c))
	}
	r.chains = append(r.chains, people(c), prerouting(c), around(c), forward(c), input(c))
	return r
}

// protected is what happens to a packet from a person to a protected address.
func protected(c Config, f family) chain {
	ch := chain{name: "protected-" + f.nft()}
	ch.addRunning(f)
	if c.Passing {
		// No SYN: whoever dials anew comes to the gate, also from the same port.
		for _, ports := range ranges(c.ports()) {
			ch.add("began when this was observed", tcpDport(ports), noSYN(), beganPassing(), setBit(passBit), counter(), accept())
		}
	}
	for _, e := range c.Entries {
		for _, ports := range ranges(e.Ports) {
			// The mark comes before tproxy, which ends the rule when nobody
			// listens; then the next rule is reached.
			ch.add(e.Name+" goes to the gate", tcpDport(ports), setMark(), tproxy(f, e.Listen), counter(), accept())
			ch.add(e.Name+" is refused while the gate is away", tcpDport(ports), counter(), reset())
		}
	}
	for _, ports := range ranges(c.udpPorts()) {
		ch.add("no way around the gate by UDP", udpDport(ports), counter(), drop())
	}
	if c.Other == Drop {
		ch.add("other TCP ports are refused", tcp(), counter(), reset())
		ch.add("other protocols are refused", counter(), prohibited())
	}
	return ch
}

// addRunning lets sessions outlive a change of the ports or of the mode of their
// prefix; and the ICMP errors about them, which path MTU discovery needs, are
// sent to the server's address.
func (c *chain) addRunning(f family) {
	for _, proto := range []clause{tcp(), icmp(f)} {
		c.add("part of a running session", proto, transparent(), notWildcard(), setMark(), counter(), accept())
	}
}

// people is what happens to a packet from an interface that people come from.
func people(c Config) chain {
	ch := chain{name: peopleChain}
	for _, p := range c.Protect {
		ch.add("protected", address("daddr", p), counter(), jump("protected-"+familyOf(p.Addr()).nft()))
	}
	for _, p := range c.Observe {
		ch.add("observed", address("daddr", p), counter(), jump("observed-"+familyOf(p.Addr()).nft()))
	}
	return ch
}

func prerouting(c Config) chain {
	// After Tailscale's chain at mangle, which overwrites the whole mark of
	// established flows; before every dstnat (-100).
	ch := chain{name: "prerouting", hook: nftables.ChainHookPrerouting, priority: -140}
	ch.add("the gateway itself is not intercepted", daddrType(unix.RTN_LOCAL, "local"), counter(), leave())
	ch.add("not for a server", daddrType(unix.RTN_BROADCAST, "broadcast"), counter(), leave())
	ch.add("not for a server", daddrType(unix.RTN_ANYCAST, "anycast"), counter(), leave())
	ch.add("not for a server", daddrType(unix.RTN_MULTICAST, "multicast"), counter(), leave())
	if c.Source == Client {
		for _, p := range c.all() {
			ch.add("server to a connection in a client's name", address("saddr", p), tcp(), transparent(), setMark(), counter(), accept())
		}
		for _, f := range c.families() { // from any router on the way
			ch.add("ICMP about a connection in a client's name", icmp(f), transparent(), setMark(), counter(), accept())
		}
	}
	for _, name := range c.Interfaces {
		ch.add("people come from here", iifname(name), counter(), jump(peopleChain))
	}
	return ch
}

// around holds when prerouting marked a packet but routing did not deliver it
// here, because somebody deleted an ip rule, and when a port of the gateway
// is translated to one of a server.
func around(c Config) chain {
	ch := chain{name: aroundChain}
	if c.Passing {
		ch.add("began when this was observed", passing(), counter(), leave())
	}
	for _, p := range c.Protect {
		if c.Other == Drop {
			ch.add("no way around the gate", address("daddr", p), counter(), drop())
			continue
		}
		for _, ports := range ranges(c.ports()) {
			ch.add("no way around the gate", address("daddr", p), tcpDport(ports), counter(), drop())
		}
		for _, ports := range ranges(c.udpPorts()) {
			ch.add("no way around the gate by UDP", address("daddr", p), udpDport(ports), counter(), drop())
		}
	}
	return ch
}

func forward(c Config) chain {
	ch := chain{name: "forward", hook: nftables.ChainHookForward, priority: -10}
	for _, p := range c.Observe { // here addresses are translated back
		ch.add("an observed server answers", address("saddr", p), tcp(), counter(), jump("answers"))
	}
	for _, name := range c.Interfaces {
		ch.add("people come from here", iifname(name), counter(), jump(aroundChain))
	}
	return ch
}

func input(c Config) chain {
	ch := chain{name: "input", hook: nftables.ChainHookInput, priority: -10}
	for _, e := range c.Entries {
		ch.add("the listener for "+e.Name+" is not dialled directly", tcpDport(portRange{e.Listen, e.Listen}), unmarked(), counter(), reset())
	}
	return ch
}

// A portRange is a range of ports, both ends included; the zero value is
// none.
type portRange struct{ first, last uint16 }

func (r portRange) String() string {
	if r.first == r.last {
		return strconv.Itoa(int(r.first))
	}
	return fmt.Sprintf("%d-%d", r.first, r.last)
}

// ranges joins neighbouring ports.
func ranges(sorted []uint16) (rs []portRange) {
	for _, p := range sorted {
		if n := len(rs); n > 0 && rs[n-1].last+1 == p {
			rs[n-1].last = p
			continue
		}
		rs = append(rs, portRange{p, p})
	}
	return rs
}

func lastOf(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 1 << (7 - i%8)
	}
	last, _ := netip.AddrFromSlice(b)
	return last
}

// String writes the rules as commands that would make them: a script for
// nft -f, then commands of ip(8).
func (r Rules) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "table inet %s {\n", tableName)
	for _, c := range r.chains {
		fmt.Fprintf(&b, "\tchain %s {\n", c.name)
		if c.hook != nil {
			fmt.Fprintf(&b, "\t\ttype filter hook %s priority %d; policy accept;\n", c.name, c.priority)
		}
		for _, rule := range c.rules {
			fmt.Fprintf(&b, "\t\t%s\n", rule)
		}
		b.WriteString("\t}\n")
	}
	b.WriteString("}\n")
	for _, f := range r.routes {
		fmt.Fprintf(&b, "ip %sroute add local default dev lo table %d\n", f.option(), routeTable)
	}
	for _, rule := range r.ipRules {
		fmt.Fprintln(&b, rule)
	}
	return b.String()
}

func (r rule) String() string {
	var words []string
	for _, c := range r.clauses {
		words = append(words, c.text)
	}
	return strings.Join(words, " ") + " comment " + strconv.Quote(r.comment)
}

func (r rule) exprs() []expr.Any {
	var all []expr.Any
	for _, c := range r.clauses {
		all = append(all, c.exprs...)
	}
	return all
}

func (r rule) userData() []byte {
	return userdata.AppendString(nil, userdata.TypeComment, r.comment)
}
