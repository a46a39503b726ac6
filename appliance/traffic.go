package appliance

import (
	"net"

	"golang.org/x/sys/unix"
)

// traffic is what a session has carried so far. The kernel has counted it for
// the socket to the server already, so the relay need not.
func (v *visit) traffic() Traffic {
	v.mu.Lock()
	server, ok := v.server.(*net.TCPConn)
	v.mu.Unlock()
	if !ok {
		return Traffic{}
	}
	raw, err := server.SyscallConn()
	if err != nil {
		return Traffic{}
	}
	var t Traffic
	raw.Control(func(fd uintptr) {
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		if err == nil {
			t = Traffic{In: int64(info.Bytes_acked), Out: int64(info.Bytes_received)}
		}
	})
	return t
}
