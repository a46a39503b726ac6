package policy

import (
	"fmt"
	"slices"
	"strings"
)

// memberships returns for each member the positions it can be named by in a
// grant: its own and those of all groups that hold it, however deep, sorted.
// Positions that no grant names are left out, so that a decision does not pay
// for groups without grants.
func memberships[ID ~string, T any](members *index[ID, T], groups *index[GroupID, Group], granted []bool) ([][]int32, error) {
	n := nesting{
		first:   int32(len(members.things)),
		groups:  groups.things,
		parents: make([][]int32, len(groups.things)),
		granted: granted,
		state:   make([]visit, len(groups.things)),
		above:   make([][]int32, len(groups.things)),
	}
	of := make([][]int32, len(members.things)) // groups that hold a member directly
	for i := range groups.things {
		g := &groups.things[i]
		for _, inner := range g.Groups {
			j, ok := groups.byID[inner]
			if !ok {
				return nil, fmt.Errorf("%s %s holds the unknown %s %q", groups.kind, g.Name, groups.kind, inner)
			}
			n.parents[j] = append(n.parents[j], int32(i))
		}
		for _, member := range g.Members {
			j, ok := members.byID[ID(member)]
			if !ok {
				return nil, fmt.Errorf("%s %s holds the unknown %s %q", groups.kind, g.Name, members.kind, member)
			}
			of[j] = append(of[j], int32(i))
		}
	}
	for i := range groups.things {
		if err := n.climb(int32(i)); err != nil {
			return nil, fmt.Errorf("%s %w", groups.kind, err)
		}
	}
	for i, direct := range of {
		var all []int32
		if granted[i] {
			all = append(all, int32(i))
		}
		for _, g := range direct {
			all = append(all, n.above[g]...)
		}
		slices.Sort(all)
		of[i] = slices.Compact(all)
	}
	return of, nil
}

// A nesting finds for each group the groups above it.
type nesting struct {
	first   int32 // the position of the first group
	groups  []Group
	parents [][]int32
	granted []bool // by position
	state   []visit
	path    []int32   // the groups being visited, to name a cycle
	above   [][]int32 // positions of the group itself and those above it
}

type visit uint8

const (
	unseen visit = iota
	climbing
	climbed
)

func (n *nesting) climb(g int32) error {
	switch n.state[g] {
	case climbed:
		return nil
	case climbing:
		return n.cycle(g)
	}
	n.state[g] = climbing
	n.path = append(n.path, g)
	var above []int32
	if n.granted[n.first+g] {
		above = append(above, n.first+g)
	}
	for _, parent := range n.parents[g] {
		if err := n.climb(parent); err != nil {
			return err
		}
		above = append(above, n.above[parent]...)
	}
	slices.Sort(above)
	n.above[g] = slices.Compact(above)
	n.path = n.path[:len(n.path)-1]
	n.state[g] = climbed
	return nil
}

// cycle tells the way from a group to itself, from the outer to the inner.
func (n *nesting) cycle(g int32) error {
	round := n.path[slices.Index(n.path, g):]
	names := []string{n.groups[g].Name}
	for _, inner := range slices.Backward(round) {
		names = append(names, n.groups[inner].Name)
	}
	return fmt.Errorf("%s holds itself: %s", names[0], strings.Join(names, " > "))
}
