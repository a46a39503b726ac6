package netfilter

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pawelmojski/inside/netfilter/nettest"
)

func TestTheGatesOwnAddressesAndOtherImpossibleDestinationsAreForbidden(t *testing.T) {
	lab := nettest.For(t, nettest.Options{})
	g := openGate(t, lab, config())
	for dest, want := range map[string]string{
		"10.30.0.140:22":        "",
		"[fd30::140]:22":        "",
		"192.0.2.1:22":          "", // no way there, but that is no secret
		"10.50.0.1:22":          "an address of the gate itself",
		"10.30.0.1:22":          "an address of the gate itself",
		"[fd50::1]:22":          "an address of the gate itself",
		"[::ffff:10.30.0.1]:22": "an address of the gate itself",
		"10.30.0.1:7022":        "the gate's own listener",
		"127.0.0.1:7022":        "a loopback address",
		"127.8.9.1:22":          "a loopback address",
		"[::1]:22":              "a loopback address",
		"0.0.0.0:22":            "no address",
		"[::]:22":               "no address",
		"10.30.0.255:22":        "a broadcast address",
		"255.255.255.255:22":    "a broadcast address",
		"224.0.0.1:22":          "a multicast address",
		"[ff02::1]:22":          "a multicast address",
		"169.254.169.254:80":    "the metadata address of a cloud",
		"[fd00:ec2::254]:80":    "the metadata address of a cloud",
		"169.254.1.1:22":        "a link-local address",
		"[fe80::1%b0]:22":       "a link-local address",
		"10.30.0.140:0":         "port 0",
	} {
		if got := g.Forbidden(netip.MustParseAddrPort(dest)); got != want {
			t.Errorf("%s: %q, want %q", dest, got, want)
		}
	}
	if got := g.Forbidden(netip.AddrPort{}); got != "no address" {
		t.Errorf("the zero address: %q", got)
	}
	sh(t, lab, "ip addr add 10.30.0.200/32 dev lo")
	if got := g.Forbidden(netip.MustParseAddrPort("10.30.0.200:22")); got != "an address of the gate itself" {
		t.Errorf("an address that was added: %q", got)
	}
	sh(t, lab, "ip addr del 10.30.0.200/32 dev lo")
	if got := g.Forbidden(netip.MustParseAddrPort("10.30.0.200:22")); got != "" {
		t.Errorf("an address that was removed: %q", got)
	}
	_, err := g.Dial(soon(t), netip.MustParseAddrPort("10.30.0.1:22"), netip.AddrPort{})
	if err == nil || !strings.Contains(err.Error(), "an address of the gate itself") {
		t.Errorf("dialled itself: %v", err)
	}
}

func TestNoConnectionCanLoopAndTheRouterItselfIsNotLockedOut(t *testing.T) {
	for _, source := range []Source{Gateway, Client} {
		t.Run(string(source), func(t *testing.T) {
			t.Parallel()
			lab := nettest.For(t, nettest.Options{})
			c := config()
			c.Source = source
			c.Protect = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}
			openGate(t, lab, c)
			if _, err := lab.Gateway.Greet(":22", "router\n"); err != nil { // the admin's own sshd
				t.Fatal(err)
			}
			for _, addr := range []string{"10.50.0.1:22", "10.30.0.1:22", "[fd50::1]:22", "[fd30::1]:22"} {
				expect(t, addr, exchange(t, lab.Client, addr), "router | read: EOF")
			}
			for _, addr := range []string{"10.50.0.1:7022", "[fd30::1]:7022"} {
				expect(t, addr, exchange(t, lab.Client, addr), "dial: connection refused")
			}
			for _, addr := range []string{"127.0.0.1:7022", "[::1]:7022"} {
				expect(t, "on the router, "+addr, exchange(t, lab.Gateway, addr), "dial: connection refused")
			}
			expect(t, "ping the router", ping(t, lab.Client, "10.50.0.1"), "answer")
			expect(t, "ping the router", ping(t, lab.Client, "fd30::1"), "answer")
			// Addresses that the client routes here though they are nobody's.
			sh2(t, lab.Client, "ip route add 127.3.0.0/16 via 10.50.0.1; ip addr flush dev lo; ip route add 169.254.0.0/16 via 10.50.0.1")
			expect(t, "metadata", exchange(t, lab.Client, "169.254.169.254:22"), "gate: forbidden: the metadata address of a cloud | read: EOF")
			expect(t, "link-local", exchange(t, lab.Client, "169.254.3.4:22"), "gate: forbidden: a link-local address | read: EOF")
		})
	}
}

