package store

import (
	"context"
	"database/sql"
	"fmt"
	"iter"
	"sync"
	"time"
)

const (
	pollInterval = time.Second
	pollPatience = 5 * time.Second
)

// Changes yields the revision of the facts: the present one at once, then
// whenever it has grown. It is told by notification and asks each second,
// because a notification can be lost and the poll cannot. It survives a
// vanished database: the error is yielded once, and the revision, grown or
// not, when the database is back. A revision lower than one that was seen is
// such an error, since facts from an old copy could let somebody in whose
// grant was revoked. It ends with ctx.
func (s *Store) Changes(ctx context.Context) iter.Seq2[int64, error] {
	return func(yield func(int64, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		hinted := make(chan struct{}, 1)
		var listener sync.WaitGroup
		defer listener.Wait()
		defer cancel()
		if s.hints != nil {
			listener.Go(func() {
				s.hints(ctx, func() {
					select {
					case hinted <- struct{}{}:
					default: // one hint is pending already
					}
				})
			})
		}
		poll := time.NewTicker(pollInterval)
		defer poll.Stop()
		seen, out := int64(-1), false
		for {
			changed := s.nextChange() // before asking, so that none falls between
			revision, err := s.revision(ctx, seen)
			if ctx.Err() != nil {
				return
			}
			switch {
			case err != nil && !out:
				out = true
				if !yield(0, err) {
					return
				}
			case err == nil && (out || revision > seen):
				out, seen = false, revision
				if !yield(revision, nil) {
					return
				}
			}
			select {
			case <-ctx.Done():
				return
			case <-changed:
			case <-hinted:
			case <-poll.C:
			}
		}
	}
}

// revision asks for the present revision.
func (s *Store) revision(ctx context.Context, seen int64) (revision int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, pollPatience)
	defer cancel()
	err = s.reading(ctx, func(ctx context.Context, tx *sql.Tx) (err error) {
		revision, err = number(tx.QueryRowContext(ctx, revisionQuery))
		return err
	})
	if err == nil && revision < seen {
		err = fmt.Errorf("database %s: the facts went back from revision %d to %d: an old copy took its place; start the gate again if that is meant",
			s.database, seen, revision)
	}
	return revision, err
}

// announce wakes the Changes of this process.
func (s *Store) announce() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.changed)
	s.changed = make(chan struct{})
}

// nextChange is closed when the facts change next.
func (s *Store) nextChange() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}
