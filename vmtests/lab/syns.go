package lab

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pawelmojski/inside/netfilter/nettest"
)

// Opening is where first packets of connections go: it comes each Every.
type Opening struct {
	To    netip.AddrPort
	Every time.Duration
}

// A Storm is a client that sends the first packets of connections to the
// machine without asking anybody whether it is there, and a look at what arrives
// at the servers. It knows the machine by the hardware address of its interface,
// so that no packet waits for one that is asked for.
type Storm struct {
	stop context.CancelFunc
	wg   sync.WaitGroup

	mu      sync.Mutex
	sent    map[netip.AddrPort]int
	arrived map[netip.AddrPort]Arrivals
	others  int // opened by somebody else than the client, as the gate does
	err     error
}

// Arrivals are the first packets of the client's own that a server got.
type Arrivals struct {
	Count       int
	First, Last time.Time
}

// Sent and Arrived say how many packets to an address were sent, and came
// through as they were.
func (s *Storm) Sent(to netip.AddrPort) int         { return s.sent[to] }
func (s *Storm) Arrived(to netip.AddrPort) Arrivals { return s.arrived[to] }

// StartStorm begins to send and to look.
func StartStorm(l *nettest.Lab, openings []Opening) (*Storm, error) {
	out, from, err := wire(l.Client)
	if err != nil {
		return nil, err
	}
	in, _, err := wire(l.Backend)
	if err != nil {
		unix.Close(out)
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &Storm{stop: cancel, sent: map[netip.AddrPort]int{}, arrived: map[netip.AddrPort]Arrivals{}}
	for _, o := range openings {
		s.wg.Go(func() { s.send(ctx, out, from, o) })
	}
	s.wg.Go(func() { s.look(ctx, in) })
	context.AfterFunc(ctx, func() {
		s.wg.Wait()
		unix.Close(out)
		unix.Close(in)
	})
	return s, nil
}

// Stop ends it; then it can be asked.
func (s *Storm) Stop() error {
	s.stop()
	s.wg.Wait()
	return s.err
}

// wire opens the only interface of a host for whole frames.
func wire(host *nettest.Namespace) (fd int, mac net.HardwareAddr, err error) {
	fd = -1
	err = host.Do(func() error {
		eth0, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		mac = eth0.HardwareAddr
		if fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(network16(unix.ETH_P_ALL))); err != nil {
			return err
		}
		return errors.Join(
			unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: network16(unix.ETH_P_ALL), Ifindex: eth0.Index}),
			unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 64<<20),
			unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 50_000}),
		)
	})
	if err != nil {
		unix.Close(fd)
		return -1, nil, fmt.Errorf("the wire of %s: %w", host.Name, err)
	}
	return fd, mac, nil
}

func network16(v uint16) uint16 { return v<<8 | v>>8 }

func (s *Storm) send(ctx context.Context, fd int, from net.HardwareAddr, o Opening) {
	tick := time.NewTicker(o.Every)
	defer tick.Stop()
	client := nettest.ClientIP4
	if o.To.Addr().Is6() {
		client = nettest.ClientIP6
	}
	for port := uint16(20000); ; port++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if port > 60000 {
			port = 20000
		}
		frame := opening(from, netip.AddrPortFrom(client, port), o.To)
		_, err := unix.Write(fd, frame)
		if errors.Is(err, unix.ENOBUFS) || errors.Is(err, unix.ENETDOWN) {
			continue // the machine is away, and its cable full
		}
		s.mu.Lock()
		if err != nil {
			s.err = errors.Join(s.err, fmt.Errorf("send to %s: %w", o.To, err))
			s.mu.Unlock()
			return
		}
		s.sent[o.To]++
		s.mu.Unlock()
	}
}

const (
	ethernet = 14
	tcp      = 20
	flagSYN  = 0x02
	flagACK  = 0x10
)

