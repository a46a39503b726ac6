package netfilter

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pawelmojski/inside/netfilter/nettest"
)

// A probe sends SYNs that no TCP stack would send, from the client, and looks
// who answers: the gate's answers leave it with a hop limit of 64, those of
// the server have lost one on their way.
type probe struct {
	client *nettest.Namespace
	raw    map[family]int
	packet int
	port   uint16
}

func newProbe(t *testing.T, lab *nettest.Lab) *probe {
	t.Helper()
	p := &probe{client: lab.Client, raw: map[family]int{}, port: 20000}
	err := lab.Client.Do(func() (err error) {
		for _, f := range []family{v4, v6} {
			if p.raw[f], err = unix.Socket(int(f), unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW); err != nil {
				return err
			}
		}
		p.packet, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, int(binary.BigEndian.Uint16(native16(unix.ETH_P_ALL))))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		unix.Close(p.raw[v4])
		unix.Close(p.raw[v6])
		unix.Close(p.packet)
	})
	return p
}

// syn is a TCP segment that opens a connection to port 22, with some data.
func (p *probe) syn(from, to netip.Addr, data int) []byte {
	p.port++
	s := make([]byte, 24+data)
	binary.BigEndian.PutUint16(s, p.port)
	binary.BigEndian.PutUint16(s[2:], 22)
	binary.BigEndian.PutUint32(s[4:], 12345)
	s[12], s[13] = 6<<4, 0x02 // six words; SYN
	binary.BigEndian.PutUint16(s[14:], 65535)
	copy(s[20:], []byte{2, 4, 5, 0xb4}) // MSS 1460
	sum := checksum(append(append(from.AsSlice(), to.AsSlice()...), byte(len(s)>>8), byte(len(s)), 0, unix.IPPROTO_TCP), s)
	binary.BigEndian.PutUint16(s[16:], sum)
	return s
}

