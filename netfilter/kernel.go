package netfilter

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// A kernel is our connection to one network namespace: the one of the thread
// that opened it, wherever its methods are called later.
type kernel struct {
	sockets map[int]*nl.SocketHandle
	ns      netns.NsHandle // closed (-1) when it is the process's own, as it is outside tests
}

// processNS is the namespace the process was started in, read before any thread
// could move.
var processNS = func() (st unix.Stat_t) {
	unix.Stat("/proc/self/ns/net", &st)
	return st
}()

func openKernel() (*kernel, error) {
	k := &kernel{sockets: map[int]*nl.SocketHandle{}, ns: netns.None()}
	for _, protocol := range []int{unix.NETLINK_ROUTE, unix.NETLINK_NETFILTER} {
		s, err := nl.GetNetlinkSocketAt(netns.None(), netns.None(), protocol)
		if protocol == unix.NETLINK_NETFILTER && errors.Is(err, unix.EPROTONOSUPPORT) {
			continue // no nfnetlink: the guards outside nftables do without
		}
		if err != nil {
			k.close()
			return nil, fmt.Errorf("netlink: %w", err)
		}
		s.SetReceiveTimeout(&unix.Timeval{Sec: 10}) // an answer takes microseconds
		k.sockets[protocol] = &nl.SocketHandle{Socket: s}
	}
	// Without it the kernel ignores which table a dump is about, and sends
	// the routes of the whole internet.
	if err := unix.SetsockoptInt(k.sockets[unix.NETLINK_ROUTE].Socket.GetFd(), unix.SOL_NETLINK, unix.NETLINK_GET_STRICT_CHK, 1); err != nil {
		k.close()
		return nil, fmt.Errorf("netlink: %w", err)
	}
	var here unix.Stat_t
	if err := unix.Stat("/proc/thread-self/ns/net", &here); err != nil {
		k.close()
		return nil, fmt.Errorf("network namespace: %w", err)
	}
	if here.Ino != processNS.Ino {
		ns, err := netns.Get()
		if err != nil {
			k.close()
			return nil, fmt.Errorf("network namespace: %w", err)
		}
		k.ns = ns
	}
	return k, nil
}

func (k *kernel) close() {
	for _, s := range k.sockets {
		s.Close()
	}
	if k.ns.IsOpen() {
		k.ns.Close()
	}
}

// ask sends one request and returns the replies of a type. A dump that a
// change cut into is asked for again.
func (k *kernel) ask(protocol, request, flags int, reply uint16, data ...nl.NetlinkRequestData) ([][]byte, error) {
	req := nl.NewNetlinkRequest(request, flags)
	req.Sockets = k.sockets
	for _, d := range data {
		req.AddData(d)
	}
	for tries := 1; ; tries++ {
		replies, err := req.Execute(protocol, reply)
		if tries == 10 || !errors.Is(err, nl.ErrDumpInterrupted) {
			return replies, err
		}
	}
}

func (k *kernel) nft() (*nftables.Conn, error) {
	if k.ns.IsOpen() {
		return nftables.New(nftables.WithNetNSFd(int(k.ns)))
	}
	return nftables.New()
}

// replaceTable makes our table what it should be, whatever it is now, in one
// transaction: no packet sees it half made or missing.
func (k *kernel) replaceTable(r Rules) error {
	conn, err := k.nft()
	if err != nil {
		return fmt.Errorf("nftables: %w", err)
	}
	table := &nftables.Table{Name: tableName, Family: nftables.TableFamilyINet}
	conn.AddTable(table) // so that deleting it cannot fail
	conn.DelTable(table)
	conn.AddTable(table)
	for _, c := range r.chains {
		nc := &nftables.Chain{Name: c.name, Table: table}
		if c.hook != nil {
			policy := nftables.ChainPolicyAccept
			nc.Type, nc.Hooknum, nc.Priority, nc.Policy = nftables.ChainTypeFilter, c.hook, &c.priority, &policy
		}
		conn.AddChain(nc)
		for _, rule := range c.rules {
			conn.AddRule(&nftables.Rule{Table: table, Chain: nc, Exprs: rule.exprs(), UserData: rule.userData()})
		}
	}
	if err := conn.Flush(); err != nil {
		return explain("nftables", err)
	}
	return nil
}

// deleteTable removes our table, if it is there.
func (k *kernel) deleteTable() error {
	conn, err := k.nft()
	if err != nil {
		return fmt.Errorf("nftables: %w", err)
	}
	table := &nftables.Table{Name: tableName, Family: nftables.TableFamilyINet}
	conn.AddTable(table)
	conn.DelTable(table)
	if err := conn.Flush(); err != nil {
		return explain("nftables", err)
	}
	return nil
}

