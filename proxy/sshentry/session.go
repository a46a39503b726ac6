package sshentry

import (
	"context"
	"encoding/binary"
	"sync"
	"sync/atomic"

	"golang.org/x/crypto/ssh"

	"github.com/pawelmojski/inside/proxy/recording"
	"github.com/pawelmojski/inside/proxy/sshentry/transfer"
)

// A session is a session channel (RFC 4254 section 6): a shell, a command or a
// subsystem. Three goroutines copy its streams and two answer its requests.
//
//	client                    gate                        server
//	  │  requests ──▶ serveClient ─────────────────────▶ requests │
//	  │  stdin ─────▶ copyUp ──────────────────────────▶ stdin    │
//	  │  stdout ◀──── record ◀──── copyDown ◀─────────── stdout   │
//	  │  stderr ◀──── record ◀──── copyErr ◀──────────── stderr   │
//	  │  requests ◀── serveServer ◀────────────────────  requests │
//	  │               (exit-status waits for both outputs)        │
//
// x/crypto/ssh hands over data and requests by separate ways, so their order
// is lost: an exit-status may come out before the data it followed. It is held
// back until both outputs have been drained to their end, because a client
// that has the status may stop listening. The end of output, in turn, waits for
// the status: see outputEnded.
type session struct {
	f      *flow
	number int
	down   ssh.Channel // the client's
	up     ssh.Channel // the server's; nil until it has let us in

	// Only serveClient's goroutine touches these until the loops run.
	terminal bool // the client has a terminal
	variable int  // how many were set
	waiting  []*ssh.Request
	record   *record
	sniffer  *transfer.Sniffer // nil: no transfer that can be followed
	agentErr error             // why the agent was of no use

	promised   bool // the client was told that its command runs, before it did
	turnedDown bool // and then it did not

	// writing keeps apart what goes to a terminal: output, notices, and the
	// end of output.
	writing sync.Mutex

	mu       sync.Mutex
	starting bool         // a command is being started or runs
	drained  bool         // both outputs came to their end, and the client knows
	held     *ssh.Request // how the command ended, held until then
	exit     *int
	signal   string

	inputDone   chan struct{} // copyUp has ended
	exitKnown   chan struct{} // the server has said how the command ended
	outputDone  chan struct{} // copyDown and copyErr have ended
	serverClose chan struct{} // the server has closed the channel
	serverDone  chan struct{} // serveServer has ended
	outputOver  func()        // closes outputDone, once

	in, out atomic.Int64
}

// openSession opens a session channel on both sides.
func (f *flow) openSession(ctx context.Context, nc ssh.NewChannel, opened func()) {
	s := &session{
		f:           f,
		inputDone:   make(chan struct{}),
		exitKnown:   make(chan struct{}),
		outputDone:  make(chan struct{}),
		serverClose: make(chan struct{}),
		serverDone:  make(chan struct{}),
	}
	s.outputOver = sync.OnceFunc(func() { close(s.outputDone) })
	var upRequests <-chan *ssh.Request
	if f.isReady() {
		up, requests, err := f.serverConn.OpenChannel("session", nil)
		if err != nil {
			rejectLike(nc, err)
			return
		}
		s.up, upRequests = up, requests
		f.serveChannel(s, requests)
	}
	down, requests, err := nc.Accept()
	if err != nil {
		if s.up != nil {
			s.up.Close()
		}
		return
	}
	s.down = down
	f.mu.Lock()
	s.number = f.sessions
	f.sessions++
	f.mu.Unlock()
	opened()
	s.record = &record{f: f, number: s.number}

	f.serveChannel(down, requests)
	defer f.drained(down)
	defer f.drained(s)
	defer s.record.close()
	defer f.removeScreen(s)
	if s.up != nil {
		s.attend(upRequests)
	}
	s.serveClient(ctx, requests)
}

// serveClient answers the client's requests, in order, until the client closes
// the channel.
func (s *session) serveClient(ctx context.Context, requests <-chan *ssh.Request) {
	for r := range requests {
		ok, begun := s.clientRequest(ctx, r)
		s.answer(r, ok)
		if begun {
			s.run()
		}
	}
	s.clientClosed()
}

