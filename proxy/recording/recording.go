// Package recording writes what a person saw and did, and reads it back:
// terminal channels as asciicast v2 with a sidecar that frames them, sessions
// as a log of events. Everything is append-only and written before it is
// forwarded; the live view is the same file, followed.
package recording

import (
	"context"
	"errors"
	"io"
	"iter"
	"os"
	"time"
)

// A Header is the first line of a recording.
type Header struct {
	Width, Height int
	Start         time.Time
	Term          string // TERM of the terminal
	Command       string // for exec; "" is a shell
	Title         string // filled in by the house, as are the following
	Person        string
	Server        string
	Login         string
	Source        string
	Grant         string
	Stay          string
	Session       string
	Channel       int
}

// Create makes a new recording called name (such as "0.cast") and its
// sidecar ("0.idx") under root, both with mode 0640. It fails if one exists.
func Create(root *os.Root, name string, h Header) (*Writer, error) { return nil, errors.ErrUnsupported }

// A Writer appends to a recording. Its methods may be called from several
// goroutines; each returns after the bytes are written to the file.
type Writer struct{}

// Output appends what the terminal was sent. A character cut over two calls
// stays whole in the file.
func (w *Writer) Output(p []byte) error { return errors.ErrUnsupported }

// Resize appends a change of the terminal's size.
func (w *Writer) Resize(width, height int) error { return errors.ErrUnsupported }

// Marker appends a labelled mark, such as a notice that was shown.
func (w *Writer) Marker(label string) error { return errors.ErrUnsupported }

// Close ends the recording; live followers come to an end.
func (w *Writer) Close() error { return errors.ErrUnsupported }

// A Frame is one event of a terminal recording.
type Frame struct {
	Time time.Duration // since the start of the channel
	Kind byte          // 'o' output, 'r' resize, 'm' marker
	Data []byte
}

// Follow reads a recording from its beginning and goes on with what is
// appended until the recording is closed or ctx ends.
func Follow(ctx context.Context, root *os.Root, name string) (Header, iter.Seq2[Frame, error], error) {
	return Header{}, nil, errors.ErrUnsupported
}

// Read reads a recording as far as it is written now. A torn tail ends it.
func Read(r io.Reader) (Header, iter.Seq2[Frame, error], error) {
	return Header{}, nil, errors.ErrUnsupported
}

// An Event is one line of a session's event log, events.jsonl.
type Event struct {
	Time    time.Time `json:"time"`
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

// A Log is a session's event log.
type Log struct{}

// CreateLog opens events.jsonl under root for appending.
func CreateLog(root *os.Root) (*Log, error) { return nil, errors.ErrUnsupported }

// Append writes one event; it returns after the bytes are in the file.
func (l *Log) Append(e Event) error { return errors.ErrUnsupported }

// Close ends the log.
func (l *Log) Close() error { return errors.ErrUnsupported }

// ReadLog reads an event log as far as it is written.
func ReadLog(root *os.Root) ([]Event, error) { return nil, errors.ErrUnsupported }
