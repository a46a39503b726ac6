// Package sshentry is the way in by SSH. It greets the person's client as if
// it were the server, logs in at the real server with what the client shows
// it, and carries every channel between the two: the same bytes in the same
// order, recorded before they are forwarded, until somebody leaves or the
// grant ends. The appliance calls [Entry.Serve] for every intercepted flow on
// an SSH port, denied ones included, so that a person can be told why.
//
// It is not an SSH server: nothing runs here, and nothing is ever dialled
// from here but the server the person dialled. Forwarded connections travel
// inside SSH to the server and are opened there.
//
// # Forwarding
//
// `ssh -L` and `ssh -D` are the same thing on the wire, a direct-tcpip channel
// that names its target, so they cannot be told apart: a grant that allows
// either one allows both. `ssh -R` binds on the server's loopback only.
// X11, tunnels and the agent are never forwarded.
//
// # Public keys
//
// A public key login signs the session id, so it cannot be passed on. The gate
// asks the server whether it would take the key, lets the client prove it, and
// then borrows the client's agent for the one signature the server needs.
package sshentry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/proxy"
)

// HostKeys remembers the host keys on both sides of the gate.
type HostKeys interface {
	// Own returns the keys the gate shows in the name of this server. They
	// never change by themselves: people's known_hosts depend on them.
	Own(ctx context.Context, dest netip.AddrPort) ([]ssh.Signer, error)

	// Pinned returns the keys this server is known by; none if it was never
	// reached before.
	Pinned(ctx context.Context, dest netip.AddrPort) ([]ssh.PublicKey, error)

	// Pin remembers the key of a server that is reached for the first time.
	Pin(ctx context.Context, dest netip.AddrPort, key ssh.PublicKey) error
}

// An Entry serves SSH. Its fields must not change once it serves.
type Entry struct {
	HostKeys HostKeys
	Log      *slog.Logger // nil: slog.Default

	// LoginGrace is how long a client may take from its first byte to its
	// login; zero is 30 seconds. A server has half of it to answer at all.
	LoginGrace time.Duration
}

var _ proxy.Entry = (*Entry)(nil)

// Serve carries one flow, as [proxy.Entry] says.
func (e *Entry) Serve(ctx context.Context, client net.Conn, v proxy.Visit) (err error) {
	f := e.newFlow(client, v)
	defer f.leave()
	defer func() {
		if r := recover(); r != nil {
			f.logPanic(r)
			err = policy.Failed
		}
	}()

	if verdict := v.Verdict(); !verdict.Allowed() {
		return f.turnAway(ctx, verdict)
	}
	if err := f.dial(ctx); err != nil {
		return err
	}
	if err := f.letIn(ctx); err != nil {
		return err
	}
	return f.carry(ctx)
}

const (
	defaultLoginGrace = 30 * time.Second
	serverPause       = 100 * time.Millisecond // see wire.digest
)

// A flow is one client's connection, the server's that belongs to it, and
// everything that runs between them.
type flow struct {
	entry *Entry
	visit proxy.Visit
	log   *slog.Logger
	dest  netip.AddrPort

	client *wire // owned from the start
	server *wire // nil until dialled

	// What x/crypto/ssh made of the two, for drainTransport: the client's from
	// its first word about a login, the server's from its first answer (under
	// mu, as it is learned elsewhere).
	clientPeer, serverPeer any

	login      string
	clientConn ssh.Conn // set once the client is let in
	clientSide sshSide
	approach   *approach     // the login at the server
	keyring    proxy.Keyring // nil: the house knows and holds nothing
	settleOnce sync.Once

	ready      chan struct{} // closed when the server has let us in
	serverConn ssh.Conn      // set before ready is closed

	over     chan struct{} // closed when the flow is to end
	overOnce sync.Once
	cause    error       // why; set before over is closed
	cut      atomic.Bool // nothing is relayed any more, not even what is under way

	goroutines sync.WaitGroup

	denials atomic.Int32 // wishes that were refused

	mu       sync.Mutex
	streams  map[any]func() // what must be drained when the connections are closed
	load     load
	sessions int // numbers given to session channels
	screens  map[*session]struct{}
	forwards map[forward]struct{}
	closing  bool        // the client sent no-more-sessions
	left     bool        // the connections are closed
	how      proxy.Login // how the server let us in
	settled  *sync.Cond  // with mu: load has changed

	entering sync.Mutex // held by the channel that logs in at the server
}

// load counts what is going on.
type load struct {
	channels  int // open or being opened
	opening   int // being opened
	uploads   int // copyUp loops
	downloads int // channels the server has not closed yet
	errands   int // what the gate does by itself
}

