package appliance

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/pawelmojski/inside/appliance/api"
	"github.com/pawelmojski/inside/appliance/config"
	"github.com/pawelmojski/inside/appliance/doctor"
	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/store"
)

// A House answers the API over the facts and what runs right now. It reads
// names from the book, writes to the store, and after every change has the
// gate act on it before it answers.
type House struct {
	Gate      string // the name of this gate
	Store     *store.Store
	Book      func() *policy.Book
	Refresh   func(context.Context) error // makes a new book of the facts and acts on it
	Live      Live
	Numbers   *Metrics
	Around    func(context.Context) doctor.Facts // what the gate sees around it; nil: nobody can look
	Lookout   *Lookout
	Keys      Keys
	Certs     *Certificates // what the gate shows in RDP
	Vault     *Vault
	Errands   Errands
	Dial      func(ctx context.Context, dest netip.AddrPort) (net.Conn, error) // the gate's own way to a server; nil on a tower
	Notary    *Notary
	Records   *os.Root // YYYY/MM/DD/SESSION
	Renders   *Renders // nil: no videos are made here
	Now       func() time.Time
	Bus       *Bus
	Intercept func() config.Intercept // what is intercepted now; nil on a tower
	Tailscale func() bool             // persons are known by it too; nil: they are not
	WhoComes  func(context.Context, netip.AddrPort) (policy.Identity, error)
	Overheard func() error                                               // why nothing is learned of observed networks; nil on a tower
	ReadAgain func(ctx context.Context, by string) (api.Reloaded, error) // nil: there is no configuration
	Succeed   func(by string) (api.Upgraded, error)                      // nil: there is no program to start
}

var _ api.House = (*House)(nil)

// Live is what only the running gate knows and can do.
type Live interface {
	// Sessions are those this gate carries right now.
	Sessions() map[policy.SessionID]Traffic
	// EndSession reports whether this gate carries the session.
	EndSession(id policy.SessionID, why policy.EndCause) bool
	// EndStay ends the sessions that rest on a stay, and the stay.
	EndStay(id policy.StayID, why policy.EndCause)
	// Status fills in what is known of the gate's own parts.
	Status(ctx context.Context) api.Status
}

// Errands are what the gate does on servers by itself.
type Errands interface {
	// TakeOut takes the gate's own key out of an account and says how that
	// went. client is whose name the gate dials in with source = "client".
	TakeOut(ctx context.Context, e store.Enrolment, own store.Credential, client netip.AddrPort) (gone string, err error)
}

// Traffic is what a session has carried so far.
type Traffic = policy.Carried

// Keys are the SSH host keys the gate shows in a server's name.
type Keys interface {
	Own(ctx context.Context, dest netip.AddrPort) ([]ssh.Signer, error)
	Import(dest netip.AddrPort, pem []byte) (ssh.PublicKey, error)
}

// acted has the gate act on a change that is kept.
func (h *House) acted(ctx context.Context) error {
	if err := h.Refresh(ctx); err != nil {
		return api.NewProblem(api.CodeUnavailable,
			fmt.Sprintf("the change is kept, but the gate has not acted on it yet: %v", err),
			"it does by itself as soon as the database answers; see inside status")
	}
	return nil
}

// asProblem turns an error of the store into one for the admin. hint is the
// way out where the change was refused.
func asProblem(err error, hint string) error {
	var p *api.Problem
	switch {
	case err == nil || errors.As(err, &p) || errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.Is(err, store.ErrNotFound):
		return api.NewProblem(api.CodeNotFound, err.Error(), hint)
	case errors.Is(err, store.ErrConflict):
		return api.NewProblem(api.CodeConflict, err.Error(), hint)
	case errors.Is(err, store.ErrInvalid):
		return api.NewProblem(api.CodeInvalid, err.Error(), hint)
	}
	return api.NewProblem(api.CodeUnavailable, err.Error(), "inside status")
}

// isOutage reports whether an error of the store is the database's.
func isOutage(err error) bool {
	return err != nil && !errors.Is(err, store.ErrNotFound) && !errors.Is(err, store.ErrConflict) && !errors.Is(err, store.ErrInvalid)
}

// unwritten says that something was done that the database does not know yet.
func unwritten(what string, err error) error {
	return api.NewProblem(api.CodeUnavailable, fmt.Sprintf("%s, but this could not be written down: %v", what, err), "inside status")
}

func invalid(hint, format string, args ...any) error {
	return api.NewProblem(api.CodeInvalid, fmt.Sprintf(format, args...), hint)
}

func conflict(hint, format string, args ...any) error {
	return api.NewProblem(api.CodeConflict, fmt.Sprintf(format, args...), hint)
}
