package sshentry

import (
	"context"
	"errors"
	"sync"

	"golang.org/x/crypto/ssh"

	"github.com/pawelmojski/inside/policy"
)

// The caps on channels of one connection.
const (
	maxChannels = 64
	maxOpening  = 10
)

// serveClientChannels opens what the client asks for. What is not in this
// table is refused and written down:
//
//	session                          a shell, a command, a subsystem
//	direct-tcpip                     if the grant forwards local or dynamic
//	direct-streamlocal@openssh.com   if the grant forwards local
//
// The verdict is asked again for every channel: a client that keeps one
// connection open for a day (ControlMaster) opens its channels long after it
// was let in.
//
// The end of the connection shows here, too: Conn.Wait may wait for ever for a
// transport that only drainTransport can free.
func (f *flow) serveClientChannels(ctx context.Context) {
	defer f.end(policy.ClientLeft)
	for nc := range f.clientSide.channels {
		if !f.beginOpening() {
			nc.Reject(ssh.ResourceShortage, "too many channels")
			continue
		}
		f.spawn(func() { f.openForClient(ctx, nc) })
	}
}

// beginOpening counts a channel that is asked for, unless there are too many.
func (f *flow) beginOpening() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.load.channels >= maxChannels || f.load.opening >= maxOpening {
		return false
	}
	f.load.channels++
	f.load.opening++
	return true
}

func (f *flow) openForClient(ctx context.Context, nc ssh.NewChannel) {
	opened := sync.OnceFunc(func() { f.change(func(l *load) { l.opening-- }) })
	defer f.change(func(l *load) { l.channels-- })
	defer opened()

	f.visit.Used()
	over := f.isOver()
	v := f.visit.Verdict()
	if !v.Allowed() || over {
		nc.Reject(ssh.Prohibited, plainLine(v.Denial.Sentence(), maxName))
		return
	}
	switch nc.ChannelType() {
	case "session":
		f.mu.Lock()
		closing := f.closing
		f.mu.Unlock()
		if closing {
			nc.Reject(ssh.Prohibited, "no more sessions, as you said")
			return
		}
		f.openSession(ctx, nc, opened)
	case "direct-tcpip", "direct-streamlocal@openssh.com":
		f.openForward(nc, v, opened)
	default:
		kind := plainLine(nc.ChannelType(), maxName)
		f.noteDenied(-1, "channel "+kind)
		nc.Reject(ssh.UnknownChannelType, "the gate does not pass "+kind)
	}
}

// serveServerChannels opens what the server asks for: connections that came in
// at a forward the client asked for, nothing else. An agent or an X server of
// the client's is never reached from the server.
func (f *flow) serveServerChannels(channels <-chan ssh.NewChannel) {
	defer f.end(policy.ServerLeft)
	for nc := range channels {
		if nc.ChannelType() != "forwarded-tcpip" {
			kind := plainLine(nc.ChannelType(), maxName)
			f.noteDenied(-1, "channel of the server "+kind)
			nc.Reject(ssh.UnknownChannelType, "not asked for")
			continue
		}
		if !f.beginOpening() {
			nc.Reject(ssh.ResourceShortage, "too many channels")
			continue
		}
		f.spawn(func() { f.openForwarded(nc) })
	}
}

// rejectLike refuses a channel as the other side has refused it.
func rejectLike(nc ssh.NewChannel, err error) {
	var refused *ssh.OpenChannelError
	if errors.As(err, &refused) {
		nc.Reject(refused.Reason, plainLine(refused.Message, 4*maxName))
		return
	}
	nc.Reject(ssh.ConnectionFailed, "the other side has left")
}

// may reports whether the live verdict forwards in one of the directions.
func may(v policy.Verdict, directions policy.Forwarding) bool {
	return v.Grant != nil && v.Grant.Forwarding&directions != 0
}
