package sshentry

import (
	"errors"
	"net"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/proxy/recording"
)

// openForward opens a connection from the client through the server. It is the
// server that connects; the gate dials nothing.
func (f *flow) openForward(nc ssh.NewChannel, v policy.Verdict, opened func()) {
	var target string
	var allowed policy.Forwarding
	var err error
	if nc.ChannelType() == "direct-tcpip" {
		var d directTCPIP
		d, err = parseDirectTCPIP(nc.ExtraData())
		target = hostPort(d.Host, d.Port)
		allowed = policy.Local | policy.Dynamic // the same on the wire, see the package comment
	} else {
		var d directStreamlocal
		d, err = parseDirectStreamlocal(nc.ExtraData())
		target = plainLine(d.Path, maxName)
		allowed = policy.Local
	}
	if err != nil {
		nc.Reject(ssh.ConnectionFailed, "not a target")
		return
	}
	if !may(v, allowed) {
		f.noteDenied(-1, "forward to "+target)
		nc.Reject(ssh.Prohibited, plainLine(policy.NoForwarding.Sentence(), maxName))
		return
	}
	if err := f.waitReady(0); err != nil {
		nc.Reject(ssh.Prohibited, err.Error())
		return
	}
	up, upRequests, err := f.serverConn.OpenChannel(nc.ChannelType(), nc.ExtraData())
	if err != nil {
		rejectLike(nc, err)
		return
	}
	f.serveChannel(up, upRequests)
	down, downRequests, err := nc.Accept()
	if err != nil {
		up.Close()
		ssh.DiscardRequests(upRequests)
		return
	}
	f.serveChannel(down, downRequests)
	opened()
	f.carryForward(down, up, downRequests, upRequests, "to "+target, f.visit.Used)
}

// openForwarded opens a connection that came in at the server, at a forward
// the client has asked for.
func (f *flow) openForwarded(nc ssh.NewChannel) {
	defer f.change(func(l *load) { l.channels-- })
	d, err := parseForwardedTCPIP(nc.ExtraData())
	f.mu.Lock()
	_, asked := f.forwards[forward{d.Host, d.Port}]
	f.mu.Unlock()
	v := f.visit.Verdict()
	if err != nil || !asked || !v.Allowed() || !may(v, policy.Remote) || f.isOver() {
		f.change(func(l *load) { l.opening-- })
		f.noteDenied(-1, "forward of the server from "+hostPort(d.Host, d.Port))
		nc.Reject(ssh.Prohibited, "not asked for")
		return
	}
	down, downRequests, err := f.clientConn.OpenChannel(nc.ChannelType(), nc.ExtraData())
	f.change(func(l *load) { l.opening-- })
	if err != nil {
		rejectLike(nc, err)
		return
	}
	f.serveChannel(down, downRequests)
	up, upRequests, err := nc.Accept()
	if err != nil {
		down.Close()
		ssh.DiscardRequests(downRequests)
		return
	}
	f.serveChannel(up, upRequests)
	f.carryForward(down, up, downRequests, upRequests, "from "+hostPort(d.Host, d.Port), func() {})
}

// carryForward relays one forwarded connection until both sides have closed
// it. Its bytes are counted, not recorded; used is called for each piece.
func (f *flow) carryForward(down, up ssh.Channel, downRequests, upRequests <-chan *ssh.Request, target string, used func()) {
	defer f.drained(down)
	defer f.drained(up)
	if f.note(recording.Event{Kind: "forward", To: target, Detail: "opened"}) != nil {
		down.Close()
		up.Close()
	}
	f.change(func(l *load) { l.uploads++; l.downloads++ })
	var in, out atomic.Int64
	upDone, downDone, serverClosed := make(chan struct{}), make(chan struct{}), make(chan struct{})
	f.spawn(func() {
		defer close(upDone)
		defer f.change(func(l *load) { l.uploads-- })
		f.copyForward(up, down, &in, f.client, used)
	})
	f.spawn(func() {
		defer close(downDone)
		f.copyForward(down, up, &out, f.server, used)
	})
	f.spawn(func() {
		defer close(serverClosed)
		defer f.change(func(l *load) { l.downloads-- })
		f.passKeepalives(upRequests, down)
		<-downDone
		if !f.server.broken.Load() && !f.cut.Load() {
			down.Close()
		}
	})
	f.passKeepalives(downRequests, up)
	<-upDone
	if !f.client.broken.Load() {
		up.Close()
	}
	<-serverClosed
	f.note(recording.Event{Kind: "forward", To: target, In: in.Load(), Out: out.Load(), Detail: "closed"})
}