// ipRules lists those of our shape, of both families, and the preferences of
// all others.
func (k *kernel) ipRules() (ours []ipRule, others []uint32, err error) {
	for _, f := range []family{v4, v6} {
		replies, err := k.ask(unix.NETLINK_ROUTE, unix.RTM_GETRULE, unix.NLM_F_DUMP, unix.RTM_NEWRULE, header(f))
		if errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EOPNOTSUPP) {
			continue // booted with ipv6.disable=1
		}
		if err != nil {
			return nil, nil, fmt.Errorf("list the %s routing rules: %w", f, err)
		}
		for _, b := range replies {
			if r, ok := decodeIPRule(b); ok {
				ours = append(ours, r)
			} else {
				others = append(others, preference(b))
			}
		}
	}
	return ours, others, nil
}

func (k *kernel) addIPRule(r ipRule) error {
	_, err := k.ask(unix.NETLINK_ROUTE, unix.RTM_NEWRULE, unix.NLM_F_CREATE|unix.NLM_F_EXCL|unix.NLM_F_ACK, 0, r.encode()...)
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return explain(r.String(), err)
	}
	return nil
}

func (k *kernel) deleteIPRule(r ipRule) error {
	_, err := k.ask(unix.NETLINK_ROUTE, unix.RTM_DELRULE, unix.NLM_F_ACK, 0, r.encode()...)
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return explain(r.String(), err)
	}
	return nil
}

// explain adds the way out to what the kernel said.
func explain(what string, err error) error {
	var why unix.Errno // nftables says it once for each message that it sent
	if errors.As(err, &why) {
		err = why
	}
	hint := ""
	switch {
	case errors.Is(err, unix.EPERM):
		hint = ": insided needs the capability CAP_NET_ADMIN (AmbientCapabilities= in its unit)"
	case errors.Is(err, unix.EAFNOSUPPORT), errors.Is(err, unix.EACCES):
		hint = ": IPv6 is disabled here (net.ipv6.conf.lo.disable_ipv6); enable it or leave IPv6 prefixes out of protect"
	case what == "nftables" && (errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EPROTONOSUPPORT)):
		hint = ": the kernel lacks something; load nf_tables, nft_tproxy, nft_socket, nft_fib_inet and nft_reject_inet with modprobe"
	}
	return fmt.Errorf("%s: %w%s", what, err, hint)
}

// header is the empty route message of a family.
func header(f family) *nl.RtMsg {
	m := &nl.RtMsg{}
	m.Family = byte(f)
	return m
}

// The interface number of lo, in every network namespace.
const loopbackIndex = 1

// localRoute is "everything is local" in our table.
func localRoute(f family) []nl.NetlinkRequestData {
	m := header(f)
	m.Scope, m.Type, m.Protocol = unix.RT_SCOPE_HOST, unix.RTN_LOCAL, unix.RTPROT_STATIC
	return []nl.NetlinkRequestData{m,
		nl.NewRtAttr(unix.RTA_TABLE, native(routeTable)),
		nl.NewRtAttr(unix.RTA_OIF, native(loopbackIndex)),
	}
}

func (k *kernel) addRoute(f family) error {
	_, err := k.ask(unix.NETLINK_ROUTE, unix.RTM_NEWROUTE, unix.NLM_F_CREATE|unix.NLM_F_REPLACE|unix.NLM_F_ACK, 0, localRoute(f)...)
	if err != nil {
		return explain(fmt.Sprintf("%s route of table %d", f, routeTable), err)
	}
	return nil
}

func (k *kernel) deleteRoute(f family) error {
	_, err := k.ask(unix.NETLINK_ROUTE, unix.RTM_DELROUTE, unix.NLM_F_ACK, 0, localRoute(f)...)
	if err != nil && !errors.Is(err, unix.ESRCH) && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.EAFNOSUPPORT) {
		return explain(fmt.Sprintf("%s route of table %d", f, routeTable), err)
	}
	return nil
}

