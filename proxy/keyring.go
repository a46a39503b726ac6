package proxy

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"errors"
	"log/slog"
)

// A Keyring is what the house knows and holds for the person of a visit, for
// one login at the server that was dialled.
type Keyring interface {
	// Owner tells whose a public key is (SSH wire format, RFC 4253 section
	// 6.6). Until the key is proven this says nothing about the client.
	Owner(ctx context.Context, key []byte) (KeyOwner, error)

	// Held lists what can be tried at the server, the best first. There is no
	// secret in it.
	Held() []Held

	// Take gives a secret out, for one login. Only after Admit and as long as
	// the person may be inside; it is written down before it is given.
	Take(ctx context.Context, h Held) (*Secret, error)

	// Prove asks whether the client knows a password that is held: proves is
	// given it for as long as it runs. ErrNotProven says no, ErrGuessing that
	// nobody was asked, because of too many wrong ones before.
	Prove(ctx context.Context, h Held, proves func(password []byte) bool) error

	// Refused tells the house that the server did not take what is held.
	Refused(ctx context.Context, h Held)

	// Settle does what is left to do after a login, while the session runs:
	// where an admin allows it, the gate adds its own key to the account. run
	// runs a command on the server as the login and returns what it printed.
	// The line is for the person's terminal, if there is one; "" is nothing.
	Settle(ctx context.Context, how Login, terminal bool, run func(ctx context.Context, command string) (string, error)) (line string, err error)
}

// ErrNotRun is a command that the server has not even begun to run.
var ErrNotRun = errors.New("the command was not run")

// What a client has not shown by its proof of a password.
var (
	ErrNotProven = errors.New("the client does not know the password that is stored")
	ErrGuessing  = errors.New("too many wrong passwords: wait some minutes")
)

// A PasswordFor says that a password is held, and for whom.
type PasswordFor struct {
	Login    string // "" is any
	Unproven bool   // it serves without proof, as Held says
}

// A Login says how the server let the person in.
type Login struct {
	Own    bool   // by what the person showed it, not by what is held
	Signed []byte // the key (SSH wire format) the person's agent signed with; nil: none
}

// A KeyOwner says whose a public key is.
type KeyOwner int

const (
	NobodysKey KeyOwner = iota // not registered
	PersonsKey                 // registered for the person
	OthersKey                  // registered for somebody else: it proves nothing here
)

// Held names something that is held for a person.
type Held struct {
	ID   string // "credential 7"
	Kind HeldKind

	// Unproven says that an admin lets a password serve whoever comes from the
	// person's addresses.
	Unproven bool
}

// HeldKind is how a secret is used.
type HeldKind string

const (
	HeldCertificate HeldKind = "certificate"
	HeldKey         HeldKind = "key"
	HeldPassword    HeldKind = "password"
)

// A Secret is what was held: a password or a key, perhaps with a certificate.
// It never shows itself.
type Secret struct {
	Password    []byte
	Key         crypto.Signer
	Certificate []byte // of the key, SSH wire format; nil: none
}

// Wipe forgets the secret as far as Go lets it: what a library has copied
// meanwhile is the garbage collector's.
func (s *Secret) Wipe() {
	clear(s.Password)
	if key, ok := s.Key.(ed25519.PrivateKey); ok {
		clear(key)
	}
	s.Password, s.Key = nil, nil
}

func (*Secret) String() string       { return "[redacted]" }
func (*Secret) GoString() string     { return "[redacted]" }
func (*Secret) LogValue() slog.Value { return slog.StringValue("[redacted]") }
