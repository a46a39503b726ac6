// Package transfer tells which files an SSH channel moves. Its sniffers are
// fed the bytes of a channel as they pass and report files by name, size and
// SHA-256; the contents are hashed as they stream and kept nowhere. They are
// passive: they never change, delay for more than the hashing, or fail the
// relay. When they do not understand what passes they say so once and fall
// silent. The ssh entry feeds them; SFTP version 3
// (draft-ietf-secsh-filexfer-02 with OpenSSH's extensions) and the scp
// protocol before it are known.
//
// # What is reported
//
// Each file gives one event of kind "file" when it is closed: op "download"
// or "upload", its path as the peers name it, In and Out as bytes that
// arrived, and the SHA-256 of these bytes if they were moved once and in order
// from the beginning of the file; otherwise SHA256 is empty. A change without
// contents is an event as well: "remove", "rename", "mkdir", "rmdir",
// "symlink", "link", "copy". What the server refused, or never answered, says
// so in Detail.
package transfer

import (
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/pawelmojski/inside/proxy/recording"
)

// A Sniffer follows the transfers of one channel. Up and Down may be called
// at the same time, each by one goroutine. Bytes must be given to it before
// they are sent on: it relies on seeing a question before its answer. It does
// not keep or change them. The methods of a nil Sniffer do nothing.
type Sniffer struct {
	protocol protocol
	note     func(recording.Event)
	silent   atomic.Bool
	lost     atomic.Bool
}

// A protocol follows one kind of transfer. up and down are never called after
// an error; end may be, and at the same time as the other of the two.
type protocol interface {
	up(p []byte) error
	down(p []byte) error
	end() // reports what is not finished
	take() []recording.Event
}

// SFTP returns a sniffer for a channel that runs the sftp subsystem. note is
// called from Up, Down and Close; it sets the event's time and channel.
func SFTP(note func(recording.Event)) *Sniffer {
	return &Sniffer{protocol: newSFTP(), note: note}
}

// SCP returns a sniffer for a channel that runs scp -t path (upload) or
// scp -f path on the server.
func SCP(upload bool, path string, note func(recording.Event)) *Sniffer {
	return &Sniffer{protocol: newSCP(upload, path), note: note}
}

// Up takes bytes on their way to the server.
func (s *Sniffer) Up(p []byte) {
	if s != nil && !s.silent.Load() {
		s.feed(s.protocol.up, p)
	}
}

// Down takes bytes on their way to the client.
func (s *Sniffer) Down(p []byte) {
	if s != nil && !s.silent.Load() {
		s.feed(s.protocol.down, p)
	}
}

// Lost says that the bytes are not, or no longer, a transfer the sniffer
// understands. Who does not record channels that move files should record
// this one: anybody can call a shell sftp-server.
func (s *Sniffer) Lost() bool { return s != nil && s.lost.Load() }

// Close ends the sniffer and reports unfinished transfers as such.
func (s *Sniffer) Close() {
	if s != nil && s.silent.CompareAndSwap(false, true) {
		s.protocol.end()
		s.report()
	}
}

// feed hands bytes to one side of the protocol. Whatever goes wrong in it
// must not harm the relay.
func (s *Sniffer) feed(side func([]byte) error, p []byte) {
	defer func() {
		if r := recover(); r != nil {
			s.lose(fmt.Errorf("panic: %v", r))
		}
	}()
	err := side(p)
	s.report()
	if err != nil {
		s.lose(err)
	}
}

// lose reports what was open, says that nothing more will be reported, and
// falls silent.
func (s *Sniffer) lose(err error) {
	s.lost.Store(true)
	if !s.silent.CompareAndSwap(false, true) {
		return
	}
	s.protocol.end()
	s.report()
	s.note(recording.Event{Kind: "file", Detail: fmt.Sprintf("the transfer was not understood (%v), no longer followed", err)})
}

// report notes what the protocol has found, outside its locks: note may end
// the session, and that closes the sniffer.
func (s *Sniffer) report() {
	for _, e := range s.protocol.take() {
		e.Kind = "file"
		s.note(e)
	}
}

// findings collects events until they are reported.
type findings struct {
	mu     sync.Mutex // guards the state both directions share
	events []recording.Event
}

// add is called with mu held.
func (f *findings) add(e recording.Event) { f.events = append(f.events, e) }

func (f *findings) take() []recording.Event {
	f.mu.Lock()
	defer f.mu.Unlock()
	events := f.events
	f.events = nil
	return events
}

// Longest path that is kept, PATH_MAX of the kernel; a server cannot do much
// with a longer one.
const maxPath = 4096

// clip shortens a hostile path.
func clip(path []byte) string {
	if len(path) > maxPath {
		return string(path[:maxPath]) + "…"
	}
	return string(path)
}
