package rdpentry

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/proxy"
	"github.com/pawelmojski/inside/proxy/recording"
)

// A heldPassword is one the house holds for the login of a flow.
type heldPassword struct {
	keyring proxy.Keyring
	held    proxy.Held
}

// heldFor is the stored password to log in at the server with; nil is none,
// and then what the client sent is tried.
//
// A password that an admin lets serve without proof comes before whatever the
// client sent, which may be a password for the gate, an old one, or none.
// Every other is used to check the client by NLA, and no further: who has
// proven that they know it has sent it, too. By TLS nothing was proven, so
// there what the client sends itself is all there is.
func (f *flow) heldFor(ctx context.Context) *heldPassword {
	if f.info.User == "" || f.claimed.User != "" || f.admitted { // once is enough
		return nil
	}
	keyring, err := f.visit.Keyring(ctx, f.login)
	if err != nil {
		f.log.Error("stored passwords cannot be looked up", "error", err)
		return nil
	}
	held := keyring.Held()
	best := slices.IndexFunc(held, func(h proxy.Held) bool { return h.Kind == proxy.HeldPassword })
	if best < 0 || !held[best].Unproven {
		return nil
	}
	return &heldPassword{keyring, held[best]}
}

// useHeld makes a stored password the one that is sent to the server, which has
// shown the certificate it is known by. The person is admitted first: nothing
// is taken but within a session.
func (f *flow) useHeld(ctx context.Context, h *heldPassword) error {
	if err := f.admit(ctx); err != nil {
		return err
	}
	secret, err := h.keyring.Take(ctx, h.held)
	if err != nil {
		f.log.Error("a stored password cannot be used", "held", h.held.ID, "error", err)
		return &heldError{h.held, "cannot be used", err}
	}
	defer secret.Wipe()
	f.held = h
	f.info.Login(f.info.Domain, f.info.User, string(secret.Password))
	return nil
}

// heldError says that a stored password did not help. The session has begun by
// then, and ends.
type heldError struct {
	held proxy.Held
	what string
	err  error
}

func (e *heldError) Error() string {
	return fmt.Sprintf("%s, which the gate holds for you, %s: please tell its administrator", e.held.ID, e.what)
}

func (e *heldError) Unwrap() error { return e.err }

// refusedHeld notes that the server did not take what was held.
func (f *flow) refusedHeld(ctx context.Context, err error) error {
	f.held.keyring.Refused(ctx, f.held.held)
	if note := f.visit.Note(recording.Event{Kind: "login-refused", Detail: f.held.held.ID + " is not taken by the server"}); note != nil {
		return policy.RecordingFailed
	}
	return &heldError{f.held.held, "is not taken by the server", err}
}

// admit lets the person in, once: before a stored password is taken, else when
// the server is ready for the login.
func (f *flow) admit(ctx context.Context) error {
	switch {
	case f.admitted && f.login != f.admittedAs:
		return f.refusal(policy.WrongLogin, fmt.Errorf("the session has begun as %s", f.admittedAs))
	case f.admitted:
		return nil
	}
	if _, err := f.visit.Admit(ctx, f.login); err != nil {
		return err
	}
	f.admitted, f.admittedAs = true, f.login
	return nil
}

// endOfAdmitted makes of a refusal after the person was admitted the end of
// their session: what began is not undone.
func (f *flow) endOfAdmitted(err error) error {
	if !f.admitted {
		return err
	}
	var cause policy.EndCause
	if errors.As(err, &cause) {
		return err
	}
	return errors.Join(policy.ServerLeft, err)
}
