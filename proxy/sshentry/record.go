package sshentry

import (
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
	stopped bool
}

// begin opens the recording of a terminal before its shell runs. For other
// channels nothing is opened before there is something to write.
func (r *record) begin() error {
	if !r.terminal {
		return nil
	}
	return r.open()
}

func (r *record) open() (err error) {
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
	if r.stopped {
		return nil
	}
	if r.w == nil {
		if err := r.open(); err != nil {
			return err
		}
	}
	if !r.terminal && r.written+len(p) > r.limit {
		p = p[:r.limit-r.written]
		r.stopped = true
	}
	r.written += len(p)
	if err := r.w.Output(p); err != nil {
		return err
	}
	if r.stopped {
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
		return nil
	}
	return r.w.Resize(width, height)
}

func (r *record) mark(label string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.w == nil {
		return nil
	}
	return r.w.Marker(label)
}

// close ends the recording. A notice that comes too late is not recorded, and
// not shown either: the channel's output has ended before.
func (r *record) close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stopped = true
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

// noteDenied writes down something a peer asked for and did not get.
func (f *flow) noteDenied(channel int, what string) {
	f.note(recording.Event{Kind: "denied", Channel: max(channel, 0), Detail: what})
}

// unrecorded ends the session because it can no longer be recorded.
func (f *flow) unrecorded(err error) error {
	f.log.Error("recording failed", "error", err)
	f.end(policy.RecordingFailed)
	return policy.RecordingFailed
}
