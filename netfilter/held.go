package netfilter

import (
	"errors"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// Held are listening sockets that somebody keeps while no process has them,
// by the names that [Gate.Sockets] gives them. A connection that comes
// meanwhile waits in their backlog: it is neither refused nor let past.
type Held map[string]*os.File

// socketName is what a held socket is called: "ssh-4", "rdp-6".
func socketName(entry string, f family) string {
	return entry + map[family]string{v4: "-4", v6: "-6"}[f]
}

// take makes a listener of a held socket, when there is one that is what
// listenTransparent would have made. The file is closed in any case: what it
// stood for is open twice or not wanted.
func (h Held) take(name string, f family, port uint16) (*net.TCPListener, bool) {
	file, ok := h[name]
	if !ok {
		return nil, false
	}
	delete(h, name)
	defer file.Close()
	if checkHeld(file, f) != nil {
		return nil, false
	}
	l, err := net.FileListener(file)
	if err != nil {
		return nil, false
	}
	ln, ok := l.(*net.TCPListener)
	if !ok || addrPort(ln.Addr()).Port() != port || addrPort(ln.Addr()).Addr() != f.loopback() {
		l.Close()
		return nil, false
	}
	return ln, true
}

// checkHeld says why a socket must not be listened on: it was made by another
// version, or by somebody else.
func checkHeld(file *os.File, f family) (err error) {
	raw, err := file.SyscallConn()
	if err != nil {
		return err
	}
	e := raw.Control(func(fd uintptr) { err = checkOptions(int(fd), f) })
	return errors.Join(e, err)
}

func checkOptions(fd int, f family) error {
	level, option := unix.SOL_IP, unix.IP_TRANSPARENT
	if f == v6 {
		level, option = unix.SOL_IPV6, unix.IPV6_TRANSPARENT
	}
	for _, want := range []struct{ level, option, value int }{
		{unix.SOL_SOCKET, unix.SO_ACCEPTCONN, 1},
		{unix.SOL_SOCKET, unix.SO_PROTOCOL, unix.IPPROTO_TCP}, // and not Multipath TCP
		{level, option, 1},
	} {
		got, err := unix.GetsockoptInt(fd, want.level, want.option)
		if err != nil {
			return err
		}
		if got != want.value {
			return fmt.Errorf("socket option %d is %d and not %d", want.option, got, want.value)
		}
	}
	return nil
}

// close closes what nobody took.
func (h Held) close() {
	for name, file := range h {
		file.Close()
		delete(h, name)
	}
}

// Sockets are duplicates of the listening sockets, for somebody to hold; the
// caller closes them.
func (g *Gate) Sockets() (Held, error) {
	held := Held{}
	for entry, l := range g.listeners {
		for _, ln := range l.listeners {
			f, err := ln.File()
			if err != nil {
				held.close()
				return nil, fmt.Errorf("duplicate the listener for %s: %w", entry, err)
			}
			held[socketName(entry, familyOf(addrPort(ln.Addr()).Addr()))] = f
		}
	}
	return held, nil
}
