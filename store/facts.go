package store

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"slices"

	"github.com/pawelmojski/inside/policy"
)

// Facts reads all facts in one transaction: persons, servers and groups by
// name, grants by number.
func (s *Store) Facts(ctx context.Context) (policy.Facts, error) {
	var f policy.Facts
	err := s.reading(ctx, func(ctx context.Context, tx *sql.Tx) error {
		var err error
		if f.Revision, err = number(tx.QueryRowContext(ctx, revisionQuery)); err != nil {
			return err
		}
		if f.Persons, err = allPersons(ctx, tx); err != nil {
			return err
		}
		if f.Servers, err = allServers(ctx, tx); err != nil {
			return err
		}
		if f.PersonGroups, err = allGroups(ctx, tx, PersonGroup); err != nil {
			return err
		}
		if f.ServerGroups, err = allGroups(ctx, tx, ServerGroup); err != nil {
			return err
		}
		f.Grants, err = allGrants(ctx, tx)
		return err
	})
	if err != nil {
		return policy.Facts{}, fmt.Errorf("read the facts: %w", err)
	}
	return f, nil
}

const revisionQuery = "SELECT n FROM counters WHERE name = 'revision'"

func allPersons(ctx context.Context, tx *sql.Tx) ([]policy.Person, error) {
	persons, err := all(ctx, tx, readPerson, "SELECT "+personColumns+" FROM persons")
	if err != nil {
		return nil, err
	}
	addresses, err := all(ctx, tx, readOwned, "SELECT "+addressColumns+" FROM addresses ORDER BY id")
	if err != nil {
		return nil, err
	}
	// Sorted here, because the order of text in SQL depends on the collation.
	slices.SortFunc(persons, func(a, b policy.Person) int { return cmp.Compare(a.Name, b.Name) })
	byID := make(map[policy.PersonID]*policy.Person, len(persons))
	for i := range persons {
		byID[persons[i].ID] = &persons[i]
	}
	for _, a := range addresses {
		p := byID[a.person]
		if p == nil {
			return nil, fmt.Errorf("address %s belongs to nobody: there is no person with the id %q", a.ID, a.person)
		}
		p.Addresses = append(p.Addresses, a.Address)
	}
	return persons, nil
}

func allServers(ctx context.Context, tx *sql.Tx) ([]policy.Server, error) {
	servers, err := all(ctx, tx, readServer, "SELECT "+serverColumns+" FROM servers")
	slices.SortFunc(servers, func(a, b policy.Server) int { return cmp.Compare(a.Name, b.Name) })
	return servers, err
}

func allGroups(ctx context.Context, tx *sql.Tx, k Kind) ([]policy.Group, error) {
	groups, err := all(ctx, tx, readGroup, "SELECT id, name, description FROM member_groups WHERE kind = $1", k)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(groups, func(a, b policy.Group) int { return cmp.Compare(a.Name, b.Name) })
	byID := make(map[policy.GroupID]*policy.Group, len(groups))
	for i := range groups {
		byID[groups[i].ID] = &groups[i]
	}
	err = each(ctx, tx, func(r row) error {
		var in, sub policy.GroupID
		var member string
		if err := r.Scan(&in, &member, &sub); err != nil {
			return err
		}
		switch g := byID[in]; {
		case g == nil: // of the other kind
		case sub != "":
			g.Groups = append(g.Groups, sub)
		default:
			g.Members = append(g.Members, member)
		}
		return nil
	}, "SELECT group_id, member, subgroup FROM members")
	if err != nil {
		return nil, err
	}
	for i := range groups {
		slices.Sort(groups[i].Members)
		slices.Sort(groups[i].Groups)
	}
	return groups, nil
}

func allGrants(ctx context.Context, tx *sql.Tx) ([]policy.Grant, error) {
	n, err := number(tx.QueryRowContext(ctx, "SELECT COUNT(*) FROM grants"))
	if err != nil {
		return nil, err
	}
	// There may be many; growing the slice would copy them several times.
	grants := make([]policy.Grant, 0, n)
	reader := newGrantReader()
	err = each(ctx, tx, func(r row) error {
		g, err := reader.read(r)
		grants = append(grants, g)
		return err
	}, "SELECT "+grantColumns+" FROM grants ORDER BY id")
	if err != nil {
		return nil, err
	}
	return grants, nil
}