// clientClosed passes a close on to the server, after what was sent before it.
func (s *session) clientClosed() {
	if s.up == nil {
		return
	}
	if s.isStarting() {
		<-s.inputDone
	}
	if !s.f.client.broken.Load() {
		s.up.Close()
	}
	<-s.serverDone
}

// clientRequest carries out one request. begun says that a command runs now.
func (s *session) clientRequest(ctx context.Context, r *ssh.Request) (ok, begun bool) {
	switch r.Type {
	case "shell", "exec", "subsystem", "pty-req", "env", "window-change", "signal", "break":
		s.f.visit.Used()
	}
	switch r.Type {
	case "shell", "exec", "subsystem":
		ok := s.begin(ctx, r)
		return ok, ok
	case "pty-req":
		return s.requestTerminal(r), false
	case "env":
		return s.setVariable(r), false
	case "window-change":
		return s.changeWindow(r), false
	case "signal":
		_, err := parseString(r.Payload, maxName)
		return err == nil && s.passOn(r), false
	case "break":
		return len(r.Payload) == 4 && s.passOn(r), false
	case "eow@openssh.com", "keepalive@openssh.com":
		return len(r.Payload) == 0 && s.passOn(r), false
	case "auth-agent-req@openssh.com":
		return s.lendAgent(ctx), false
	default:
		s.f.noteDenied(s.number, "request "+plainLine(r.Type, maxName))
		return false, false
	}
}

// passOn sends a request on to the server as it is. Before the server has let
// us in it is kept for later, and the client is told yes: many clients send
// nothing more before they have an answer.
func (s *session) passOn(r *ssh.Request) bool {
	if s.up == nil {
		if len(s.waiting) >= maxWaiting {
			return false
		}
		s.waiting = append(s.waiting, r)
		return true
	}
	ok, err := s.up.SendRequest(r.Type, r.WantReply, r.Payload)
	return err == nil && ok
}

// The caps on what a client may ask for on one channel.
const (
	maxVariables = 64
	maxWaiting   = maxVariables + 64
)

func (s *session) requestTerminal(r *ssh.Request) bool {
	p, err := parsePty(r.Payload)
	if err != nil || s.isStarting() || !s.passOn(r) && r.WantReply {
		return false
	}
	s.terminal = true
	s.record.terminal = true
	s.record.header.Term = plainLine(p.Term, maxName)
	s.record.header.Width, s.record.header.Height = int(p.Columns), int(p.Rows)
	return true
}

func (s *session) setVariable(r *ssh.Request) bool {
	if _, err := parseEnv(r.Payload); err != nil || s.variable >= maxVariables {
		return false
	}
	s.variable++
	return s.passOn(r)
}

func (s *session) changeWindow(r *ssh.Request) bool {
	w, err := parseWindowChange(r.Payload)
	if err != nil {
		return false
	}
	if s.terminal {
		if err := s.record.resize(int(w.Columns), int(w.Rows)); err != nil {
			s.f.unrecorded(err)
			return false
		}
	}
	return s.passOn(r)
}

func (s *session) isStarting() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.starting
}

// begin starts the shell, the command or the subsystem. It is written down
// before it runs, and the recording is open before the client is answered.
func (s *session) begin(ctx context.Context, r *ssh.Request) bool {
	command := ""
	if r.Type != "shell" {
		var err error
		if command, err = parseString(r.Payload, maxCommand); err != nil {
			return false
		}
	}
	if s.isStarting() || s.turnedDown {
		return false // one for each channel (RFC 4254 section 6.5)
	}
	s.record.header.Command = command
	s.record.header.Channel = s.number
	s.watchTransfer(r.Type, command)
	if err := s.record.begin(); err != nil {
		s.f.unrecorded(err)
		return false
	}
	if s.up == nil && !s.enter(ctx, r) {
		s.turnDown()
		return false
	}
	if s.f.note(recording.Event{Kind: r.Type, Channel: s.number, Command: command}) != nil {
		return false
	}
	s.mu.Lock()
	s.starting = true
	s.mu.Unlock()
	ok, err := s.up.SendRequest(r.Type, true, r.Payload)
	if err == nil && ok {
		return true
	}
	s.notStarted()
	if s.promised {
		s.turnDown()
	}
	return false
}

