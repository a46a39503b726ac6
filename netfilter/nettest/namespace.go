package nettest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// A Namespace is one host of the lab.
type Namespace struct {
	Name string // as `ip netns exec` takes it

	fd  netns.NsHandle
	lab *Lab
}

func newNamespace(name string) (*Namespace, error) {
	n := &Namespace{Name: name}
	// ip(8) also prepares /run/netns: the first run of it that does so hides
	// all namespaces that were mounted there before.
	if out, err := exec.Command("ip", "netns", "add", name).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("network namespace %s: %w\n%s", name, err, out)
	}
	var err error
	if n.fd, err = netns.GetFromName(name); err != nil {
		return nil, fmt.Errorf("network namespace %s: %w", name, err)
	}
	for key, value := range map[string]string{
		"net/ipv6/conf/all/accept_dad":     "0",
		"net/ipv6/conf/default/accept_dad": "0",
		"net/ipv6/conf/all/accept_ra":      "0",
		"net/ipv6/conf/default/accept_ra":  "0",
	} {
		if err := n.Sysctl(key, value); err != nil {
			n.remove()
			return nil, err
		}
	}
	h, err := netlink.NewHandleAt(n.fd)
	if err == nil {
		defer h.Close()
		_, err = linkUp(h, "lo")
	}
	if err != nil {
		n.remove()
		return nil, err
	}
	return n, nil
}

// onThread runs f on a thread of its own, which it may move to another
// network namespace.
//
// The thread comes back afterwards instead of being thrown away: a thread
// that ends kills the processes it started with Pdeathsig (golang/go#27505).
func onThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		err := errors.New("nettest: the function ended its goroutine")
		defer func() { done <- err }()
		runtime.LockOSThread()
		origin, e := netns.Get()
		if e != nil {
			err = e
			return
		}
		defer origin.Close()
		defer func() {
			if netns.Set(origin) == nil {
				runtime.UnlockOSThread() // else the thread ends with the goroutine
			}
		}()
		err = f()
	}()
	return <-done
}

// Do runs f inside the namespace. Only f's own goroutine is inside; a
// goroutine that f starts is not. Sockets stay where they were made, so a
// connection or listener made in f can be used anywhere afterwards.
func (n *Namespace) Do(f func() error) error {
	return onThread(func() error {
		if err := netns.Set(n.fd); err != nil {
			return fmt.Errorf("enter %s: %w", n.Name, err)
		}
		return f()
	})
}

// Sysctl sets a kernel parameter, written as a path: "net/ipv4/ip_forward".
func (n *Namespace) Sysctl(key, value string) error {
	return n.Do(func() error { return os.WriteFile("/proc/sys/"+key, []byte(value), 0) })
}

// Dial connects from the namespace: "10.30.0.140:22", "[fd30::140]:22".
func (n *Namespace) Dial(ctx context.Context, addr string) (net.Conn, error) {
	return n.DialFrom(ctx, netip.Addr{}, addr)
}

// DialFrom is Dial from one of the namespace's addresses.
func (n *Namespace) DialFrom(ctx context.Context, from netip.Addr, addr string) (conn net.Conn, err error) {
	d := net.Dialer{}
	if from.IsValid() {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))
	}
	err = n.Do(func() (err error) {
		conn, err = d.DialContext(ctx, "tcp", addr)
		return err
	})
	return conn, err
}

// Listen listens in the namespace, on TCP. The lab closes the listener.
func (n *Namespace) Listen(addr string) (ln net.Listener, err error) {
	var lc net.ListenConfig
	lc.SetMultipathTCP(false)
	err = n.Do(func() (err error) {
		ln, err = lc.Listen(context.Background(), "tcp", addr)
		return err
	})
	if err == nil && n.lab != nil {
		n.lab.onClose(func() { ln.Close() })
	}
	return ln, err
}

// A Banner is a TCP server that greets everybody, so that whoever was
// greeted has provably reached it.
type Banner struct {
	ln       net.Listener
	greeting string
	accepted atomic.Int64
}

// Greet starts a Banner in the namespace. The lab stops it.
func (n *Namespace) Greet(addr, greeting string) (*Banner, error) {
	ln, err := n.Listen(addr)
	if err != nil {
		return nil, err
	}
	b := &Banner{ln: ln, greeting: greeting}
	go b.serve()
	return b, nil
}

// Accepted counts the connections so far.
func (b *Banner) Accepted() int64 { return b.accepted.Load() }

func (b *Banner) serve() {
	for {
		conn, err := b.ln.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		b.accepted.Add(1)
		conn.SetWriteDeadline(time.Now().Add(5 * time.Second))
		conn.Write([]byte(b.greeting))
		conn.Close()
	}
}

// Command prepares a program that runs inside the namespace and dies with
// this process. It is the caller's to start and to wait for.
func (n *Namespace) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "ip", append([]string{"netns", "exec", n.Name, name}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// Run runs a program to its end and returns what it printed on both streams.
// The error holds that text too.
func (n *Namespace) Run(ctx context.Context, name string, args ...string) (string, error) {
	out, err := n.Command(ctx, name, args...).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out), err
}

// remove ends what still runs inside and deletes the name.
func (n *Namespace) remove() {
	for range 100 {
		pids := n.pids()
		if len(pids) == 0 {
			break
		}
		for _, pid := range pids {
			unix.Kill(pid, unix.SIGKILL)
		}
		time.Sleep(10 * time.Millisecond) // they are not our children: nothing to wait on
	}
	n.fd.Close()
	unix.Unmount("/run/netns/"+n.Name, unix.MNT_DETACH)
	os.Remove("/run/netns/" + n.Name)
}

// pids lists the processes inside: sshd's sessions leave their process group,
// but not the namespace.
func (n *Namespace) pids() []int {
	var own unix.Stat_t
	if unix.Fstat(int(n.fd), &own) != nil {
		return nil
	}
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	var pids []int
	for _, dir := range dirs {
		pid, _ := strconv.Atoi(filepath.Base(dir))
		var st unix.Stat_t
		if pid != os.Getpid() && unix.Stat(dir+"/ns/net", &st) == nil && st.Ino == own.Ino && st.Dev == own.Dev {
			pids = append(pids, pid)
		}
	}
	return pids
}

func mask(p netip.Prefix) net.IPMask { return net.CIDRMask(p.Bits(), p.Addr().BitLen()) }
