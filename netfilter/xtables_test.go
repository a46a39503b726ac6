package netfilter

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

// The structures are laid out as linux/netfilter/xt_*.h has them.
func TestMatchesOfIptablesAreAnsweredForTheFirstPacketOfASession(t *testing.T) {
	p := &firstPacket{to: netip.MustParseAddr("10.30.0.140"), proto: unix.IPPROTO_TCP, dport: 22, mark: markBit}
	mark := func(mark, mask uint32, inverted byte) []byte {
		return append(binary.NativeEndian.AppendUint32(binary.NativeEndian.AppendUint32(nil, mark), mask), inverted, 0, 0, 0)
	}
	u16 := func(at, size int, values ...uint16) []byte {
		b := make([]byte, size)
		for i, v := range values {
			binary.NativeEndian.PutUint16(b[at+2*i:], v)
		}
		return b
	}
	tcp := func(from, to uint16, flags ...byte) []byte {
		b := u16(0, 12, 0, 0xffff, from, to)
		copy(b[8:], flags)
		return b
	}
	const established, related, invalid, fresh = 2, 4, 1, 8
	for _, c := range []struct {
		says, name string
		info       []byte
		want       answer
	}{
		{"a comment", "comment", nil, yes},
		{"our mark", "mark", mark(markBit, markBit, 0), yes},
		{"! our mark", "mark", mark(markBit, markBit, 1), no},
		{"another mark", "mark", mark(1, 1, 0), no},
		{"a mark that is cut short", "mark", []byte{1}, maybe},
		{"--ctstate ESTABLISHED,RELATED", "conntrack", u16(146, 168, 1, 0, established|related), no},
		{"--ctstate INVALID", "conntrack", u16(146, 168, 1, 0, invalid), no},
		{"--ctstate NEW", "conntrack", u16(146, 168, 1, 0, fresh), yes},
		{"! --ctstate NEW", "conntrack", u16(146, 168, 1, 1, fresh), no},
		{"--ctstate NEW and something else", "conntrack", u16(146, 168, 1|4, 0, fresh), maybe},
		{"--dst-type LOCAL", "addrtype", u16(0, 8, 0, 1<<unix.RTN_LOCAL), no},
		{"! --dst-type LOCAL", "addrtype", u16(0, 8, 0, 1<<unix.RTN_LOCAL, 2), yes},
		{"--dst-type UNICAST", "addrtype", u16(0, 8, 0, 1<<unix.RTN_UNICAST), yes},
		{"--dport 22", "tcp", tcp(22, 22), yes},
		{"--dport 1000:2000", "tcp", tcp(1000, 2000), no},
		{"--syn", "tcp", tcp(0, 0xffff, 0, 0x17, 0x02), yes},
		{"! --syn", "tcp", tcp(0, 0xffff, 0, 0x17, 0x02, 8), maybe},
		{"--tcp-flags ALL ALL", "tcp", tcp(0, 0xffff, 0, 0x3f, 0x3f), no},
		{"--sport 1024:", "tcp", u16(0, 12, 1024, 0xffff, 0, 0xffff), maybe},
		{"a match nobody knows", "recent", nil, maybe},
	} {
		if got := matchOfXtables(c.name, c.info, p); got != c.want {
			t.Errorf("%s: %d, want %d", c.says, got, c.want)
		}
	}
}

// The kernel of another version may say what this one never does.
func FuzzRulesOfOthersEndNobody(f *testing.F) {
	f.Add("bitwise", []byte{8, 0, 1, 0, 0, 0, 0, 1, 8, 0, 2, 0, 0, 0, 0, 8}, "cmp", []byte{8, 0, 1, 0, 0, 0, 0, 8})
	f.Add("payload", []byte{8, 0, 1, 0, 0, 0, 0, 1, 8, 0, 3, 0, 0, 0, 0, 40, 8, 0, 4, 0, 0xff, 0xff, 0xff, 0xff}, "match", []byte{9, 0, 1, 0, 't', 'c', 'p', 0, 0})
	f.Fuzz(func(t *testing.T, name string, data []byte, name2 string, data2 []byte) {
		r := &strangers{chains: map[chainName]*foreignChain{}, sets: map[chainName]*foreignSet{}}
		c := &foreignChain{family: unix.NFPROTO_INET, table: "f", rules: [][]expression{{{name, data}, {name2, data2}}}}
		r.sets[chainName{c.family, c.table, ""}] = &foreignSet{interval: true, elements: []element{{key: data}}}
		p := &firstPacket{iif: "c0", from: netip.MustParseAddr("192.0.2.1"), to: netip.MustParseAddr("10.30.0.1"), proto: unix.IPPROTO_TCP, dport: 22, mark: markBit}
		if got := r.walk(c, p, 0); got == 0 {
			t.Errorf("nothing becomes of it")
		}
	})
}

// Chains that jump to the next one twice are walked 2^n times in thought.
func TestRulesThatTakeForeverToFollowAreNotFollowedToTheEnd(t *testing.T) {
	r := &strangers{chains: map[chainName]*foreignChain{}, walked: mostWalked - 1000}
	unknown := expression{"quota", nil}
	jump := func(to string) expression {
		code := append([]byte{8, 0, unix.NFTA_VERDICT_CODE, 0}, 0xff, 0xff, 0xff, 0xfd)
		name := append([]byte{byte(4 + len(to) + 1), 0, unix.NFTA_VERDICT_CHAIN, 0}, append([]byte(to), make([]byte, 4-len(to)%4)...)...)
		verdict := append(code, name...)
		verdict = append([]byte{byte(4 + len(verdict)), 0, unix.NFTA_DATA_VERDICT, 0}, verdict...)
		data := append([]byte{byte(4 + len(verdict)), 0, unix.NFTA_IMMEDIATE_DATA, 0}, verdict...)
		return expression{"immediate", append([]byte{8, 0, unix.NFTA_IMMEDIATE_DREG, 0, 0, 0, 0, 0}, data...)}
	}
	names := []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n"}
	for i, name := range names {
		c := &foreignChain{family: unix.NFPROTO_INET, table: "t", name: name}
		if i+1 < len(names) {
			for range 2 {
				c.rules = append(c.rules, []expression{unknown, jump(names[i+1])})
			}
		}
		r.chains[chainName{c.family, c.table, name}] = c
	}
	p := &firstPacket{to: netip.MustParseAddr("10.30.0.1")}
	if got := r.walk(r.chains[chainName{unix.NFPROTO_INET, "t", "a"}], p, 0); got != accepted|dropped || r.walked > mostWalked+100 {
		t.Errorf("%b after %d rules", got, r.walked)
	}
}
