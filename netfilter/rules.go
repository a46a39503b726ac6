package netfilter

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"golang.org/x/sys/unix"
)

// tableName is our nftables table, of family inet. No other is ever touched.
const tableName = "inside"

// Rules is everything a gate wants from the kernel, as data. Two of them are
// the same when their String is.
type Rules struct {
	sets    []set
	chains  []chain
	ipRules []ipRule
	routes  []family // which get "everything is local" in our route table
}

type set struct {
	name     string
	typ      nftables.SetDatatype
	interval bool
	text     []string
	elements []nftables.SetElement
}

type chain struct {
	name     string
	hook     nftables.ChainHook
	priority nftables.ChainPriority
	header   string
	rules    []rule
}

type rule struct {
	comment string
	clauses []clause
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
	return Rules{
		sets: desiredSets(c),
		chains: []chain{
			// After Tailscale's chain at mangle, which overwrites the whole
			// mark of established flows; before every dstnat (-100).
			{"prerouting", *nftables.ChainHookPrerouting, -140, "type filter hook prerouting priority mangle + 10; policy accept;", prerouting(c)},
			{"forward", *nftables.ChainHookForward, -10, "type filter hook forward priority filter - 10; policy accept;", forward(c)},
			{"input", *nftables.ChainHookInput, -10, "type filter hook input priority filter - 10; policy accept;", input()},
		},
		ipRules: desiredIPRules(c, egress),
		routes:  c.families(),
	}
}

// The names of the sets.
const (
	setPeople  = "people"  // interfaces that people come from
	setProtect = "protect" // prefixes; 4 or 6 follows
	setHere    = "here"    // kinds of destination that are not forwarded
	setCarried = "carried" // protocols that belong to a session
	setGated   = "gated"   // ports of all entries
	setListen  = "listen"  // ports of all listeners
	setPorts   = "_ports"  // ports of one entry; its name comes before
)

func prerouting(c Config) []rule {
	rules := []rule{{"what is meant for the gateway itself is not intercepted", []clause{daddrType(setHere), leave()}}}
	for _, f := range c.families() {
		people := []clause{iifname(setPeople), address(f, "daddr", setProtect+f.suffix())}
		if c.Source == Client {
			rules = append(rules, rule{f.String() + ": answers of servers to connections made in a client's name", []clause{
				address(f, "saddr", setProtect+f.suffix()), l4proto(setCarried), transparent(), setMark(), counter(), accept(),
			}})
		}
		// Sessions outlive a change of the ports, and the ICMP errors that
		// path MTU discovery needs are theirs too.
		rules = append(rules, rule{f.String() + ": sessions that are running", join(people,
			l4proto(setCarried), transparent(), notWildcard(), setMark(), counter(), accept())})
		for _, e := range c.Entries {
			if len(e.Ports) == 0 {
				continue
			}
			ports := tcpDport(e.Name + setPorts)
			rules = append(rules,
				// The mark comes before tproxy, which ends the rule when
				// nobody listens.
				rule{f.String() + ": " + e.Name + " goes to the gate", join(people, ports, setMark(), tproxy(f, e.Listen), counter(), accept())},
				rule{f.String() + ": " + e.Name + " is refused while the gate is away", join(people, ports, counter(), reset())})
		}
		if c.Other == Drop {
			rules = append(rules,
				rule{f.String() + ": other TCP ports of servers are refused", join(people, tcp(), counter(), reset())},
				rule{f.String() + ": other protocols of servers are refused", join(people, counter(), prohibited())})
		}
	}
	return rules
}

// forward holds when prerouting marked a packet but routing did not deliver
// it here, because somebody deleted an ip rule, and when a port of the gateway
// is translated to one of a server.
func forward(c Config) []rule {
	var rules []rule
	for _, f := range c.families() {
		around := []clause{iifname(setPeople), address(f, "daddr", setProtect+f.suffix())}
		if c.Other == Forward {
			around = join(around, tcpDport(setGated))
		}
		rules = append(rules, rule{f.String() + ": no way around the gate", join(around, counter(), drop())})
	}
	return rules
}

func input() []rule {
	return []rule{{"listeners are not dialled directly", []clause{tcpDport(setListen), unmarked(), counter(), reset()}}}
}

func join(first []clause, more ...clause) []clause {
	return append(append([]clause(nil), first...), more...)
}

func desiredSets(c Config) []set {
	people := set{name: setPeople, typ: nftables.TypeIFName}
	for _, name := range c.Interfaces {
		people.add(strconv.Quote(name), append([]byte(name), make([]byte, unix.IFNAMSIZ-len(name))...))
	}
	here := set{name: setHere, typ: nftables.TypeFIBAddr}
	here.add("local", native(unix.RTN_LOCAL))
	here.add("broadcast", native(unix.RTN_BROADCAST))
	here.add("anycast", native(unix.RTN_ANYCAST))
	here.add("multicast", native(unix.RTN_MULTICAST))
	carried := set{name: setCarried, typ: nftables.TypeInetProto}
	carried.add("tcp", []byte{unix.IPPROTO_TCP})
	carried.add("icmp", []byte{unix.IPPROTO_ICMP})
	carried.add("ipv6-icmp", []byte{unix.IPPROTO_ICMPV6})
	gated, listen := ports(setGated, c.ports()), ports(setListen, nil)
	sets := []set{people, here, carried, gated}
	for _, e := range c.Entries {
		listen.addPort(e.Listen)
		if len(e.Ports) > 0 {
			sets = append(sets, ports(e.Name+setPorts, e.Ports))
		}
	}
	sets = append(sets, listen)
	for _, f := range c.families() {
		sets = append(sets, prefixes(f, c.prefixes(f)))
	}
	return sets
}

func (s *set) add(text string, key []byte) {
	s.text = append(s.text, text)
	s.elements = append(s.elements, nftables.SetElement{Key: key})
}

func (s *set) addPort(p uint16) {
	s.add(strconv.Itoa(int(p)), binaryutil.BigEndian.PutUint16(p))
}

func ports(name string, numbers []uint16) set {
	s := set{name: name, typ: nftables.TypeInetService}
	for _, p := range numbers {
		s.addPort(p)
	}
	return s
}

// prefixes makes an interval set: an element for the first address of each
// prefix and one, marked as an end, for the first address behind it. A prefix
// that reaches the last address of all has no end.
func prefixes(f family, list []netip.Prefix) set {
	s := set{name: setProtect + f.suffix(), typ: nftables.TypeIPAddr, interval: true}
	if f == v6 {
		s.typ = nftables.TypeIP6Addr
	}
	for _, p := range list {
		s.add(p.String(), p.Addr().AsSlice())
		if end := lastOf(p).Next(); end.IsValid() {
			s.elements = append(s.elements, nftables.SetElement{Key: end.AsSlice(), IntervalEnd: true})
		}
	}
	return s
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
	for _, s := range r.sets {
		fmt.Fprintf(&b, "\tset %s {\n\t\ttype %s\n", s.name, s.typ.Name)
		if s.interval {
			b.WriteString("\t\tflags interval\n")
		}
		fmt.Fprintf(&b, "\t\telements = { %s }\n\t}\n", strings.Join(s.text, ", "))
	}
	for _, c := range r.chains {
		fmt.Fprintf(&b, "\tchain %s {\n\t\t%s\n", c.name, c.header)
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
