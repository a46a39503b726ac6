package netfilter

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Observed prefixes are passed by the kernel alone. Of the packets to and from
// them, those that begin a conversation are shown to whoever watches a group of
// nfnetlink_log, where nobody needs to be: the rules pick them by their first
// bytes, so that what a session carries later is not copied.

const (
	glimpseGroup = 2600 // as our route table
	glimpseSize  = 4096
)

// observed is what happens to a packet from a person to an observed address: it
// passes.
func observed(c Config, f family) chain {
	ch := chain{name: "observed-" + f.nft()}
	ch.addRunning(f)
	for _, e := range c.Entries {
		for _, ports := range ranges(e.Ports) {
			ch.add("may go on when this is protected", tcpDport(ports), rememberPassing())
			for _, opening := range openings[e.Name].client {
				ch.add(e.Name+" is looked at", append(append([]clause{tcpDport(ports)}, opening...), show())...)
			}
		}
	}
	return ch
}

// answers shows what observed servers answer first.
func answers(c Config) chain {
	ch := chain{name: "answers"}
	for _, e := range c.Entries {
		for _, ports := range ranges(e.Ports) {
			for _, opening := range openings[e.Name].server {
				ch.add(e.Name+" is looked at", append(append([]clause{tcpSport(ports)}, opening...), show())...)
			}
		}
	}
	return ch
}

// openings are how conversations begin: those of SSH with "SSH-" from both sides
// (RFC 4253, 4.2), and the server's host key is in a message 31 or 33 (RFC 5656,
// RFC 4419) of less than 64 KiB; those of RDP with a TPKT header (RFC 1006, 6)
// and a request or confirm of X.224 (13.3, 13.4).
var openings = map[string]struct{ client, server [][]clause }{
	"ssh": {
		client: [][]clause{{says(0, []byte("SSH-")...)}},
		server: [][]clause{{says(0, []byte("SSH-")...)}, {says(0, 0, 0), says(5, 31)}, {says(0, 0, 0), says(5, 33)}},
	},
	"rdp": {
		client: [][]clause{{says(0, 3, 0), says(5, 0xe0)}},
		server: [][]clause{{says(0, 3, 0), says(5, 0xd0)}},
	},
}

// A Glimpse is the beginning of one packet between a person and an observed
// server.
type Glimpse struct {
	Person, Server netip.AddrPort
	FromServer     bool
	Said           []byte // what the packet carries, as far as it was copied
}

// Observe calls see with what is said to and by observed servers, until ctx
// ends. Whatever becomes of it, the packets have passed. It works on the network
// namespace of the gate; see must not keep the glimpse's bytes.
func (g *Gate) Observe(ctx context.Context, see func(Glimpse)) error {
	f, err := g.kernel.watchGroup(glimpseGroup)
	if err != nil {
		return err
	}
	defer f.Close()
	defer context.AfterFunc(ctx, func() { f.SetReadDeadline(time.Unix(1, 0)) })()
	buf := make([]byte, 64<<10)
	for {
		n, err := f.Read(buf)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, unix.ENOBUFS): // some were lost
			continue
		case err != nil:
			return fmt.Errorf("watch observed servers: %w", err)
		}
		for _, body := range messages(buf[:n], unix.NFNL_SUBSYS_ULOG<<8) { // NFULNL_MSG_PACKET is 0
			if gl, ok := readGlimpse(body); ok {
				see(gl)
			}
		}
	}
}

// messages are the bodies of the netlink messages of a type.
func messages(b []byte, kind uint32) (bodies [][]byte) {
	for len(b) >= unix.SizeofNlMsghdr {
		size := int(number(b[:4]))
		if size < unix.SizeofNlMsghdr || size > len(b) {
			return bodies
		}
		if number(b[4:6]) == kind {
			bodies = append(bodies, b[unix.SizeofNlMsghdr:size])
		}
		b = b[min(len(b), (size+3)&^3):]
	}
	return bodies
}

// Parts of linux/netfilter/nfnetlink_log.h.
const (
	logConfig = 1 // NFULNL_MSG_CONFIG

	logCommand     = 1 // NFULA_CFG_CMD
	logMode        = 2 // NFULA_CFG_MODE
	logCommandBind = 1 // NFULNL_CFG_CMD_BIND
	logCopyPacket  = 2 // NFULNL_COPY_PACKET

	logHeader  = 1 // NFULA_PACKET_HDR
	logPayload = 9 // NFULA_PAYLOAD
)

