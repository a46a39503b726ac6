package recording

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/pawelmojski/inside/proxy/recording/internal/ondisk"
)

// A Writer appends to a recording. Its methods may be called from several
// goroutines; each returns after the bytes are written to the file. After the
// first failure every call returns that error: what cannot be recorded must
// not be shown.
type Writer struct {
	name  string
	cast  *os.File // holds a lock as long as it is written
	start time.Time
	ahead time.Duration // of the recording's time at start
	bell  ondisk.Bell

	mu      sync.Mutex
	err     error             // the first failure; fs.ErrClosed after Close
	size    int64             // of the complete lines in the file
	carry   [utf8.UTFMax]byte // the beginning of a cut character
	carried int
	dirty   bool // waits for the next round of the committer

	side   sync.Mutex // guards what follows; taken before mu
	idx    sidecar
	closed bool
}

// Create makes a new recording called name (such as "0.cast") and its
// sidecar ("0.idx") under root, both with mode 0640. It fails if one exists.
func Create(root *os.Root, name string, h Header) (*Writer, error) {
	side, err := sidecarName(name)
	if err != nil {
		return nil, err
	}
	start := time.Now()
	if h.Start.IsZero() {
		h.Start = start
	}
	w := &Writer{name: name, start: start, ahead: max(start.Sub(h.Start), 0)}
	head, err := h.line()
	if err != nil {
		return nil, fmt.Errorf("recording %s: %w", name, err)
	}
	if w.cast, err = root.OpenFile(name, os.O_RDWR|os.O_APPEND|os.O_CREATE|os.O_EXCL, 0o640); err != nil {
		return nil, fmt.Errorf("recording %s: %w", name, err)
	}
	if err = w.open(root, side, head); err != nil {
		w.cast.Close()
		return nil, fmt.Errorf("recording %s: %w", name, err)
	}
	return w, nil
}

// open writes the first lines of both files and makes the writer known to
// followers.
func (w *Writer) open(root *os.Root, side string, head []byte) error {
	if err := ondisk.Lock(w.cast); err != nil {
		return err
	}
	idx, err := root.OpenFile(side, os.O_RDWR|os.O_APPEND|os.O_CREATE|os.O_EXCL, 0o640)
	if err != nil {
		return err
	}
	if w.idx, err = newSidecar(idx); err == nil {
		err = w.bell.Hang(w.cast)
	}
	if err != nil {
		idx.Close()
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.write(head); err != nil {
		w.bell.Take()
		idx.Close()
		return err
	}
	return nil
}

// Output appends what the terminal was sent. A character cut over two calls
// stays whole in the file.
func (w *Writer) Output(p []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil || len(p) == 0 {
		return w.err
	}
	t := w.now()
	buf := lines.Get().(*[]byte)
	defer lines.Put(buf)
	b, p := w.appendCarried((*buf)[:0], t, p)
	for len(p) > 0 {
		n := min(len(p), maxText)
		cut := unfinished(p[:n])
		if n == len(p) {
			w.carried = copy(w.carry[:], p[n-cut:])
			p = p[:n-cut]
			n = len(p)
		} else {
			n -= cut
		}
		if n > 0 {
			b = appendOutput(b, t, p[:n])
			p = p[n:]
		}
		if len(b) > maxLine {
			if err := w.write(b); err != nil {
				return err
			}
			b = b[:0]
		}
	}
	if w.carried > 0 {
		b = appendStart(b, t, 'c')
		for _, c := range w.carry[:w.carried] {
			b = appendHex(b, c)
		}
		b = append(b, "\"]\n"...)
	}
	*buf = b
	return w.write(b)
}

// appendCarried completes the character that the last call cut, or gives up
// on it when p shows that it is none. It returns what is left of p.
func (w *Writer) appendCarried(b []byte, t time.Duration, p []byte) ([]byte, []byte) {
	if w.carried == 0 {
		return b, p
	}
	char := w.carry
	n, had := w.carried, w.carried
	for !utf8.FullRune(char[:n]) {
		if n-had == len(p) {
			w.carried = n
			w.carry = char
			return b, nil
		}
		char[n] = p[n-had]
		n++
	}
	w.carried = 0
	if !utf8.Valid(char[:n]) {
		n = had // the byte that shows it may begin another character
	}
	return appendOutput(b, t, char[:n]), p[n-had:]
}

// Resize appends a change of the terminal's size. Zero stays zero: what to
// make of it is the player's matter.
func (w *Writer) Resize(width, height int) error {
	text := strconv.Itoa(clampSize(width)) + "x" + strconv.Itoa(clampSize(height))
	return w.event('r', []byte(text))
}

// Marker appends a labelled mark, such as a notice that was shown.
func (w *Writer) Marker(label string) error {
	return w.event('m', []byte(fit(label, maxText/4)))
}

func (w *Writer) event(kind byte, text []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return w.err
	}
	return w.write(appendEvent(nil, w.now(), kind, text))
}

// Close ends the recording; live followers come to an end. It returns the
// first error the recording had.
func (w *Writer) Close() error {
	w.side.Lock()
	defer w.side.Unlock()
	if w.closed {
		return fs.ErrClosed
	}
	w.closed = true
	size, err := w.finish()
	if err == nil {
		err = w.commit(size)
	}
	if err == nil {
		err = w.idx.end(recordEnd)
	}
	err = errors.Join(err, w.idx.f.Close(), w.cast.Close())
	w.bell.Take()
	return err
}

// finish writes what is still carried and refuses everything after.
func (w *Writer) finish() (int64, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil && w.carried > 0 {
		w.err = w.write(appendOutput(nil, w.now(), w.carry[:w.carried]))
	}
	err := w.err
	if err == nil {
		w.err = fmt.Errorf("recording %s: %w", w.name, fs.ErrClosed)
	}
	return w.size, err
}

// now returns the time of an event, by the monotonic clock: it never runs
// backwards, whatever the clock on the wall does.
func (w *Writer) now() time.Duration { return w.ahead + time.Since(w.start) }

// write hands complete lines to the kernel, or none.
func (w *Writer) write(b []byte) error {
	if err := ondisk.Append(w.cast, b, w.size); err != nil {
		w.err = fmt.Errorf("recording %s: %w", w.name, err)
		return w.err
	}
	w.size += int64(len(b))
	if !w.dirty {
		w.dirty = true
		ondisk.Commit(w)
	}
	w.bell.Ring()
	return nil
}

// Round is called by the committer after something was written.
func (w *Writer) Round() {
	w.side.Lock()
	defer w.side.Unlock()
	w.mu.Lock()
	w.dirty = false
	size, err := w.size, w.err
	w.mu.Unlock()
	if w.closed || err != nil {
		return
	}
	if err := w.commit(size); err != nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.err == nil {
			w.err = err
		}
	}
}

// commit makes the file durable up to size, then frames it: a frame on disk
// is a promise that its bytes are, too.
func (w *Writer) commit(size int64) error {
	err := ondisk.Datasync(w.cast)
	if err == nil {
		err = w.idx.frame(recordFrame, w.cast, size)
	}
	if err != nil {
		return fmt.Errorf("recording %s: %w", w.name, err)
	}
	return nil
}

// Written is how many bytes of recordings this process has written.
func Written() int64 { return ondisk.Appended.Load() }
