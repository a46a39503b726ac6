package appliance

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/rpc"
	"net/rpc/jsonrpc"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pawelmojski/inside/netfilter"
	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/store"
)

// A Before is the process that served before this one, as its successor knows
// it; successor.go tells the whole. A nil Before is none: its methods answer
// for a process that nobody was before.
type Before struct {
	log      *slog.Logger
	client   *rpc.Client
	greeting Greeting
	handle   int // stands for the process even after it has ended (pidfd_open(2))
	sockets  map[string]*os.File
	gone     chan struct{} // closed when the link has ended

	settling sync.Mutex

	mu   sync.Mutex
	last Carried                       // what it carried when it was last asked
	mine map[policy.SessionID]struct{} // sessions of this process; nil when all of the one before are closed
}

const (
	callPatience = time.Second      // for what takes microseconds
	handPatience = 15 * time.Second // for the steps of taking over
	catchingUp   = time.Second      // for facts to be read and acted upon

	// lagging is how long a process before may obey older facts than there are,
	// or not answer, before it is ended: nobody can be revoked there.
	lagging = 5 * time.Second
)

// Inherit finds out whether this process was started to take over from another.
// Call it before anything else opens a file.
func Inherit(log *slog.Logger) (*Before, error) {
	names, there := os.LookupEnv(successorEnv)
	if !there {
		return nil, nil
	}
	os.Unsetenv(successorEnv)
	b := &Before{log: log, sockets: map[string]*os.File{}, gone: make(chan struct{}), mine: map[policy.SessionID]struct{}{}}
	for i, name := range strings.Fields(names) {
		unix.CloseOnExec(firstSocket + i)
		b.sockets[name] = os.NewFile(uintptr(firstSocket+i), name)
	}
	unix.CloseOnExec(linkFD)
	link, err := connOf(os.NewFile(linkFD, "link"))
	if err != nil {
		return nil, fmt.Errorf("the link to the process before: %w", err)
	}
	b.client = jsonrpc.NewClient(&linked{Conn: link, ended: sync.OnceFunc(func() { close(b.gone) })})
	if err := b.call("Hello", Nothing{}, &b.greeting, handPatience); err != nil {
		return nil, err
	}
	if b.handle, err = unix.PidfdOpen(b.greeting.PID, 0); err != nil {
		return nil, os.NewSyscallError("pidfd_open", err)
	}
	return b, nil
}

// linked tells when a connection ends.
type linked struct {
	net.Conn
	ended func()
}

func (w *linked) Read(b []byte) (int, error) {
	n, err := w.Conn.Read(b)
	if err != nil {
		w.ended()
	}
	return n, err
}

func (b *Before) call(method string, args, reply any, patience time.Duration) error {
	select {
	case done := <-b.client.Go(rpcName+"."+method, args, reply, make(chan *rpc.Call, 1)).Done:
		if done.Error != nil {
			return fmt.Errorf("the process before: %s: %w", strings.ToLower(method), done.Error)
		}
		return nil
	case <-time.After(patience):
		return fmt.Errorf("the process before: %s: no answer within %s", strings.ToLower(method), patience)
	}
}

// Failed tells the process before why this one does not take over.
func (b *Before) Failed(why error) {
	if b != nil && why != nil {
		b.call("Failed", why.Error(), &Nothing{}, callPatience) // it may be gone
	}
}

// behind is by how much the time that is told was ahead of the wall clock.
func (b *Before) behind() time.Duration {
	if b == nil {
		return 0
	}
	return max(b.greeting.Behind, 0)
}

// checkRevision refuses facts that are older than those that were in force.
func (b *Before) checkRevision(revision int64) error {
	if b != nil && revision < b.greeting.Revision {
		return fmt.Errorf("the database has revision %d of the facts, the process before acted on %d: an old copy took its place", revision, b.greeting.Revision)
	}
	return nil
}

// listeners are those that the process before handed on.
func (b *Before) listeners() netfilter.Held {
	held := netfilter.Held{}
	for name, f := range b.sockets {
		if name != apiSocket && name != apiLock {
			held[name] = f
		}
	}
	return held
}