// notStarted undoes begin. The recording stays open, for the client may try
// something else on the same channel.
func (s *session) notStarted() {
	s.mu.Lock()
	s.starting = false
	s.mu.Unlock()
	if isClosed(s.serverClose) {
		s.outputOver() // serveServer may have seen the start
		s.down.Close()
	}
}

// run begins to relay.
func (s *session) run() {
	if s.terminal {
		s.f.addScreen(s)
	}
	s.f.change(func(l *load) { l.uploads++ })
	s.f.spawn(s.copyUp)
	s.f.spawn(s.copyDown)
	s.f.settle(s)
}

// copyUp carries the client's input to the server, and its end.
func (s *session) copyUp() {
	defer s.f.change(func(l *load) { l.uploads-- })
	defer close(s.inputDone)
	err := pour(s.down, func(p []byte) error {
		if s.f.isOver() {
			return errCut
		}
		if !s.terminal || typed(p) {
			s.f.visit.Used()
		}
		s.sniffer.Up(p)
		n, err := s.up.Write(p)
		s.in.Add(int64(n))
		return err
	})
	if err == nil && !s.f.client.broken.Load() {
		s.up.CloseWrite()
	}
}

// copyDown carries the server's output to the client; when the other output
// has ended, too, it passes on the end of both.
func (s *session) copyDown() {
	defer s.outputOver()
	errDone := make(chan struct{})
	s.f.spawn(func() {
		defer close(errDone)
		s.copyErr()
	})
	pour(s.up, func(p []byte) error {
		s.sniffer.Down(p)
		return s.show(s.down, p)
	})
	<-errDone
	s.outputEnded()
}

// copyErr carries the server's stderr to the client.
func (s *session) copyErr() {
	pour(s.up.Stderr(), func(p []byte) error { return s.show(s.down.Stderr(), p) })
}

// serverRequest handles one request of the server.
func (s *session) serverRequest(r *ssh.Request) {
	ok := false
	switch r.Type {
	case "exit-status":
		if len(r.Payload) == 4 {
			code := int(binary.BigEndian.Uint32(r.Payload))
			s.ended(r, &code, "")
		}
	case "exit-signal":
		if e, err := parseExitSignal(r.Payload); err == nil {
			r.Payload = ssh.Marshal(&e)
			s.ended(r, nil, e.Signal)
		}
	case "eow@openssh.com", "xon-xoff", "keepalive@openssh.com":
		if len(r.Payload) <= 1 {
			ok, _ = s.down.SendRequest(r.Type, r.WantReply, r.Payload)
		}
	default:
		s.f.noteDenied(s.number, "request of the server "+plainLine(r.Type, maxName))
	}
	if r.WantReply {
		r.Reply(ok, nil)
	}
}

// ended keeps how the command ended until the client has all of its output.
func (s *session) ended(r *ssh.Request, exit *int, signal string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.exit != nil || s.signal != "" {
		return
	}
	s.exit, s.signal = exit, signal
	defer close(s.exitKnown)
	if s.drained {
		s.down.SendRequest(r.Type, false, r.Payload)
		return
	}
	s.held = r
}

// attend begins to handle the server's requests.
func (s *session) attend(requests <-chan *ssh.Request) {
	s.f.change(func(l *load) { l.downloads++ })
	s.f.spawn(func() { s.serveServer(requests) })
}

// serveServer handles the server's requests until the server closes the
// channel, and closes it at the client once the client has everything.
func (s *session) serveServer(requests <-chan *ssh.Request) {
	defer s.f.change(func(l *load) { l.downloads-- })
	defer close(s.serverDone)
	for r := range requests {
		s.serverRequest(r)
	}
	proper := !s.f.server.broken.Load()
	close(s.serverClose)
	started := s.isStarting()
	if started {
		<-s.outputDone
		s.writeEnd()
	}
	if proper && !s.f.cut.Load() {
		s.down.Close()
	}
}

// writeEnd writes down how the command ended.
func (s *session) writeEnd() {
	s.f.removeScreen(s)
	s.sniffer.Close()
	s.mu.Lock()
	e := recording.Event{Kind: "exit", Channel: s.number, Exit: s.exit, Signal: s.signal, In: s.in.Load(), Out: s.out.Load()}
	s.mu.Unlock()
	s.f.note(e)
	if err := s.record.close(); err != nil {
		s.f.unrecorded(err)
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