// copyForward carries one direction, and its end unless the connection it came
// from has broken.
func (f *flow) copyForward(dst, src ssh.Channel, count *atomic.Int64, from *wire, used func()) {
	err := pour(src, func(p []byte) error {
		if f.isOver() {
			return errCut
		}
		used()
		n, err := dst.Write(p)
		count.Add(int64(n))
		return err
	})
	if err == nil && !from.broken.Load() {
		dst.CloseWrite()
	}
}

// passKeepalives answers the requests of a forwarded channel until it is
// closed. There are none but OpenSSH's keepalives, which sshd sends on any
// channel that is open.
func (f *flow) passKeepalives(requests <-chan *ssh.Request, other ssh.Channel) {
	for r := range requests {
		ok := false
		if r.Type == "keepalive@openssh.com" || r.Type == "eow@openssh.com" {
			ok, _ = other.SendRequest(r.Type, r.WantReply, nil)
		}
		if r.WantReply {
			r.Reply(ok, nil)
		}
	}
}

// remoteForward asks the server to listen, or to stop listening, for the
// client (ssh -R).
func (f *flow) remoteForward(r *ssh.Request) (bool, []byte) {
	want, err := parseForward(r.Payload)
	if err != nil {
		return false, nil
	}
	cancel := r.Type == "cancel-tcpip-forward"
	f.visit.Used()
	if !cancel {
		if v := f.visit.Verdict(); !v.Allowed() || !may(v, policy.Remote) || !isLoopback(want.Host) {
			f.noteDenied(-1, "forward from "+hostPort(want.Host, want.Port))
			return false, nil
		}
	}
	if f.waitReady(remoteForwardPatience) != nil {
		return false, nil
	}
	if !cancel && !f.expectForward(want, true) {
		return false, nil
	}
	ok, reply, err := f.serverConn.SendRequest(r.Type, true, r.Payload)
	ok = ok && err == nil
	switch {
	case cancel || !ok:
		f.expectForward(want, false)
	case want.Port == 0:
		var chosen struct{ Port uint32 }
		if ssh.Unmarshal(reply, &chosen) != nil {
			return false, nil
		}
		f.expectForward(want, false)
		want.Port = chosen.Port
		f.expectForward(want, true)
	}
	if !ok {
		return false, nil
	}
	if !cancel {
		f.note(recording.Event{Kind: "forward", To: "from " + hostPort(want.Host, want.Port), Detail: "listening"})
	}
	return true, reply
}

// expectForward remembers what the client has asked to be forwarded, or
// forgets it.
func (f *flow) expectForward(w forward, yes bool) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !yes {
		delete(f.forwards, w)
		return true
	}
	if len(f.forwards) >= maxChannels {
		return false
	}
	f.forwards[w] = struct{}{}
	return true
}

var errNoLogin = errors.New("the server still waits for your login: use ssh -A, or open a session and type the password there")

// waitReady waits for the login at the server to be completed by a session. If
// there is none within patience, there is nothing to wait for.
func (f *flow) waitReady(patience time.Duration) error {
	if f.isReady() {
		return nil
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-f.ready:
		return nil
	case <-f.over:
		return errNoLogin
	case <-timer.C:
	}
	f.mu.Lock()
	none := f.sessions == 0
	f.mu.Unlock()
	if none {
		return errNoLogin
	}
	select {
	case <-f.ready:
		return nil
	case <-f.over:
		return errNoLogin
	}
}

// OpenSSH asks for `ssh -R` before it opens the session that lends the agent.
const remoteForwardPatience = 5 * time.Second

// isLoopback reports whether a listening address stays on the server itself. The
// empty one and "*" mean every address.
func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

func hostPort(host string, port uint32) string {
	return net.JoinHostPort(plainLine(host, maxName), strconv.Itoa(int(port)))
}
