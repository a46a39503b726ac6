package sshentry

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pawelmojski/inside/proxy"
)

// A wire is one of the two TCP connections of a flow, as x/crypto/ssh uses it.
type wire struct {
	net.Conn
	out    *proxy.Punctual
	broken atomic.Bool   // the peer is gone: reading came to an end
	pause  time.Duration // how long that is kept back, see digest

	closed    chan struct{}
	closeOnce sync.Once
	closeErr  error

	raw     syscall.RawConn // nil: the connection is no socket
	readyFn func(fd uintptr) bool
	readBuf *[wireBuffer]byte // what was read ahead; nil when empty
	ahead   []byte            // of it
	readN   int               // the result of readReady
	readErr error

	// For hold: see there.
	released    chan struct{}
	releaseOnce sync.Once
	writes      atomic.Int32
	early       int // only touched by the reader
}

func newWire(c net.Conn, v proxy.Visit) *wire {
	w := &wire{Conn: c, out: proxy.NewPunctual(c, v), closed: make(chan struct{}), released: make(chan struct{})}
	if sc, ok := c.(syscall.Conn); ok {
		w.raw, _ = sc.SyscallConn()
	}
	w.readyFn = w.readReady
	return w
}

const (
	wireBuffer    = 256 << 10
	libraryBuffer = 4096 // of x/crypto/ssh's bufio.Reader and bufio.Writer
)

var wireBuffers = sync.Pool{New: func() any { return new([wireBuffer]byte) }}

// read reads as much as there is, so that a busy connection costs one system
// call for several packets instead of two for each. The big buffer is only
// held while there is something in it: while nothing comes, it is back in the
// pool.
func (w *wire) read(p []byte) (int, error) {
	if len(w.ahead) == 0 {
		if w.raw == nil || len(p) >= wireBuffer {
			return w.Conn.Read(p)
		}
		if err := w.raw.Read(w.readyFn); err != nil {
			return 0, err
		}
		if w.readErr != nil {
			return 0, w.readErr
		}
		if w.readN == 0 {
			return 0, io.EOF
		}
	}
	n := copy(p, w.ahead)
	w.ahead = w.ahead[n:]
	if len(w.ahead) == 0 {
		wireBuffers.Put(w.readBuf)
		w.readBuf = nil
	}
	return n, nil
}

// readReady is called when there may be something to read, and reports whether
// there was.
func (w *wire) readReady(fd uintptr) bool {
	buf := wireBuffers.Get().(*[wireBuffer]byte)
	w.readN, w.readErr = proxy.AtOnce(unix.SYS_READ, fd, buf[:])
	if w.readErr == nil && w.readN > 0 {
		w.readBuf, w.ahead = buf, buf[:w.readN]
		return true
	}
	wireBuffers.Put(buf)
	return w.readErr != unix.EAGAIN
}

// The client may send this much between the first key exchange and the
// moment its login is listened to.
const (
	earlyWrites = 3       // version, KEXINIT, and the reply that makes the keys
	earlyBytes  = 16 * 28 // the library queues 16 packets; none is shorter
)

// hold cuts p down to what may be read before release is called.
//
// It closes the gap drainTransport leaves: a handshake can fail after the keys
// are made and before any callback has run, on a wrong service request, and
// then nothing names the transport that a burst of packets has blocked. No
// client has a reason to send more than its NEWKEYS and its service request
// before it is answered; from one that does, the rest is not read until the
// grace time is over.
func (w *wire) hold(p []byte) ([]byte, error) {
	select {
	case <-w.released:
		return p, nil
	default:
	}
	if w.writes.Load() < earlyWrites {
		return p, nil
	}
	if w.early >= earlyBytes {
		select {
		case <-w.released:
			return p, nil
		case <-w.closed:
			return nil, net.ErrClosed
		}
	}
	p = p[:min(len(p), earlyBytes-w.early)]
	return p, nil
}

// release lets the peer send as much as it likes.
func (w *wire) release() {
	w.releaseOnce.Do(func() { close(w.released) })
}

// Write implements [net.Conn]: nothing leaves after the end.
func (w *wire) Write(p []byte) (int, error) {
	w.writes.Add(1)
	return w.out.Write(p)
}

func (w *wire) Read(p []byte) (int, error) {
	p, err := w.hold(p)
	if err != nil {
		return 0, err
	}
	n, err := w.read(p)
	if w.writes.Load() >= earlyWrites {
		w.early += n // wraps after exabytes; nobody looks once released
	}
	if err != nil {
		w.digest()
		w.broken.Store(true)
	}
	return n, err
}

// digest gives what came before the end of a connection the time to be
// understood. A server may close a channel and its connection in one breath;
// whoever handles the channel then has to know whether the server closed it or
// the connection broke: the first is a command that ended, the second one that
// was torn off, and the library reports both alike.
func (w *wire) digest() {
	pause := time.NewTimer(w.pause)
	defer pause.Stop()
	select {
	case <-w.closed:
	case <-pause.C:
	}
}

// Close closes the connection; what is in the kernel's queue is still sent.
func (w *wire) Close() error {
	w.closeOnce.Do(func() {
		close(w.closed)
		w.closeErr = w.Conn.Close()
	})
	return w.closeErr
}

// reset closes the connection and throws away what is not sent yet.
func (w *wire) reset() {
	if l, ok := w.Conn.(interface{ SetLinger(int) error }); ok {
		l.SetLinger(0)
	}
	w.Close()
}

// finish closes the connection when the peer has everything, or resets it
// after a while: a client that does not read may not find, a minute later,
// megabytes of a session that has been cut off.
func (w *wire) finish(patience time.Duration) {
	deadline := time.Now().Add(patience)
	for w.unsent() > 0 {
		if time.Now().After(deadline) {
			w.reset()
			return
		}
		time.Sleep(2 * time.Millisecond) // the kernel offers nothing to wait on
	}
	w.Close()
}

// unsent asks how many bytes the peer has not acknowledged yet (SIOCOUTQ,
// tcp(7)).
func (w *wire) unsent() int {
	sc, ok := w.Conn.(syscall.Conn)
	if !ok {
		return 0
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return 0
	}
	n := 0
	raw.Control(func(fd uintptr) {
		n, err = unix.IoctlGetInt(int(fd), unix.TIOCOUTQ)
	})
	if err != nil {
		return 0
	}
	return n
}
