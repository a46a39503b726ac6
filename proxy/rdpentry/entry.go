// Package rdpentry is the way in by RDP. Towards the person's client it is a
// server that speaks TLS, towards the real server it is a client: two
// half-sessions, each with user, channel ids and capabilities of its own.
//
//	client                      gate                        server
//	  │ X.224, TLS, MCS, GCC ◀─▶ greet │                       │
//	  │ Client Info ───────────▶ decide, admit                 │
//	  │                                │ reach ◀─▶ X.224, TLS, MCS, GCC
//	  │                                │ ──────────▶ Client Info │
//	  │ ◀──────── record ◀──────── down ◀────────── the desktop │
//	  │ keys, mouse ───────────▶ up ───────────────▶            │
//
// The server is not dialled before the person was decided about, with the
// login the client sends it; who is denied reads why in a window. Graphics the
// recorder cannot undo are negotiated away. Of the virtual channels those pass
// that need no permission (sound, which is not recorded, another size of the
// desktop, touch, echo) and those the grant permits; see package channels.
//
// It is no RDP server of its own: nothing is drawn here but a few words
// and a sign-in form for who has sent no password where one is needed. The
// appliance calls [Entry.Serve] for every intercepted flow on an RDP port.
package rdpentry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/proxy"
	"github.com/pawelmojski/inside/proxy/rdpentry/credssp"
	"github.com/pawelmojski/inside/proxy/rdpentry/wire"
	"github.com/pawelmojski/inside/proxy/recording"
)

// Certificates remembers the certificates on both sides of the gate.
type Certificates interface {
	// Own returns the certificate the gate shows in the name of this server,
	// and whether an admin has imported it. It does not change by itself:
	// clients remember it. name is what the server is called, "" if it has no
	// name of its own. The zero address stands for all servers that somebody
	// nobody knows asks for.
	Own(ctx context.Context, dest netip.AddrPort, name string) (cert *tls.Certificate, imported bool, err error)

	// Pinned returns the public keys this server is known by, in DER
	// (SubjectPublicKeyInfo); none if it was never reached before.
	Pinned(ctx context.Context, dest netip.AddrPort) ([][]byte, error)

	// Pin remembers the public key of a server that is reached for the first
	// time.
	Pin(ctx context.Context, dest netip.AddrPort, key []byte) error
}

// An Entry serves RDP. Its fields must not change once it serves.
type Entry struct {
	Certificates Certificates
	Log          *slog.Logger // nil: slog.Default

	// LoginGrace is how long a client may take until it has sent its login;
	// zero is two minutes, in which a person reads about a certificate nobody
	// has told them of. Up to TLS it has a tenth of it. A server has a quarter
	// of it to answer at all.
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

	if err := f.greet(ctx); err != nil {
		return err
	}
	err = f.letIn(ctx)
	var refusal *proxy.Refusal
	switch {
	case errors.As(err, &refusal):
		f.turnAway(ctx, refusal)
		return f.endOfAdmitted(err)
	case err != nil:
		f.client.hangUp(f.farewell(0, codeOf(err)), lastWords/2)
		return f.endOfAdmitted(err)
	}
	return f.carry(ctx)
}

const defaultLoginGrace = 2 * time.Minute

// A flow is one client's connection, the server's that belongs to it, and
// everything that runs between them.
type flow struct {
	entry *Entry
	visit proxy.Visit
	log   *slog.Logger
	dest  netip.AddrPort

	client *side // owned from the start
	server *side // nil until dialled

	request  wire.ConnectionRequest // what the client asks for
	spoken   uint32                 // the security protocol it is answered with
	shown    *x509.Certificate      // what it sees of the gate
	claimed  credssp.Credentials    // what it proved by NLA; no User: nothing
	relayed  bool                   // it passed through to the server, which is reached by then
	unpassed error                  // why it did not
	held     *heldPassword          // what it is logged in with instead of what it sent; nil: nothing

	admitted   bool
	admittedAs string
	data       wire.ClientData // what it says of itself
	info       wire.ClientInfo // what it logs in with
	login      string

	channels []*channel
	denials  atomic.Int64
	notes    atomic.Int64 // events of channels
	user     uint16       // the client's, on its side
	serverIO uint16       // the channel of everything, on the server's side
	us       uint16       // the gate's user, on the server's side
	asked    uint32       // the protocols the server is asked for
	chosen   uint32       // the one it took
	extended bool         // it understands extended client data

	desktop *desktopTap // what the server draws; set once admitted
	showing sync.Mutex  // keeps what is recorded and what is shown in one order
	native  bool        // the server's graphics pipeline passes
	drawing *pipeline   // the last one it has opened; nil: none
	share   share

	own       *page             // the gate's own desktop, while the client shows that
	licensed  bool              // the gate has told the client that it needs no license
	licensing bool              // the server talks to it about that
	typed     bool              // the login comes from the gate's sign-in form
	tries     []recording.Event // logins that were not accepted before

	redirects int    // how often the server has sent the client elsewhere
	loggedAs  string // who the server said last has logged on
	logons    int    // how often it was somebody else

	goroutines sync.WaitGroup
	over       chan struct{} // closed when the flow is to end
	overOnce   sync.Once
	cause      error       // why; set before over is closed
	cut        atomic.Bool // nothing is relayed any more
}

func (e *Entry) newFlow(client net.Conn, v proxy.Visit) *flow {
	log := e.Log
	if log == nil {
		log = slog.Default()
	}
	fl := v.Flow()
	server := v.Verdict().Server
	return &flow{
		entry:  e,
		visit:  v,
		log:    log.With("client", fl.Client, "dest", fl.Dest),
		dest:   fl.Dest,
		client: newSide(newPunctual(client, v)),
		over:   make(chan struct{}),
		native: server != nil && server.NativeGraphics,
	}
}

func (f *flow) grace() time.Duration {
	if f.entry.LoginGrace > 0 {
		return f.entry.LoginGrace
	}
	return defaultLoginGrace
}

var (
	errGrace  = errors.New("the login grace time is over")
	errSilent = errors.New("the server does not answer")
)

// refusal makes a refusal out of the verdict at accept and a reason that only
// showed later.
func (f *flow) refusal(d policy.Denial, err error) *proxy.Refusal {
	v := f.visit.Verdict()
	if v.Allowed() {
		v.Denial = d
	}
	return &proxy.Refusal{Verdict: v, Login: plainLine(f.login, maxName), Err: err}
}

// end makes the flow end, for the first reason that is given; nothing is
// relayed from here on.
func (f *flow) end(cause error) {
	f.overOnce.Do(func() {
		f.cause = cause
		f.cut.Store(true)
		close(f.over)
	})
}

// isOver reports whether nothing may be relayed any more: the flow is cut, or
// the session has come to its end and the house has not got around to say so.
func (f *flow) isOver() bool { return f.cut.Load() || f.visit.Over(0) }

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
	f.log.Error("rdp session panicked", "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
}

// leave closes both connections and returns when every goroutine is gone.
func (f *flow) leave() {
	f.end(policy.Failed) // when nobody has said why: an error on the way
	f.client.close()
	if f.server != nil {
		f.server.close()
	}
	f.goroutines.Wait()
	f.closeChannels()
	if f.desktop != nil {
		if err := f.desktop.close(f.cause); err != nil {
			f.log.Error("recording not closed", "error", err)
		}
	}
}
