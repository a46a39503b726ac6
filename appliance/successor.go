package appliance

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/rpc"
	"net/rpc/jsonrpc"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"

	"github.com/pawelmojski/inside/appliance/api"
	"github.com/pawelmojski/inside/appliance/config"
	"github.com/pawelmojski/inside/policy"
)

// An upgrade cuts nobody's session: the process that serves starts the program
// that is installed now, as its successor, gives it the sockets that people and
// admins come by, and goes on with the sessions it has until they end. This file
// is the side of the process before; before.go is the successor's.
//
//	process before                         successor
//	starts it, with the sockets ─────────→ reads the configuration, opens the database, …
//	says what must not be lost  ←─ Hello ─
//	leaves the rules alone      ←─ Rest ── puts its own rules in their place
//	no longer accepts, signs,   ←─ Serve ─ accepts, answers the API, signs, removes, …
//	answers the API; drains
//	                            ←───────── Carried, Catch, Settings, EndSession, EndStay:
//	                                       as long as somebody is inside
//
// Until Serve the successor has changed nothing that anybody sees but the
// schema of the database, and may fail: then the process before goes on as if
// nothing had been. After Serve there is no way back. Who of the two is gone,
// the other sees by the end of the link between them: a successor that ends
// takes the process before with it, for nobody could revoke anything there.
//
// The two ends of the link are two versions: methods and fields are added,
// never changed.

// successorEnv names, to a successor, the sockets it inherits from descriptor
// firstSocket on; the link comes before them.
const (
	successorEnv = "INSIDE_SUCCESSOR"
	linkFD       = 3
	firstSocket  = linkFD + 1

	apiSocket = "api"
	apiLock   = "api-lock"
)

const (
	// upgradePatience is how long a successor may take until it serves. The call
	// that asked for it is answered within it.
	upgradePatience = 25 * time.Second

	// retiring is how long what only one process does may take to end.
	retiring = 5 * time.Second
)

// A successor is the process that takes over, as the one before knows it. Its
// exported methods are what the other end of the link may call.
type successor struct {
	a    *Appliance
	ctx  context.Context
	gone chan struct{} // closed when the link has ended
	told chan struct{} // closed when this process is to end
	tell func()        // closes it

	pid, handle int // handle stands for the process even after it has ended (pidfd_open(2)), until await returns

	mu     sync.Mutex
	rested bool          // the rules are its
	over   bool          // it serves, or must not any more
	serves chan struct{} // closed when it does
	failed chan error    // why it does not
}

// Greeting is what a successor is told first.
type Greeting struct {
	PID      int           `json:"pid"`
	Version  string        `json:"version"`
	Revision int64         `json:"revision"` // of the facts in force: an older database is an old copy
	Behind   time.Duration `json:"behind"`   // how far the wall clock is behind the time that is told
}

// Resting asks the process before to leave the rules alone.
type Resting struct{}

// Serving is what a successor says that is about to serve.
type Serving struct {
	Version  string        `json:"version"`
	MaxDrain time.Duration `json:"max_drain"`
}

// Carried is what a process before still has.
type Carried struct {
	Revision int64       `json:"revision"` // of the facts it obeys
	Until    time.Time   `json:"until"`    // its last session ends then
	Sessions []CarriedBy `json:"sessions"`
}

// CarriedBy is one of its sessions.
type CarriedBy struct {
	ID       policy.SessionID `json:"id"`
	Stay     policy.StayID    `json:"stay"`
	Protocol policy.Protocol  `json:"protocol"`
	Traffic  Traffic          `json:"traffic"`
}

// Concerning are the settings that say whether somebody may stay inside.
type Concerning struct {
	Tailscale bool           `json:"tailscale"`
	Warn      []netip.Prefix `json:"warn"` // networks that only warn
}

func concerning(c config.Config) Concerning {
	to := Concerning{Tailscale: c.Identity.Tailscale}
	if c.Intercept != nil {
		to.Warn = c.Intercept.Warn
	}
	return to
}

func (c Concerning) equal(d Concerning) bool {
	return c.Tailscale == d.Tailscale && slices.Equal(c.Warn, d.Warn)
}

// Ending ends a session or a stay.
type Ending struct {
	Session policy.SessionID `json:"session,omitempty"`
	Stay    policy.StayID    `json:"stay,omitempty"`
	Why     policy.EndCause  `json:"why"`
}

// Nothing is no answer.
type Nothing struct{}

