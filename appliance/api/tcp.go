package api

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"
)

const (
	mostCalls     = 2000 // connections to the port at a time
	mostCallsPeer = 1500 // of them, from one address; a reverse proxy is one address
)

// ListenTCP opens the port for tokens. It takes loopback addresses only: what
// is said there is not encrypted.
func ListenTCP(ctx context.Context, address string) (net.Listener, error) {
	at, err := netip.ParseAddrPort(address)
	if err != nil || !at.Addr().Unmap().IsLoopback() {
		return nil, fmt.Errorf("api: %.80q is not a loopback address with a port: tokens must not travel in the clear; put a reverse proxy with TLS in front", address)
	}
	var lc net.ListenConfig
	lc.SetMultipathTCP(false) // Go listens with MPTCP by default, and nothing here needs it
	l, err := lc.Listen(ctx, "tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("api: another program listens on %s: `ss -ltnp` shows which; stop it, or choose another [api] listen", address)
	}
	if err != nil {
		return nil, fmt.Errorf("api: %w", err)
	}
	return &crowd{Listener: l, from: map[netip.Addr]int{}}, nil
}

// ServeTCP answers on a listener made by ListenTCP, to whoever sends a token or
// is signed in on the pages, until ctx ends. names are the hosts that requests
// may name besides the address itself; without pages (nil) there is the API
// only.
func ServeTCP(ctx context.Context, l net.Listener, h House, b Bearers, names []string, pages Pages) error {
	at, err := netip.ParseAddrPort(l.Addr().String())
	if err != nil {
		return fmt.Errorf("api: %w", err)
	}
	nobody := func(net.Conn) Actor { return Actor{} }
	return serveDoor(ctx, l, h, tokenDoor(at, names, b, pages), nobody)
}

// A crowd is a listener that lets only so many in at a time.
type crowd struct {
	net.Listener

	mu   sync.Mutex
	all  int
	from map[netip.Addr]int
}

func (c *crowd) Accept() (net.Conn, error) {
	for {
		conn, err := c.Listener.Accept()
		if err != nil {
			return nil, err
		}
		peer, _ := netip.ParseAddrPort(conn.RemoteAddr().String())
		if c.enter(peer.Addr()) {
			return &caller{Conn: conn, leave: sync.OnceFunc(func() { c.leave(peer.Addr()) })}, nil
		}
		conn.Close()
	}
}

func (c *crowd) enter(peer netip.Addr) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all >= mostCalls || c.from[peer] >= mostCallsPeer {
		return false
	}
	c.all++
	c.from[peer]++
	return true
}

func (c *crowd) leave(peer netip.Addr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all--
	if c.from[peer]--; c.from[peer] == 0 {
		delete(c.from, peer)
	}
}

type caller struct {
	net.Conn
	leave func()
}

func (c *caller) Close() error {
	c.leave()
	return c.Conn.Close()
}