func checksum(parts ...[]byte) uint16 {
	var sum uint32
	for _, b := range parts {
		for i := 0; i+1 < len(b); i += 2 {
			sum += uint32(binary.BigEndian.Uint16(b[i:]))
		}
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// packet4 is one IPv4 packet with a part of a segment, from is in bytes.
func packet4(id uint16, part []byte, from int, more bool) []byte {
	h := make([]byte, 20, 64)
	h[0], h[8], h[9] = 0x45, 64, unix.IPPROTO_TCP
	binary.BigEndian.PutUint16(h[2:], uint16(20+len(part)))
	binary.BigEndian.PutUint16(h[4:], id)
	offset := uint16(from / 8)
	if more {
		offset |= 0x2000
	}
	binary.BigEndian.PutUint16(h[6:], offset)
	copy(h[12:], nettest.ClientIP4.AsSlice())
	copy(h[16:], nettest.BackendIP4.AsSlice())
	return append(h, part...) // the kernel fills the checksum in
}

// packet6 is one IPv6 packet whose header says that next follows.
func packet6(next byte, payload []byte) []byte {
	h := make([]byte, 40, 128)
	h[0], h[6], h[7] = 0x60, next, 64
	binary.BigEndian.PutUint16(h[4:], uint16(len(payload)))
	copy(h[8:], nettest.ClientIP6.AsSlice())
	copy(h[24:], nettest.BackendIP6.AsSlice())
	return append(h, payload...)
}

// fragment6 is the fragment header and a part of what it cuts.
func fragment6(id uint32, part []byte, from int, more bool) []byte {
	h := make([]byte, 8, 64)
	h[0] = unix.IPPROTO_TCP
	offset := uint16(from)
	if more {
		offset |= 1
	}
	binary.BigEndian.PutUint16(h[2:], offset)
	binary.BigEndian.PutUint32(h[4:], id)
	return append(h, part...)
}

// cut returns the parts of a segment, cut every eight bytes.
func cut(segment []byte) (parts [][]byte) {
	for len(segment) > 8 {
		parts, segment = append(parts, segment[:8]), segment[8:]
	}
	return append(parts, segment)
}

// expect sends packets and checks who opens the connection.
func (p *probe) expect(t *testing.T, state, name, want string) {
	t.Helper()
	f, packets := p.strange(name)
	expect(t, state+", "+name, p.whoAnswers(t, f, packets, map[bool]time.Duration{true: 300 * time.Millisecond, false: 15 * time.Second}[want == "nobody"]), want)
}

// whoAnswers sends packets and says who opened the connection.
func (p *probe) whoAnswers(t *testing.T, f family, packets [][]byte, patience time.Duration) string {
	t.Helper()
	for _, b := range packets {
		var err error
		if f == v4 {
			err = unix.Sendto(p.raw[v4], b, 0, &unix.SockaddrInet4{Addr: nettest.BackendIP4.As4()})
		} else {
			err = unix.Sendto(p.raw[v6], b, 0, &unix.SockaddrInet6{Addr: nettest.BackendIP6.As16()})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	deadline := time.Now().Add(patience)
	buf := make([]byte, 2048)
	for {
		left := time.Until(deadline)
		if left <= 0 {
			return "nobody"
		}
		tv := unix.NsecToTimeval(left.Nanoseconds())
		unix.SetsockoptTimeval(p.packet, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv)
		n, _, err := unix.Recvfrom(p.packet, buf, 0)
		if err != nil {
			continue
		}
		b, at, ttl := buf[:n], 20, 8
		if f == v6 {
			at, ttl = 40, 7
		}
		if len(b) < at+20 || b[0]>>4 != map[family]byte{v4: 4, v6: 6}[f] || binary.BigEndian.Uint16(b[at+2:]) != p.port || b[at+13]&0x12 != 0x12 {
			continue // not a SYN+ACK for this port
		}
		if b[ttl] == 64 {
			return "gate"
		}
		return fmt.Sprintf("server (hop limit %d)", b[ttl])
	}
}

// strange are the packets that carry one SYN in odd ways.
func (p *probe) strange(name string) (family, [][]byte) {
	s4, s6 := p.syn(nettest.ClientIP4, nettest.BackendIP4, 0), []byte(nil)
	id := p.port
	nothing := []byte{0, 0, 1, 4, 0, 0, 0, 0} // an options header that only pads; the first byte says what follows
	options := func(next byte) []byte { h := append([]byte(nil), nothing...); h[0] = next; return h }
	six := func(next byte, headers ...[]byte) (family, [][]byte) {
		s6 = p.syn(nettest.ClientIP6, nettest.BackendIP6, 0)
		var b []byte
		for _, h := range headers {
			b = append(b, h...)
		}
		return v6, [][]byte{packet6(next, append(b, s6...))}
	}
	switch name {
	case "IPv4, whole":
		return v4, [][]byte{packet4(id, s4, 0, false)}
	case "IPv4, in three fragments", "IPv4, the last fragment first":
		var packets [][]byte
		for i, part := range cut(s4) {
			packets = append(packets, packet4(id, part, 8*i, 8*i+8 < len(s4)))
		}
		if name != "IPv4, in three fragments" {
			packets[0], packets[2] = packets[2], packets[0]
		}
		return v4, packets
	case "IPv6, whole":
		return six(unix.IPPROTO_TCP)
	case "IPv6, behind hop-by-hop options":
		return six(0, options(unix.IPPROTO_TCP))
	case "IPv6, behind destination options":
		return six(60, options(unix.IPPROTO_TCP))
	case "IPv6, behind both":
		return six(0, options(60), options(unix.IPPROTO_TCP))
	case "IPv6, an atomic fragment":
		return six(44, fragment6(uint32(id), nil, 0, false))
	}
	// Linux drops IPv6 fragments below the least MTU, so this takes data.
	const first = 1240
	s6 = p.syn(nettest.ClientIP6, nettest.BackendIP6, 1400)
	packets := [][]byte{
		packet6(44, fragment6(uint32(id), s6[:first], 0, true)),
		packet6(44, fragment6(uint32(id), s6[first:], first, false)),
	}
	if name == "IPv6, the last fragment first" {
		packets[0], packets[1] = packets[1], packets[0]
	}
	return v6, packets
}

func TestASYNInFragmentsOrBehindExtensionHeadersIsIntercepted(t *testing.T) {
	names := []string{
		"IPv4, whole", "IPv4, in three fragments", "IPv4, the last fragment first",
		"IPv6, whole", "IPv6, behind hop-by-hop options", "IPv6, behind destination options", "IPv6, behind both",
		"IPv6, an atomic fragment", "IPv6, in two fragments", "IPv6, the last fragment first",
	}
	for _, other := range []Other{Forward, Drop} {
		t.Run(string(other), func(t *testing.T) {
			t.Parallel()
			lab := nettest.For(t, nettest.Options{})
			serveNames(t, lab.Backend, ":22")
			probe := newProbe(t, lab)
			for _, name := range names { // the probe itself works: without a gate the server answers
				probe.expect(t, "no gate", name, "server (hop limit 63)")
			}
			c := config()
			c.Other = other
			g := openQuiet(t, lab, c)
			for _, name := range names {
				probe.expect(t, "gate", name, "gate")
			}
			g.Close(false)
			for _, name := range names {
				probe.expect(t, "gate away", name, "nobody")
			}
			sh(t, lab, "nft flush ruleset")
			for _, name := range names {
				if other == Forward && !strings.HasSuffix(name, ", whole") {
					continue // without nftables nobody puts fragments together, and a guard with ports cannot see them
				}
				probe.expect(t, "only the guard", name, "nobody")
			}
		})
	}
}

func TestAFlowThatWasForwardedBeforeIsResetWhenTheGateOpens(t *testing.T) {
	lab := nettest.For(t, nettest.Options{})
	serveNames(t, lab.Backend, ":22")
	conn, err := lab.Client.Dial(soon(t), "10.30.0.140:22")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.ReadFull(conn, make([]byte, len("server: 10.50.0.2\n"))); err != nil {
		t.Fatal(err)
	}
	openGate(t, lab, config())
	_, err = conn.Write([]byte("still there?\n"))
	if err == nil {
		_, err = conn.Read(make([]byte, 100))
	}
	if !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("got %v, want a reset", err)
	}
}

// Behind the backend, or before the client, a link is narrower than either
// end knows. Only ICMP tells, and it is sent to an address that is not the
// gateway's own.
func TestPathMTUDiscoveryWorksOnBothSidesOfTheGate(t *testing.T) {
	const size = 300_000
	for _, source := range []Source{Gateway, Client} {
		for _, f := range []family{v4, v6} {
			t.Run(fmt.Sprintf("source=%s/%s", source, f), func(t *testing.T) {
				t.Parallel()
				lab := nettest.For(t, nettest.Options{})
				far := behind(t, lab, lab.Backend, "10.31.0", "fd31::", "b0", "10.30.0.140", "fd30::140")
				home := behind(t, lab, lab.Client, "10.51.0", "fd51::", "c0", "10.50.0.2", "fd50::2")
				c := config()
				c.Source = source
				c.Protect = append(c.Protect, netip.MustParsePrefix("10.31.0.0/24"), netip.MustParsePrefix("fd31::/64"))
				openGate(t, lab, c)
				serveNames(t, far, ":22")
				addr := map[family]string{v4: "10.31.0.2:22", v6: "[fd31::2]:22"}[f]
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
				defer cancel()
				conn, err := home.Dial(ctx, addr)
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				conn.SetDeadline(time.Now().Add(20 * time.Second))
				go func() {
					conn.Write(make([]byte, size))
					conn.(*net.TCPConn).CloseWrite()
				}()
				if n, err := io.Copy(io.Discard, conn); err != nil || n < size {
					t.Errorf("%d bytes came back: %v", n, err)
				}
			})
		}
	}
}

// behind adds a host behind another, by a link that is narrow in the middle
// only.
func behind(t *testing.T, lab *nettest.Lab, router *nettest.Namespace, net4, net6, dev, via4, via6 string) *nettest.Namespace {
	t.Helper()
	host, err := lab.Host("behind-" + dev)
	if err != nil {
		t.Fatal(err)
	}
	mid, err := lab.Host("narrow-" + dev)
	if err != nil {
		t.Fatal(err)
	}
	// router ══ 1500 ══ mid ── 1300 ── mid2 … host: two routers, so that
	// neither end's own interface is the narrow one.
	mid2, err := lab.Host("wide-" + dev)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []*nettest.Namespace{router, mid, mid2} {
		n.Sysctl("net/ipv4/ip_forward", "1")
		n.Sysctl("net/ipv6/conf/all/forwarding", "1")
	}
	join := func(a, b *nettest.Namespace, left, right string, id, mtu int) {
		t.Helper()
		sh2(t, a, fmt.Sprintf(`ip link add %[1]s mtu %[5]d type veth peer name %[2]s mtu %[5]d netns %[3]s
			ip addr add 192.168.%[4]d.1/24 dev %[1]s; ip addr add fdaa:%[4]d::1/64 dev %[1]s nodad; ip link set %[1]s up`, left, right, b.Name, id, mtu))
		sh2(t, b, fmt.Sprintf(`ip addr add 192.168.%[2]d.2/24 dev %[1]s; ip addr add fdaa:%[2]d::2/64 dev %[1]s nodad; ip link set %[1]s up
			ip route replace default via 192.168.%[2]d.1; ip -6 route replace default via fdaa:%[2]d::1`, right, id))
	}
	join(router, mid, "m0", "eth0", 1, 1500)
	join(mid, mid2, "m1", "eth0", 2, 1300)
	join(mid2, host, "m2", "eth0", 3, 1500)
	sh2(t, host, fmt.Sprintf("ip addr add %s.2/32 dev eth0; ip addr add %s2/128 dev eth0 nodad; ip route replace default via 192.168.3.1 src %s.2; ip -6 route replace default via fdaa:3::1 src %s2", net4, net6, net4, net6))
	for _, hop := range []struct {
		n          *nettest.Namespace
		via4, via6 string
	}{{router, "192.168.1.2", "fdaa:1::2"}, {mid, "192.168.2.2", "fdaa:2::2"}, {mid2, "192.168.3.2", "fdaa:3::2"}, {lab.Gateway, via4, via6}} {
		sh2(t, hop.n, fmt.Sprintf("ip route add %s.0/24 via %s; ip -6 route add %s/64 via %s", net4, hop.via4, net6, hop.via6))
	}
	return host
}