// hasRoute reports whether our table delivers everything here.
func (k *kernel) hasRoute(f family) (bool, error) {
	replies, err := k.ask(unix.NETLINK_ROUTE, unix.RTM_GETROUTE, unix.NLM_F_DUMP, unix.RTM_NEWROUTE,
		header(f), nl.NewRtAttr(unix.RTA_TABLE, native(routeTable)))
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EAFNOSUPPORT) {
		return false, nil // no such table yet
	}
	if err != nil {
		return false, fmt.Errorf("list table %d: %w", routeTable, err)
	}
	for _, b := range replies {
		if len(b) < unix.SizeofRtMsg {
			continue
		}
		m := nl.DeserializeRtMsg(b)
		var table, oif uint32
		for typ, v := range attributes(b[unix.SizeofRtMsg:]) {
			switch typ {
			case unix.RTA_TABLE:
				table = number(v)
			case unix.RTA_OIF:
				oif = number(v)
			}
		}
		if m.Dst_len == 0 && m.Src_len == 0 && m.Type == unix.RTN_LOCAL && table == routeTable && oif == loopbackIndex {
			return true, nil
		}
	}
	return false, nil
}

// route asks which way a packet to an address would go: the kind of route
// (local, unicast, …) and the interface, by number.
func (k *kernel) route(to netip.Addr) (kind byte, oif uint32, err error) {
	m := header(familyOf(to))
	m.Dst_len = byte(to.BitLen())
	replies, err := k.ask(unix.NETLINK_ROUTE, unix.RTM_GETROUTE, 0, unix.RTM_NEWROUTE, m, nl.NewRtAttr(unix.RTA_DST, to.AsSlice()))
	if err != nil {
		return 0, 0, fmt.Errorf("route to %s: %w", to, err)
	}
	if len(replies) == 0 || len(replies[0]) < unix.SizeofRtMsg {
		return 0, 0, fmt.Errorf("route to %s: the kernel gave no answer", to)
	}
	for typ, v := range attributes(replies[0][unix.SizeofRtMsg:]) {
		if typ == unix.RTA_OIF {
			oif = number(v)
		}
	}
	return nl.DeserializeRtMsg(replies[0]).Type, oif, nil
}

// interfaceTo is the name of the interface that leads to an address.
func (k *kernel) interfaceTo(to netip.Addr) (string, error) {
	_, index, err := k.route(to)
	if err != nil {
		return "", err
	}
	if index == loopbackIndex {
		return "", fmt.Errorf("route to %s: the gateway itself", to)
	}
	m := nl.NewIfInfomsg(unix.AF_UNSPEC)
	m.Index = int32(index)
	replies, err := k.ask(unix.NETLINK_ROUTE, unix.RTM_GETLINK, 0, unix.RTM_NEWLINK, m)
	if err != nil {
		return "", fmt.Errorf("interface %d: %w", index, err)
	}
	if len(replies) > 0 && len(replies[0]) >= unix.SizeofIfInfomsg {
		for typ, v := range attributes(replies[0][unix.SizeofIfInfomsg:]) {
			if typ == unix.IFLA_IFNAME {
				return text(v), nil
			}
		}
	}
	return "", fmt.Errorf("interface %d: the kernel gave no name", index)
}

// attributes walks over netlink attributes; it stops at the first one that is
// cut short.
func attributes(b []byte) iter.Seq2[uint16, []byte] {
	return func(yield func(uint16, []byte) bool) {
		for typ, v := range flaggedAttributes(b) {
			if !yield(typ&^attributeFlags, v) {
				return
			}
		}
	}
}

// Types of attributes carry these flags.
const attributeFlags = unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER

func flaggedAttributes(b []byte) iter.Seq2[uint16, []byte] {
	return func(yield func(uint16, []byte) bool) {
		for len(b) >= unix.SizeofRtAttr {
			size := int(binary.NativeEndian.Uint16(b))
			if size < unix.SizeofRtAttr || size > len(b) || !yield(binary.NativeEndian.Uint16(b[2:]), b[unix.SizeofRtAttr:size]) {
				return
			}
			b = b[min(len(b), (size+3)&^3):]
		}
	}
}

// number reads a number of up to four bytes in the machine's byte order.
func number(v []byte) uint32 {
	switch {
	case len(v) >= 4:
		return binary.NativeEndian.Uint32(v)
	case len(v) >= 2:
		return uint32(binary.NativeEndian.Uint16(v))
	case len(v) == 1:
		return uint32(v[0])
	}
	return 0
}

// bigNumber reads a number in network byte order, as nftables sends them.
func bigNumber(v []byte) uint32 {
	if len(v) < 4 {
		return 0
	}
	return binary.BigEndian.Uint32(v)
}

func text(v []byte) string { return string(bytes.TrimRight(v, "\x00")) }

func missing[T comparable](want, have []T) []T {
	return slices.DeleteFunc(slices.Clone(want), func(w T) bool { return slices.Contains(have, w) })
}