// rest has the process before leave the kernel's rules alone.
func (b *Before) rest() error {
	if b == nil {
		return nil
	}
	return b.call("Rest", Resting{}, &Nothing{}, handPatience)
}

// serve says that this process serves now; when it returns, the one before no
// longer does.
func (b *Before) serve(drain time.Duration) error {
	if b == nil {
		return nil
	}
	return b.call("Serve", Serving{Version: version(), MaxDrain: drain}, &Nothing{}, handPatience)
}

// there reports whether there is still a process before.
func (b *Before) there() bool {
	if b == nil {
		return false
	}
	select {
	case <-b.gone:
		return false
	default:
		return true
	}
}

// carried is what the process before still has; what it last had, if it does
// not answer.
func (b *Before) carried() Carried {
	if !b.there() {
		return Carried{}
	}
	var now Carried
	err := b.call("Carried", Nothing{}, &now, callPatience)
	b.mu.Lock()
	defer b.mu.Unlock()
	if err != nil {
		return b.last
	}
	b.last = now
	return now
}

// catch has the process before act on the facts of a revision, as this one has.
func (b *Before) catch(revision int64) {
	if !b.there() {
		return
	}
	var seen int64
	if err := b.call("Catch", revision, &seen, callPatience); err != nil && b.there() {
		b.log.Error("the process before has not acted on a change yet", "revision", revision, "error", err)
	}
}

// settle has the process before obey the settings of this one, as far as they
// concern who is inside.
func (a *Appliance) settle() error {
	b := a.before
	if !b.there() {
		return nil
	}
	b.settling.Lock() // an answer by older settings must not come last
	defer b.settling.Unlock()
	c, _ := a.settings.now()
	return b.call("Settings", concerning(c), &Nothing{}, callPatience)
}

func (b *Before) endSession(id policy.SessionID, why policy.EndCause) (carried bool) {
	if !b.there() {
		return false
	}
	if err := b.call("EndSession", Ending{Session: id, Why: why}, &carried, callPatience); err != nil {
		b.log.Error("session not ended in the process before", "session", id, "error", err)
	}
	return carried
}

func (b *Before) endStay(id policy.StayID, why policy.EndCause) {
	if !b.there() {
		return
	}
	if err := b.call("EndStay", Ending{Stay: id, Why: why}, &Nothing{}, callPatience); err != nil {
		b.log.Error("stay not ended in the process before", "stay", id, "error", err)
	}
}

// own notes a session of this process before it is written down, so that it is
// not taken for one the process before left open.
func (b *Before) own(id policy.SessionID) {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.mine != nil {
		b.mine[id] = struct{}{}
	}
}

func (b *Before) isOwn(id policy.SessionID) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, own := b.mine[id]
	return own
}

// end has the process before end its sessions, and waits until it has; for one
// that does not, no longer than patience.
func (b *Before) end(patience time.Duration) {
	if b == nil {
		return
	}
	if b.there() && b.call("End", Nothing{}, &Nothing{}, callPatience) != nil {
		patience = 0 // it hears nothing
	}
	select {
	case <-b.gone:
	case <-time.After(patience):
		b.log.Error("the process before does not end by itself: it is killed", "pid", b.greeting.PID)
		if err := unix.PidfdSendSignal(b.handle, unix.SIGKILL, nil, 0); err != nil {
			b.log.Error("the process before is not killed", "pid", b.greeting.PID, "error", err)
		}
	}
}

