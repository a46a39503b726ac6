package netfilter

import (
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

func wire(r ipRule) []byte {
	var b []byte
	for _, d := range r.encode() {
		b = append(b, d.Serialize()...)
	}
	return b
}

func TestAnIPRuleIsReadAsItWasWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := rapid.SampledFrom([]family{v4, v6}).Draw(t, "family")
		r := ipRule{family: f, pref: prefDeliver, iif: rapid.StringMatching(`[a-z0-9.-]{1,15}`).Draw(t, "iif")}
		if rapid.Bool().Draw(t, "guard") {
			r.pref = prefGuard
			raw := rapid.SliceOfN(rapid.Byte(), f.loopback().BitLen()/8, f.loopback().BitLen()/8).Draw(t, "addr")
			addr, _ := netip.AddrFromSlice(raw)
			r.to = netip.PrefixFrom(addr, rapid.IntRange(0, addr.BitLen()).Draw(t, "bits")).Masked()
			if rapid.Bool().Draw(t, "ports") {
				r.ports.first = rapid.Uint16Range(1, 65535).Draw(t, "first")
				r.ports.last = rapid.Uint16Range(r.ports.first, 65535).Draw(t, "last")
				r.proto = rapid.SampledFrom([]uint32{unix.IPPROTO_TCP, unix.IPPROTO_UDP}).Draw(t, "proto")
			}
		}
		r = ahead([]ipRule{r}, rapid.SliceOf(rapid.Uint32Range(0, 1000)).Draw(t, "others"))[0]
		if got, ours := decodeIPRule(wire(r)); !ours || got != r {
			t.Errorf("wrote %s, read %s, ours %t", r, got, ours)
		}
	})
}

func TestOurRoutingRulesStandBeforeThoseOfOthers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		others := rapid.SliceOf(rapid.Uint32Range(0, 33_000)).Draw(t, "others")
		moved := ahead([]ipRule{{pref: prefDeliver}, {pref: prefGuard}}, others)
		stand := moved[0].pref
		if !isStep(stand) || moved[1].pref != stand+prefGuard-prefDeliver {
			t.Fatalf("%v beside %v", moved, others)
		}
		later := false // whether they would stand before all as well one step later
		for _, other := range others {
			before := other > prefFirst+prefGuard-prefDeliver
			if before && other <= moved[1].pref {
				t.Errorf("%d stands before %v", other, moved)
			}
			later = later || before && other <= moved[1].pref+prefStep
		}
		if stand < prefDeliver && !later {
			t.Errorf("%v for no reason beside %v", moved, others)
		}
	})
}

func TestOutermostPrefixesCoverTheSameAndDoNotOverlap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		prefix := rapid.Custom(func(t *rapid.T) netip.Prefix {
			addr := netip.AddrFrom4([4]byte{10, 0, 0, rapid.Byte().Draw(t, "host")})
			return netip.PrefixFrom(addr, rapid.IntRange(24, 32).Draw(t, "bits")).Masked()
		})
		given := rapid.SliceOfN(prefix, 1, 8).Draw(t, "prefixes")
		outer := outermost(given)
		for i, p := range outer {
			for _, q := range outer[i+1:] {
				if p.Overlaps(q) {
					t.Fatalf("%s and %s overlap", p, q)
				}
			}
		}
		holds := func(ps []netip.Prefix, a netip.Addr) bool {
			for _, p := range ps {
				if p.Contains(a) {
					return true
				}
			}
			return false
		}
		for host := range 256 {
			if a := netip.AddrFrom4([4]byte{10, 0, 0, byte(host)}); holds(given, a) != holds(outer, a) {
				t.Fatalf("%v became %v: differs at %s", given, outer, a)
			}
		}
	})
}

// What the kernel sends is not hostile, but a kernel of tomorrow must not
// crash the gate of today.
func FuzzNetlinkBytes(f *testing.F) {
	f.Add(wire(ipRule{family: v4, pref: prefDeliver, iif: "c0"}), []byte{})
	f.Add(wire(ipRule{family: v6, pref: prefGuard, iif: "c0", to: netip.MustParsePrefix("fd30::/64"), ports: portRange{22, 23}, proto: unix.IPPROTO_UDP}), []byte{8, 0, 1, 0x80, 1, 2, 3, 4})
	f.Add([]byte{4, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0}, []byte{36, 0, 0, 0, 15, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 16, 0, 3, 0, 'n', 'f', 't', 0})
	f.Fuzz(func(t *testing.T, a, b []byte) {
		decodeIPRule(a)
		new(events).notice(a)
		size := 0
		for _, v := range attributes(a) {
			size += len(v)
		}
		if size > len(a) {
			t.Errorf("%d bytes hold attributes of %d", len(a), size)
		}
		sameAttributes(a, b)
		nameOnly(a)
	})
}
