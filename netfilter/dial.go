package netfilter

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// Dial connects to a server: with Source Client in the name of the client's
// address where there is a client, else from the gateway's own. A forbidden destination is refused
// here too, whoever forgot to ask.
func (g *Gate) Dial(ctx context.Context, to, client netip.AddrPort) (*net.TCPConn, error) {
	if why := g.Forbidden(to); why != "" {
		return nil, fmt.Errorf("dial %s: %s", to, why)
	}
	d := net.Dialer{}
	d.SetMultipathTCP(false)
	if g.Config().Source == Client && client.IsValid() {
		from := client.Addr().Unmap()
		if from.Is4() != to.Addr().Unmap().Is4() {
			return nil, fmt.Errorf("dial %s as %s: addresses of two families", to, from)
		}
		if err := g.prepareAnswers(to.Addr().Unmap()); err != nil {
			return nil, fmt.Errorf("dial %s as %s: %w", to, from, err)
		}
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))
		d.Control = inClientsName
	}
	conn, err := d.DialContext(ctx, "tcp", to.String())
	if err != nil {
		return nil, err
	}
	return conn.(*net.TCPConn), nil
}

// prepareAnswers learns the interface a server is behind, before it answers.
func (g *Gate) prepareAnswers(server netip.Addr) error {
	name, err := g.kernel.interfaceTo(server)
	if err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.expectAnswers(name)
}

// inClientsName prepares a socket for a foreign address. The port is chosen
// at connect, by all four parts of the connection: chosen at bind, one client
// could have no more than the 28,000 ephemeral ones at all servers together.
func inClientsName(network, address string, c syscall.RawConn) (err error) {
	if err := transparentSocket(network, address, c); err != nil {
		return fmt.Errorf("%w: source = \"client\" needs the capability CAP_NET_ADMIN or CAP_NET_RAW", err)
	}
	e := c.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
	})
	return errors.Join(e, err)
}

// The addresses where clouds keep secrets about the machine itself. The first
// is link-local and would be refused as such.
var metadata = map[netip.Addr]bool{
	netip.MustParseAddr("169.254.169.254"): true,
	netip.MustParseAddr("fd00:ec2::254"):   true,
}

// Forbidden says why nobody may be let through to a destination, whatever
// grant there is: it is the gate itself or no server at all. "" is fine.
func (g *Gate) Forbidden(dest netip.AddrPort) string {
	a := dest.Addr().Unmap().WithZone("")
	switch {
	case !a.IsValid() || a.IsUnspecified():
		return "no address"
	case metadata[a]:
		return "the metadata address of a cloud"
	case a.IsLoopback():
		return "a loopback address"
	case a.IsMulticast():
		return "a multicast address"
	case a.IsLinkLocalUnicast():
		return "a link-local address"
	case a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return "a broadcast address"
	case dest.Port() == 0:
		return "port 0"
	}
	// The kernel knows its addresses best, at this very moment.
	kind, _, err := g.kernel.route(a)
	switch {
	case err != nil && !noRoute(err):
		return "unknown whether it is the gate itself: " + err.Error()
	case err != nil || kind == unix.RTN_UNICAST:
		return ""
	case kind == unix.RTN_LOCAL && g.listensOn(dest.Port()):
		return "the gate's own listener"
	case kind == unix.RTN_LOCAL:
		return "an address of the gate itself"
	case kind == unix.RTN_BROADCAST:
		return "a broadcast address"
	case kind == unix.RTN_ANYCAST:
		return "an anycast address of the gate itself"
	}
	return ""
}

// noRoute reports whether the kernel said that there is no way to an address,
// which at least means that it is not its own.
func noRoute(err error) bool {
	for _, e := range []error{unix.ENETUNREACH, unix.EHOSTUNREACH, unix.EACCES, unix.EINVAL} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

func (g *Gate) listensOn(port uint16) bool {
	for _, e := range g.Config().Entries {
		if e.Listen == port {
			return true
		}
	}
	return false
}
