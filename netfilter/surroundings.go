package netfilter

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// A Link is a network interface.
type Link struct {
	Name      string
	Up        bool
	Addresses []netip.Prefix

	index uint32
}

// Links lists the network interfaces, without lo.
func (g *Gate) Links() ([]Link, error) {
	return g.kernel.links()
}

// Absent names the interfaces of people that do not exist at the moment.
func (g *Gate) Absent() ([]string, error) {
	links, err := g.kernel.links()
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(slices.Clone(g.Config().Interfaces), func(name string) bool {
		return slices.ContainsFunc(links, func(l Link) bool { return l.Name == name })
	}), nil
}

func (k *kernel) links() ([]Link, error) {
	replies, err := k.ask(unix.NETLINK_ROUTE, unix.RTM_GETLINK, unix.NLM_F_DUMP, unix.RTM_NEWLINK, nl.NewIfInfomsg(unix.AF_UNSPEC))
	if err != nil {
		return nil, fmt.Errorf("list the interfaces: %w", err)
	}
	var links []Link
	for _, b := range replies {
		if len(b) < unix.SizeofIfInfomsg {
			continue
		}
		m := nl.DeserializeIfInfomsg(b)
		l := Link{index: uint32(m.Index), Up: m.Flags&unix.IFF_UP != 0}
		for t, v := range attributes(b[unix.SizeofIfInfomsg:]) {
			if t == unix.IFLA_IFNAME {
				l.Name = text(v)
			}
		}
		if m.Flags&unix.IFF_LOOPBACK == 0 {
			links = append(links, l)
		}
	}
	return links, k.addresses(links)
}

func (k *kernel) addresses(links []Link) error {
	replies, err := k.ask(unix.NETLINK_ROUTE, unix.RTM_GETADDR, unix.NLM_F_DUMP, unix.RTM_NEWADDR, nl.NewIfAddrmsg(unix.AF_UNSPEC))
	if err != nil {
		return fmt.Errorf("list the addresses: %w", err)
	}
	for _, b := range replies {
		if len(b) < unix.SizeofIfAddrmsg {
			continue
		}
		m := nl.DeserializeIfAddrmsg(b)
		for t, v := range attributes(b[unix.SizeofIfAddrmsg:]) {
			a, ok := netip.AddrFromSlice(v)
			// On a point-to-point link IFA_ADDRESS is the other end; both are there.
			if t != unix.IFA_ADDRESS || !ok {
				continue
			}
			for i := range links {
				if links[i].index == m.Index {
					links[i].Addresses = append(links[i].Addresses, netip.PrefixFrom(a, int(m.Prefixlen)))
				}
			}
		}
	}
	return nil
}

func (k *kernel) indexOf(name string) (uint32, error) {
	links, err := k.links()
	for _, l := range links {
		if l.Name == name {
			return l.index, nil
		}
	}
	return 0, err
}

// What the kernel tells of forwarding (linux/netconf.h).
const (
	netconfIfindex    = 1
	netconfForwarding = 2
	netconfAll        = -1
)

// Forwards reports whether the kernel forwards packets of the family of an
// address. It asks by netlink, since the daemon's unit hides /proc/sys.
func (g *Gate) Forwards(family netip.Addr) (bool, error) {
	f := familyOf(family)
	head := rawMessage{byte(f)}
	all := int32(netconfAll)
	replies, err := g.kernel.ask(unix.NETLINK_ROUTE, unix.RTM_GETNETCONF, 0, unix.RTM_NEWNETCONF, head, nl.NewRtAttr(netconfIfindex, native(uint32(all))))
	if err != nil {
		return false, fmt.Errorf("forwarding of %s: %w", f, err)
	}
	for _, b := range replies {
		if len(b) < 4 {
			continue
		}
		for t, v := range attributes(b[4:]) {
			if t == netconfForwarding {
				return number(v) != 0, nil
			}
		}
	}
	return false, fmt.Errorf("forwarding of %s: the kernel gave no answer", f)
}

// rawMessage is the head of a message that package nl has no type for.
type rawMessage []byte

func (m rawMessage) Len() int          { return (len(m) + 3) &^ 3 }
func (m rawMessage) Serialize() []byte { return append([]byte(m), make([]byte, m.Len()-len(m))...) }

// Behind returns an address in a protected prefix that is not the gateway's
// own, and names the interface that leads there.
func (g *Gate) Behind(p netip.Prefix) (host netip.Addr, by string, err error) {
	// The gateway is often the first host, and sometimes the last.
	for _, host = range []netip.Addr{p.Addr().Next(), p.Addr().Next().Next(), lastOf(p), p.Addr()} {
		if !p.Contains(host) {
			continue
		}
		kind, _, e := g.kernel.route(host)
		if e == nil && (kind == unix.RTN_LOCAL || kind == unix.RTN_BROADCAST) {
			err = fmt.Errorf("%s is the gateway's own", host)
			continue
		}
		by, err = g.kernel.interfaceTo(host)
		return host, by, err
	}
	return p.Addr(), "", err
}

// Delivers asks the kernel to route a marked packet from somebody at an
// interface to a protected address, as it would a real one, and says why it
// would not be delivered here: because of a foreign routing rule before ours,
// or because the kernel takes its sender for forged (rp_filter).
func (g *Gate) Delivers(iif string, from, to netip.Addr) error {
	index, err := g.kernel.indexOf(iif)
	if err != nil {
		return err
	}
	if index == 0 {
		return fmt.Errorf("there is no interface %s", iif)
	}
	m := header(familyOf(to))
	m.Dst_len, m.Src_len = byte(to.BitLen()), byte(from.BitLen())
	replies, err := g.kernel.ask(unix.NETLINK_ROUTE, unix.RTM_GETROUTE, 0, unix.RTM_NEWROUTE, m,
		nl.NewRtAttr(unix.RTA_DST, to.AsSlice()), nl.NewRtAttr(unix.RTA_SRC, from.AsSlice()),
		nl.NewRtAttr(unix.RTA_IIF, binary.NativeEndian.AppendUint32(nil, index)), nl.NewRtAttr(unix.RTA_MARK, native(markBit)))
	switch {
	case errors.Is(err, unix.EXDEV), errors.Is(err, unix.EINVAL): // EINVAL since Linux 6.13 (inet_rtm_getroute in net/ipv4/route.c)
		return ErrForged
	case err != nil:
		return fmt.Errorf("route from %s at %s to %s: %w", from, iif, to, err)
	case len(replies) == 0 || len(replies[0]) < unix.SizeofRtMsg:
		return fmt.Errorf("route from %s at %s to %s: the kernel gave no answer", from, iif, to)
	}
	if nl.DeserializeRtMsg(replies[0]).Type != unix.RTN_LOCAL {
		return fmt.Errorf("a packet from %s at %s to %s is not delivered here: another routing rule comes first (`ip rule` lists them)", from, iif, to)
	}
	return nil
}

// ErrForged says that the kernel does not expect the sender at that interface.
var ErrForged = errors.New("the kernel takes the sender for forged (rp_filter)")
