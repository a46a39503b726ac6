package policy

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
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

	// Identity is who a network says comes. It counts where the address is
	// nobody's.
	Identity Identity

	// Inside asks for somebody who has entered already. It makes a difference
	// while a server is about to be maintained.
	Inside bool
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
	Ends     EndCause  // what comes to its end then; "" for none
	Waived   Denial    // of one that is allowed: it would be a denial, see Waive
}

// Allowed reports whether the verdict lets the flow in.
func (v Verdict) Allowed() bool { return v.Denial == "" }

// A Book is an immutable, indexed snapshot of facts. It is safe for
// concurrent use and is swapped as a whole when facts change.
//
// Grants are found by who and where: a person is one "who" for itself and one
// for each group that holds it, a server likewise is several "wheres", and a
// cell is the grants of one who for one where. A decision looks up the cells
// of the person's whos and the server's wheres and nothing else. Whos and
// wheres are numbers: persons first, then person groups; servers first, then
// server groups.
type Book struct {
	facts Facts

	persons      index[PersonID, Person]
	servers      index[ServerID, Server]
	personGroups index[GroupID, Group]
	serverGroups index[GroupID, Group]
	grantByID    map[GrantID]*grant

	personAt prefixMap[holder] // by address
	personBy map[string]holder // by account elsewhere
	serverAt prefixMap[int32]

	grants []grant   // by cell, in each the oldest first
	whos   [][]int32 // of each person, sorted; only those that have grants
	wheres [][]int32 // of each server, likewise
	cells  [][]cell  // of each who, sorted by where
	sieve  sieve     // of the whos and wheres that have a cell

	sensitive []bool // of each where: all its servers are
	touchy    []bool // of each where: one of its servers is, or will be as soon as it has one
}

// A grant is a Grant as the book uses it.
type grant struct {
	*Grant
	who, where int32
	when       []Schedule // at most one for each zone
}

// A cell is the grants of one who for one where.
type cell struct {
	where  int32
	grants []grant
}

// NewBook indexes the facts and keeps them: they must not be changed
// afterwards. It fails on facts that contradict themselves (an unknown id, a
// cycle of groups), naming the thing.
func NewBook(f Facts) (*Book, error) {
	b := &Book{facts: f}
	for _, step := range []func() error{b.indexNames, b.indexAddresses, b.indexAccounts, b.indexGrants, b.indexGroups, b.indexSensitive} {
		if err := step(); err != nil {
			return nil, fmt.Errorf("facts of revision %d: %w", f.Revision, err)
		}
	}
	return b, nil
}

// Facts returns the facts the book was made of; they must not be changed.
func (b *Book) Facts() *Facts { return &b.facts }

func (b *Book) indexNames() (err error) {
	f := &b.facts
	b.persons, err = newIndex("person", f.Persons, func(p *Person) (PersonID, string) { return p.ID, p.Name })
	if err != nil {
		return err
	}
	b.servers, err = newIndex("server", f.Servers, func(s *Server) (ServerID, string) { return s.ID, s.Name })
	if err != nil {
		return err
	}
	nameGroup := func(g *Group) (GroupID, string) { return g.ID, g.Name }
	b.personGroups, err = newIndex("person group", f.PersonGroups, nameGroup)
	if err != nil {
		return err
	}
	b.serverGroups, err = newIndex("server group", f.ServerGroups, nameGroup)
	return err
}

func (b *Book) indexAddresses() error {
	b.personAt = newPrefixMap[holder](len(b.facts.Persons))
	for i := range b.facts.Persons {
		p := &b.facts.Persons[i]
		for _, a := range p.Addresses {
			if err := checkPrefix(a.Prefix); err != nil {
				return fmt.Errorf("address %s of person %s: %w", a.ID, p.Name, err)
			}
			if a.Disabled {
				continue
			}
			b.personAt.merge(a.Prefix, newHolder(int32(i), p.Disabled), holder.and)
		}
	}
	// What a shorter prefix says holds within it too: one lookup by the
	// longest prefix then knows everybody the address belongs to.
	b.personAt.inherit(holder.and)

	b.serverAt = newPrefixMap[int32](len(b.facts.Servers))
	for i := range b.facts.Servers {
		s := &b.facts.Servers[i]
		if err := checkPrefix(s.Prefix); err != nil {
			return fmt.Errorf("address of server %s: %w", s.Name, err)
		}
		b.serverAt.merge(s.Prefix, int32(i), b.sameServer)
	}
	return nil
}

