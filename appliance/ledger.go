package appliance

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/store"
)

// ledger writes down what has already happened: denied entries, ends of
// sessions and of stays. Such a line is never lost to a database that is away
// for a while, nor to a crash of the daemon meanwhile; it waits here and in
// the spool, in order, and nobody new is let in.
type ledger struct {
	store   *store.Store
	log     *slog.Logger
	metrics *Metrics

	order sync.Mutex // held while a line gets its number and its place
	spool *spool     // nil where nothing is kept
	last  int64      // number of the newest line

	mu       sync.Mutex
	waiting  []line
	spooled  int64 // number of the newest line in the spool
	down     error // what the database said last; nil when it took the last line
	unspools error // why a line could not be spooled; nil when all are
	more     chan struct{}
}

const (
	// ledgerRoom bounds the lines that wait for a database that is away. At
	// the limit denied entries are no longer kept (they are in the log), ends
	// of sessions are: there are never more of them than sessions.
	ledgerRoom = 50_000

	ledgerPause = time.Second // between two tries of a database that is away
	settling    = time.Second // for those who wait for what is waiting here
)

func newLedger(s *store.Store, m *Metrics, log *slog.Logger) *ledger {
	return &ledger{store: s, log: log, metrics: m, more: make(chan struct{}, 1)}
}

// open takes up what a crash, or a stop without the database, left in the
// spool, and writes it down.
func (l *ledger) open(ctx context.Context, path, gate string) error {
	spool, left, torn, err := openSpool(path)
	if err != nil {
		return err
	}
	written, err := l.store.OpenSpool(ctx, spool.id, gate)
	if err != nil {
		spool.file.Close()
		return err
	}
	l.spool, l.last = spool, written
	for _, ln := range left {
		l.last = max(l.last, ln.N)
		if ln.N > written {
			l.waiting = append(l.waiting, ln)
		}
	}
	l.spooled = l.last
	if torn > 0 {
		l.log.Warn("a line of the spool was torn by a crash", "spool", path, "bytes", torn)
	}
	if n := len(l.waiting); n > 0 {
		l.log.Info("writing down what was left in the spool", "lines", n)
		l.drain(ctx)
	}
	return l.problem()
}

// writable reports whether the database took the last line, and the spool all
// that it did not.
func (l *ledger) writable() bool { return l.problem() == nil }

// lines is how many wait for the database.
func (l *ledger) lines() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.waiting)
}

func (l *ledger) problem() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.down == nil {
		return l.unspools
	}
	return l.down
}

// failed notes that the database did not take a line.
func (l *ledger) failed(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.down == nil {
		l.log.Error("database does not take entries: nobody new is let in", "error", err)
	}
	l.down = err
	l.store.Break(err)
	l.wake()
}

func (l *ledger) deny(e store.Entry) {
	l.mu.Lock()
	full := len(l.waiting) >= ledgerRoom
	l.mu.Unlock()
	if full {
		l.metrics.notKept.Inc()
		l.log.Error("denied entry not kept: the database is away and too many wait", "client", e.Client, "dest", e.Dest)
		return
	}
	e = e.Readable() // here already, so that what waits has a bound
	l.write(line{Kind: lineDenied, Entry: &e})
}

func (l *ledger) leave(id policy.SessionID, end time.Time, why policy.EndCause, carried policy.Carried) {
	l.write(line{Kind: lineLeft, Session: id, End: end, Why: why, Carried: carried})
}

func (l *ledger) endStay(id policy.StayID, end time.Time, why policy.EndCause) {
	l.write(line{Kind: lineStay, Stay: id, End: end, Why: why})
}

// settle waits until what waits now has been written, but not long.
func (l *ledger) settle(ctx context.Context) {
	written := make(chan struct{})
	l.write(line{Kind: lineSettled, written: written})
	select {
	case <-written:
	case <-time.After(settling):
	case <-ctx.Done():
	}
}

func (l *ledger) audit(by, action, object, detail string) {
	l.write(line{Kind: lineAudit, By: by, Action: action, Object: object, Detail: detail})
}

func (l *ledger) write(ln line) {
	l.order.Lock()
	defer l.order.Unlock()
	if ln.Kind != lineSettled {
		l.last++
		ln.N = l.last
	}
	l.mu.Lock()
	l.waiting = append(l.waiting, ln)
	l.wake()
	l.mu.Unlock()
	l.keep()
}

