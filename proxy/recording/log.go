package recording

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/pawelmojski/inside/proxy/recording/internal/ondisk"
)

// The name of a session's event log in its folder.
const logName = "events.jsonl"

// An Event is one line of a session's event log, events.jsonl. Strings hold
// what the client or the server sent: a byte that is not UTF-8 is written as
// \xNN, and what is too long is cut with a mark.
type Event struct {
	Time    time.Time `json:"time"` // zero is now
	Kind    string    `json:"kind"` // "exec", "shell", "subsystem", "exit", "file", "forward", "denied", "transfer", "login", "end", …
	Channel int       `json:"channel,omitempty"`
	Command string    `json:"command,omitempty"`
	Exit    *int      `json:"exit,omitempty"`
	Signal  string    `json:"signal,omitempty"`
	Op      string    `json:"op,omitempty"` // for files: "upload", "download", "remove", "rename", "mkdir", …
	Path    string    `json:"path,omitempty"`
	To      string    `json:"to,omitempty"` // the other path of a rename, the target of a forward
	SHA256  string    `json:"sha256,omitempty"`
	In      int64     `json:"in,omitempty"`  // bytes towards the server
	Out     int64     `json:"out,omitempty"` // bytes towards the client
	Detail  string    `json:"detail,omitempty"`
}

// line returns the event as a line of at most maxLine.
func (e Event) line() ([]byte, error) {
	texts := []*string{&e.Kind, &e.Command, &e.Signal, &e.Op, &e.Path, &e.To, &e.SHA256, &e.Detail}
	whole := make([]string, len(texts))
	for i, s := range texts {
		whole[i] = *s
	}
	for _, limit := range []int{maxLine, maxLine / 2, 8 << 10, 1 << 10} { // 8 × 1 KiB × 6 fits
		for i, s := range texts {
			*s = fit(whole[i], limit)
		}
		b, err := json.Marshal(e)
		if err != nil {
			return nil, err
		}
		if len(b) < maxLine {
			return append(b, '\n'), nil
		}
	}
	return nil, errors.New("an event does not fit a line")
}

// A Log is a session's event log. Its methods may be called from several
// goroutines.
type Log struct {
	f *os.File

	mu    sync.Mutex
	err   error // the first failure; fs.ErrClosed after Close
	size  int64
	dirty bool
}

// CreateLog opens events.jsonl under root for appending.
func CreateLog(root *os.Root) (*Log, error) {
	f, err := ondisk.Open(root, logName, os.O_RDWR|os.O_APPEND|os.O_CREATE)
	if err != nil {
		return nil, fmt.Errorf("event log: %w", err)
	}
	l := &Log{f: f}
	if err := l.resume(); err != nil {
		f.Close()
		return nil, fmt.Errorf("event log: %w", err)
	}
	return l, nil
}

// resume ends a line that a crash cut, so that the next event stands alone.
func (l *Log) resume() error {
	info, err := l.f.Stat()
	if err != nil {
		return err
	}
	l.size = info.Size()
	if l.size == 0 {
		return nil
	}
	var last [1]byte
	if _, err := l.f.ReadAt(last[:], l.size-1); err != nil {
		return err
	}
	if last[0] == '\n' {
		return nil
	}
	n, err := l.f.Write([]byte{'\n'})
	l.size += int64(n)
	return err
}

// Append writes one event; it returns after the bytes are in the file. After
// a failure every call returns that error.
func (l *Log) Append(e Event) error {
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	e.Time = e.Time.UTC()
	line, err := e.line()
	if err != nil {
		return fmt.Errorf("event log: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return l.err
	}
	if _, err := l.f.Write(line); err != nil {
		l.err = fmt.Errorf("event log: %w", errors.Join(err, l.f.Truncate(l.size)))
		return l.err
	}
	l.size += int64(len(line))
	if !l.dirty {
		l.dirty = true
		ondisk.Commit(l)
	}
	return nil
}

// Round is called by the committer after something was written.
func (l *Log) Round() {
	l.mu.Lock()
	l.dirty = false
	open := l.err == nil
	l.mu.Unlock()
	if !open {
		return
	}
	if err := ondisk.Datasync(l.f); err != nil && !errors.Is(err, fs.ErrClosed) {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.err == nil {
			l.err = fmt.Errorf("event log: %w", err)
		}
	}
}

// Close ends the log. It returns the first error the log had.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if errors.Is(l.err, fs.ErrClosed) {
		return fs.ErrClosed
	}
	err := l.err
	l.err = fmt.Errorf("event log: %w", fs.ErrClosed)
	if err == nil {
		err = ondisk.Datasync(l.f)
	}
	return errors.Join(err, l.f.Close())
}

// ReadLog reads an event log as far as it is written. Lines that are no
// events are left out and named in the error, which comes beside the events;
// it is [ErrTorn] when the last line was cut. A session without a log has no
// events.
func ReadLog(root *os.Root) ([]Event, error) {
	f, err := ondisk.Open(root, logName, os.O_RDONLY)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("event log: %w", err)
	}
	defer f.Close()
	var events []Event
	var bad error
	in := lineReader{r: bufio.NewReaderSize(f, 4<<10)}
	for {
		at := in.off
		line, err := in.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			bad = errors.Join(bad, err)
			break
		}
		var e Event
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		if err := json.Unmarshal(line, &e); err != nil {
			if bad == nil { // one is enough to say
				bad = &Damage{Offset: at, What: "a line is not an event"}
			}
			continue
		}
		events = append(events, e)
	}
	if bad != nil {
		bad = fmt.Errorf("event log: %w", bad)
	}
	return events, bad
}
