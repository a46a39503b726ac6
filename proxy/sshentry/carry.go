package sshentry

import (
	"context"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/pawelmojski/inside/policy"
)

// How long the end of a flow may take.
const (
	// A client that asks for nothing after it has proven its key keeps the
	// server waiting; sshd's own LoginGraceTime is as long.
	roomPatience = 2 * time.Minute

	// What a server has said before it left is still shown, to a client on a
	// slow line for as long as this.
	afterServer = 30 * time.Second

	// What a client has sent before it left still reaches the server.
	afterClient = 2 * time.Second

	// When the flow is cut off, the last line may take this long to be
	// written, and this long to be acknowledged. Together they stay well
	// under the 150 ms in which the last byte must have been seen.
	farewellPatience = 40 * time.Millisecond
	finishPatience   = 40 * time.Millisecond

	// A session whose recording fails ends within a second; nothing but the
	// line that says so is sent any more, so it may take longer to arrive.
	unrecordedPatience = 400 * time.Millisecond
)

// carry relays until somebody leaves or the house ends the flow.
func (f *flow) carry(ctx context.Context) error {
	if side := f.approach.last.in; side != nil {
		f.join(side)
	} else {
		f.spawn(f.watchRoom)
	}
	f.spawn(func() { f.serveClientChannels(ctx) })
	f.spawn(f.serveClientRequests)
	f.spawn(f.showNotices)

	select {
	case <-ctx.Done():
		f.end(context.Cause(ctx))
	case <-f.over:
	}
	switch f.cause {
	case policy.ClientLeft:
		f.await(ctx, afterClient, func(l load) bool { return l.uploads == 0 && l.errands == 0 })
	case policy.ServerLeft:
		f.await(ctx, afterServer, func(l load) bool { return l.downloads == 0 })
	}
	if f.cut.Load() || ctx.Err() != nil {
		f.cut.Store(true)
		f.cutOff()
	}
	return f.cause
}

// join takes the server's side into the flow.
func (f *flow) join(side *sshSide) {
	f.serverConn = side.conn
	f.spawn(func() { f.serveServerChannels(side.channels) })
	f.spawn(func() { f.serveServerRequests(side.requests) })
	close(f.ready)
}

// watchRoom ends the flow of a client that has proven its key and then does
// nothing that would let it log in at the server.
func (f *flow) watchRoom() {
	patience := time.NewTimer(roomPatience)
	defer patience.Stop()
	select {
	case <-f.ready:
	case <-f.over:
	case <-patience.C:
		f.end(policy.Failed)
	}
}

// isReady reports whether the server has let us in.
func (f *flow) isReady() bool { return isClosed(f.ready) }

// cutOff ends what is going on: the terminals get one line that says why, the
// server is left, and the client is left as soon as it has that line, or a
// little later without it. The line comes first, while the terminals and their
// recordings are still there: they go with the server. Nothing else is relayed
// meanwhile.
func (f *flow) cutOff() {
	said, acknowledged := farewellPatience, finishPatience
	if f.cause == policy.RecordingFailed {
		said, acknowledged = unrecordedPatience, unrecordedPatience
	}
	part(func() { f.sayFarewell(f.farewell(), said) })
	f.server.reset()
	f.client.finish(acknowledged)
}

// farewell is the last line a terminal shows.
func (f *flow) farewell() string {
	if f.cause == policy.RecordingFailed {
		return "the recording cannot be written, so the session ends"
	}
	return f.cause.Error()
}

// sayFarewell writes a line to every terminal. A client that does not read
// cannot hold it up: its writer is left behind and ends with the connection.
func (f *flow) sayFarewell(line string, patience time.Duration) {
	f.mu.Lock()
	said := make(chan struct{}, len(f.screens))
	waiting := len(f.screens)
	for s := range f.screens {
		f.spawn(func() {
			defer func() { said <- struct{}{} }()
			s.farewell(line)
		})
	}
	f.mu.Unlock()
	over := time.NewTimer(patience)
	defer over.Stop()
	for range waiting {
		select {
		case <-said:
		case <-over.C:
			return
		}
	}
}

// showNotices shows the house's notices on every terminal, and nowhere else.
func (f *flow) showNotices() {
	for {
		select {
		case <-f.over:
			return
		case line, ok := <-f.visit.Notices():
			if !ok {
				return
			}
			f.mu.Lock()
			for s := range f.screens {
				// In a goroutine of its own: one terminal that does not read
				// must not keep the line from the others.
				f.spawn(func() { s.notice(line) })
			}
			f.mu.Unlock()
		}
	}
}

// serveClientRequests answers the client's global requests, in order.
func (f *flow) serveClientRequests() {
	for r := range f.clientSide.requests {
		ok, reply := f.clientRequest(r)
		if r.WantReply {
			r.Reply(ok, reply)
		}
	}
}

func (f *flow) clientRequest(r *ssh.Request) (bool, []byte) {
	switch r.Type {
	case "keepalive@openssh.com":
		if !f.isReady() {
			return false, nil // as a server that does not know it; the client only wants a reply
		}
		ok, reply, err := f.serverConn.SendRequest(r.Type, r.WantReply, nil)
		if err != nil {
			return false, nil
		}
		return ok, reply
	case "no-more-sessions@openssh.com":
		return f.noMoreSessions(r), nil
	case "tcpip-forward", "cancel-tcpip-forward":
		return f.remoteForward(r)
	default:
		f.noteDenied(-1, "request "+plainLine(r.Type, maxName))
		return false, nil
	}
}

// noMoreSessions is what a client says that will open no further session. The
// gate keeps it to that. The server is told, too, unless a channel is being
// opened: the request must not overtake one.
func (f *flow) noMoreSessions(r *ssh.Request) bool {
	f.mu.Lock()
	f.closing = true
	opening := f.load.opening
	f.mu.Unlock()
	if !f.isReady() || opening > 0 {
		return true
	}
	ok, _, err := f.serverConn.SendRequest(r.Type, r.WantReply, nil)
	return err == nil && ok
}

// serveServerRequests answers the server's global requests, in order.
func (f *flow) serveServerRequests(requests <-chan *ssh.Request) {
	for r := range requests {
		var ok bool
		switch r.Type {
		case "keepalive@openssh.com":
			ok, _, _ = f.clientConn.SendRequest(r.Type, r.WantReply, nil)
		case "hostkeys-00@openssh.com":
			// The server's keys are not the ones the client knows it by, and
			// it could not prove them: the proof covers the session id.
		default:
			f.noteDenied(-1, "request of the server "+plainLine(r.Type, maxName))
		}
		if r.WantReply {
			r.Reply(ok, nil)
		}
	}
}
