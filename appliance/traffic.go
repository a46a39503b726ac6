package appliance

import (
	"net"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/pawelmojski/inside/proxy/recording"
)

// counted is a connection to a server that still knows what it has carried
// when it is closed. The kernel counts, so the relay need not.
type counted struct {
	*net.TCPConn

	mu     sync.Mutex
	closed bool
	last   Traffic
}

func (c *counted) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.closed, c.last = true, carriedBy(c.TCPConn)
	}
	return c.TCPConn.Close()
}

func (c *counted) traffic() Traffic {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return c.last
	}
	return carriedBy(c.TCPConn)
}

func carriedBy(c *net.TCPConn) (t Traffic) {
	raw, err := c.SyscallConn()
	if err != nil {
		return t
	}
	raw.Control(func(fd uintptr) {
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		if err == nil {
			t = Traffic{In: int64(info.Bytes_acked), Out: int64(info.Bytes_received)}
		}
	})
	return t
}

// traffic is what the session has carried so far, or in all.
func (v *visit) traffic() Traffic {
	v.mu.Lock()
	server, t := v.server, v.seen
	v.mu.Unlock()
	if c, ok := server.(*counted); ok {
		t.In, t.Out = c.traffic().In, c.traffic().Out
	}
	return t
}

// see notes what an event of the log says of the session as a whole.
func see(t *Traffic, e recording.Event) {
	switch e.Kind {
	case "forward":
		t.Forwarding = true
	case "file":
		t.Files = true
	}
}
