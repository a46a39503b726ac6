// Package nettest builds small networks for tests: a client, a gateway and a
// backend as network namespaces on this machine, with real processes in them.
//
//	client 10.50.0.2  ──c0─▶  gateway  ──b0─▶  backend 10.30.0.140
//	       fd50::2                                     fd30::140
//
// The gateway forwards, both sides have their default route to it, and
// nothing stands in between until a test puts it there. The lab needs root.
// It is no mock: packets, sshd and rules are the real ones. Test binaries and
// the demo call it; nothing that is shipped does.
package nettest

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// The addresses of every lab. Namespaces keep labs apart, so that all of them
// can use the same ones at the same time.
var (
	ClientIP4      = netip.MustParseAddr("10.50.0.2")
	ClientIP6      = netip.MustParseAddr("fd50::2")
	GatewayClient4 = netip.MustParseAddr("10.50.0.1") // the gateway, as the client sees it
	GatewayClient6 = netip.MustParseAddr("fd50::1")
	GatewayServer4 = netip.MustParseAddr("10.30.0.1") // the gateway, as the backend sees it
	GatewayServer6 = netip.MustParseAddr("fd30::1")
	BackendIP4     = netip.MustParseAddr("10.30.0.140")
	BackendIP6     = netip.MustParseAddr("fd30::140")
	BackendNet4    = netip.MustParsePrefix("10.30.0.0/24")
	BackendNet6    = netip.MustParsePrefix("fd30::/64")
)

// The gateway's interfaces.
const (
	ClientSide  = "c0"
	BackendSide = "b0"
)

// Options of a lab; the zero value is the picture above.
type Options struct {
	ClientAddrs  []netip.Addr // further addresses of the client host
	BackendAddrs []netip.Addr // further addresses of the backend host
	Dir          string       // for logs, keys and homes; "" makes a temporary one
}

// A Lab is a client, a gateway and a backend.
type Lab struct {
	Client, Gateway, Backend *Namespace
	Dir                      string

	opts    Options
	ownsDir bool
	prefix  string // of the names of its namespaces

	mu      sync.Mutex
	closers []func()
	daemons []*Daemon
	hosts   []*Namespace
}

var labs atomic.Int64

// New lays a lab out. Close removes it.
func New(o Options) (l *Lab, err error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("the lab makes network namespaces: run it as root")
	}
	sweep()
	l = &Lab{opts: o, Dir: o.Dir}
	defer func() {
		if err != nil {
			l.Close()
			l = nil
		}
	}()
	if l.Dir == "" {
		if l.Dir, err = os.MkdirTemp("", "inside-lab-"); err != nil {
			return l, err
		}
		l.ownsDir = true
	}
	l.prefix = fmt.Sprintf("%s%d-%d-", namePrefix, os.Getpid(), labs.Add(1))
	for name, ns := range map[string]**Namespace{"client": &l.Client, "gateway": &l.Gateway, "backend": &l.Backend} {
		if *ns, err = l.Host(name); err != nil {
			return l, err
		}
	}
	for _, key := range []string{"net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"} {
		if err = l.Gateway.Sysctl(key, "1"); err != nil {
			return l, err
		}
	}
	if err = l.Plug(); err != nil {
		return l, err
	}
	return l, l.PlugBackend()
}

// For lays a lab out for one test: removed when the test ends, logs of its
// daemons shown when the test failed.
func For(t testing.TB, o Options) *Lab {
	t.Helper()
	Need(t, "ip")
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	l, err := New(o)
	if err != nil {
		t.Fatalf("lab: %v", err)
	}
	t.Cleanup(func() {
		l.Close()
		if t.Failed() {
			l.showLogs(t)
		}
	})
	return l
}

// Need requires root and programs.
func Need(t testing.TB, tools ...string) {
	t.Helper()
	if os.Geteuid() != 0 {
		Skip(t, "needs root, for network namespaces")
	}
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			Skip(t, "needs %s: install it, or look into packaging/dev/install for the package", tool)
		}
	}
}

