package appliance

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pawelmojski/inside/appliance/api"
	"github.com/pawelmojski/inside/appliance/config"
	"github.com/pawelmojski/inside/appliance/tailscale"
	"github.com/pawelmojski/inside/netfilter"
	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/proxy"
	"github.com/pawelmojski/inside/proxy/rdpentry"
	"github.com/pawelmojski/inside/proxy/sshentry"
	"github.com/pawelmojski/inside/store"
)

// An Appliance is the machine, wired and running.
type Appliance struct {
	cfg      config.Config // as at the start; what can change is in settings
	settings *settings
	log      *slog.Logger
	clock    moments
	started  time.Time
	life     context.Context // of the process

	store    *store.Store
	book     atomic.Pointer[policy.Book]
	turning  sync.Mutex    // one new book at a time
	turned   chan struct{} // there is a new book
	metrics  *Metrics
	lookout  *Lookout
	webhook  atomic.Pointer[webhook] // nil: nobody is told
	records  *records
	hostKeys *hostKeys
	certs    *Certificates
	vault    *Vault
	accounts accounts
	guesses  guesses
	ssh      *sshentry.Entry
	ledger   *ledger
	renders  *Renders
	removals *Removals
	notary   *Notary
	live     *live
	news     *Bus
	bearers  *Bearers
	signins  *Signins
	doors    *doors
	entries  map[policy.Protocol]proxy.Entry
	gate     *netfilter.Gate // nil on a tower
	socket   net.Listener    // of the API

	tailscale *tailscale.Daemon

	overhearing *overhearing

	flows sync.WaitGroup

	before     *Before // nil: this process was not started by one
	program    string  // what an upgrade starts
	upgrading  sync.Mutex
	retire     func()                    // ends what one process only does
	handed     chan struct{}             // closed when a successor has taken over
	successor  atomic.Pointer[successor] // nil: this process serves
	drainUntil atomic.Pointer[time.Time] // and from then on, until when it goes on
}

// New opens what the appliance stands on: database, recordings and keys. No
// rule is installed and nobody let in before Run. before is the process it takes
// over from, if there is one.
func New(ctx context.Context, cfg config.Config, before *Before, log *slog.Logger) (*Appliance, error) {
	url := cfg.Store.URL
	if url == "" {
		url = filepath.Join(cfg.Paths.State, "inside.db")
	}
	if err := os.MkdirAll(cfg.Paths.State, 0o750); err != nil {
		return nil, fmt.Errorf("state: %w", err)
	}
	s, err := store.Open(ctx, url)
	if err != nil {
		return nil, err
	}
	a := &Appliance{cfg: cfg, settings: newSettings(cfg), log: log, clock: newMoments(before.behind()), started: time.Now(), store: s, metrics: NewMetrics(), turned: make(chan struct{}, 1), tailscale: tailscale.NewDaemon(tailscale.Socket), before: before, handed: make(chan struct{})}
	if err := a.furnish(ctx); err != nil {
		s.Close()
		return nil, err
	}
	return a, nil
}