func (s *successor) Hello(_ Nothing, g *Greeting) error {
	*g = Greeting{PID: os.Getpid(), Version: version(), Revision: s.a.book.Load().Facts().Revision, Behind: s.a.clock.behind()}
	return nil
}

// Failed is the successor's last words.
func (s *successor) Failed(why string, _ *Nothing) error {
	s.fail(errors.New(why))
	return nil
}

func (s *successor) Rest(_ Resting, _ *Nothing) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return errTooLate
	}
	s.rested = true
	if s.a.gate != nil {
		s.a.gate.Rest()
	}
	return nil
}

var errTooLate = errors.New("the process before no longer waits for it")

func (s *successor) Serve(to Serving, _ *Nothing) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return errTooLate
	}
	s.over = true
	s.a.handOver(s, to)
	close(s.serves)
	return nil
}

func (s *successor) Carried(_ Nothing, c *Carried) error {
	c.Revision, c.Until = s.a.book.Load().Facts().Revision, s.a.drainsUntil()
	c.Sessions = s.a.live.all()
	return nil
}

// Catch returns when the facts of a revision are obeyed here, or cannot be read.
func (s *successor) Catch(revision int64, seen *int64) error {
	ctx, cancel := context.WithTimeout(s.ctx, catchingUp)
	defer cancel()
	s.a.catchUp(ctx, revision)
	*seen = s.a.book.Load().Facts().Revision
	return nil
}

// Settings has the sessions here obey the successor's settings.
func (s *successor) Settings(to Concerning, _ *Nothing) error {
	s.a.obey(to)
	return nil
}

func (s *successor) EndSession(e Ending, carried *bool) error {
	*carried = s.a.live.EndSession(e.Session, e.Why)
	return nil
}

func (s *successor) EndStay(e Ending, _ *Nothing) error {
	s.a.live.EndStay(e.Stay, e.Why)
	return nil
}

// End ends everybody here.
func (s *successor) End(_ Nothing, _ *Nothing) error {
	s.tell()
	return nil
}

// fail gives a successor up and reports whether that was in time: it may serve
// already, or have been given up.
func (s *successor) fail(why error) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return false
	}
	s.over = true
	s.failed <- why
	if s.rested && s.a.gate != nil {
		if err := s.a.gate.Wake(s.ctx); err != nil {
			s.a.log.Error("the rules are not watched after an upgrade that failed: systemctl restart inside", "error", err)
		}
	}
	return true
}

const rpcName = "Before"

// answer answers the successor until the link ends.
func (s *successor) answer(link net.Conn) {
	defer close(s.gone)
	server := rpc.NewServer()
	if err := server.RegisterName(rpcName, s); err != nil {
		link.Close()
		s.fail(err)
		return
	}
	server.ServeCodec(jsonrpc.NewServerCodec(link))
	s.fail(errors.New("it ended without a word: journalctl -u inside says more"))
}

// upgrade has the program that is installed now take over. It returns when that
// serves, or with the reason why it does not: then nothing has changed.
func (a *Appliance) upgrade(by string) (api.Upgraded, error) {
	a.upgrading.Lock()
	defer a.upgrading.Unlock()
	if a.successor.Load() != nil {
		return api.Upgraded{}, conflict("inside status", "a successor has taken over already")
	}
	a.settings.changing.Lock() // the successor reads the same file
	defer a.settings.changing.Unlock()
	began := time.Now()
	s, err := a.startSuccessor()
	if err == nil {
		err = s.await()
	}
	if err != nil {
		a.log.Error("not upgraded: this process goes on", "by", by, "error", err)
		return api.Upgraded{}, api.NewProblem(api.CodeUnavailable, "nothing has changed, the program that is installed now does not serve: "+strings.ReplaceAll(err.Error(), "\n", "; "), "")
	}
	up := api.Upgraded{Sessions: len(a.live.Sessions()), Until: a.drainsUntil().UTC(), Milliseconds: time.Since(began).Milliseconds()}
	a.log.Info("a successor has taken over, this process goes on with whom it has", "by", by, "successor", s.pid, "sessions", up.Sessions, "until", up.Until, "ms", up.Milliseconds)
	a.ledger.audit(by, "gate.upgrade", "gate "+a.cfg.Gate.Name, fmt.Sprintf("%d sessions go on in the process before", up.Sessions))
	return up, nil
}

// Upgrade implements api.Upgrading.
func (h *House) Upgrade(ctx context.Context) (api.Upgraded, error) {
	if h.Succeed == nil {
		return api.Upgraded{}, api.NewProblem(api.CodeUnavailable, "this gate does not know the program it runs", "systemctl restart inside")
	}
	return h.Succeed(api.By(ctx))
}