// errTaken says that another process watches the group.
var errTaken = errors.New("another process watches the observed servers")

// watchGroup makes a socket to which the kernel sends the packets of a group.
func (k *kernel) watchGroup(group uint16) (*os.File, error) {
	s, err := nl.GetNetlinkSocketAt(k.ns, netns.None(), unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, explain("watch observed servers", err)
	}
	fd, err := unix.FcntlInt(uintptr(s.GetFd()), unix.F_DUPFD_CLOEXEC, 0)
	s.Close()
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err != nil {
		return nil, explain("watch observed servers", err)
	}
	f := os.NewFile(uintptr(fd), "netlink")
	ask := func(data ...nl.NetlinkRequestData) error {
		req := nl.NewNetlinkRequest(unix.NFNL_SUBSYS_ULOG<<8|logConfig, unix.NLM_F_ACK)
		req.AddData(&nl.Nfgenmsg{NfgenFamily: unix.AF_UNSPEC, ResId: binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, group))})
		for _, d := range data {
			req.AddData(d)
		}
		return confirmed(f, req)
	}
	mode := append(binary.BigEndian.AppendUint32(nil, glimpseSize), logCopyPacket, 0)
	err = ask(nl.NewRtAttr(logCommand, []byte{logCommandBind}))
	if err == nil {
		err = ask(nl.NewRtAttr(logMode, mode))
	}
	if err != nil {
		f.Close()
		if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EBUSY) { // who may have rules, may watch
			return nil, errTaken
		}
		return nil, explain("watch observed servers", err)
	}
	return f, nil
}

// confirmed sends a request and waits for the kernel's word on it.
func confirmed(f *os.File, req *nl.NetlinkRequest) error {
	if _, err := f.Write(req.Serialize()); err != nil {
		return err
	}
	if err := f.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	defer f.SetReadDeadline(time.Time{})
	buf := make([]byte, 64<<10)
	for {
		n, err := f.Read(buf)
		if err != nil {
			return err
		}
		for _, body := range messages(buf[:n], unix.NLMSG_ERROR) {
			if len(body) >= 4 {
				if code := int32(number(body)); code != 0 {
					return unix.Errno(-code)
				}
				return nil
			}
		}
	}
}

// readGlimpse reads a message of nfnetlink_log.
func readGlimpse(b []byte) (gl Glimpse, ok bool) {
	if len(b) < nl.SizeofNfgenmsg {
		return gl, false
	}
	var packet []byte
	for typ, v := range attributes(b[nl.SizeofNfgenmsg:]) {
		switch typ {
		case logHeader: // protocol, hook
			gl.FromServer = len(v) > 2 && v[2] == unix.NF_INET_FORWARD
		case logPayload:
			packet = v
		}
	}
	from, to, said, ok := readTCP(packet)
	gl.Person, gl.Server, gl.Said = from, to, said
	if gl.FromServer {
		gl.Person, gl.Server = to, from
	}
	return gl, ok && len(said) > 0
}

// readTCP reads an IP packet with a TCP segment, and nothing else: no fragments,
// and of IPv6 none with further headers.
func readTCP(b []byte) (from, to netip.AddrPort, said []byte, ok bool) {
	if len(b) == 0 {
		return from, to, nil, false
	}
	var src, dst netip.Addr
	switch b[0] >> 4 {
	case 4:
		size := int(b[0]&15) * 4
		if size < 20 || len(b) < size || b[9] != unix.IPPROTO_TCP || binary.BigEndian.Uint16(b[6:])&0x3fff != 0 {
			return from, to, nil, false
		}
		src, dst = netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20]))
		if total := int(binary.BigEndian.Uint16(b[2:])); total >= size && total < len(b) {
			b = b[:total] // what follows is padding
		}
		b = b[size:]
	case 6:
		if len(b) < 40 || b[6] != unix.IPPROTO_TCP {
			return from, to, nil, false
		}
		src, dst = netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[24:40]))
		b = b[40:]
	default:
		return from, to, nil, false
	}
	if len(b) < 20 {
		return from, to, nil, false
	}
	data := int(b[12]>>4) * 4
	if data < 20 || data > len(b) {
		return from, to, nil, false
	}
	from = netip.AddrPortFrom(src, binary.BigEndian.Uint16(b))
	to = netip.AddrPortFrom(dst, binary.BigEndian.Uint16(b[2:]))
	return from, to, b[data:], true
}