// An sshSide is an SSH connection after its handshake.
type sshSide struct {
	conn     ssh.Conn
	channels <-chan ssh.NewChannel
	requests <-chan *ssh.Request
}

func (e *Entry) newFlow(client net.Conn, v proxy.Visit) *flow {
	log := e.Log
	if log == nil {
		log = slog.Default()
	}
	fl := v.Flow()
	f := &flow{
		entry:    e,
		visit:    v,
		log:      log.With("client", fl.Client, "dest", fl.Dest),
		dest:     fl.Dest,
		client:   newWire(client, v),
		ready:    make(chan struct{}),
		over:     make(chan struct{}),
		streams:  map[any]func(){},
		screens:  map[*session]struct{}{},
		forwards: map[forward]struct{}{},
	}
	f.settled = sync.NewCond(&f.mu)
	return f
}

// dial reaches the server before the client is sent a byte, so that a server
// that is down looks like one: the connection is reset.
func (f *flow) dial(ctx context.Context) error {
	conn, err := f.visit.Dial(ctx)
	if err != nil {
		f.client.reset()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		var refusal *proxy.Refusal
		if errors.As(err, &refusal) {
			return refusal
		}
		return f.refusal(policy.ServerUnreachable, err)
	}
	f.server = newWire(conn, f.visit)
	f.server.release() // only strangers are held back
	f.server.pause = serverPause
	return nil
}

// refusal makes a refusal out of the verdict at accept and a reason that only
// showed later.
func (f *flow) refusal(d policy.Denial, err error) *proxy.Refusal {
	v := f.visit.Verdict()
	v.Denial = d
	return &proxy.Refusal{Verdict: v, Login: f.login, Err: err}
}

// end makes the flow end, for the first reason that is given. Unless one of
// the two has left, in which case the other still gets what is under way,
// nothing is relayed from here on.
func (f *flow) end(cause error) {
	f.overOnce.Do(func() {
		f.cause = cause
		if cause != policy.ClientLeft && cause != policy.ServerLeft {
			f.cut.Store(true)
		}
		close(f.over)
	})
}

// change changes the counts of what is going on.
func (f *flow) change(fn func(*load)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fn(&f.load)
	f.settled.Broadcast()
}

// await waits until the load is as wanted, but not longer than patience, nor
// longer than ctx.
func (f *flow) await(ctx context.Context, patience time.Duration, wanted func(load) bool) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	stop := context.AfterFunc(ctx, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.settled.Broadcast()
	})
	defer stop()
	f.mu.Lock()
	defer f.mu.Unlock()
	for !wanted(f.load) && ctx.Err() == nil {
		f.settled.Wait()
	}
}

// spawn runs fn in a goroutine that Serve waits for. A panic, which only bytes
// of a peer can have caused, ends this flow and no other.
func (f *flow) spawn(fn func()) {
	f.goroutines.Go(func() {
		defer func() {
			if r := recover(); r != nil {
				f.logPanic(r)
				f.end(policy.Failed)
			}
		}()
		fn()
	})
}

func (f *flow) logPanic(r any) {
	f.log.Error("ssh session panicked", "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
}

// serve makes sure that a side's channels and requests are read to the end
// when the connections are closed: the library's goroutines wait for that, and
// the goroutine that reads them may itself be waiting for the other side.
func (f *flow) serve(s *sshSide) {
	f.drainAtEnd(s, func() {
		for range s.channels {
		}
	})
	f.drainAtEnd(s.requests, func() { ssh.DiscardRequests(s.requests) })
}

// drainAtEnd registers something to be read empty at the end.
func (f *flow) drainAtEnd(key any, drain func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.left {
		f.spawn(drain)
		return
	}
	f.streams[key] = drain
}

func (f *flow) drained(key any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.streams, key)
}

func (f *flow) setServerPeer(peer any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.serverPeer = peer
}

// leave closes both connections and returns when every goroutine is gone.
func (f *flow) leave() {
	f.end(policy.Failed) // when nobody has said why: an error on the way
	f.client.Close()
	if f.server != nil {
		f.server.Close()
	}
	if f.approach != nil {
		f.approach.giveUp()
	}
	f.mu.Lock()
	f.left = true
	for _, drain := range f.streams {
		f.spawn(drain)
	}
	serverPeer := f.serverPeer
	f.mu.Unlock()
	drainTransport(f.clientPeer)
	drainTransport(serverPeer)
	f.goroutines.Wait()
	if f.serverPeer != serverPeer {
		drainTransport(f.serverPeer)
	}
	if f.clientConn != nil {
		f.clientConn.Wait()
	}
	if f.serverConn != nil {
		f.serverConn.Wait()
	}
}
