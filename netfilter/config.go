package netfilter

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
)

// A Config says what is intercepted.
type Config struct {
	Interfaces []string       // where people come from; they need not exist yet
	Protect    []netip.Prefix // what stands behind the gate, both families
	Observe    []netip.Prefix // what people reach untouched, looked at from aside
	Entries    []Entry
	Other      Other
	Source     Source

	// Passing says that connections which began while their prefix was observed
	// may go on untouched where it is protected now.
	Passing bool
}

// An Entry is one way in: the ports people dial and the loopback port where
// the gate listens for them.
type Entry struct {
	Name   string // "ssh"
	Ports  []uint16
	Listen uint16
	NoUDP  bool // its protocol would go on by UDP to the same ports, around the gate: that is dropped
}

// Other is what happens to traffic from people to protected addresses that is
// not on an entry's port.
type Other string

// Source is whose address a server sees.
type Source string

// The values of Other and Source, as inside.toml spells them.
const (
	Forward Other = "forward" // it passes as if there were no gate
	Drop    Other = "drop"    // it is refused

	Gateway Source = "gateway"
	Client  Source = "client"
)

var (
	entryName     = regexp.MustCompile(`^[a-z][a-z0-9]{0,14}$`)
	interfaceName = regexp.MustCompile(`^[A-Za-z0-9_.:@-]{1,15}$`)
)

// checked returns the config in its canonical form: sorted, without
// duplicates and without prefixes that lie inside others.
func (c Config) checked() (Config, error) {
	if len(c.Interfaces) == 0 {
		return c, errors.New("no interfaces: name those that people come from")
	}
	for _, name := range c.Interfaces {
		if name == "lo" || !interfaceName.MatchString(name) {
			return c, fmt.Errorf("interface %q: give the exact name of a network interface, as `ip link` shows it", name)
		}
	}
	if len(c.Protect) == 0 && len(c.Observe) == 0 {
		return c, errors.New("no protected prefixes: name the networks behind the gate")
	}
	for _, p := range c.all() {
		if !p.IsValid() || p.Addr().Is4In6() || p != p.Masked() {
			return c, fmt.Errorf("protected prefix %s: write it as 10.30.0.0/16 or fd30::/64", p)
		}
	}
	for _, p := range c.Observe {
		if i := slices.IndexFunc(c.Protect, p.Overlaps); i >= 0 {
			return c, fmt.Errorf("prefix %s cannot be observed: %s is protected", p, c.Protect[i])
		}
	}
	if c.Other != Forward && c.Other != Drop {
		return c, fmt.Errorf("other = %q: choose %q or %q", c.Other, Forward, Drop)
	}
	if c.Source != Gateway && c.Source != Client {
		return c, fmt.Errorf("source = %q: choose %q or %q", c.Source, Gateway, Client)
	}
	entries, err := checkedEntries(c.Entries)
	if err != nil {
		return c, err
	}
	return Config{
		Interfaces: unique(c.Interfaces),
		Protect:    outermost(c.Protect),
		Observe:    outermost(c.Observe),
		Entries:    entries,
		Other:      c.Other,
		Source:     c.Source,
		Passing:    c.Passing,
	}, nil
}

func checkedEntries(entries []Entry) ([]Entry, error) {
	var checked []Entry
	owner, listens := map[uint16]string{}, map[uint16]string{}
	for _, e := range entries {
		if !entryName.MatchString(e.Name) {
			return nil, fmt.Errorf("entry %q: a name is up to 15 lower-case letters and digits", e.Name)
		}
		if e.Listen == 0 {
			return nil, fmt.Errorf("entry %s: no port to listen on", e.Name)
		}
		if other := listens[e.Listen]; other != "" {
			return nil, fmt.Errorf("entries %s and %s both listen on port %d", other, e.Name, e.Listen)
		}
		listens[e.Listen] = e.Name
		ports := unique(e.Ports)
		for _, p := range ports {
			if p == 0 {
				return nil, fmt.Errorf("entry %s: 0 is no port", e.Name)
			}
			if other := owner[p]; other != "" {
				return nil, fmt.Errorf("port %d belongs to both %s and %s: it can have one entry only", p, other, e.Name)
			}
			owner[p] = e.Name
		}
		checked = append(checked, Entry{Name: e.Name, Ports: ports, Listen: e.Listen, NoUDP: e.NoUDP})
	}
	if len(owner) == 0 {
		return nil, errors.New("no entry has a port: name at least one, such as 22 for ssh")
	}
	return checked, nil
}

// all are the prefixes that rules are about.
func (c Config) all() []netip.Prefix { return slices.Concat(c.Protect, c.Observe) }

// families returns those that have something to protect, now or when it has
// been observed: a box without IPv6 can protect IPv4.
func (c Config) families() []family {
	var fs []family
	for _, f := range []family{v4, v6} {
		if len(f.only(c.all())) > 0 {
			fs = append(fs, f)
		}
	}
	return fs
}

// only returns the prefixes of a family.
func (f family) only(prefixes []netip.Prefix) []netip.Prefix {
	return slices.DeleteFunc(slices.Clone(prefixes), func(p netip.Prefix) bool { return familyOf(p.Addr()) != f })
}

// ports returns those of all entries, sorted.
func (c Config) ports() []uint16 {
	var all []uint16
	for _, e := range c.Entries {
		all = append(all, e.Ports...)
	}
	return unique(all)
}

// udpPorts returns those that nobody may reach by UDP, sorted.
func (c Config) udpPorts() []uint16 {
	var all []uint16
	for _, e := range c.Entries {
		if e.NoUDP {
			all = append(all, e.Ports...)
		}
	}
	return unique(all)
}

func unique[T cmp.Ordered](s []T) []T {
	s = slices.Clone(s)
	slices.Sort(s)
	return slices.Compact(s)
}

// outermost drops prefixes that lie inside others: an nftables interval set
// takes no overlapping ones.
func outermost(prefixes []netip.Prefix) []netip.Prefix {
	sorted := slices.Clone(prefixes)
	slices.SortFunc(sorted, func(a, b netip.Prefix) int {
		return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
	})
	var out []netip.Prefix
	for _, p := range sorted {
		if n := len(out); n == 0 || !out[n-1].Overlaps(p) {
			out = append(out, p)
		}
	}
	return out
}
