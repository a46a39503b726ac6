// Package store keeps the facts on disk: persons, servers, groups, grants,
// pinned host keys, and the record of what happened: entries, stays, sessions
// and the audit trail. One schema and one set of queries serve two engines,
// embedded SQLite and PostgreSQL. It remembers; it decides nothing: whether
// somebody may enter is policy's answer, and the appliance, which asks it,
// calls the store to read the facts and to write down what came of it.
package store

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
)

// Sentinel errors. What wraps them names the thing, lower case.
var (
	ErrNotFound = errors.New("not found")
	ErrConflict = errors.New("conflict")  // the name is taken, an address overlaps, a group would hold itself
	ErrInvalid  = errors.New("invalid")   // bad name, prefix, port, …
	ErrFull     = errors.New("full")      // a grant allows no further session beside those that are open
	ErrOften    = errors.New("too often") // a grant allows the person no further entry for now
)

// A Store is safe for concurrent use. `by` in its methods is who did it
// ("root", "token:ci"), for the audit trail.
//
// Every method ends with its context; without a deadline of its own it gives
// up after half a minute. An error that wraps none of the sentinels is
// the database's: nothing was changed, unless the connection broke while the
// transaction was being committed.
type Store struct {
	engine

	broken atomic.Pointer[away] // see Break

	mu      sync.Mutex
	changed chan struct{} // closed and replaced after each change of facts made here
}

// Database names the database for people, without its password.
func (s *Store) Database() string { return s.database }

// A refusal is an error for humans that is one of the sentinels without
// repeating its word.
type refusal struct {
	kind error
	text string
}

func (r *refusal) Error() string { return r.text }
func (r *refusal) Unwrap() error { return r.kind }

func refuse(kind error, format string, args ...any) error {
	return &refusal{kind, fmt.Sprintf(format, args...)}
}