func (a *Appliance) furnish(ctx context.Context) (err error) {
	if a.records, err = openRecords(filepath.Join(a.cfg.Paths.State, "recordings"), a.cfg.Recordings.MinFree); err != nil {
		return err
	}
	if a.hostKeys, err = openHostKeys(filepath.Join(a.cfg.Paths.State, "keys"), a.store, a.clock); err != nil {
		return err
	}
	a.vault = OpenVault(filepath.Join(a.cfg.Paths.State, "keys"))
	if a.notary, err = OpenNotary(filepath.Join(a.cfg.Paths.State, "keys"), a.cfg.Gate.Name, a.store, a.records.root, a.clock.now, a.log); err != nil {
		return err
	}
	if a.certs, err = OpenCertificates(filepath.Join(a.cfg.Paths.State, "keys"), a.store, a.cfg.Gate.Name, a.clock.now); err != nil {
		return err
	}
	a.ledger = newLedger(a.store, a.metrics, a.log)
	a.live = newLive(a)
	a.renders = NewRenders(a.cfg.Gate.Name, a.store, a.records.root, a.records.room, renderProgram(), a.clock.now, a.log)
	if a.removals, err = NewRemovals(a.cfg.Gate.Name, a.cfg.Recordings.Keep, a.store, a.records.root, a.notary.signed(), a.clock.now, a.log); err != nil {
		return err
	}
	hook, err := newWebhook(a.cfg.Alerts, a.log, a.metrics.hookEnded)
	if err != nil {
		return err
	}
	a.webhook.Store(hook)
	a.lookout = NewLookout(a.cfg.Gate.Name, a.log, func(al api.Alert) {
		a.news.Tell(api.NewsAlert, al)
		a.webhook.Load().push(al)
	})
	a.measure()
	a.news = NewBus(a.clock.now)
	a.overhearing = newOverhearing()
	a.bearers = NewBearers(a.store, a.clock.now, a.log)
	a.signins = NewSignins(a.store, a.clock.now, a.log)
	a.doors = newDoors(func(from netip.Addr) {
		a.log.Warn("turned away: too many connections that have not entered yet", "client", from)
	})
	a.ssh = &sshentry.Entry{HostKeys: a.hostKeys, Log: a.log}
	a.entries = map[policy.Protocol]proxy.Entry{
		policy.SSH: a.ssh,
		policy.RDP: &rdpentry.Entry{Certificates: a.certs, Log: a.log},
	}
	if err := a.noteSettings(ctx, a.itself(), "as read at the start"); err != nil {
		return err
	}
	if err := a.refresh(ctx); err != nil {
		return err
	}
	if err := a.before.checkRevision(a.book.Load().Facts().Revision); err != nil {
		return err
	}
	// Before what a crash left open is closed: how it ended may be in there.
	if err := a.openLedger(ctx); err != nil {
		return err
	}
	if a.before == nil { // else nothing was left: what is open, is
		if err := a.closeOrphans(ctx); err != nil {
			return err
		}
	}
	return a.live.resume(ctx)
}

func (a *Appliance) closeOrphans(ctx context.Context) error {
	orphans, err := a.store.CloseOrphans(ctx, a.cfg.Gate.Name, a.clock.now())
	if err != nil {
		return err
	}
	err = a.records.recover(orphans, a.clock.now(), func(id policy.SessionID, carried Traffic) error {
		return a.store.Carry(ctx, id, carried)
	})
	if err != nil {
		a.log.Error("recordings of a crashed gate not all recovered", "error", err)
	}
	return nil
}

// Run intercepts and serves until ctx ends, then tells everybody and stops; or
// until a successor has taken over and everybody here has left. ready is called
// when people can enter.
func (a *Appliance) Run(ctx context.Context, ready func()) error {
	defer a.store.Close()
	var keepers sync.WaitGroup
	defer keepers.Wait()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	flowing, closeHouse := context.WithCancelCause(context.WithoutCancel(ctx))
	defer closeHouse(policy.GateShutdown)
	writing, stopWriting := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWriting()
	a.life = ctx

	keepers.Go(func() {
		a.ledger.run(writing)
		if a.successor.Load() == nil {
			a.lastRound()
		}
	})
	keepers.Go(func() { a.follow(ctx) })
	keepers.Go(func() { a.keepTime(ctx) })
	keepers.Go(func() { a.keepAsking(ctx) })
	keepers.Go(func() { a.mind(ctx) })
	if err := a.takeOver(ctx); err != nil {
		return err
	}
	defer a.before.end(lagging)
	if a.gate != nil {
		defer a.gate.Close(false) // what follows may fail; the keepers wait for it
	}
	defer a.socket.Close()
	a.serve(ctx, flowing, writing, stop, &keepers)
	ready()
	select {
	case <-ctx.Done():
	case <-a.handed:
		return a.drain(ctx, closeHouse)
	}
	a.log.Info("stopping", "sessions", len(a.live.Sessions()))
	closeHouse(policy.GateShutdown)
	var err error
	if a.gate != nil {
		c, _ := a.settings.now()
		err = a.gate.Close(c.Intercept.OnStop == "open")
	}
	a.flows.Wait()
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		err = errors.Join(cause, err)
	}
	return err
}