// Skip skips the test on somebody's laptop. Where CI or VMTESTS_REQUIRE is set
// it fails, so that a forgotten installation does not look like a success.
func Skip(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") != "" || os.Getenv("VMTESTS_REQUIRE") != "" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

// Host adds a host that is connected to nothing yet: the test does that, with
// `ip link add … netns NAME`.
func (l *Lab) Host(name string) (*Namespace, error) {
	n, err := newNamespace(l.prefix + name)
	if err != nil {
		return nil, err
	}
	n.lab = l
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hosts = append(l.hosts, n)
	return n, nil
}

// Plug connects the client to the gateway, as c0.
func (l *Lab) Plug() error {
	return l.link(l.Client, ClientSide, []netip.Prefix{
		netip.PrefixFrom(ClientIP4, 24), netip.PrefixFrom(ClientIP6, 64),
	}, []netip.Addr{GatewayClient4, GatewayClient6}, l.opts.ClientAddrs)
}

// Unplug removes c0 from the gateway, and with it the client's only way.
func (l *Lab) Unplug() error { return l.unplug(ClientSide) }

// PlugBackend connects the backend to the gateway, as b0.
func (l *Lab) PlugBackend() error {
	return l.link(l.Backend, BackendSide, []netip.Prefix{
		netip.PrefixFrom(BackendIP4, 24), netip.PrefixFrom(BackendIP6, 64),
	}, []netip.Addr{GatewayServer4, GatewayServer6}, l.opts.BackendAddrs)
}

// UnplugBackend removes b0 from the gateway, and with it the backend's only way.
func (l *Lab) UnplugBackend() error { return l.unplug(BackendSide) }

func (l *Lab) unplug(name string) error {
	h, err := netlink.NewHandleAt(l.Gateway.fd)
	if err != nil {
		return err
	}
	defer h.Close()
	link, err := h.LinkByName(name)
	if err != nil {
		return err
	}
	return h.LinkDel(link)
}

// link connects a host with the gateway by a veth pair: gwName there, eth0 in
// the host.
func (l *Lab) link(host *Namespace, gwName string, own []netip.Prefix, gateways, further []netip.Addr) error {
	gw, err := netlink.NewHandleAt(l.Gateway.fd)
	if err != nil {
		return err
	}
	defer gw.Close()
	h, err := netlink.NewHandleAt(host.fd)
	if err != nil {
		return err
	}
	defer h.Close()

	attrs := netlink.NewLinkAttrs()
	attrs.Name = gwName
	if err := gw.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "eth0", PeerNamespace: netlink.NsFd(host.fd)}); err != nil {
		return fmt.Errorf("link %s to %s: %w", gwName, host.Name, err)
	}
	near, err := linkUp(gw, gwName)
	if err != nil {
		return err
	}
	far, err := linkUp(h, "eth0")
	if err != nil {
		return err
	}
	for i, p := range own {
		if err := addAddr(gw, near, netip.PrefixFrom(gateways[i], p.Bits())); err != nil {
			return err
		}
		if err := addAddr(h, far, p); err != nil {
			return err
		}
		if err := h.RouteAdd(&netlink.Route{LinkIndex: far.Attrs().Index, Gw: gateways[i].AsSlice()}); err != nil {
			return fmt.Errorf("default route of %s: %w", host.Name, err)
		}
	}
	for _, a := range further {
		single := netip.PrefixFrom(a, a.BitLen())
		if err := addAddr(h, far, single); err != nil {
			return err
		}
		if err := gw.RouteReplace(&netlink.Route{LinkIndex: near.Attrs().Index, Dst: netlink.NewIPNet(a.AsSlice()), Scope: netlink.SCOPE_LINK}); err != nil {
			return fmt.Errorf("route to %s: %w", a, err)
		}
	}
	return nil
}

func linkUp(h *netlink.Handle, name string) (netlink.Link, error) {
	link, err := h.LinkByName(name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return link, h.LinkSetUp(link)
}

func addAddr(h *netlink.Handle, link netlink.Link, p netip.Prefix) error {
	ipnet := netlink.NewIPNet(p.Addr().AsSlice())
	ipnet.Mask = mask(p)
	// Without nodad an IPv6 address cannot be used for its first second.
	if err := h.AddrReplace(link, &netlink.Addr{IPNet: ipnet, Flags: unix.IFA_F_NODAD}); err != nil {
		return fmt.Errorf("address %s: %w", p, err)
	}
	return nil
}

// Close stops everything that runs in the lab and removes it.
func (l *Lab) Close() {
	l.mu.Lock()
	closers, daemons, hosts := l.closers, l.daemons, l.hosts
	l.closers, l.daemons, l.hosts = nil, nil, nil
	l.mu.Unlock()
	for i := len(closers) - 1; i >= 0; i-- {
		closers[i]()
	}
	for i := len(daemons) - 1; i >= 0; i-- {
		daemons[i].Stop()
	}
	for _, n := range hosts {
		n.remove()
	}
	if l.ownsDir {
		os.RemoveAll(l.Dir)
	}
}

// onClose runs f when the lab is closed, the last one first.
func (l *Lab) onClose(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closers = append(l.closers, f)
}

func (l *Lab) showLogs(t testing.TB) {
	logs, _ := filepath.Glob(filepath.Join(l.Dir, "*.log"))
	for _, name := range logs {
		text, err := os.ReadFile(name)
		if err != nil || len(text) == 0 {
			continue
		}
		if len(text) > 16<<10 {
			text = text[len(text)-16<<10:]
		}
		t.Logf("--- %s\n%s", filepath.Base(name), text)
	}
}

// namePrefix begins the names of all our namespaces: the process that made
// them follows.
const namePrefix = "inside-"

// sweep removes labs of processes that were killed before they could.
func sweep() {
	entries, _ := os.ReadDir("/run/netns")
	for _, e := range entries {
		rest, ours := strings.CutPrefix(e.Name(), namePrefix)
		pid, _, _ := strings.Cut(rest, "-")
		n, err := strconv.Atoi(pid)
		if !ours || err != nil || unix.Kill(n, 0) != unix.ESRCH {
			continue
		}
		if fd, err := netns.GetFromName(e.Name()); err == nil {
			(&Namespace{Name: e.Name(), fd: fd}).remove()
		}
	}
}
