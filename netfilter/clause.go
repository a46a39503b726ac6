package netfilter

import (
	"fmt"
	"net/netip"

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

// nft is the family in nft's spelling, suffix its digit in names of sets.
func (f family) nft() string    { return map[family]string{v4: "ip", v6: "ip6"}[f] }
func (f family) suffix() string { return map[family]string{v4: "4", v6: "6"}[f] }

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

func equals(data []byte) *expr.Cmp { return &expr.Cmp{Op: expr.CmpOpEq, Register: reg, Data: data} }

func in(set string) *expr.Lookup { return &expr.Lookup{SourceRegister: reg, SetName: set} }

func native(v uint32) []byte { return binaryutil.NativeEndian.PutUint32(v) }

func iifname(set string) clause {
	return clause{"iifname @" + set, []expr.Any{meta(expr.MetaKeyIIFNAME), in(set)}}
}

// address matches the source or destination address with a set of prefixes.
func address(f family, which, set string) clause {
	at := map[string]uint32{"ip saddr": 12, "ip daddr": 16, "ip6 saddr": 8, "ip6 daddr": 24}
	what := f.nft() + " " + which
	return clause{what + " @" + set, []expr.Any{
		meta(expr.MetaKeyNFPROTO), equals([]byte{byte(f)}),
		&expr.Payload{DestRegister: reg, Base: expr.PayloadBaseNetworkHeader, Offset: at[what], Len: uint32(f.loopback().BitLen() / 8)},
		in(set),
	}}
}

func tcpDport(set string) clause {
	return clause{"tcp dport @" + set, []expr.Any{
		meta(expr.MetaKeyL4PROTO), equals([]byte{unix.IPPROTO_TCP}),
		&expr.Payload{DestRegister: reg, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
		in(set),
	}}
}

func l4proto(set string) clause {
	return clause{"meta l4proto @" + set, []expr.Any{meta(expr.MetaKeyL4PROTO), in(set)}}
}

func tcp() clause {
	return clause{"meta l4proto tcp", []expr.Any{meta(expr.MetaKeyL4PROTO), equals([]byte{unix.IPPROTO_TCP})}}
}

// daddrType matches the kind of destination (local, broadcast, …) with a set.
func daddrType(set string) clause {
	return clause{"fib daddr type @" + set, []expr.Any{
		&expr.Fib{Register: reg, FlagDADDR: true, ResultADDRTYPE: true}, in(set),
	}}
}

// transparent matches packets of a socket that has IP_TRANSPARENT.
func transparent() clause {
	return clause{"socket transparent 1", []expr.Any{
		&expr.Socket{Key: expr.SocketKeyTransparent, Register: reg}, equals([]byte{1}),
	}}
}

// notWildcard excludes sockets that are bound to no address: a transparent
// proxy of somebody else may have one.
func notWildcard() clause {
	return clause{"socket wildcard 0", []expr.Any{
		&expr.Socket{Key: expr.SocketKeyWildcard, Register: reg}, equals([]byte{0}),
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
		equals(native(0)),
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