// takeOver takes what people and admins come by: from the process before, which
// no longer serves when it returns, or else from nobody. When it fails, the
// process before has lost nothing.
func (a *Appliance) takeOver(ctx context.Context) (err error) {
	if err := a.before.rest(); err != nil {
		return err
	}
	if a.cfg.Intercept != nil {
		if err := a.intercept(ctx); err != nil {
			return err
		}
	}
	defer func() {
		if err != nil && a.gate != nil {
			err = errors.Join(err, a.gate.Close(false))
		}
	}()
	if a.before == nil {
		a.socket, err = api.Listen(filepath.Join(a.cfg.Paths.Run, "inside.sock"))
		return err
	}
	if a.socket, err = api.Inherit(a.before.sockets[apiSocket], a.before.sockets[apiLock]); err != nil {
		return err
	}
	drain, err := policy.ParseDuration(a.cfg.Upgrade.MaxDrain)
	if err == nil {
		err = a.before.serve(drain)
	}
	if err != nil {
		api.LeaveIt(a.socket)
		a.socket.Close()
	}
	return err
}

// intercept installs the rules and listens.
func (a *Appliance) intercept(ctx context.Context) error {
	rules := rulesOf(a.cfg.Intercept)
	held := inherited(a.log)
	if a.before != nil {
		held = a.before.listeners()
	}
	gate, err := netfilter.Open(ctx, rules, held, a.log, func(what string) {
		a.log.Warn("rules repaired", "what", what)
		a.metrics.repaired.Inc()
		a.lookout.repaired(what, a.clock.now())
		a.ledger.audit(a.itself(), "rules.repaired", "table inet inside", what)
	})
	if err != nil {
		return fmt.Errorf("intercept: %w", err)
	}
	if err := keepGuard(a.cfg.Paths.State, rules); err != nil {
		return errors.Join(err, gate.Close(false))
	}
	a.gate = gate
	return nil
}

// serve begins what one process only does: it lets people in, answers the API,
// signs the record, removes what is old, looks out. It ends with ctx, or when a
// successor takes over (a.retire).
func (a *Appliance) serve(ctx, flowing, writing context.Context, stop context.CancelCauseFunc, keepers *sync.WaitGroup) {
	ctx, retire := context.WithCancel(ctx)
	sealing, stopSealing := context.WithCancel(writing)
	var front sync.WaitGroup
	a.retire = func() {
		api.LeaveIt(a.socket)
		if a.gate != nil {
			a.gate.Retire()
		}
		retire()
		stopSealing()
		ended := make(chan struct{})
		go func() {
			front.Wait()
			close(ended)
		}()
		select {
		case <-ended:
		case <-time.After(retiring):
			a.log.Error("not everything that the successor does now has ended here")
		}
	}
	context.AfterFunc(writing, stopSealing)
	front.Go(func() { a.notary.Run(sealing) })
	front.Go(func() { a.renders.Run(ctx) })
	front.Go(func() { a.removals.Run(ctx) })
	front.Go(func() { a.keepRenewing(ctx) })
	front.Go(func() { a.lookOut(ctx) })
	front.Go(func() { a.tellWebhook(ctx) })
	front.Go(func() { a.report(ctx) })
	if a.gate != nil {
		if err := entrust(a.gate); err != nil {
			a.log.Warn("the service manager does not hold the listeners: a restart refuses who comes meanwhile", "error", err)
		}
		front.Go(func() { a.observe(ctx) })
		for _, e := range a.gate.Config().Entries {
			front.Go(func() {
				if err := a.accept(flowing, a.gate.Listener(e.Name), policy.Protocol(e.Name)); err != nil {
					stop(fmt.Errorf("entry %s: %w", e.Name, err))
				}
			})
		}
	}
	keepers.Go(front.Wait) // when nobody joins it any more
	a.serveAPI(ctx, stop, keepers)
}

