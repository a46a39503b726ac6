package netfilter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A Conn is an intercepted connection.
type Conn struct {
	*net.TCPConn
	Client netip.AddrPort // who dialled
	Dest   netip.AddrPort // what was dialled
}

// A Listener accepts the intercepted connections of one entry, of both
// families.
type Listener struct {
	entry     string
	log       *slog.Logger
	listeners []*net.TCPListener
	conns     chan Conn
	done      chan struct{}
	close     sync.Once
	wg        sync.WaitGroup
	failed    atomic.Pointer[failure]
	offered   atomic.Pointer[time.Time] // since when a connection waits for Accept
}

// A failure is why a connection could not be accepted, and when.
type failure struct {
	err error
	at  time.Time
}

// How long accept pauses after a failure, and the next, and so on.
const shortestPause, longestPause = 5 * time.Millisecond, time.Second

// Failing says why connections are not accepted right now, or nil.
func (l *Listener) Failing() error {
	if f := l.failed.Load(); f != nil && time.Since(f.at) < 2*longestPause {
		return fmt.Errorf("entry %s accepts no connection: %w", l.entry, f.err)
	}
	return nil
}

// Waits is how long a connection has waited for somebody to call Accept.
func (l *Listener) Waits() time.Duration {
	if since := l.offered.Load(); since != nil {
		return time.Since(*since)
	}
	return 0
}

func listen(e Entry, families []family, held Held, log *slog.Logger) (*Listener, error) {
	l := &Listener{entry: e.Name, log: log, conns: make(chan Conn), done: make(chan struct{})}
	for _, f := range families {
		ln, ok := held.take(socketName(e.Name, f), f, e.Listen)
		if !ok {
			var err error
			if ln, err = listenTransparent(f, e.Listen); err != nil {
				l.Close()
				return nil, fmt.Errorf("listen for %s: %w", e.Name, err)
			}
		}
		l.listeners = append(l.listeners, ln)
	}
	for _, ln := range l.listeners {
		l.wg.Go(func() { l.accept(ln) })
	}
	return l, nil
}

func listenTransparent(f family, port uint16) (*net.TCPListener, error) {
	lc := net.ListenConfig{Control: transparentSocket}
	// Subflows of Multipath TCP come from other addresses than the one that
	// says who somebody is, and past the rules.
	lc.SetMultipathTCP(false)
	network := map[family]string{v4: "tcp4", v6: "tcp6"}[f]
	ln, err := lc.Listen(context.Background(), network, netip.AddrPortFrom(f.loopback(), port).String())
	switch {
	case errors.Is(err, unix.EPERM):
		return nil, fmt.Errorf("%w: insided needs the capability CAP_NET_ADMIN or CAP_NET_RAW (AmbientCapabilities= in its unit)", err)
	case errors.Is(err, unix.EADDRINUSE):
		return nil, fmt.Errorf("%w: is another insided running? `ss -ltnp sport = :%d` shows who has the port", err, port)
	case errors.Is(err, unix.EADDRNOTAVAIL):
		return nil, fmt.Errorf("%w: lo lacks its address; is IPv6 disabled (net.ipv6.conf.lo.disable_ipv6)? then leave IPv6 prefixes out of protect", err)
	case err != nil:
		return nil, err
	}
	return ln.(*net.TCPListener), nil
}

// transparentSocket lets a socket have an address that is not the gateway's.
func transparentSocket(network, _ string, c syscall.RawConn) (err error) {
	e := c.Control(func(fd uintptr) {
		if network == "tcp6" {
			err = unix.SetsockoptInt(int(fd), unix.SOL_IPV6, unix.IPV6_TRANSPARENT, 1)
		} else {
			err = unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_TRANSPARENT, 1)
		}
	})
	return errors.Join(e, err)
}

// Accept waits for the next connection. It returns net.ErrClosed after Close,
// and no other error.
func (l *Listener) Accept() (Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return Conn{}, net.ErrClosed
	}
}

// Close stops listening. Connections that nobody accepted are reset.
func (l *Listener) Close() {
	l.close.Do(func() {
		close(l.done)
		for _, ln := range l.listeners {
			ln.Close()
		}
		l.wg.Wait()
	})
}

func (l *Listener) accept(ln *net.TCPListener) {
	pause := shortestPause
	for {
		tcp, err := ln.AcceptTCP()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			// EMFILE and the like: connections wait in the backlog, and
			// the listener stays, so nothing passes by.
			l.failed.Store(&failure{err, time.Now()})
			if pause == shortestPause {
				l.log.Error("accepted no connection", "entry", l.entry, "err", err)
			}
			select {
			case <-l.done:
				return
			case <-time.After(pause):
			}
			pause = min(2*pause, longestPause)
			continue
		}
		pause = shortestPause
		conn := Conn{TCPConn: tcp, Client: addrPort(tcp.RemoteAddr()), Dest: addrPort(tcp.LocalAddr())}
		select {
		case l.conns <- conn:
			continue
		default:
		}
		now := time.Now()
		l.offered.CompareAndSwap(nil, &now)
		select {
		case l.conns <- conn:
			l.offered.CompareAndSwap(&now, nil)
		case <-l.done:
			tcp.SetLinger(0)
			tcp.Close()
			return
		}
	}
}

func addrPort(a net.Addr) netip.AddrPort {
	ap := a.(*net.TCPAddr).AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}
