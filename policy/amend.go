package policy

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
)

// Amend returns the book of b's facts with what has changed since: each thing in
// changed takes the place of the one with its id, or is added. It is the book
// that NewBook makes of all the facts of that revision, in order by name and
// grants by number.
//
// Where only grants changed that were there before (revoked, extended,
// shortened), what is found of them by who and where stays as it is: among a
// hundred thousand grants this is a matter of milliseconds, and a revocation
// waits for it.
func (b *Book) Amend(changed Facts) (*Book, error) {
	if changed.Revision < b.facts.Revision {
		return nil, fmt.Errorf("facts of revision %d are not news to those of revision %d", changed.Revision, b.facts.Revision)
	}
	personName := func(x, y Person) int { return cmp.Compare(x.Name, y.Name) }
	serverName := func(x, y Server) int { return cmp.Compare(x.Name, y.Name) }
	groupName := func(x, y Group) int { return cmp.Compare(x.Name, y.Name) }
	groupID := func(g *Group) GroupID { return g.ID }
	facts := Facts{
		Revision:     changed.Revision,
		Persons:      amended(b.facts.Persons, changed.Persons, func(p *Person) PersonID { return p.ID }, personName),
		Servers:      amended(b.facts.Servers, changed.Servers, func(s *Server) ServerID { return s.ID }, serverName),
		PersonGroups: amended(b.facts.PersonGroups, changed.PersonGroups, groupID, groupName),
		ServerGroups: amended(b.facts.ServerGroups, changed.ServerGroups, groupID, groupName),
		Grants: amended(b.facts.Grants, changed.Grants, func(g *Grant) GrantID { return g.ID },
			func(x, y Grant) int { return compareGrantIDs(x.ID, y.ID) }),
	}
	if len(changed.Persons)+len(changed.Servers)+len(changed.PersonGroups)+len(changed.ServerGroups) == 0 &&
		!slices.ContainsFunc(changed.Grants, b.movesGrant) {
		return b.withGrants(facts, slices.Clone(changed.Grants)), nil
	}
	return NewBook(facts)
}

// amended returns the things with the changed ones in their places. It does not
// change the slice it is given.
func amended[T any, ID comparable](things, changed []T, id func(*T) ID, compare func(x, y T) int) []T {
	if len(changed) == 0 {
		return things
	}
	by := make(map[ID]*T, len(changed))
	for i := range changed {
		by[id(&changed[i])] = &changed[i]
	}
	all := make([]T, len(things), len(things)+len(changed))
	copy(all, things)
	for i := range all {
		if thing := by[id(&all[i])]; thing != nil {
			all[i] = *thing
			delete(by, id(&all[i]))
		}
	}
	if len(by) > 0 {
		for _, thing := range by {
			all = append(all, *thing)
		}
		slices.SortFunc(all, compare)
	}
	return all
}

// movesGrant reports whether a grant cannot take its old place: it is new, or
// for somebody or somewhere else.
func (b *Book) movesGrant(g Grant) bool {
	old := b.grantByID[g.ID]
	return old == nil || old.Person != g.Person || old.PersonGroup != g.PersonGroup || old.Server != g.Server || old.ServerGroup != g.ServerGroup ||
		old.From != g.From // which NewBook checks
}

// withGrants returns b with these grants in the places they had. What it shares
// with b is never changed.
//
// The grants that did not change are those of b's facts, not copies in the new
// ones: a book made of a thousand changes, one after the other, keeps the first
// facts and the last, and nothing of those between.
func (b *Book) withGrants(f Facts, changed []Grant) *Book {
	n := *b
	n.facts = f
	n.grantByID = maps.Clone(b.grantByID)
	n.cells = slices.Clone(b.cells)
	for i := range changed {
		g := *b.grantByID[changed[i].ID]
		g.Grant, g.when = &changed[i], mergeByZone(changed[i].Schedules)
		cells := slices.Clone(n.cells[g.who])
		at, _ := slices.BinarySearchFunc(cells, g.where, func(c cell, where int32) int { return cmp.Compare(c.where, where) })
		grants := slices.Clone(cells[at].grants)
		in := slices.IndexFunc(grants, func(x grant) bool { return x.ID == g.ID })
		grants[in] = g
		cells[at].grants = grants
		n.cells[g.who] = cells
		n.grantByID[g.ID] = &grants[in]
	}
	return &n
}