// sameServer chooses between two servers with the same prefix: one that is not
// disabled replaces one that is, otherwise the first one stays.
func (b *Book) sameServer(first, second int32) int32 {
	if b.facts.Servers[first].Disabled && !b.facts.Servers[second].Disabled {
		return second
	}
	return first
}

func (b *Book) indexGrants() error {
	b.grants = make([]grant, 0, len(b.facts.Grants))
	for i := range b.facts.Grants {
		g, err := b.newGrant(&b.facts.Grants[i])
		if err != nil {
			return fmt.Errorf("grant %s: %w", b.facts.Grants[i].ID, err)
		}
		b.grants = append(b.grants, g)
	}
	slices.SortFunc(b.grants, func(x, y grant) int {
		switch { // most differ in the first: cmp.Or would compare ids each time
		case x.who != y.who:
			return cmp.Compare(x.who, y.who)
		case x.where != y.where:
			return cmp.Compare(x.where, y.where)
		}
		return compareGrantIDs(x.ID, y.ID)
	})
	b.grantByID = make(map[GrantID]*grant, len(b.grants))
	for i := range b.grants {
		g := &b.grants[i]
		if _, taken := b.grantByID[g.ID]; taken || g.ID == "" {
			return fmt.Errorf("grant id %q is empty or given twice", g.ID)
		}
		b.grantByID[g.ID] = g
	}
	b.cells = make([][]cell, len(b.facts.Persons)+len(b.facts.PersonGroups))
	b.sieve = newSieve(len(b.grants))
	for rest := b.grants; len(rest) > 0; {
		who, where := rest[0].who, rest[0].where
		n := slices.IndexFunc(rest, func(g grant) bool { return g.who != who || g.where != where })
		if n < 0 {
			n = len(rest)
		}
		b.cells[who] = append(b.cells[who], cell{where, rest[:n]})
		b.sieve.add(who, where)
		rest = rest[n:]
	}
	return nil
}

// newGrant resolves the ids of a grant.
func (b *Book) newGrant(g *Grant) (grant, error) {
	if (g.Person == "") == (g.PersonGroup == "") {
		return grant{}, fmt.Errorf("must name a person or a person group, and not both")
	}
	if (g.Server == "") == (g.ServerGroup == "") {
		return grant{}, fmt.Errorf("must name a server or a server group, and not both")
	}
	// A broken prefix must not pass for the zero one, which limits nothing.
	if g.From != (netip.Prefix{}) {
		if err := checkPrefix(g.From); err != nil {
			return grant{}, fmt.Errorf("source: %w", err)
		}
	}
	who, err := position(&b.persons, g.Person, &b.personGroups, g.PersonGroup)
	if err != nil {
		return grant{}, err
	}
	where, err := position(&b.servers, g.Server, &b.serverGroups, g.ServerGroup)
	if err != nil {
		return grant{}, err
	}
	return grant{Grant: g, who: who, where: where, when: mergeByZone(g.Schedules)}, nil
}

// compareGrantIDs orders decimal numbers by their value, anything else stably.
func compareGrantIDs(x, y GrantID) int {
	if len(x) != len(y) {
		return cmp.Compare(len(x), len(y))
	}
	return cmp.Compare(x, y)
}

func (b *Book) indexGroups() (err error) {
	hasGrants := make([]bool, len(b.cells))
	for who, cells := range b.cells {
		hasGrants[who] = len(cells) > 0
	}
	if b.whos, err = memberships(&b.persons, &b.personGroups, hasGrants); err != nil {
		return err
	}
	hasGrants = make([]bool, len(b.facts.Servers)+len(b.facts.ServerGroups))
	for i := range b.grants {
		hasGrants[b.grants[i].where] = true
	}
	b.wheres, err = memberships(&b.servers, &b.serverGroups, hasGrants)
	return err
}