// awaitExit waits, after the link has ended, until nothing is open in the
// process before any more; as long as that takes a kernel, and no longer.
func (b *Before) awaitExit() {
	const longest = 5 * time.Second
	for began := time.Now(); time.Since(began) < longest; {
		ready, err := unix.Poll([]unix.PollFd{{Fd: int32(b.handle), Events: unix.POLLIN}}, int(longest/time.Millisecond))
		if ready > 0 || err != nil && !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

// mind looks each second whether the process before obeys the facts and the
// settings, and ends it when it does not. When it has gone, what it left open is closed.
func (a *Appliance) mind(ctx context.Context) {
	b := a.before
	if b == nil {
		return
	}
	pace := time.NewTicker(time.Second)
	defer pace.Stop()
	obeyed := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-b.gone:
			a.inherit(ctx)
			return
		case <-pace.C:
		}
		wanted := a.book.Load().Facts().Revision
		var now Carried
		err := a.settle()
		if err == nil {
			err = b.call("Carried", Nothing{}, &now, callPatience)
		}
		if err == nil && now.Revision >= wanted {
			obeyed = time.Now()
		}
		if time.Since(obeyed) > lagging && b.there() {
			a.log.Error("the process before does not act on what has changed: it is ended", "pid", b.greeting.PID)
			b.end(lagging)
		}
	}
}

// inherit closes what the process before left open, had it crashed: its
// sessions, their recordings, its spool. It tries until it can, or ctx ends.
func (a *Appliance) inherit(ctx context.Context) {
	b := a.before
	b.awaitExit()
	a.log.Info("the process before has ended", "pid", b.greeting.PID)
	for said := ""; ; {
		err := a.closeLeft(ctx)
		if err == nil {
			break
		}
		if ctx.Err() == nil && err.Error() != said {
			said = err.Error()
			a.log.Error("what the process before left is not all written down: it is tried again", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(ledgerPause):
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mine = nil
}

// closeLeft does so once, unless this process has a successor: what is open may
// be the successor's, which closes what is left when this process has ended.
func (a *Appliance) closeLeft(ctx context.Context) error {
	a.upgrading.Lock() // one that is about to be has opened its spool
	defer a.upgrading.Unlock()
	if a.successor.Load() != nil {
		return nil
	}
	return errors.Join(a.leftSpools(ctx), a.leftSessions(ctx))
}

// leftSessions closes the sessions of this gate that are open in the record and
// are not this process's.
func (a *Appliance) leftSessions(ctx context.Context) error {
	open, err := a.store.Sessions(ctx, store.SessionFilter{Open: true, Limit: everySession})
	if err != nil {
		return err
	}
	var failed []error
	for _, se := range open {
		if se.Gate != a.cfg.Gate.Name || a.before.isOwn(se.ID) {
			continue
		}
		now := a.clock.now()
		a.log.Error("the process before left a session open", "session", se.ID)
		var carried Traffic
		if err := a.records.recover([]policy.Session{se}, now, func(_ policy.SessionID, c Traffic) error { carried = c; return nil }); err != nil {
			a.log.Error("recordings of the process before not all recovered", "session", se.ID, "error", err)
		}
		failed = append(failed, a.store.Leave(ctx, se.ID, now, policy.GateCrashed, carried))
	}
	return errors.Join(failed...)
}

const (
	spoolName    = "spool"
	everySession = 1 << 30
)

// openLedger opens the spool of this process, and takes up what others left:
// unless they are still there.
func (a *Appliance) openLedger(ctx context.Context) error {
	name := filepath.Join(a.cfg.Paths.State, spoolName)
	if a.before != nil { // which has that one
		name += "-" + string(newSessionID())
	}
	if err := a.ledger.open(ctx, name, a.cfg.Gate.Name); err != nil || a.before != nil {
		return err
	}
	return a.leftSpools(ctx)
}

// leftSpools writes down what is in the spools of processes that have ended.
func (a *Appliance) leftSpools(ctx context.Context) error {
	names, err := filepath.Glob(filepath.Join(a.cfg.Paths.State, spoolName+"*"))
	if err != nil {
		return err
	}
	var failed []error
	for _, name := range names {
		if name != a.ledger.spool.file.Name() {
			failed = append(failed, a.takeUp(ctx, name))
		}
	}
	return errors.Join(failed...)
}

func (a *Appliance) takeUp(ctx context.Context, spool string) error {
	l := newLedger(a.store, a.metrics, a.log)
	if err := l.open(ctx, spool, a.cfg.Gate.Name); err != nil {
		return err
	}
	defer l.spool.file.Close()
	if err := os.Remove(spool); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
