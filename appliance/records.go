package appliance

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/proxy/recording"
	"github.com/pawelmojski/inside/proxy/recording/desktop"
)

// leastFree is the room that must be left for recordings whatever the
// configured share says: below it nobody new gets in.
const leastFree = 500 << 20

// records is the place recordings lie in: one folder per session, grouped by
// the day it began, YYYY/MM/DD/SESSION.
type records struct {
	root *os.Root

	mu      sync.Mutex
	minFree float64   // share of the disk
	probed  time.Time // when it was last begun to try to write
	failed  error     // and what came of it
}

func openRecords(dir string, minFree float64) (*records, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("recordings: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("recordings: %w", err)
	}
	return &records{root: root, minFree: minFree}, nil
}

// ready says why nothing can be recorded, or nil.
func (r *records) ready() error {
	if err := r.room(); err != nil {
		return err
	}
	return r.writable()
}

// room says why there is no room for recordings, or nil.
func (r *records) room() error {
	bytes, share, err := recording.Free(r.root)
	if err != nil {
		return fmt.Errorf("recordings: %w", err)
	}
	minFree := r.leastShare()
	if bytes < leastFree || share < minFree {
		return fmt.Errorf("recordings: %d MiB (%.1f%%) of the disk are free, %d MiB and %.1f%% are needed: shorten recordings.keep or enlarge the disk",
			bytes>>20, share*100, leastFree>>20, minFree*100)
	}
	return nil
}

func (r *records) leastShare() float64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.minFree
}

// keepFree changes the share of the disk that stays free.
func (r *records) keepFree(share float64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.minFree = share
}

// free is how much of the disk is left, in bytes and as a share of it; 0 when
// the disk does not say.
func (r *records) free() (bytes, share float64) {
	n, share, err := recording.Free(r.root)
	if err != nil {
		return 0, 0
	}
	return float64(n), share
}

// probeEvery is how often it is tried whether the disk takes a folder. On a
// busy disk that takes milliseconds, which a flood at the door must not cost
// everybody; whoever is let in meanwhile still needs a folder of their own.
const probeEvery = 100 * time.Millisecond

// writable says why no folder can be made, or nil.
func (r *records) writable() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Since(r.probed) < probeEvery {
		return r.failed
	}
	r.probed = time.Now()
	r.mu.Unlock() // nobody else waits for a disk that takes its time
	failed := r.probe()
	r.mu.Lock()
	r.failed = failed
	return r.failed
}

// probe makes and removes a folder, as the next session will: a read-only or
// vanished disk has room as well.
func (r *records) probe() error {
	probe := ".probe-" + rand.Text()
	if err := r.root.Mkdir(probe, 0o750); err != nil {
		return fmt.Errorf("recordings: %w", err)
	}
	return r.root.Remove(probe)
}

// newSessionID makes an id of 130 random bits.
func newSessionID() policy.SessionID {
	return policy.SessionID(strings.ToLower(rand.Text()))
}

// folder names the folder of a session below the root.
func folder(se policy.Session) string {
	return filepath.Join(se.Start.UTC().Format("2006/01/02"), string(se.ID))
}

// create makes the folder of a session and opens it.
func (r *records) create(se policy.Session) (*os.Root, error) {
	name := folder(se)
	if err := r.root.MkdirAll(filepath.Dir(name), 0o750); err != nil {
		return nil, err
	}
	if err := r.root.Mkdir(name, 0o750); err != nil {
		return nil, err
	}
	return r.root.OpenRoot(name)
}

// discard removes the folder of a session that did not come to be. It holds
// nothing but an empty event log.
func (r *records) discard(se policy.Session) {
	r.root.RemoveAll(folder(se))
}

// recover cuts what a crash left torn in the folders of these sessions and
// ends it, so that it plays and says so; keep is given what each carried.
func (r *records) recover(sessions []policy.Session, now time.Time, keep func(policy.SessionID, Traffic) error) error {
	var failed []error
	for _, se := range sessions {
		dir, err := r.root.OpenRoot(folder(se))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			failed = append(failed, err)
			continue
		}
		carried, unread := carriedIn(dir)
		failed = append(failed, recoverFolder(dir, now), unread, keep(se.ID, carried))
		dir.Close()
	}
	return errors.Join(failed...)
}

func recoverFolder(dir *os.Root, now time.Time) error {
	names, err := fs.Glob(dir.FS(), "*.cast")
	if err != nil {
		return err
	}
	var failed []error
	for _, name := range names {
		if err := recovered(dir, name); err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", name, err))
		}
	}
	if err := recovered(dir, desktop.Name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		failed = append(failed, fmt.Errorf("%s: %w", desktop.Name, err))
	}
	log, err := recording.CreateLog(dir)
	if err != nil {
		return errors.Join(append(failed, err)...)
	}
	failed = append(failed, log.Append(recording.Event{Time: now, Kind: "end", Detail: string(policy.GateCrashed)}), log.Close())
	return errors.Join(failed...)
}
