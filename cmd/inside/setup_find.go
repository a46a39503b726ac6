package main

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/pawelmojski/inside/appliance/tailscale"
)

// A nearby is what setup finds on the machine.
type nearby struct {
	links  []nearLink
	routes []nearRoute
}

type nearLink struct {
	name      string
	kind      string // "wireguard", "tun", "bridge", "device"
	up        bool
	addresses []netip.Prefix
}

// A nearRoute is a network and the interface that leads there. The default
// route is a network of no bits.
type nearRoute struct {
	to netip.Prefix
	by string
}

// lookAround asks the kernel.
func lookAround() (n nearby, err error) {
	links, err := netlink.LinkList()
	if err != nil {
		return n, fmt.Errorf("list the interfaces: %w", err)
	}
	names := map[int]string{}
	for _, l := range links {
		a := l.Attrs()
		names[a.Index] = a.Name
		if a.Name == "lo" {
			continue
		}
		near := nearLink{name: a.Name, kind: l.Type(), up: a.RawFlags&unix.IFF_UP != 0}
		addresses, err := netlink.AddrList(l, netlink.FAMILY_ALL)
		if err != nil {
			return n, fmt.Errorf("list the addresses of %s: %w", a.Name, err)
		}
		for _, addr := range addresses {
			if p, ok := prefixOf(addr.IPNet.IP, addr.IPNet.Mask); ok {
				near.addresses = append(near.addresses, p)
			}
		}
		n.links = append(n.links, near)
	}
	for family, whole := range map[int]netip.Prefix{netlink.FAMILY_V4: netip.MustParsePrefix("0.0.0.0/0"), netlink.FAMILY_V6: netip.MustParsePrefix("::/0")} {
		routes, err := netlink.RouteList(nil, family)
		if err != nil {
			return n, fmt.Errorf("list the routes: %w", err)
		}
		for _, r := range routes {
			to := whole
			if r.Dst != nil {
				p, ok := prefixOf(r.Dst.IP, r.Dst.Mask)
				if !ok {
					continue
				}
				to = p
			}
			if r.Type == unix.RTN_UNICAST && names[r.LinkIndex] != "" {
				n.routes = append(n.routes, nearRoute{to.Masked(), names[r.LinkIndex]})
			}
		}
	}
	return n, nil
}

func prefixOf(ip []byte, mask []byte) (netip.Prefix, bool) {
	a, ok := netip.AddrFromSlice(ip)
	bits := 0
	for _, b := range mask {
		for ; b != 0; b <<= 1 {
			bits++
		}
	}
	a = a.Unmap()
	return netip.PrefixFrom(a, bits), ok && bits <= a.BitLen()
}

// Networks that nobody's servers are in by themselves.
var notServers = []netip.Prefix{
	netip.MustParsePrefix("fe80::/10"), netip.MustParsePrefix("169.254.0.0/16"), netip.MustParsePrefix("ff00::/8"), netip.MustParsePrefix("224.0.0.0/4"),
	tailscale.Networks[0], tailscale.Networks[1],
}

// ofContainers tells interfaces that lead to containers and virtual machines
// on this box.
func ofContainers(l nearLink) bool {
	for _, prefix := range []string{"docker", "br-", "veth", "virbr", "cni", "lxcbr", "podman", "dummy"} {
		if strings.HasPrefix(l.name, prefix) {
			return true
		}
	}
	return false
}

// ofVPN tells interfaces that people come from by a VPN.
func ofVPN(l nearLink) bool {
	return l.kind == "wireguard" || l.kind == "tuntap" || l.kind == "tun" || strings.HasPrefix(l.name, "tailscale")
}

// interfaces are those that people probably come from: VPNs, or else where the
// default route leads.
func (n nearby) interfaces() []string {
	var vpns, ways []string
	for _, l := range n.links {
		switch {
		case !l.up && !strings.HasPrefix(l.name, "tailscale") || ofContainers(l):
		case ofVPN(l):
			vpns = append(vpns, l.name)
		case slices.ContainsFunc(n.routes, func(r nearRoute) bool { return r.to.Bits() == 0 && r.by == l.name }):
			ways = append(ways, l.name)
		}
	}
	if len(vpns) > 0 {
		return vpns
	}
	return ways
}

// networks are those behind the box, seen from people who come by these
// interfaces: private, and not behind one of them.
func (n nearby) networks(from []string) (found []netip.Prefix) {
	for _, r := range n.routes {
		i := slices.IndexFunc(n.links, func(l nearLink) bool { return l.name == r.by })
		if slices.Contains(from, r.by) || r.to.Bits() == 0 || r.to.IsSingleIP() || i < 0 || ofContainers(n.links[i]) || ofVPN(n.links[i]) ||
			slices.ContainsFunc(notServers, func(p netip.Prefix) bool { return p.Overlaps(r.to) }) ||
			!r.to.Addr().IsPrivate() || slices.Contains(found, r.to) {
			continue
		}
		found = append(found, r.to)
	}
	slices.SortFunc(found, func(a, b netip.Prefix) int {
		if a.Addr().Is4() != b.Addr().Is4() {
			return map[bool]int{true: -1, false: 1}[a.Addr().Is4()]
		}
		return a.Addr().Compare(b.Addr())
	})
	return found
}

// userspace reports whether tailscaled runs without an interface, by its
// command line.
func userspaceTailscale(commandLines []string, n nearby) bool {
	for _, line := range commandLines {
		args := strings.Split(strings.TrimRight(line, "\x00"), "\x00")
		if !strings.HasSuffix(args[0], "tailscaled") {
			continue
		}
		for i, arg := range args {
			arg = strings.TrimLeft(arg, "-")
			if arg == "tun=userspace-networking" || arg == "tun" && i+1 < len(args) && args[i+1] == "userspace-networking" {
				return !slices.ContainsFunc(n.links, func(l nearLink) bool { return strings.HasPrefix(l.name, "tailscale") })
			}
		}
	}
	return false
}

// fromTailscale reports whether people come from Tailscale by one of these
// interfaces.
func (n nearby) fromTailscale(interfaces []string) bool {
	return slices.ContainsFunc(n.links, func(l nearLink) bool {
		return slices.Contains(interfaces, l.name) && tailscale.IsInterface(l.name, l.addresses)
	})
}

// words are what the machine looks like, for somebody who is about to answer.
func (n nearby) words() string {
	var b strings.Builder
	for _, l := range n.links {
		state := ""
		if !l.up {
			state = ", down"
		}
		var addresses []string
		for _, a := range l.addresses {
			if !a.Addr().IsLinkLocalUnicast() {
				addresses = append(addresses, a.String())
			}
		}
		fmt.Fprintf(&b, "  %-15s %s%s\n", l.name, firstOf(strings.Join(addresses, ", "), "no address"), state)
	}
	return b.String()
}
