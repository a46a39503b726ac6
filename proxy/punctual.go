package proxy

import (
	"net"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// LateWords is how long after the end of a session the gate may still say
// something. Relaying has stopped by then; but a piece that was on its way when
// the process was stopped, or that waited for the peer, would go out now.
const LateWords = time.Second

// A Punctual writes to one connection of a flow for as long as the flow lasts.
type Punctual struct {
	conn net.Conn
	over func(since time.Duration) bool
	raw  syscall.RawConn // nil: the connection is no socket
}

// NewPunctual returns what writes to c until v is over.
func NewPunctual(c net.Conn, v Visit) *Punctual {
	p := &Punctual{conn: c, over: v.Over}
	if sc, ok := c.(syscall.Conn); ok {
		p.raw, _ = sc.SyscallConn()
	}
	return p
}

// Write writes b, or as much of it as leaves in time.
func (p *Punctual) Write(b []byte) (written int, err error) {
	if p.over(LateWords) {
		return 0, os.ErrDeadlineExceeded
	}
	if p.raw == nil || len(b) == 0 {
		return p.conn.Write(b)
	}
	var failed error
	waited := false
	err = p.raw.Write(func(fd uintptr) bool {
		if waited && p.over(LateWords) {
			failed = os.ErrDeadlineExceeded
		}
		for written < len(b) && failed == nil {
			n, err := AtOnce(unix.SYS_WRITE, fd, b[written:])
			if err == unix.EAGAIN {
				waited = true
				return false
			}
			written, failed = written+n, err
		}
		return true
	})
	if failed != nil {
		err = os.NewSyscallError("write", failed)
	}
	return written, err
}

// AtOnce reads or writes a socket without telling the scheduler. The
// descriptors of package net never block, and what TCP does within a write of
// 32 KiB takes just long enough for the scheduler to give the processor to
// another thread and to have its watchman look every 20 µs: a third of the
// gate's time under bulk transfer (BenchmarkBulk of cmd/insided).
func AtOnce(call, fd uintptr, p []byte) (int, error) {
	for {
		n, _, errno := unix.RawSyscall(call, fd, uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)))
		switch errno {
		case 0:
			return int(n), nil
		case unix.EINTR:
		default:
			return 0, errno
		}
	}
}
