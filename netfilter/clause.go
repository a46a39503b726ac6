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

func tcpDport(r portRange) clause { return dport(r, unix.IPPROTO_TCP, "tcp") }

func udpDport(r portRange) clause { return dport(r, unix.IPPROTO_UDP, "udp") }

// dport matches the destination port, which lies at the same place in both
// protocols.
func dport(r portRange, number byte, name string) clause {
	c := clause{name + " dport " + r.String(), []expr.Any{
		meta(expr.MetaKeyL4PROTO), is([]byte{number}),
		&expr.Payload{DestRegister: reg, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
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

func setMark() clause {
	return clause{fmt.Sprintf("meta mark set meta mark | 0x%08x", markBit), []expr.Any{
		meta(expr.MetaKeyMARK),
		&expr.Bitwise{SourceRegister: reg, DestRegister: reg, Len: 4, Mask: native(^uint32(markBit)), Xor: native(markBit)},
		&expr.Meta{Key: expr.MetaKeyMARK, SourceRegister: true, Register: reg},
	}}
}

func unmarked() clause {
	return clause{fmt.Sprintf("meta mark & 0x%08x == 0", markBit), []expr.Any{
		meta(expr.MetaKeyMARK),
		&expr.Bitwise{SourceRegister: reg, DestRegister: reg, Len: 4, Mask: native(markBit), Xor: native(0)},
		is(native(0)),
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
