package ondisk

import (
	"os"
	"sync"
	"syscall"
)

// A Bell wakes the followers of a recording within the process. A follower
// never makes the writer wait: it only leaves a channel to be closed.
type Bell struct {
	id fileID

	mu   sync.Mutex
	wake chan struct{} // nil: nobody listens
}

// fileID names a file whatever path it was opened by.
type fileID struct{ dev, ino uint64 }

// bells holds the bells of all recordings that this process writes.
var bells struct {
	sync.Mutex
	of map[fileID]*Bell
}

// Hang makes the bell findable by followers of f.
func (b *Bell) Hang(f *os.File) (err error) {
	if b.id, err = identify(f); err != nil {
		return err
	}
	bells.Lock()
	defer bells.Unlock()
	if bells.of == nil {
		bells.of = make(map[fileID]*Bell)
	}
	bells.of[b.id] = b
	return nil
}

// Take takes the bell away and rings it for the last time. The file is closed
// by then, and its inode may already be another file's.
func (b *Bell) Take() {
	bells.Lock()
	if bells.of[b.id] == b {
		delete(bells.of, b.id)
	}
	bells.Unlock()
	b.Ring()
}

// BellOf returns the bell of f, or nil when this process does not write f.
func BellOf(f *os.File) *Bell {
	id, err := identify(f)
	if err != nil {
		return nil
	}
	bells.Lock()
	defer bells.Unlock()
	return bells.of[id]
}

// Ring wakes everybody who listens.
func (b *Bell) Ring() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.wake != nil {
		close(b.wake)
		b.wake = nil
	}
}

// Listen returns a channel that is closed when the bell rings next. A nil
// bell never rings.
func (b *Bell) Listen() <-chan struct{} {
	if b == nil {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.wake == nil {
		b.wake = make(chan struct{})
	}
	return b.wake
}

func identify(f *os.File) (fileID, error) {
	info, err := f.Stat()
	if err != nil {
		return fileID{}, err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return fileID{}, &os.PathError{Op: "stat", Path: f.Name(), Err: syscall.ENOTSUP}
	}
	return fileID{uint64(st.Dev), st.Ino}, nil
}

// Listening says whether somebody does, for tests.
func (b *Bell) Listening() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.wake != nil
}
