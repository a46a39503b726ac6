package netfilter

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// What is ours in the routing policy: rules at these two preferences, or lower
// by some steps, of the shapes below, and the route table. Everything else
// belongs to others.
const (
	prefDeliver = 900 // before Tailscale's 5210, and 1310 on OpenWrt
	prefGuard   = 910
	prefStep    = 20  // see ahead
	prefFirst   = 100 // of deliverers; who stands before is there on purpose
	routeTable  = 2600
)

// An ipRule is one of our routing rules, of one of two shapes.
//
// The deliverer, at 900 or before, sends marked packets of one interface to our table.
// It must name the interface: where net.ipv4.conf.all.src_valid_mark is set,
// by Tailscale or wg-quick, the kernel's check of the source address carries
// the mark too, would hit "everything is local" without it, and silently drop
// every SYN (tailscale/tailscale#19796).
//
// The guard, at 10 more, prohibits the way around the gate. One that spares lets
// packets pass that have the pass bit: their connection began when the prefix
// was only observed.
type ipRule struct {
	family family
	pref   uint32
	iif    string
	to     netip.Prefix // guard only, which is known by it
	ports  portRange    // guard only; none is everything
	proto  uint32       // of the ports
	spares bool         // guard only
}

func desiredIPRules(c Config, egress []string) []ipRule {
	deliver := c.Interfaces
	if c.Source == Client {
		deliver = unique(append(slices.Clone(deliver), egress...))
	}
	var rules []ipRule
	for _, f := range c.families() {
		for _, name := range deliver {
			rules = append(rules, ipRule{family: f, pref: prefDeliver, iif: name})
		}
		for _, name := range c.Interfaces {
			for _, p := range f.only(c.Protect) {
				if c.Other == Drop {
					rules = append(rules, ipRule{family: f, pref: prefGuard, iif: name, to: p, spares: c.Passing})
					continue
				}
				for _, ports := range ranges(c.ports()) {
					rules = append(rules, ipRule{family: f, pref: prefGuard, iif: name, to: p, ports: ports, proto: unix.IPPROTO_TCP, spares: c.Passing})
				}
				for _, ports := range ranges(c.udpPorts()) {
					rules = append(rules, ipRule{family: f, pref: prefGuard, iif: name, to: p, ports: ports, proto: unix.IPPROTO_UDP})
				}
			}
		}
	}
	return rules
}

func (r ipRule) delivers() bool { return !r.to.IsValid() }

// ahead moves our rules before those of others, by as many steps as it takes.
// `ip rule add` without a preference, as wg-quick calls it twice where it sends
// everything through a tunnel, takes the place before the second rule that there
// is (fib_default_rule_pref in net/core/fib_rules.c), which may be ours: then
// what is intercepted would be routed on, and past the guard.
func ahead(rules []ipRule, others []uint32) []ipRule {
	by := prefDeliver - standing(others)
	if by == 0 {
		return rules
	}
	moved := slices.Clone(rules)
	for i := range moved {
		moved[i].pref -= by
	}
	return moved
}

// standing is the preference at which deliverers stand before the rules of
// others.
func standing(others []uint32) uint32 {
	stand := uint32(prefDeliver)
	for _, other := range others {
		for stand > prefFirst && other > prefFirst+prefGuard-prefDeliver && other <= stand+prefGuard-prefDeliver {
			stand -= prefStep
		}
	}
	return stand
}

// isStep reports whether deliverers may stand at a preference.
func isStep(pref uint32) bool {
	return pref >= prefFirst && pref <= prefDeliver && (prefDeliver-pref)%prefStep == 0
}

// preference is where a rule of a dump stands, whosesoever it is.
func preference(b []byte) uint32 {
	if len(b) >= unix.SizeofRtMsg {
		for typ, v := range attributes(b[unix.SizeofRtMsg:]) {
			if typ == nl.FRA_PRIORITY {
				return number(v)
			}
		}
	}
	return 0
}

func (f family) option() string {
	if f == v6 {
		return "-6 "
	}
	return ""
}

// String is the command that makes the rule.
func (r ipRule) String() string {
	s := fmt.Sprintf("ip %srule add pref %d iif %s", r.family.option(), r.pref, r.iif)
	if r.delivers() {
		return s + fmt.Sprintf(" fwmark 0x%08x/0x%08x lookup %d", markBit, markBit, routeTable)
	}
	s += " to " + r.to.String()
	if r.spares {
		s += fmt.Sprintf(" fwmark 0/0x%08x", passBit)
	}
	if r.ports != (portRange{}) {
		s += fmt.Sprintf(" ipproto %s dport %s", guarded[r.proto], r.ports)
	}
	return s + " prohibit"
}