// await waits until the successor serves.
func (s *successor) await() error {
	defer unix.Close(s.handle)
	late := fmt.Errorf("it did not within %s", upgradePatience)
	select {
	case <-s.serves:
		return nil
	case err := <-s.failed:
		return err
	case <-time.After(upgradePatience):
	}
	if !s.fail(late) { // it did something in the last moment
		select {
		case <-s.serves:
			return nil
		case err := <-s.failed:
			return err
		}
	}
	if err := unix.PidfdSendSignal(s.handle, unix.SIGKILL, nil, 0); err != nil {
		s.a.log.Error("a successor that came to nothing is not ended", "pid", s.pid, "error", err)
	}
	return late
}

// startSuccessor starts the program, with this process's own arguments. It is a
// child of whoever started this one (CLONE_PARENT in clone(2)), so that the
// service manager hears of its end.
func (a *Appliance) startSuccessor() (s *successor, err error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, os.NewSyscallError("socketpair", err)
	}
	link, err := connOf(os.NewFile(uintptr(pair[0]), "link"))
	if err != nil {
		unix.Close(pair[1])
		return nil, err
	}
	defer func() {
		if err != nil {
			link.Close()
		}
	}()
	names, sockets, err := a.socketsToHandOn()
	given := append([]int{pair[1]}, sockets...)
	defer func() {
		for _, fd := range given {
			unix.Close(fd)
		}
	}()
	if err != nil {
		return nil, err
	}
	files := []uintptr{0, 1, 2}
	for _, fd := range given {
		files = append(files, uintptr(fd))
	}
	told := make(chan struct{})
	s = &successor{
		a: a, ctx: a.life, gone: make(chan struct{}), told: told, tell: sync.OnceFunc(func() { close(told) }),
		serves: make(chan struct{}), failed: make(chan error, 1),
	}
	s.pid, err = syscall.ForkExec(a.program, os.Args, &syscall.ProcAttr{
		Env:   append(successorEnviron(), successorEnv+"="+strings.Join(names, " ")),
		Files: files,
		Sys:   &syscall.SysProcAttr{Cloneflags: unix.CLONE_PARENT, PidFD: &s.handle},
	})
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", a.program, err)
	}
	go s.answer(link)
	return s, nil
}

// successorEnviron is the environment without what is this process's alone.
func successorEnviron() []string {
	return slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "WATCHDOG_PID=") || strings.HasPrefix(v, "LISTEN_")
	})
}

// socketsToHandOn are duplicates of the sockets people and admins come by. They
// are plain descriptors: an os.File makes what it shares with the listener
// block.
func (a *Appliance) socketsToHandOn() (names []string, fds []int, err error) {
	add := func(name string, c syscall.Conn) error {
		raw, err := c.SyscallConn()
		if err != nil {
			return err
		}
		fd := -1
		if failed := raw.Control(func(of uintptr) { fd, err = unix.FcntlInt(of, unix.F_DUPFD_CLOEXEC, 0) }); errors.Join(failed, err) != nil {
			return errors.Join(failed, err)
		}
		names, fds = append(names, name), append(fds, fd)
		return nil
	}
	if a.gate != nil {
		held, err := a.gate.Sockets()
		if err != nil {
			return nil, nil, err
		}
		for name, f := range held {
			err = errors.Join(err, add(name, f), f.Close())
		}
		if err != nil {
			return names, fds, err
		}
	}
	socket, lock := api.HandOn(a.socket)
	err = errors.Join(add(apiSocket, socket), add(apiLock, lock))
	return names, fds, err
}

func connOf(f *os.File) (net.Conn, error) {
	defer f.Close()
	return net.FileConn(f)
}

// handOver has everything end that one process only does, and has the sessions
// end in time.
func (a *Appliance) handOver(s *successor, to Serving) {
	until := a.clock.now().Add(to.MaxDrain)
	a.drainUntil.Store(&until)
	a.successor.Store(s)
	a.retire()
	if _, err := daemon.SdNotify(false, fmt.Sprintf("MAINPID=%d", s.pid)); err != nil {
		a.log.Error("the service manager does not know of the successor", "pid", s.pid, "error", err)
	}
	close(a.handed)
	a.live.reconsider()
}

// drainsUntil is when the last session ends here whatever happens; zero as long
// as this process serves.
func (a *Appliance) drainsUntil() time.Time {
	if until := a.drainUntil.Load(); until != nil {
		return *until
	}
	return time.Time{}
}
