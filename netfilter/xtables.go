package netfilter

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// matchOfXtables answers for the matches of iptables that stand in the rules
// of iptables-nft, and so of ufw, as they were: their bytes are structures of
// linux/netfilter/xt_*.h.
func matchOfXtables(name string, info []byte, p *firstPacket) answer {
	switch name {
	case "comment":
		return yes
	case "mark": // struct xt_mark_mtinfo1
		if len(info) < 9 {
			return maybe
		}
		mark, mask := binary.NativeEndian.Uint32(info), binary.NativeEndian.Uint32(info[4:])
		return when((p.mark&mask == mark) != (info[8] != 0))
	case "addrtype": // struct xt_addrtype_info_v1
		if len(info) < 8 {
			return maybe
		}
		source, dest, flags := binary.NativeEndian.Uint16(info), binary.NativeEndian.Uint16(info[2:]), binary.NativeEndian.Uint32(info[4:])
		const invertDest = 2
		if dest != 0 && (dest&(1<<unix.RTN_UNICAST) != 0) == (flags&invertDest != 0) {
			return no
		}
		return unless(source != 0)
	case "conntrack": // struct xt_conntrack_mtinfo3, and 1 and 2 before it
		const flagsAt, stateFlag = 146, 1
		if len(info) < flagsAt+6 {
			return maybe
		}
		flags, inverted, states := binary.NativeEndian.Uint16(info[flagsAt:]), binary.NativeEndian.Uint16(info[flagsAt+2:]), binary.NativeEndian.Uint16(info[flagsAt+4:])
		if flags&stateFlag != 0 && (states&ctNew != 0) == (inverted&stateFlag != 0) {
			return no
		}
		return unless(flags&^stateFlag != 0)
	case "tcp", "udp":
		return portsOfXtables(name, info, p)
	}
	return maybe
}

// portsOfXtables reads struct xt_tcp and struct xt_udp. The protocol is
// compared before.
func portsOfXtables(name string, info []byte, p *firstPacket) answer {
	inverted, unclear := 8, false
	if name == "tcp" {
		inverted = 11
	}
	if len(info) <= inverted || info[inverted] != 0 {
		return maybe
	}
	port := func(at int) uint16 { return binary.NativeEndian.Uint16(info[at:]) }
	if p.dport < port(4) || p.dport > port(6) {
		return no
	}
	if name == "tcp" {
		const syn = 2
		if syn&info[9] != info[10] {
			return no
		}
		unclear = info[8] != 0 // an option
	}
	return unless(unclear || port(0) != 0 || port(2) != 0xffff)
}

func when(is bool) answer {
	if is {
		return yes
	}
	return no
}

func unless(unclear bool) answer {
	if unclear {
		return maybe
	}
	return yes
}