func sh2(t testing.TB, ns *nettest.Namespace, script string) {
	t.Helper()
	if _, err := ns.Run(soon(t), "sh", "-ec", script); err != nil {
		t.Fatal(err)
	}
}

func TestOtherPortsAndProtocolsPassOrAreRefusedAsTheConfigSays(t *testing.T) {
	for _, c := range []struct {
		other Other
		want  map[string]string
	}{
		{Forward, map[string]string{"tcp 2222": "server", "udp": "answer", "udp 3389": "refused or silent", "icmp": "answer", "port 22": "gate"}},
		{Drop, map[string]string{"tcp 2222": "connection refused", "udp": "refused or silent", "udp 3389": "refused or silent", "icmp": "silent", "port 22": "gate"}},
	} {
		t.Run(string(c.other), func(t *testing.T) {
			t.Parallel()
			lab := nettest.For(t, nettest.Options{})
			serveNames(t, lab.Backend, ":22")
			serveNames(t, lab.Backend, ":2222")
			echoUDP(t, lab.Backend, ":3388")
			echoUDP(t, lab.Backend, ":3389")
			cfg := config()
			cfg.Other = c.other
			cfg.Entries = append(cfg.Entries, Entry{Name: "rdp", Ports: []uint16{3389}, Listen: 7389, NoUDP: true})
			g := openGate(t, lab, cfg)
			for _, host := range []string{"10.30.0.140", "fd30::140"} {
				for what, got := range map[string]string{
					"tcp 2222": kindOf(exchange(t, lab.Client, net.JoinHostPort(host, "2222"))),
					"port 22":  kindOf(exchange(t, lab.Client, net.JoinHostPort(host, "22"))),
					"udp":      askUDP(t, lab.Client, net.JoinHostPort(host, "3388")),
					"udp 3389": askUDP(t, lab.Client, net.JoinHostPort(host, "3389")),
					"icmp":     ping(t, lab.Client, host),
				} {
					expect(t, host+" "+what, got, c.want[what])
				}
			}
			// The guard alone, should nftables be empty for a moment, keeps
			// the same closed: the gate is not there to repair.
			g.Close(false)
			sh(t, lab, "nft flush ruleset")
			for _, host := range []string{"10.30.0.140", "fd30::140"} {
				if got := exchange(t, lab.Client, net.JoinHostPort(host, "22")); !strings.HasPrefix(got, "dial: ") {
					t.Errorf("%s port 22 past the guard: %s", host, got)
				}
				if got := exchange(t, lab.Client, net.JoinHostPort(host, "2222")); c.other == Drop && !strings.HasPrefix(got, "dial: ") {
					t.Errorf("%s port 2222 past the guard: %s", host, got)
				}
				if got := askUDP(t, lab.Client, net.JoinHostPort(host, "3388")); c.other == Drop && got != "refused or silent" {
					t.Errorf("%s UDP past the guard: %s", host, got)
				}
				if got := askUDP(t, lab.Client, net.JoinHostPort(host, "3389")); got != "refused or silent" {
					t.Errorf("%s UDP to a port of RDP past the guard: %s", host, got)
				}
			}
		})
	}
}

