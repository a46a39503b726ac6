package sshentry

import (
	"io"
	"time"

	"golang.org/x/crypto/ssh"
)

// show records what the client is about to see and then sends it.
func (s *session) show(w io.Writer, p []byte) error {
	if s.terminal {
		s.writing.Lock()
		defer s.writing.Unlock()
	}
	if s.f.isOver() {
		return errCut
	}
	if !s.terminal {
		s.f.visit.Used()
	}
	if err := s.record.output(p); err != nil {
		return s.f.unrecorded(err)
	}
	if s.f.cut.Load() {
		return errCut // another channel's recording failed meanwhile
	}
	n, err := w.Write(p)
	s.out.Add(int64(n))
	return err
}

// outputEnded passes on how the command ended and then the end of its output.
//
// In this order, although sshd often sends them in the other one: a client
// whose own input has ended closes the channel as soon as the output has
// (OpenSSH, nchan.c), and x/crypto/ssh answers a close with a close, after
// which no status can be sent.
//
// When the connection to the server has broken, nobody said that this is the
// end. The client is told nothing then, and sees its own connection close, as
// it would have without the gate.
func (s *session) outputEnded() {
	s.awaitExit()
	s.writing.Lock()
	defer s.writing.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.f.server.broken.Load() || s.f.cut.Load() {
		return
	}
	s.drained = true
	if s.held != nil {
		s.down.SendRequest(s.held.Type, false, s.held.Payload)
		s.held = nil
	}
	s.down.CloseWrite()
}

// awaitExit waits until the server has said how the command ended, or will not.
//
// That may be long after the end of output: in `tar c . | ssh host 'tar x
// >/dev/null 2>&1'` the output ends before the first byte of input. While the
// input flows the client learns nothing. When the input has ended, too, the
// server's channel is closed as OpenSSH would close it; sshd then still sends
// the status, and a server that only waits for the close closes in turn. When
// the input is open and still, the client might be waiting for the end of
// output before it ends its input, and the command for that: it gets it.
func (s *session) awaitExit() {
	still := time.NewTicker(stillInput)
	defer still.Stop()
	for before := int64(-1); ; before = s.in.Load() {
		select {
		case <-s.exitKnown:
			return
		case <-s.serverClose:
			return
		case <-s.inputDone:
			s.up.Close()
			select {
			case <-s.exitKnown:
			case <-s.serverClose:
			}
			return
		case <-still.C:
			if s.in.Load() == before {
				return
			}
		}
	}
}

const stillInput = 2 * time.Second // at most twice as long is waited

// notice shows a line of the house's on a terminal.
func (s *session) notice(line string) {
	s.writing.Lock()
	defer s.writing.Unlock()
	if !s.f.cut.Load() {
		s.say(line)
	}
}

// farewell shows the last line of all.
func (s *session) farewell(line string) {
	s.writing.Lock()
	defer s.writing.Unlock()
	s.say(line)
}

// say needs writing. What it says is recorded as output, like everything the
// person sees, and as a marker. When the recording is what has failed, the
// line is all that is left to send.
func (s *session) say(line string) {
	line = plainLine(line, 4*maxName)
	text := []byte("\r\n*** " + line + " ***\r\n")
	err := s.record.mark(line)
	if err == errClosed {
		return // the output has ended, and with it the terminal
	}
	if err == nil {
		err = s.record.output(text)
	}
	if err != nil {
		s.f.unrecorded(err)
	}
	s.down.Write(text)
}

// addScreen makes a terminal known to those who have something to say.
func (f *flow) addScreen(s *session) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.screens[s] = struct{}{}
}

func (f *flow) removeScreen(s *session) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.screens, s)
}

// serveChannel makes sure that a channel's requests are read to the end.
func (f *flow) serveChannel(key any, requests <-chan *ssh.Request) {
	f.drainAtEnd(key, func() { ssh.DiscardRequests(requests) })
}
