package appliance

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/store"
)

// ledger writes down what has already happened: denied entries, ends of
// sessions and of stays. Such a line is never lost to a database that is away
// for a while; it waits here, in order, and nobody new is let in meanwhile.
type ledger struct {
	store   *store.Store
	log     *slog.Logger
	metrics *Metrics

	mu      sync.Mutex
	waiting []func(context.Context) error
	down    error // what the database said last; nil when it took the last line
	more    chan struct{}
}

const (
	// ledgerRoom bounds the lines that wait for a database that is away. At
	// the limit denied entries are no longer kept (they are in the log), ends
	// of sessions are: there are never more of them than sessions.
	ledgerRoom = 10_000

	ledgerPause = time.Second // between two tries of a database that is away
	settling    = time.Second // for those who wait for what is waiting here
)

func newLedger(s *store.Store, m *Metrics, log *slog.Logger) *ledger {
	return &ledger{store: s, log: log, metrics: m, more: make(chan struct{}, 1)}
}

// writable reports whether the database took the last line.
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
	l.write(func(ctx context.Context) error { return l.store.Deny(ctx, e) })
}

func (l *ledger) leave(id policy.SessionID, end time.Time, why policy.EndCause) {
	l.write(func(ctx context.Context) error {
		err := l.store.Leave(ctx, id, end, why)
		if errors.Is(err, store.ErrNotFound) {
			return nil // it never came to be
		}
		return err
	})
}

func (l *ledger) endStay(id policy.StayID, end time.Time, why policy.EndCause) {
	l.write(func(ctx context.Context) error { return l.store.EndStay(ctx, id, end, why) })
}

// settle waits until what waits now has been written, but not long.
func (l *ledger) settle(ctx context.Context) {
	written := make(chan struct{})
	l.write(func(context.Context) error { close(written); return nil })
	select {
	case <-written:
	case <-time.After(settling):
	case <-ctx.Done():
	}
}

func (l *ledger) audit(by, action, object, detail string) {
	l.write(func(ctx context.Context) error { return l.store.Audit(ctx, by, action, object, detail) })
}

func (l *ledger) write(line func(context.Context) error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting = append(l.waiting, line)
	l.wake()
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
			return
		case <-l.more:
		case <-pulse.C:
			l.probe(ctx)
		}
		if l.writable() {
			l.drain(ctx)
		}
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
	}
}

func (l *ledger) drain(ctx context.Context) {
	for {
		l.mu.Lock()
		if len(l.waiting) == 0 {
			l.mu.Unlock()
			return
		}
		line := l.waiting[0]
		l.mu.Unlock()
		one, cancel := context.WithTimeout(ctx, writeDown)
		err := line(one)
		cancel()
		if err != nil {
			if ctx.Err() == nil {
				l.failed(err)
			}
			return
		}
		l.mu.Lock()
		l.waiting[0] = nil
		l.waiting = l.waiting[1:]
		l.mu.Unlock()
	}
}
