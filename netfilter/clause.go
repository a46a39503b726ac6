package netfilter

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"

	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// A clause is one piece of a rule, twice: as nft(8) writes it and as the
// kernel takes it. A test installs both spellings in two namespaces and
// compares what `nft list` makes of them, which also proves the byte orders.
type clause struct {
	text  string
	exprs []expr.Any
}

// family is an address family, by the number nftables and rtnetlink share
// for it.
type family uint8

const (
	v4 family = unix.AF_INET
	v6 family = unix.AF_INET6
)

func familyOf(a netip.Addr) family {
	if a.Is4() {
		return v4
	}
	return v6
}

// String is the family in words for humans.
func (f family) String() string {
	if f == v4 {
		return "IPv4"
	}
	return "IPv6"
}

// nft is the family in nft's spelling.
func (f family) nft() string { return map[family]string{v4: "ip", v6: "ip6"}[f] }

// loopback is where listeners are: not on ::, where the network could reach
// them directly.
func (f family) loopback() netip.Addr {
	if f == v4 {
		return netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	return netip.IPv6Loopback()
}

// The mark bit that steers a packet into table 2600. It lies outside the
// masks of Tailscale (0x00ff0000) and kube-proxy (0xc000); every other bit of
// the mark belongs to others and is kept.
const markBit = 0x01000000

// The bit of a connection that began while its prefix was observed, in its
// conntrack mark, and of each of its packets that passes since it is protected.
const passBit = 0x02000000

// reg is the only register most clauses need: each uses it up at once.
const reg = 1

func meta(key expr.MetaKey) *expr.Meta { return &expr.Meta{Key: key, Register: reg} }

func is(data []byte) *expr.Cmp { return &expr.Cmp{Op: expr.CmpOpEq, Register: reg, Data: data} }

func native(v uint32) []byte { return binaryutil.NativeEndian.PutUint32(v) }

func iifname(name string) clause {
	padded := append([]byte(name), make([]byte, unix.IFNAMSIZ-len(name))...)
	return clause{"iifname " + strconv.Quote(name), []expr.Any{meta(expr.MetaKeyIIFNAME), is(padded)}}
}

// address matches the source or destination address with a prefix.
func address(which string, p netip.Prefix) clause {
	f := familyOf(p.Addr())
	c := clause{exprs: []expr.Any{meta(expr.MetaKeyNFPROTO), is([]byte{byte(f)})}}
	if p.Bits() == 0 {
		c.text = "meta nfproto " + map[family]string{v4: "ipv4", v6: "ipv6"}[f]
		return c
	}
	c.text = f.nft() + " " + which + " " + p.Masked().String()
	offset := map[string]uint32{"ip saddr": 12, "ip daddr": 16, "ip6 saddr": 8, "ip6 daddr": 24}[f.nft()+" "+which]
	size := uint32(p.Addr().BitLen() / 8)
	c.exprs = append(c.exprs, &expr.Payload{DestRegister: reg, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: size})
	if p.IsSingleIP() {
		c.text = f.nft() + " " + which + " " + p.Addr().String()
	} else {
		mask := net.CIDRMask(p.Bits(), p.Addr().BitLen())
		c.exprs = append(c.exprs, &expr.Bitwise{SourceRegister: reg, DestRegister: reg, Len: size, Mask: mask, Xor: make([]byte, size)})
	}
	c.exprs = append(c.exprs, is(p.Addr().AsSlice()))
	return c
}

func tcpDport(r portRange) clause { return port(r, unix.IPPROTO_TCP, "tcp dport", 2) }

func tcpSport(r portRange) clause { return port(r, unix.IPPROTO_TCP, "tcp sport", 0) }

func udpDport(r portRange) clause { return port(r, unix.IPPROTO_UDP, "udp dport", 2) }

// port matches one of the ports, which lie at the same places in both
// protocols.
func port(r portRange, number byte, name string, offset uint32) clause {
	c := clause{name + " " + r.String(), []expr.Any{
		meta(expr.MetaKeyL4PROTO), is([]byte{number}),
		&expr.Payload{DestRegister: reg, Base: expr.PayloadBaseTransportHeader, Offset: offset, Len: 2},
	}}
	first, last := binaryutil.BigEndian.PutUint16(r.first), binaryutil.BigEndian.PutUint16(r.last)
	if r.first == r.last {
		c.exprs = append(c.exprs, is(first))
	} else {
		c.exprs = append(c.exprs, &expr.Range{Op: expr.CmpOpEq, Register: reg, FromData: first, ToData: last})
	}
	return c
}

func l4proto(number byte, name string) clause {
	return clause{"meta l4proto " + name, []expr.Any{meta(expr.MetaKeyL4PROTO), is([]byte{number})}}
}

func tcp() clause { return l4proto(unix.IPPROTO_TCP, "tcp") }

func icmp(f family) clause {
	if f == v4 {
		return l4proto(unix.IPPROTO_ICMP, "icmp")
	}
	return l4proto(unix.IPPROTO_ICMPV6, "ipv6-icmp")
}

// daddrType matches a kind of destination: local, broadcast, …
func daddrType(number uint32, name string) clause {
	return clause{"fib daddr type " + name, []expr.Any{
		&expr.Fib{Register: reg, FlagDADDR: true, ResultADDRTYPE: true}, is(native(number)),
	}}
}

// transparent matches packets of a socket that has IP_TRANSPARENT.
func transparent() clause {
	return clause{"socket transparent 1", []expr.Any{
		&expr.Socket{Key: expr.SocketKeyTransparent, Register: reg}, is([]byte{1}),
	}}
}

// notWildcard excludes sockets that are bound to no address: a transparent
// proxy of somebody else may have one.
func notWildcard() clause {
	return clause{"socket wildcard 0", []expr.Any{
		&expr.Socket{Key: expr.SocketKeyWildcard, Register: reg}, is([]byte{0}),
	}}
}

func setMark() clause { return setBit(markBit) }

func setBit(bit uint32) clause {
	return clause{fmt.Sprintf("meta mark set meta mark | 0x%08x", bit), []expr.Any{
		meta(expr.MetaKeyMARK),
		with(bit),
		&expr.Meta{Key: expr.MetaKeyMARK, SourceRegister: true, Register: reg},
	}}
}

// with sets a bit of the register's number.
func with(bit uint32) *expr.Bitwise {
	return &expr.Bitwise{SourceRegister: reg, DestRegister: reg, Len: 4, Mask: native(^bit), Xor: native(bit)}
}

// only leaves a bit of the register's number.
func only(bit uint32) *expr.Bitwise {
	return &expr.Bitwise{SourceRegister: reg, DestRegister: reg, Len: 4, Mask: native(bit), Xor: native(0)}
}

func unmarked() clause {
	return clause{fmt.Sprintf("meta mark & 0x%08x == 0", markBit), []expr.Any{
		meta(expr.MetaKeyMARK), only(markBit), is(native(0)),
	}}
}

// passing matches packets that were found to be part of a connection that may
// pass.
func passing() clause {
	return clause{fmt.Sprintf("meta mark & 0x%08x == 0x%08x", passBit, passBit), []expr.Any{
		meta(expr.MetaKeyMARK), only(passBit), is(native(passBit)),
	}}
}

// rememberPassing notes in the kernel's memory of a connection that it began
// where it was only observed; began matches what has that note.
func rememberPassing() clause {
	return clause{fmt.Sprintf("ct mark set ct mark | 0x%08x", passBit), []expr.Any{
		&expr.Ct{Key: expr.CtKeyMARK, Register: reg},
		with(passBit),
		&expr.Ct{Key: expr.CtKeyMARK, SourceRegister: true, Register: reg},
	}}
}

func beganPassing() clause {
	return clause{fmt.Sprintf("ct mark & 0x%08x == 0x%08x", passBit, passBit), []expr.Any{
		&expr.Ct{Key: expr.CtKeyMARK, Register: reg}, only(passBit), is(native(passBit)),
	}}
}

// noSYN matches what opens no connection.
func noSYN() clause {
	return clause{"tcp flags ! syn", []expr.Any{
		meta(expr.MetaKeyL4PROTO), is([]byte{unix.IPPROTO_TCP}),
		&expr.Payload{DestRegister: reg, Base: expr.PayloadBaseTransportHeader, Offset: 13, Len: 1},
		&expr.Bitwise{SourceRegister: reg, DestRegister: reg, Len: 1, Mask: []byte{2}, Xor: []byte{0}},
		is([]byte{0}),
	}}
}

// says matches bytes of what a TCP packet carries (the inner header, since
// Linux 5.16).
func says(offset uint32, b ...byte) clause {
	const innerHeader = 3 // NFT_PAYLOAD_INNER_HEADER
	return clause{fmt.Sprintf("@ih,%d,%d 0x%x", offset*8, len(b)*8, b), []expr.Any{
		&expr.Payload{DestRegister: reg, Base: innerHeader, Offset: offset, Len: uint32(len(b))}, is(b),
	}}
}

// show hands the beginning of a packet to whoever watches the group, nobody
// included; no more than so many a second.
func show() clause {
	const perSecond, burst = 500, 500
	return clause{fmt.Sprintf("limit rate %d/second burst %d packets log group %d snaplen %d queue-threshold 1", perSecond, burst, glimpseGroup, glimpseSize), []expr.Any{
		&expr.Limit{Type: expr.LimitTypePkts, Rate: perSecond, Unit: expr.LimitTimeSecond, Burst: burst},
		&expr.Log{Key: 1<<unix.NFTA_LOG_GROUP | 1<<unix.NFTA_LOG_SNAPLEN | 1<<unix.NFTA_LOG_QTHRESHOLD, Group: glimpseGroup, Snaplen: glimpseSize, QThreshold: 1},
	}}
}

// tproxy names the listener's address: without it the kernel looks for a
// socket on the address of the ingress interface and misses one on loopback.
func tproxy(f family, port uint16) clause {
	const addr, dport = 1, 2
	to := f.loopback()
	return clause{fmt.Sprintf("tproxy %s to %s", f.nft(), netip.AddrPortFrom(to, port)), []expr.Any{
		&expr.Immediate{Register: addr, Data: to.AsSlice()},
		&expr.Immediate{Register: dport, Data: binaryutil.BigEndian.PutUint16(port)},
		&expr.TProxy{Family: byte(f), TableFamily: unix.NFPROTO_INET, RegAddr: addr, RegPort: dport},
	}}
}

func counter() clause { return clause{"counter", []expr.Any{&expr.Counter{}}} }

func accept() clause {
	return clause{"accept", []expr.Any{&expr.Verdict{Kind: expr.VerdictAccept}}}
}

func drop() clause { return clause{"drop", []expr.Any{&expr.Verdict{Kind: expr.VerdictDrop}}} }

func jump(chain string) clause {
	return clause{"jump " + chain, []expr.Any{&expr.Verdict{Kind: expr.VerdictJump, Chain: chain}}}
}

func leave() clause { return clause{"return", []expr.Any{&expr.Verdict{Kind: expr.VerdictReturn}}} }

// reset refuses at once, where a drop would let the client wait.
func reset() clause {
	return clause{"reject with tcp reset", []expr.Any{&expr.Reject{Type: unix.NFT_REJECT_TCP_RST}}}
}

func prohibited() clause {
	return clause{"reject with icmpx admin-prohibited", []expr.Any{
		&expr.Reject{Type: unix.NFT_REJECT_ICMPX_UNREACH, Code: unix.NFT_REJECT_ICMPX_ADMIN_PROHIBITED},
	}}
}
