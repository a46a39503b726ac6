// Package store keeps the facts on disk: persons, servers, groups, grants,
// pinned host keys, and the record of what happened: entries, stays, sessions
// and the audit trail. One schema and one set of queries serve two engines,
// embedded SQLite and PostgreSQL. It remembers; it decides nothing.
package store

import (
	"context"
	"errors"
	"iter"
	"net/netip"
	"time"

	"github.com/pawelmojski/inside/policy"
)

// Sentinel errors. What wraps them names the thing, lower case.
var (
	ErrNotFound = errors.New("not found")
	ErrConflict = errors.New("conflict") // the name is taken, an address overlaps, a group would hold itself
	ErrInvalid  = errors.New("invalid")  // bad name, prefix, port, …
)

// A Store is safe for concurrent use. `by` in its methods is who did it
// ("root", "token:ci"), for the audit trail.
type Store struct{}

// Open opens the database and brings its schema up to date. url is a path of
// an SQLite file or postgres://….
func Open(ctx context.Context, url string) (*Store, error) { return nil, errors.ErrUnsupported }

func (s *Store) Close() error { return errors.ErrUnsupported }

// Ping writes and rolls back, so that a full disk or a read-only file is seen.
func (s *Store) Ping(ctx context.Context) error { return errors.ErrUnsupported }

// Facts reads all facts in one transaction.
func (s *Store) Facts(ctx context.Context) (policy.Facts, error) {
	return policy.Facts{}, errors.ErrUnsupported
}

// Changes yields the revision of the facts whenever it has grown, by
// notification and by polling each second; it survives a vanished database
// (yielding the error once) and ends with ctx.
func (s *Store) Changes(ctx context.Context) iter.Seq2[int64, error] { return nil }

// Persons.
func (s *Store) AddPerson(ctx context.Context, by string, p policy.Person) (policy.Person, error) {
	return p, errors.ErrUnsupported
}
func (s *Store) DisablePerson(ctx context.Context, by string, id policy.PersonID, disabled bool) error {
	return errors.ErrUnsupported
}
func (s *Store) AddAddress(ctx context.Context, by string, id policy.PersonID, a policy.Address) (policy.Address, error) {
	return a, errors.ErrUnsupported
}

// RemoveAddress deactivates an address and returns it with its person.
func (s *Store) RemoveAddress(ctx context.Context, by string, id policy.AddressID) (policy.PersonID, policy.Address, error) {
	return "", policy.Address{}, errors.ErrUnsupported
}

// Servers.
func (s *Store) AddServer(ctx context.Context, by string, v policy.Server) (policy.Server, error) {
	return v, errors.ErrUnsupported
}
func (s *Store) DisableServer(ctx context.Context, by string, id policy.ServerID, disabled bool) error {
	return errors.ErrUnsupported
}

// Kind tells the two kinds of groups apart.
type Kind string

const (
	ServerGroup Kind = "server"
	PersonGroup Kind = "person"
)

func (s *Store) CreateGroup(ctx context.Context, by string, k Kind, g policy.Group) (policy.Group, error) {
	return g, errors.ErrUnsupported
}

// AddMember puts a person, a server or another group of the same kind into a
// group. Exactly one of member and group is set. A cycle is ErrConflict; a
// member that is already there is no error.
func (s *Store) AddMember(ctx context.Context, by string, k Kind, into policy.GroupID, member string, group policy.GroupID) error {
	return errors.ErrUnsupported
}
func (s *Store) RemoveMember(ctx context.Context, by string, k Kind, from policy.GroupID, member string, group policy.GroupID) error {
	return errors.ErrUnsupported
}

// Grants. CreateGrant gives the id and the creation time.
func (s *Store) CreateGrant(ctx context.Context, by string, g policy.Grant) (policy.Grant, error) {
	return g, errors.ErrUnsupported
}

// SetGrantEnd extends or shortens a grant; a zero end makes it permanent.
// A revoked grant is ErrConflict.
func (s *Store) SetGrantEnd(ctx context.Context, by string, id policy.GrantID, end time.Time) error {
	return errors.ErrUnsupported
}

// RevokeGrant revokes; revoking twice is ErrConflict.
func (s *Store) RevokeGrant(ctx context.Context, by string, id policy.GrantID, now time.Time) error {
	return errors.ErrUnsupported
}