// keep puts what waits and is not in the spool there, in its order. order is
// held; the lock that decisions need is not, while the disk is asked.
func (l *ledger) keep() {
	if l.spool == nil {
		return
	}
	l.mu.Lock()
	var missing []line
	for i := len(l.waiting) - 1; i >= 0 && (l.waiting[i].N > l.spooled || l.waiting[i].Kind == lineSettled); i-- {
		if l.waiting[i].Kind != lineSettled {
			missing = append(missing, l.waiting[i])
		}
	}
	l.mu.Unlock()
	var failed error
	for _, ln := range slices.Backward(missing) {
		if failed = l.spool.append(ln); failed != nil {
			break
		}
		l.mu.Lock()
		l.spooled = ln.N
		l.mu.Unlock()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if failed != nil && l.unspools == nil {
		l.log.Error("the spool does not take lines: nobody new is let in", "error", failed)
	}
	l.unspools = failed
}

func (l *ledger) wake() {
	select {
	case l.more <- struct{}{}:
	default:
	}
}

// run writes lines until ctx ends, then what still waits, as far as the
// database takes it within a moment.
func (l *ledger) run(ctx context.Context) {
	pulse := time.NewTicker(ledgerPause)
	defer pulse.Stop()
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeDown)
			defer cancel()
			l.drain(last)
			l.secure()
			return
		case <-l.more:
		case <-pulse.C:
			l.secure()
			l.probe(ctx)
		}
		if l.writable() {
			l.drain(ctx)
		}
	}
}

// secure puts what the database has not taken on the disk.
func (l *ledger) secure() {
	if l.spool == nil {
		return
	}
	if l.problem() != nil {
		l.order.Lock()
		l.keep()
		l.order.Unlock()
	}
	if l.lines() == 0 || !l.spool.dirty.Load() {
		return
	}
	if err := l.spool.sync(); err != nil {
		l.log.Error("the spool is not on the disk", "error", err)
	}
}

// probe asks the database whether it takes a line, so that a full disk is
// seen before somebody stands at the door, and its return as well.
func (l *ledger) probe(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, writeDown)
	defer cancel()
	if err := l.store.Ping(ctx); err != nil {
		if context.Cause(ctx) != context.Canceled {
			l.failed(err)
		}
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.down != nil {
		l.log.Info("database takes entries again", "waiting", len(l.waiting))
		l.down = nil
		l.store.Break(nil)
	}
}

func (l *ledger) drain(ctx context.Context) {
	for {
		l.mu.Lock()
		if len(l.waiting) == 0 {
			l.mu.Unlock()
			l.tidy()
			return
		}
		ln := l.waiting[0]
		l.mu.Unlock()
		one, cancel := context.WithTimeout(ctx, writeDown)
		err := l.writeDown(one, ln)
		cancel()
		if isOutage(err) {
			if ctx.Err() == nil {
				l.failed(err)
			}
			return
		}
		if err != nil {
			l.log.Error("a line cannot be written down as it is", "line", ln, "error", err)
		}
		l.mu.Lock()
		l.waiting[0] = line{}
		l.waiting = l.waiting[1:]
		l.mu.Unlock()
	}
}

// tidy cuts the spool when it has grown and nothing waits.
func (l *ledger) tidy() {
	if l.spool == nil {
		return
	}
	l.order.Lock()
	defer l.order.Unlock()
	if l.lines() > 0 || l.spool.size < spoolSlack {
		return
	}
	if err := l.spool.clear(); err != nil {
		l.log.Error("the spool could not be cut", "error", err)
	}
}

// writeDown writes one line, unless that was done before the daemon crashed or
// the connection broke.
func (l *ledger) writeDown(ctx context.Context, ln line) error {
	write := func(ctx context.Context) error {
		switch ln.Kind {
		case lineDenied:
			return l.store.Deny(ctx, *ln.Entry)
		case lineLeft:
			err := l.store.Leave(ctx, ln.Session, ln.End, ln.Why, ln.Carried)
			if errors.Is(err, store.ErrNotFound) {
				return nil // it never came to be
			}
			return err
		case lineStay:
			return l.store.EndStay(ctx, ln.Stay, ln.End, ln.Why)
		case lineAudit:
			return l.store.Audit(ctx, ln.By, ln.Action, ln.Object, ln.Detail)
		case lineSettled:
			close(ln.written)
		}
		return nil
	}
	if l.spool == nil || ln.Kind == lineSettled {
		return write(ctx)
	}
	return l.store.Once(ctx, l.spool.id, ln.N, write)
}
