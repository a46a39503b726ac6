package appliance

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/pawelmojski/inside/appliance/config"
	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/store"
)

// Removals removes the recordings of sessions that ended longer ago than
// recordings are kept, videos with them. What is on the disk is looked through,
// not the database: what a crash left half removed is removed after it.
type Removals struct {
	Gate    string
	Store   *store.Store
	Records *os.Root
	Now     func() time.Time
	Log     *slog.Logger

	known time.Time // the latest time that was believed, and
	at    time.Time // when that was, by the monotonic clock

	mu      sync.Mutex
	kept    string        // recordings.keep, as the admin wrote it
	keep    time.Duration // 0: everything is kept
	changed chan struct{}
}

// NewRemovals makes what removes recordings; Run has it work. signed is the time
// of the newest head there is, by which a clock that went astray is known.
func NewRemovals(gate, kept string, s *store.Store, records *os.Root, signed time.Time, now func() time.Time, log *slog.Logger) (*Removals, error) {
	r := &Removals{Gate: gate, Store: s, Records: records, Now: now, Log: log, known: signed.Add(24 * time.Hour), at: time.Now(), changed: make(chan struct{}, 1)}
	if signed.IsZero() {
		r.known = now()
	}
	return r, r.Keep(kept)
}

// Keep changes how long recordings are kept.
func (r *Removals) Keep(kept string) (err error) {
	var keep time.Duration
	if kept != config.Forever {
		if keep, err = policy.ParseDuration(kept); err != nil {
			return fmt.Errorf("recordings.keep: %w", err)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if kept == r.kept {
		return nil
	}
	r.kept, r.keep = kept, keep
	select {
	case r.changed <- struct{}{}:
	default: // it has not looked yet
	}
	return nil
}

func (r *Removals) keeping() (kept string, keep time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.kept, r.keep
}

// Run removes what is due until ctx ends.
func (r *Removals) Run(ctx context.Context) {
	for {
		if err := r.Round(ctx); err != nil && ctx.Err() == nil {
			r.Log.Error("old recordings not all removed: they stay until they can be", "error", err)
		}
		var again <-chan time.Time // never, where everything is kept
		if _, keep := r.keeping(); keep > 0 {
			again = time.After(min(max(keep/24, time.Second), time.Hour))
		}
		select {
		case <-ctx.Done():
			return
		case <-again:
		case <-r.changed:
		}
	}
}

// dayLayout is how the folder of a day is named, see folder.
const dayLayout = "2006/01/02"

// Round looks once through all days on which a recording can have begun that
// is due.
func (r *Removals) Round(ctx context.Context) error {
	kept, keep := r.keeping()
	if keep == 0 {
		return nil
	}
	now := r.believed(r.Now(), time.Since(r.at))
	r.at = time.Now()
	due := now.Add(-keep)
	days, err := fs.Glob(r.Records.FS(), "[0-9][0-9][0-9][0-9]/[0-9][0-9]/[0-9][0-9]")
	if err != nil {
		return err
	}
	var failed []error
	for _, day := range days {
		began, err := time.Parse(dayLayout, day)
		if err != nil || !began.Before(due) {
			continue
		}
		sessions, err := fs.ReadDir(r.Records.FS(), day)
		if err != nil {
			failed = append(failed, err)
			continue
		}
		for _, s := range sessions {
			name := path.Join(day, s.Name())
			may, err := r.may(ctx, name, kept, due)
			if err != nil { // the database will not answer about the next one either
				return errors.Join(append(failed, err)...)
			}
			if !may {
				continue
			}
			if err := r.Records.RemoveAll(name); err != nil {
				failed = append(failed, err)
				continue
			}
			r.Log.Info("recording removed", "session", s.Name(), "keep", kept)
		}
		r.tidy(day, now)
	}
	return errors.Join(failed...)
}

// believed is the time that removals go by when the clock says now and so much
// has passed since the last round. What is removed is gone, so a clock that is
// ahead of what has passed is caught up with at double speed only: a step
// forward, or a gate that was off for longer than a day, is a day more each day.
// Who starts the gate again under the new time says that it is right.
func (r *Removals) believed(now time.Time, passed time.Duration) time.Time {
	limit := r.known.Add(2 * passed)
	if now.After(limit) {
		r.Log.Error("the clock is ahead of what has passed: recordings are removed as if it was earlier; restart insided if the clock is right",
			"now", now, "as_if", limit)
		now = limit
	}
	if now.After(r.known) {
		r.known = now
	}
	return now
}

// may reports whether a folder is that of a session which is due, and has it
// written down that it goes. Nobody else's folder is touched.
func (r *Removals) may(ctx context.Context, name, kept string, due time.Time) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, writeDown)
	defer cancel()
	se, err := r.Store.Session(ctx, path.Base(name))
	switch {
	case errors.Is(err, store.ErrNotFound), errors.Is(err, store.ErrInvalid), errors.Is(err, store.ErrConflict):
		return false, nil // no session's
	case err != nil:
		return false, err
	case filepath.ToSlash(folder(se)) != name:
		return false, nil // the id of one begins so
	case se.End.IsZero() || !se.End.Before(due):
		return false, nil
	}
	err = r.Store.RemoveRecording(ctx, r.Gate, se.ID, "because recordings.keep = "+kept, r.Now())
	if errors.Is(err, store.ErrConflict) {
		return false, nil // it is sealed first
	}
	return err == nil, err
}

// tidy removes the folders of a day, its month and its year that are empty and
// in which no session can begin any more.
func (r *Removals) tidy(day string, now time.Time) {
	today, lately := now.UTC().Format(dayLayout), now.Add(-time.Hour).UTC().Format(dayLayout)
	for name := day; name != "." && !strings.HasPrefix(today, name) && !strings.HasPrefix(lately, name); name = path.Dir(name) {
		if r.Records.Remove(name) != nil {
			return // there is something in it
		}
	}
}