// kindOf shortens what exchange said to who said it, or why nobody did.
func kindOf(said string) string {
	who, _, _ := strings.Cut(said, ":")
	if who == "dial" {
		return strings.TrimPrefix(said, "dial: ")
	}
	return who
}

func echoUDP(t *testing.T, ns *nettest.Namespace, addr string) {
	t.Helper()
	var conn net.PacketConn
	err := ns.Do(func() (err error) {
		conn, err = net.ListenPacket("udp", addr)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	go func() {
		buf := make([]byte, 100)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			conn.WriteTo(buf[:n], from)
		}
	}()
}

func askUDP(t *testing.T, ns *nettest.Namespace, addr string) string {
	t.Helper()
	var conn net.Conn
	err := ns.Do(func() (err error) {
		conn, err = net.Dial("udp", addr)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.Write([]byte("hello"))
	conn.SetDeadline(time.Now().Add(time.Second))
	if _, err := conn.Read(make([]byte, 10)); err != nil {
		return "refused or silent"
	}
	return "answer"
}

// ping sends an ICMP echo request.
func ping(t *testing.T, ns *nettest.Namespace, host string) string {
	t.Helper()
	network, request, reply := "ip4:icmp", byte(8), byte(0)
	if strings.Contains(host, ":") {
		network, request, reply = "ip6:ipv6-icmp", 128, 129
	}
	var conn net.Conn
	err := ns.Do(func() (err error) {
		conn, err = net.Dial(network, host)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	echo := []byte{request, 0, 0, 0, 0x12, 0x34, 0, 1}
	sum := ^(uint16(request)<<8 + 0x1234 + 1) // for IPv6 the kernel fills it in
	echo[2], echo[3] = byte(sum>>8), byte(sum)
	if _, err := conn.Write(echo); err != nil {
		t.Fatal(err)
	}
	conn.SetDeadline(time.Now().Add(time.Second))
	buf := make([]byte, 100)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return "silent"
		}
		answer := buf[:n]
		if network == "ip4:icmp" && n > 20 {
			answer = answer[20:] // only IPv4 shows its header
		}
		if len(answer) > 0 && answer[0] == reply {
			return "answer"
		}
	}
}

func TestAClientThatAsksForMultipathTCPGetsPlainTCP(t *testing.T) {
	lab := nettest.For(t, nettest.Options{})
	if err := lab.Client.Sysctl("net/mptcp/enabled", "1"); errors.Is(err, os.ErrNotExist) {
		nettest.Skip(t, "this kernel has no Multipath TCP")
	}
	lab.Gateway.Sysctl("net/mptcp/enabled", "1")
	serveNames(t, lab.Backend, ":22")
	accepted := make(chan bool, 1)
	tg := &testGate{lab: lab, repaired: make(chan string, 1)}
	tg.open(t, config(), func(c Conn) {
		multipath, err := c.MultipathTCP()
		accepted <- multipath || err != nil
		hangUp(c)
	})
	var conn net.Conn
	err := lab.Client.Do(func() (err error) {
		d := net.Dialer{}
		d.SetMultipathTCP(true)
		conn, err = d.DialContext(soon(t), "tcp", "10.30.0.140:22")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if said, _ := io.ReadAll(conn); string(said) != "gate\n" {
		t.Errorf("said %q", said)
	}
	if multipath, _ := conn.(*net.TCPConn).MultipathTCP(); multipath {
		t.Error("the client has a Multipath TCP connection")
	}
	if <-accepted {
		t.Error("the gate has a Multipath TCP connection")
	}
}

func TestAcceptWaitsOutATimeWithoutDescriptorsAndLosesNobody(t *testing.T) {
	lab := nettest.For(t, nettest.Options{})
	serveNames(t, lab.Backend, ":22")
	gate := startGate(t, lab, config())
	var before unix.Rlimit
	none := unix.Rlimit{Cur: 0, Max: 1 << 20}
	if err := unix.Prlimit(gate.PID(), unix.RLIMIT_NOFILE, nil, &before); err != nil {
		t.Fatal(err)
	}
	none.Max = before.Max
	if err := unix.Prlimit(gate.PID(), unix.RLIMIT_NOFILE, &none, nil); err != nil {
		t.Fatal(err)
	}
	var conns []net.Conn
	for range 20 { // the kernel shakes hands by itself
		conn, err := lab.Client.Dial(soon(t), "10.30.0.140:22")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conns = append(conns, conn)
	}
	if err := gate.Await(soon(t), "accepted no connection"); err != nil {
		t.Fatal(err)
	}
	if err := unix.Prlimit(gate.PID(), unix.RLIMIT_NOFILE, &before, nil); err != nil {
		t.Fatal(err)
	}
	for _, conn := range conns {
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		if said, err := io.ReadAll(conn); string(said) != "gate\n" {
			t.Errorf("said %q: %v", said, err)
		}
	}
	if n := strings.Count(gate.Output(), "accepted no connection"); n != 1 {
		t.Errorf("logged %d times", n)
	}
}

func TestACloseResetsWhoWasNotAcceptedAndEndsAccept(t *testing.T) {
	lab := nettest.For(t, nettest.Options{})
	var g *Gate
	err := lab.Gateway.Do(func() (err error) {
		g, err = Open(t.Context(), config(), nil, slog.New(slog.DiscardHandler), func(string) {})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := lab.Client.Dial(soon(t), "10.30.0.140:22")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := g.Close(false); err != nil {
		t.Error(err)
	}
	if err := g.Close(false); err != nil {
		t.Errorf("the second time: %v", err)
	}
	if _, err := g.Listener("ssh").Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("accept after close: %v", err)
	}
	conn.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the client saw %v, want a reset", err)
	}
}

func TestOpenSaysWhatToDoWhenItCannot(t *testing.T) {
	lab := nettest.For(t, nettest.Options{})
	log := slog.New(slog.DiscardHandler)
	if _, err := lab.Gateway.Listen("127.0.0.1:7022"); err != nil {
		t.Fatal(err)
	}
	err := lab.Gateway.Do(func() error {
		_, err := Open(context.Background(), config(), nil, log, func(string) {})
		return err
	})
	if err == nil || !strings.Contains(err.Error(), "is another insided running?") {
		t.Errorf("with the port taken: %v", err)
	}
	lab = nettest.For(t, nettest.Options{})
	if err := lab.Gateway.Sysctl("net/ipv6/conf/all/disable_ipv6", "1"); err != nil {
		t.Fatal(err)
	}
	err = lab.Gateway.Do(func() error {
		_, err := Open(context.Background(), config(), nil, log, func(string) {})
		return err
	})
	if err == nil || !strings.Contains(err.Error(), "leave IPv6 prefixes out of protect") {
		t.Errorf("without IPv6: %v", err)
	}
	c := config()
	c.Protect = c.Protect[:1]
	serveNames(t, lab.Backend, ":22")
	openGate(t, lab, c)
	expect(t, "IPv4 alone", exchange(t, lab.Client, "10.30.0.140:22"), "gate: 10.50.0.2 to 10.30.0.140:22 | server: 10.30.0.1")
}

func TestAGateNeedsTwoCapabilitiesAndNamesTheOneThatIsMissing(t *testing.T) {
	nettest.Need(t, "setpriv")
	lab := nettest.For(t, nettest.Options{})
	text, err := json.Marshal(config())
	if err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for caps, want := range map[string]string{
		"-all,+net_admin,+net_raw": "ready",
		"-all,+net_raw":            "needs the capability CAP_NET_ADMIN",
	} {
		d, err := lab.Gateway.StartEnv([]string{gateEnv + "=" + string(text)}, "setpriv", "--bounding-set", caps, "--inh-caps", caps, exe)
		if err == nil {
			err = d.Await(soon(t), want)
		}
		if err != nil {
			t.Errorf("with %s: %v", caps, err)
		}
		d.Stop()
	}
}
