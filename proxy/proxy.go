// Package proxy holds the contract between the house and its ways in: an
// [Entry] carries one flow by its protocol, a [Visit] is what it may ask of
// the house on the way. The package knows packets' contents, not databases or
// kernel rules; the appliance calls it.
package proxy

import (
	"context"
	"net"
	"time"

	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/proxy/recording"
	"github.com/pawelmojski/inside/proxy/recording/desktop"
)

// An Entry is the code that serves one protocol.
type Entry interface {
	// Serve carries one flow from its first byte to its last. It is also
	// called for a flow that was denied at accept, so that the person can be
	// told why in words of the protocol. It owns client and closes it.
	// It returns when the flow is over and every goroutine it started is gone.
	// A *Refusal says that the person was not let in; the appliance writes it
	// down. ctx is cancelled with the policy.EndCause when the session must
	// end; Serve then stops relaying at once.
	Serve(ctx context.Context, client net.Conn, v Visit) error
}

// A Visit is one flow as the house sees it.
type Visit interface {
	// Flow returns who dialled what; Login is empty before Admit.
	Flow() policy.Flow

	// Verdict returns the newest decision: at first the one at accept; after
	// Admit the live one, which follows every change of grants.
	Verdict() policy.Verdict

	// Decide asks the book about a login. Nothing is written down.
	Decide(login string) policy.Verdict

	// Admit lets the person in: it decides again, now with the login, joins
	// or starts the stay and writes entry and session down. Called once, when
	// the server (or the client's proof of its key) has accepted the person
	// and before the client is told so. A *Refusal says why not.
	Admit(ctx context.Context, login string) (policy.Session, error)

	// Keyring returns what the house knows and holds for the person as this
	// login at the server. Nothing secret is read before it is taken.
	Keyring(ctx context.Context, login string) (Keyring, error)

	// Passwords lists for whom at the server the house holds passwords of the
	// person's, before the client has said who it logs in as.
	Passwords(ctx context.Context) ([]PasswordFor, error)

	// Dial connects to the server that was dialled, never to another.
	Dial(ctx context.Context) (net.Conn, error)

	// Record opens the recording of a terminal channel. It fills the header
	// with what the house knows (person, server, grant, …). Only after Admit.
	Record(channel int, h recording.Header) (*recording.Writer, error)

	// RecordDesktop opens the recording of a desktop, as Record does that of a
	// terminal. Only after Admit, and once.
	RecordDesktop(h recording.Header) (*desktop.Writer, error)

	// Note appends one event to the session's event log. Only after Admit.
	Note(e recording.Event) error

	// Used tells the house that the person has done something. Only what a
	// person causes counts: see each entry for what that is. Cheap.
	Used()

	// Over reports whether the session came to its end at least this long ago.
	// It is asked before a piece is relayed: what comes after the end is not.
	// Cheap.
	Over(since time.Duration) bool

	// Notices yields lines meant for the person's terminals, such as "your
	// stay ends in 5 minutes". Lines come without line ends.
	Notices() <-chan string
}

// A Refusal is a flow that was not let in.
type Refusal struct {
	Verdict policy.Verdict // Verdict.Denial says why
	Login   string         // as far as it was learned
	Err     error          // what lies beneath, or nil
}

func (r *Refusal) Error() string {
	if r.Err != nil {
		return string(r.Verdict.Denial) + ": " + r.Err.Error()
	}
	return string(r.Verdict.Denial)
}

func (r *Refusal) Unwrap() error { return r.Err }
