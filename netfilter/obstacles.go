package netfilter

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// An Obstacle is a chain of somebody else in which what the gate intercepts
// ends, or may end: packets that tproxy hands to a listener still go through
// everybody's input chains, with the server's address and port, and an accept
// in our table overrules no drop in another.
type Obstacle struct {
	Chain   string   // "chain input of table inet filter"
	Certain bool     // not merely possible
	What    []string // "tcp 22 from c0 to 10.30.0.0/24"
	Cure    string   // the command that lets it through, "" when there is none
}

// The hooks of netfilter (linux/netfilter.h), which are the same for both
// families.
const (
	hookPrerouting = 0
	hookInput      = 1
	hookForward    = 2
)

// ourPriority is where our chain stands in prerouting: what comes before it
// has not decided anything about the packet when it is marked.
const ourPriority = -140

// Obstacles looks for what ends the packets that are intercepted. Like
// everything that looks around, it does so without the gate's lock: the rules
// of others may be many, and decisions must not wait for them.
func (g *Gate) Obstacles() ([]Obstacle, error) {
	f, err := g.kernel.strangers()
	if err != nil {
		return nil, err
	}
	found, stopped := map[*foreignChain]*Obstacle{}, map[*foreignChain][]tryout{}
	for _, p := range g.Config().probes() {
		p.mark = markBit
		index, _ := g.kernel.indexOf(p.iif)
		p.iifIndex = index
		for _, hook := range []struct {
			number uint32
			after  int32
		}{{hookPrerouting, ourPriority + 1}, {hookInput, -1 << 31}} {
			outcome, where := f.through(hook.number, hook.after, &p.firstPacket)
			for _, c := range where {
				o := found[c]
				if o == nil {
					o = &Obstacle{Chain: c.String()}
					found[c] = o
				}
				o.Certain = o.Certain || outcome == dropped
				o.What = append(o.What, p.String())
				stopped[c] = append(stopped[c], p)
			}
		}
	}
	var all []Obstacle
	for c, o := range found {
		o.Cure = f.cure(c, stopped[c])
		all = append(all, *o)
	}
	slices.SortFunc(all, func(a, b Obstacle) int { return strings.Compare(a.Chain, b.Chain) })
	return all, nil
}

// MarkLosses names the packets whose mark somebody takes off again before they
// are routed: they never reach a listener.
func (g *Gate) MarkLosses() ([]string, error) {
	f, err := g.kernel.strangers()
	if err != nil {
		return nil, err
	}
	var lost []string
	for _, p := range g.Config().probes() {
		p.mark = markBit
		for _, c := range f.baseChains(hookPrerouting, p.to) {
			if c.priority <= ourPriority {
				continue
			}
			p.lost = false
			if f.walk(c, &p.firstPacket, 0); p.lost {
				lost = append(lost, c.String())
			}
		}
	}
	return unique(lost), nil
}

// UDPStopped reports whether somebody keeps UDP on a port from the protected
// prefixes: with Other Drop we do.
func (g *Gate) UDPStopped(port uint16) (bool, error) {
	if g.Config().Other == Drop || slices.Contains(g.Config().udpPorts(), port) {
		return true, nil
	}
	f, err := g.kernel.strangers()
	if err != nil {
		return false, err
	}
	for _, p := range g.Config().probes() {
		p.proto, p.dport = unix.IPPROTO_UDP, port
		outcome, _ := f.through(hookPrerouting, -1<<31, &p.firstPacket)
		if outcome == dropped {
			continue
		}
		if outcome, _ = f.through(hookForward, -1<<31, &p.firstPacket); outcome != dropped {
			return false, nil
		}
	}
	return true, nil
}

// A tryout is a packet and the prefix it stands for.
type tryout struct {
	firstPacket
	prefix netip.Prefix
}

func (t tryout) String() string {
	return fmt.Sprintf("tcp %d from %s to %s", t.dport, t.iif, t.prefix)
}

