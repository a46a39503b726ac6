package policy

import (
	"net/netip"
	"time"
)

// Facts is everything a decision depends on, as the store remembers it:
// disabled persons, deactivated addresses, ended and revoked grants included,
// so that a denial can name the nearest miss.
type Facts struct {
	Revision     int64 // grows with every change
	Persons      []Person
	Servers      []Server
	PersonGroups []Group
	ServerGroups []Group
	Grants       []Grant
}

// A Flow is one attempt to get in.
type Flow struct {
	Client   netip.AddrPort
	Dest     netip.AddrPort
	Protocol Protocol
	Login    string // "" asks whether any login could be let in
}

// A Verdict is the answer to a flow. What could be found out stays filled in
// for a denied flow too, so that the entry can name it.
type Verdict struct {
	Person   *Person // nil when unknown
	Server   *Server
	Grant    *Grant // the grant that serves, or the nearest miss
	Protocol Protocol
	Denial   Denial    // "" is yes
	Until    time.Time // the effective end; zero is none
}

// Allowed reports whether the verdict lets the flow in.
func (v Verdict) Allowed() bool { return v.Denial == "" }

// A Book is an immutable, indexed snapshot of facts. It is safe for
// concurrent use and is swapped as a whole when facts change.
type Book struct {
	facts Facts
}

// NewBook indexes the facts. It fails on facts that contradict themselves
// (an unknown id, a cycle of groups), naming the thing.
func NewBook(f Facts) (*Book, error) { return &Book{facts: f}, nil }

// Facts returns the facts the book was made of; they must not be changed.
func (b *Book) Facts() *Facts { return &b.facts }

// Decide answers a flow at a moment. Among several grants that serve, the one
// that lets the person stay longest is used. It does not allocate.
func (b *Book) Decide(f Flow, now time.Time) Verdict { return Verdict{Denial: UnknownPerson} }

// DecideBy answers like Decide, but as if the grant with this id were the
// only one: a live session asks whether the grant it runs under still serves.
func (b *Book) DecideBy(id GrantID, f Flow, now time.Time) Verdict {
	return Verdict{Denial: UnknownPerson}
}

// Standing tells whether a grant serves at this moment by its times alone
// (revoked, expired, not yet, outside its schedule), and until when.
func (b *Book) Standing(id GrantID, now time.Time) (until time.Time, d Denial) {
	return time.Time{}, NoGrant
}
