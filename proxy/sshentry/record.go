package sshentry

import (
	"errors"
	"sync"
	"time"

	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/proxy/recording"
	"github.com/pawelmojski/inside/proxy/sshentry/transfer"
)

// maxPlainRecording is how much of a channel without a terminal is recorded:
// enough to see what a command said, too little to fill a disk with tar.
const maxPlainRecording = 1 << 20

// maxTransferRecording is the same for programs whose name says that they move
// files, of which a busy server runs thousands a day.
const maxTransferRecording = 64 << 10

// A record is what is written down of one session channel's output.
type record struct {
	f        *flow
	number   int
	header   recording.Header
	terminal bool              // everything is recorded, from the start
	limit    int               // without a terminal, this much is
	files    *transfer.Sniffer // a transfer that is followed: nothing is, as long as it is one

	mu      sync.Mutex
	w       *recording.Writer
	written int
	full    bool // no more is recorded
	closed  bool // nothing may be shown any more
}

// errClosed keeps anything from being shown after the recording was closed.
var errClosed = errors.New("the recording is closed")

// begin opens the recording of a terminal before its shell runs. For other
// channels nothing is opened before there is something to write.
func (r *record) begin() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.terminal {
		return nil
	}
	return r.open()
}

// open needs mu.
func (r *record) open() (err error) {
	if r.closed {
		return errClosed
	}
	if r.w != nil {
		return nil
	}
	r.header.Start = time.Now()
	r.w, err = r.f.visit.Record(r.number, r.header)
	return err
}

// output writes what the client is about to be sent.
func (r *record) output(p []byte) error {
	if r.files != nil && !r.files.Lost() {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.open(); err != nil {
		return err
	}
	if r.full {
		return nil
	}
	if !r.terminal && r.written+len(p) > r.limit {
		p = p[:r.limit-r.written]
		r.full = true
	}
	r.written += len(p)
	if err := r.w.Output(p); err != nil {
		return err
	}
	if r.full {
		return r.f.note(recording.Event{
			Kind:    "recording",
			Channel: r.number,
			Out:     int64(r.written),
			Detail:  "the recording of this channel stops here; it has no terminal",
		})
	}
	return nil
}

func (r *record) resize(width, height int) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.w == nil {
		r.header.Width, r.header.Height = width, height
		return nil
	}
	return r.w.Resize(width, height)
}

// mark writes down that a line was put in between. It fails when the
// recording has been closed, and the line must not be shown.
func (r *record) mark(label string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.open(); err != nil {
		return err
	}
	return r.w.Marker(label)
}

// close ends the recording.
func (r *record) close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	if r.w == nil {
		return nil
	}
	w := r.w
	r.w = nil
	return w.Close()
}

// note writes an event down; if that is not possible, the session ends.
func (f *flow) note(e recording.Event) error {
	e.Time = time.Now()
	if err := f.visit.Note(e); err != nil {
		return f.unrecorded(err)
	}
	return nil
}

// maxDenials is how many refused wishes of one flow are written down: enough to
// see what was tried, too few to fill a disk by trying.
const maxDenials = 200

// noteDenied writes down something a peer asked for and did not get.
func (f *flow) noteDenied(channel int, what string) {
	n := f.denials.Add(1)
	if n == maxDenials {
		what += "; what else is denied is not written down"
	}
	if n <= maxDenials {
		f.note(recording.Event{Kind: "denied", Channel: max(channel, 0), Detail: what})
	}
}

// unrecorded ends the session because it can no longer be recorded.
func (f *flow) unrecorded(err error) error {
	f.log.Error("recording failed", "error", err)
	f.end(policy.RecordingFailed)
	return policy.RecordingFailed
}