// probes are one packet for each way that is intercepted.
func (c Config) probes() (all []tryout) {
	for _, name := range c.Interfaces {
		for _, prefix := range c.Protect {
			// An address of its own for each end: no rule is about them.
			to, from := prefix.Addr(), netip.AddrFrom4([4]byte{192, 0, 2, 1}) // RFC 5737
			if to.Is6() {
				from = netip.MustParseAddr("2001:db8::1")
			}
			if !prefix.IsSingleIP() {
				to = to.Next()
			}
			for _, port := range c.ports() {
				all = append(all, tryout{firstPacket{iif: name, from: from, to: to, proto: unix.IPPROTO_TCP, dport: port}, prefix})
			}
		}
	}
	return all
}

func (c *foreignChain) String() string {
	return fmt.Sprintf("chain %s of table %s %s", c.name, familyName(c.family), c.table)
}

func familyName(f byte) string {
	switch f {
	case unix.NFPROTO_INET:
		return "inet"
	case unix.NFPROTO_IPV6:
		return "ip6"
	}
	return "ip"
}

// baseChains are those a packet to an address goes through at a hook, in
// order.
func (f *strangers) baseChains(hook uint32, to netip.Addr) (chains []*foreignChain) {
	family := byte(familyOf(to))
	for _, c := range f.chains {
		if c.base && c.hook == hook && c.kind == "filter" && (c.family == unix.NFPROTO_INET || c.family == family) {
			chains = append(chains, c)
		}
	}
	slices.SortFunc(chains, func(a, b *foreignChain) int {
		return cmp.Or(cmp.Compare(a.priority, b.priority), strings.Compare(a.table, b.table), strings.Compare(a.name, b.name))
	})
	return chains
}

// cure is the command that lets through a chain what it stopped: in the words
// of the program that rules there, which would undo any other. Where that has
// words for it, whatever has the gate's mark is let through.
func (f *strangers) cure(c *foreignChain, stopped []tryout) string {
	const mark = "0x01000000/0x01000000"
	six := map[bool]string{true: "6"}[c.family == unix.NFPROTO_IPV6]
	_, ufw := f.chains[chainName{c.family, c.table, "ufw" + six + "-before-input"}]
	switch {
	case ufw && c.hook == hookInput:
		return fmt.Sprintf("sed -i '/^# End required lines/a -A ufw%s-before-input -m mark --mark %s -j ACCEPT' /etc/ufw/before%s.rules && ufw reload", six, mark, six)
	case c.table == "firewalld" && c.hook == hookInput:
		return cureOfFirewalld(stopped)
	case c.family != unix.NFPROTO_INET && (c.name == "INPUT" || c.name == "PREROUTING"):
		table := ""
		if c.table != "filter" {
			table = "-t " + c.table + " "
		}
		return fmt.Sprintf("ip%stables %s-I %s -m mark --mark %s -j ACCEPT", six, table, c.name, mark)
	}
	return fmt.Sprintf("nft insert rule %s %s %s meta mark and 0x01000000 == 0x01000000 accept", familyName(c.family), c.table, c.name)
}

// cureOfFirewalld lets in what was stopped, a rule for each: firewalld's rules
// cannot ask for a mark.
func cureOfFirewalld(stopped []tryout) string {
	commands := map[string]string{}
	for _, t := range stopped {
		if commands[t.iif] == "" {
			commands[t.iif] = fmt.Sprintf(`firewall-cmd --permanent --zone="$(firewall-cmd --get-zone-of-interface=%s || firewall-cmd --get-default-zone)"`, t.iif)
		}
		family := map[bool]string{true: "ipv4", false: "ipv6"}[t.to.Is4()]
		commands[t.iif] += fmt.Sprintf(` --add-rich-rule='rule family="%s" destination address="%s" port port="%d" protocol="tcp" accept'`, family, t.prefix, t.dport)
	}
	return strings.Join(append(slices.Sorted(maps.Values(commands)), "firewall-cmd --reload"), " && ")
}