// opening is a frame with the first packet of a TCP connection (RFC 9293).
func opening(mac net.HardwareAddr, from, to netip.AddrPort) []byte {
	segment := make([]byte, tcp)
	binary.BigEndian.PutUint16(segment, from.Port())
	binary.BigEndian.PutUint16(segment[2:], to.Port())
	binary.BigEndian.PutUint32(segment[4:], uint32(time.Now().UnixNano()))
	segment[12], segment[13] = tcp/4<<4, flagSYN
	binary.BigEndian.PutUint16(segment[14:], 64240)
	pseudo := append(from.Addr().AsSlice(), to.Addr().AsSlice()...)
	pseudo = append(pseudo, 0, unix.IPPROTO_TCP, 0, tcp)
	binary.BigEndian.PutUint16(segment[16:], checksum(append(pseudo, segment...)))

	frame := append(append([]byte{}, clientMAC...), mac...)
	if to.Addr().Is6() {
		frame = append(frame, 0x86, 0xdd, 0x60, 0, 0, 0, 0, tcp, unix.IPPROTO_TCP, 64)
		frame = append(append(frame, from.Addr().AsSlice()...), to.Addr().AsSlice()...)
		return append(frame, segment...)
	}
	header := []byte{0x45, 0, 0, 20 + tcp, 0, 0, 0x40, 0, 64, unix.IPPROTO_TCP, 0, 0}
	header = append(append(header, from.Addr().AsSlice()...), to.Addr().AsSlice()...)
	binary.BigEndian.PutUint16(header[10:], checksum(header))
	return append(append(append(frame, 0x08, 0x00), header...), segment...)
}

// checksum is the internet's (RFC 1071), of an even number of bytes.
func checksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}

func (s *Storm) look(ctx context.Context, fd int) {
	frame := make([]byte, 2048)
	for ctx.Err() == nil {
		n, from, err := unix.Recvfrom(fd, frame, 0)
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
			continue
		}
		s.mu.Lock()
		if err != nil {
			s.err = errors.Join(s.err, fmt.Errorf("look at what arrives: %w", err))
			s.mu.Unlock()
			return
		}
		if link, ok := from.(*unix.SockaddrLinklayer); ok && link.Pkttype != unix.PACKET_OUTGOING {
			s.note(frame[:n])
		}
		s.mu.Unlock()
	}
}

// note counts a frame that opens a connection.
func (s *Storm) note(frame []byte) {
	from, to, ok := opened(frame)
	if !ok {
		return
	}
	if from != nettest.ClientIP4 && from != nettest.ClientIP6 {
		s.others++
		return
	}
	a := s.arrived[to]
	a.Count, a.Last = a.Count+1, time.Now()
	if a.Count == 1 {
		a.First = a.Last
	}
	s.arrived[to] = a
}

// opened reads who opens a connection to whom.
func opened(frame []byte) (from netip.Addr, to netip.AddrPort, ok bool) {
	var dest netip.Addr
	var segment []byte
	switch {
	case len(frame) >= ethernet+20 && frame[12] == 0x08 && frame[13] == 0x00 && frame[ethernet+9] == unix.IPPROTO_TCP:
		from, dest = netip.AddrFrom4([4]byte(frame[26:30])), netip.AddrFrom4([4]byte(frame[30:34]))
		segment = frame[min(len(frame), ethernet+int(frame[ethernet]&15)*4):]
	case len(frame) >= ethernet+40 && frame[12] == 0x86 && frame[13] == 0xdd && frame[ethernet+6] == unix.IPPROTO_TCP:
		from, dest = netip.AddrFrom16([16]byte(frame[22:38])), netip.AddrFrom16([16]byte(frame[38:54]))
		segment = frame[ethernet+40:]
	}
	if len(segment) < tcp || segment[13]&(flagSYN|flagACK) != flagSYN {
		return from, to, false
	}
	return from, netip.AddrPortFrom(dest, binary.BigEndian.Uint16(segment[2:])), true
}