// guarded are the protocols whose ports a guard may name.
var guarded = map[uint32]string{unix.IPPROTO_TCP: "tcp", unix.IPPROTO_UDP: "udp"}

// The actions of a routing rule (linux/fib_rules.h).
const (
	actToTable  = 1
	actProhibit = 8
)

// encode writes the rule as rtnetlink takes it. struct fib_rule_hdr has the
// layout of struct rtmsg, with the action where the route's type is.
func (r ipRule) encode() []nl.NetlinkRequestData {
	msg := &nl.RtMsg{}
	msg.Family = byte(r.family)
	data := []nl.NetlinkRequestData{
		msg,
		nl.NewRtAttr(nl.FRA_PRIORITY, native(r.pref)),
		nl.NewRtAttr(nl.FRA_IIFNAME, append([]byte(r.iif), 0)),
	}
	if r.delivers() {
		msg.Type = actToTable
		return append(data,
			nl.NewRtAttr(nl.FRA_TABLE, native(routeTable)),
			nl.NewRtAttr(nl.FRA_FWMARK, native(markBit)),
			nl.NewRtAttr(nl.FRA_FWMASK, native(markBit)))
	}
	msg.Type = actProhibit
	if r.to.Bits() > 0 {
		msg.Dst_len = byte(r.to.Bits())
		data = append(data, nl.NewRtAttr(nl.FRA_DST, r.to.Addr().AsSlice()))
	}
	if r.spares {
		data = append(data,
			nl.NewRtAttr(nl.FRA_FWMARK, native(0)),
			nl.NewRtAttr(nl.FRA_FWMASK, native(passBit)))
	}
	if r.ports != (portRange{}) {
		data = append(data,
			nl.NewRtAttr(nl.FRA_IP_PROTO, []byte{byte(r.proto)}),
			nl.NewRtAttr(nl.FRA_DPORT_RANGE, append(native16(r.ports.first), native16(r.ports.last)...)))
	}
	return data
}

func native16(v uint16) []byte { return binary.NativeEndian.AppendUint16(nil, v) }

// Parts of linux/fib_rules.h that package nl lacks.
const (
	fibRuleInvert = 2
	fraDportMask  = 29
)

// decodeIPRule reads a rule of a dump. It is not ours when it has any other
// preference, action or selector.
func decodeIPRule(b []byte) (r ipRule, ours bool) {
	if len(b) < unix.SizeofRtMsg {
		return r, false
	}
	msg := nl.DeserializeRtMsg(b)
	if msg.Flags&fibRuleInvert != 0 || msg.Tos != 0 {
		return r, false
	}
	r.family = family(msg.Family)
	var mark, mask, table uint32
	to := make([]byte, r.family.loopback().BitLen()/8)
	for typ, v := range attributes(b[unix.SizeofRtMsg:]) {
		switch typ {
		case nl.FRA_PRIORITY:
			r.pref = number(v)
		case nl.FRA_IIFNAME:
			r.iif = text(v)
		case nl.FRA_FWMARK:
			mark = number(v)
		case nl.FRA_FWMASK:
			mask = number(v)
		case nl.FRA_TABLE:
			table = number(v)
		case nl.FRA_DST:
			to = v
		case nl.FRA_IP_PROTO:
			r.proto = number(v)
		case nl.FRA_DPORT_RANGE:
			if len(v) < 4 {
				return r, false
			}
			r.ports = portRange{binary.NativeEndian.Uint16(v), binary.NativeEndian.Uint16(v[2:])}
		case fraDportMask: // since Linux 6.15
			if number(v) != 0xffff {
				return r, false
			}
		case nl.FRA_SUPPRESS_PREFIXLEN, nl.FRA_SUPPRESS_IFGROUP:
			if number(v) != 0xffffffff {
				return r, false
			}
		case nl.FRA_PROTOCOL: // who made it: ip(8) or us
		default:
			return r, false
		}
	}
	delivers, guards := isStep(r.pref), isStep(r.pref-(prefGuard-prefDeliver))
	if addr, ok := netip.AddrFromSlice(to); ok && guards {
		r.to = netip.PrefixFrom(addr, int(msg.Dst_len))
	}
	switch {
	case r.iif == "":
		return r, false
	case delivers && msg.Type == actToTable:
		return r, mark == markBit && mask == markBit && table == routeTable && msg.Dst_len == 0 && r.proto == 0 && r.ports == portRange{}
	case guards && msg.Type == actProhibit:
		known := guarded[r.proto] != ""
		r.spares = mask == passBit
		return r, r.to.IsValid() && mark == 0 && (mask == 0 || r.spares) && known == (r.ports != portRange{}) && (known || r.proto == 0)
	}
	return r, false
}