// drain goes on with whom this process has, until the last has left, they must,
// or the successor ends.
func (a *Appliance) drain(ctx context.Context, closeHouse context.CancelCauseFunc) error {
	s := a.successor.Load()
	left := make(chan struct{})
	go func() {
		a.flows.Wait()
		if a.before != nil {
			<-a.before.gone
		}
		close(left)
	}()
	why := policy.GateShutdown
	select {
	case <-left:
	case <-ctx.Done():
	case <-s.gone:
	case <-s.told:
	case <-time.After(a.drainsUntil().Sub(a.clock.now())):
		why = policy.GateUpgraded
	}
	closeHouse(why)
	a.flows.Wait()
	a.log.Info("drained", "cause", string(why))
	return nil
}

// refresh makes a new book of the facts and asks it about everybody inside.
func (a *Appliance) refresh(ctx context.Context) error {
	a.turning.Lock()
	defer a.turning.Unlock()
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, writeDown)
	defer cancel()
	book, err := a.newBook(ctx, a.book.Load())
	if err != nil {
		return err
	}
	a.book.Store(book)
	select {
	case a.turned <- struct{}{}:
	default: // one is told already
	}
	a.metrics.bookBuild.Set(time.Since(began).Seconds())
	a.live.reconsider()
	revision := book.Facts().Revision
	a.before.catch(revision)
	a.news.Tell(api.NewsFacts, api.Facts{Revision: revision})
	return a.bearers.Read(ctx, revision)
}

// newBook reads what has changed since the book that is in use and amends it.
// The first time, and when the changes do not fit, it reads everything.
func (a *Appliance) newBook(ctx context.Context, seen *policy.Book) (*policy.Book, error) {
	if seen != nil {
		changed, err := a.store.FactsSince(ctx, seen.Facts().Revision)
		if err != nil {
			return nil, err
		}
		if revision := seen.Facts().Revision; changed.Revision < revision {
			return nil, fmt.Errorf("the database has gone back from revision %d to %d: what was revoked in between must not serve again; restart insided to accept it",
				revision, changed.Revision)
		}
		book, err := seen.Amend(changed)
		if err == nil {
			return book, nil
		}
		a.log.Error("changes do not fit the facts, all of them are read", "error", err)
	}
	facts, err := a.store.Facts(ctx)
	if err != nil {
		return nil, err
	}
	return policy.NewBook(facts)
}

// follow turns the page whenever the facts change, here or through another
// gate.
func (a *Appliance) follow(ctx context.Context) {
	for revision, err := range a.store.Changes(ctx) {
		if err != nil {
			a.log.Error("changes of the facts are not heard: the last facts stay in force", "error", err)
			continue
		}
		a.catchUp(ctx, revision)
	}
}

// catchUp reads the facts until the book is as new as the revision. A
// revision is told once, and a revocation may be in it.
func (a *Appliance) catchUp(ctx context.Context, revision int64) {
	for !a.asNewAs(revision) && ctx.Err() == nil {
		err := a.refresh(ctx)
		if err == nil && a.asNewAs(revision) {
			return
		}
		a.log.Error("facts could not be read: the last ones stay in force", "error", err)
		select {
		case <-time.After(ledgerPause):
		case <-ctx.Done():
		}
	}
}

func (a *Appliance) asNewAs(revision int64) bool {
	return a.book.Load().Facts().Revision >= revision && a.bearers.asNewAs(revision)
}

// forbidden reports whether a destination must never be dialled.
func (a *Appliance) forbidden(dest netip.AddrPort) bool {
	return a.gate != nil && a.gate.Forbidden(dest) != ""
}

// dialByItself connects to a server in nobody's name.
func (a *Appliance) dialByItself(ctx context.Context, dest netip.AddrPort) (net.Conn, error) {
	return a.gate.Dial(ctx, dest, netip.AddrPort{})
}

// dial connects to the server a flow dialled.
func (a *Appliance) dial(ctx context.Context, f policy.Flow) (net.Conn, error) {
	return a.gate.Dial(ctx, f.Dest, f.Client)
}
