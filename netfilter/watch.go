package netfilter

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

const (
	// checkEvery bounds how long a loss can go unnoticed when the kernel had
	// to drop its notice of it.
	checkEvery = 500 * time.Millisecond
	// checkGap keeps a storm of foreign changes from keeping us busy.
	checkGap = 20 * time.Millisecond
)

// events tells when something may have changed. What exactly is found out by
// looking: notices can be lost, and are somebody else's bytes.
type events struct {
	files  []*os.File
	kick   chan struct{}
	author atomic.Pointer[string] // who else last changed nftables, as far as known
}

// Multicast groups, as bits (linux/rtnetlink.h, linux/nfnetlink.h).
const (
	groupsRoute = unix.RTMGRP_LINK | unix.RTMGRP_IPV4_ROUTE | unix.RTMGRP_IPV6_ROUTE | unix.RTMGRP_IPV4_RULE | 1<<(unix.RTNLGRP_IPV6_RULE-1)
	groupsNFT   = 1 << (unix.NFNLGRP_NFTABLES - 1)
)

func subscribe() (*events, error) {
	e := &events{kick: make(chan struct{}, 1)}
	for protocol, groups := range map[int]uint32{unix.NETLINK_ROUTE: groupsRoute, unix.NETLINK_NETFILTER: groupsNFT} {
		fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, protocol)
		if err != nil {
			e.close()
			return nil, explain("watch the kernel's rules", err)
		}
		f := os.NewFile(uintptr(fd), "netlink")
		e.files = append(e.files, f)
		if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}); err != nil {
			e.close()
			return nil, explain("watch the kernel's rules", err)
		}
	}
	return e, nil
}

func (e *events) close() {
	for _, f := range e.files {
		f.Close()
	}
}

// listen turns notices into kicks until the file is closed.
func (e *events) listen(f *os.File) {
	buf := make([]byte, 64<<10)
	for {
		n, err := f.Read(buf)
		switch {
		case errors.Is(err, os.ErrClosed):
			return
		case err != nil:
			// ENOBUFS: notices were lost, all the more reason to look.
			time.Sleep(checkGap)
		case !e.notice(buf[:n]):
			continue
		}
		select {
		case e.kick <- struct{}{}:
		default:
		}
	}
}

// notice reports whether it is time to look. A change of nftables is over
// with the message about its generation, which also says who made it.
func (e *events) notice(b []byte) (look bool) {
	for len(b) >= unix.SizeofNlMsghdr {
		size, typ := int(number(b[:4])), number(b[4:6])
		if size < unix.SizeofNlMsghdr || size > len(b) {
			return true
		}
		body := b[unix.SizeofNlMsghdr:size]
		switch {
		case typ>>8 != unix.NFNL_SUBSYS_NFTABLES:
			look = true
		case typ&0xff == unix.NFT_MSG_NEWGEN && len(body) >= nl.SizeofNfgenmsg:
			look = true
			e.remember(body[nl.SizeofNfgenmsg:])
		}
		b = b[min(len(b), (size+3)&^3):]
	}
	return look
}

func (e *events) remember(generation []byte) {
	var pid uint32
	var name string
	for typ, v := range attributes(generation) {
		switch typ {
		case unix.NFTA_GEN_PROC_PID:
			pid = bigNumber(v)
		case unix.NFTA_GEN_PROC_NAME:
			name = text(v)
		}
	}
	if name != "" && int(pid) != os.Getpid() {
		author := fmt.Sprintf("%q (pid %d)", name, pid)
		e.author.Store(&author)
	}
}

// watch repairs whatever is lost, at once when the kernel gives notice, and
// looks twice a second in any case.
func (g *Gate) watch(ctx context.Context) {
	for _, f := range g.events.files {
		g.wg.Go(func() { g.events.listen(f) })
	}
	tick := time.NewTicker(checkEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-g.events.kick:
		}
		g.check()
		select {
		case <-ctx.Done():
			return
		case <-time.After(checkGap):
		}
	}
}

// check compares and repairs once.
func (g *Gate) check() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, name := range g.towardsServers() {
		if err := g.expectAnswers(name); err != nil {
			g.fail(err)
			return
		}
	}
	lost, err := g.losses()
	if err != nil {
		g.fail(fmt.Errorf("cannot read the kernel's rules back: %w", err))
		return
	}
	if len(lost) == 0 {
		g.fail(nil)
		return
	}
	what := strings.Join(lost, "; ")
	if author := g.events.author.Swap(nil); author != nil && slices.ContainsFunc(lost, func(s string) bool { return strings.Contains(s, "nftables") }) {
		what += "; nftables was last changed by " + *author
	}
	if err := g.apply(g.rules); err != nil {
		g.fail(fmt.Errorf("%s; putting it back did not work: %w", what, err))
		return
	}
	g.fail(nil)
	g.log.Warn("repaired the kernel's rules", "lost", what)
	select {
	case g.told <- what:
	default:
		g.log.Error("dropped a notice of a repair, the audit is too slow", "lost", what)
	}
}

// fail keeps and logs why the rules are not right, once per reason.
func (g *Gate) fail(err error) {
	if err != nil && (g.failed == nil || g.failed.Error() != err.Error()) {
		g.log.Error("the kernel's rules are not as they should be", "err", err)
	}
	g.failed = err
}

// tell hands losses on without holding up the watch.
func (g *Gate) tell(ctx context.Context) {
	for {
		select {
		case what := <-g.told:
			g.repaired(what)
		default:
			select {
			case what := <-g.told:
				g.repaired(what)
			case <-ctx.Done():
				return
			}
		}
	}
}