// An Entry is one attempt to get in, as it is written down.
type Entry struct {
	ID       int64
	Time     time.Time
	Gate     string
	Client   netip.AddrPort
	Dest     netip.AddrPort
	Protocol policy.Protocol
	Login    string
	Person   policy.PersonID // as far as known, like all that follows
	Server   policy.ServerID
	Grant    policy.GrantID
	Denial   policy.Denial    // "" is allowed
	Detail   string           // for humans: what lies beneath a denial
	Session  policy.SessionID // of an allowed entry
}

// Enter writes an allowed entry, joins or starts the stay of the person under
// the grant and writes the session, in one transaction. The session comes
// back with its Stay. joined tells whether the stay was there before.
func (s *Store) Enter(ctx context.Context, se policy.Session) (entered policy.Session, joined bool, err error) {
	return se, false, errors.ErrUnsupported
}

// Deny writes a denied entry.
func (s *Store) Deny(ctx context.Context, e Entry) error { return errors.ErrUnsupported }

// Leave ends a session. Leaving twice is no error; the first end stays.
func (s *Store) Leave(ctx context.Context, id policy.SessionID, end time.Time, why policy.EndCause) error {
	return errors.ErrUnsupported
}

// Move puts a live session under another grant: it joins or starts the stay
// there and returns it.
func (s *Store) Move(ctx context.Context, id policy.SessionID, to policy.GrantID, now time.Time) (policy.StayID, error) {
	return "", errors.ErrUnsupported
}

// EndStay ends a stay. Ending twice is no error; the first end stays.
func (s *Store) EndStay(ctx context.Context, id policy.StayID, end time.Time, why policy.EndCause) error {
	return errors.ErrUnsupported
}

// CloseOrphans ends the sessions a gate left open when it crashed, with the
// cause gate-crashed, and returns them.
func (s *Store) CloseOrphans(ctx context.Context, gate string, now time.Time) ([]policy.Session, error) {
	return nil, errors.ErrUnsupported
}

// Stays, newest first. open limits to stays that have not ended.
func (s *Store) Stays(ctx context.Context, open bool, limit int) ([]policy.Stay, error) {
	return nil, errors.ErrUnsupported
}
func (s *Store) Stay(ctx context.Context, id policy.StayID) (policy.Stay, error) {
	return policy.Stay{}, errors.ErrUnsupported
}

// SessionFilter limits Sessions; zero fields limit nothing.
type SessionFilter struct {
	Stay  policy.StayID
	Open  bool
	Limit int // 0: 100
}

// Sessions, newest first.
func (s *Store) Sessions(ctx context.Context, f SessionFilter) ([]policy.Session, error) {
	return nil, errors.ErrUnsupported
}

// Session finds a session by its id or an unambiguous prefix of at least four
// characters; an ambiguous one is ErrConflict.
func (s *Store) Session(ctx context.Context, prefix string) (policy.Session, error) {
	return policy.Session{}, errors.ErrUnsupported
}

// Entries, newest first.
func (s *Store) Entries(ctx context.Context, limit int) ([]Entry, error) {
	return nil, errors.ErrUnsupported
}

// A HostKey is a server's public SSH host key, pinned for one address.
type HostKey struct {
	Addr   netip.AddrPort
	Type   string // "ssh-ed25519"
	Key    []byte // wire format
	Pinned time.Time
	By     string // "first-sight" or the admin who trusted it
}

func (s *Store) HostKeys(ctx context.Context, addr netip.AddrPort) ([]HostKey, error) {
	return nil, errors.ErrUnsupported
}

// PinHostKey remembers a key; one of the same address and type that differs
// is ErrConflict.
func (s *Store) PinHostKey(ctx context.Context, k HostKey) error { return errors.ErrUnsupported }

// ForgetHostKeys unpins all keys of an address and says how many.
func (s *Store) ForgetHostKeys(ctx context.Context, by string, addr netip.AddrPort) (int, error) {
	return 0, errors.ErrUnsupported
}

// An AuditRow is one line of the audit trail, append-only: the database
// itself refuses to change or delete one.
type AuditRow struct {
	ID     int64
	Time   time.Time
	By     string
	Action string // "grant.revoke", "rules.repaired", …
	Object string // "grant 42"
	Detail string
}

// Audit appends a row of its own; the methods above write theirs in the same
// transaction as the change.
func (s *Store) Audit(ctx context.Context, by, action, object, detail string) error {
	return errors.ErrUnsupported
}

// AuditRows, newest first.
func (s *Store) AuditRows(ctx context.Context, limit int) ([]AuditRow, error) {
	return nil, errors.ErrUnsupported
}
