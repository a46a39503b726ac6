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
func (s *Store) Facts(ctx context.Context) (policy.Facts, error) { return s.FactsSince(ctx, 0) }

// FactsSince reads what has changed after a revision, each thing whole, as
// Facts reads all of them: a person with every address, a group with every
// member. Nothing is ever taken out of the facts, so this and the facts of that
// revision are the facts of now.
func (s *Store) FactsSince(ctx context.Context, revision int64) (policy.Facts, error) {
	var f policy.Facts
	err := s.reading(ctx, func(ctx context.Context, tx *sql.Tx) error {
		r := factsReader{ctx, tx, revision}
		var err error
		if f.Revision, err = number(tx.QueryRowContext(ctx, revisionQuery)); err != nil {
			return err
		}
		if f.Persons, err = r.persons(); err != nil {
			return err
		}
		if f.Servers, err = r.servers(); err != nil {
			return err
		}
		if f.PersonGroups, err = r.groups(PersonGroup); err != nil {
			return err
		}
		if f.ServerGroups, err = r.groups(ServerGroup); err != nil {
			return err
		}
		f.Grants, err = r.grants()
		return err
	})
	if err != nil {
		return policy.Facts{}, fmt.Errorf("read the facts: %w", err)
	}
	return f, nil
}

const revisionQuery = "SELECT n FROM counters WHERE name = 'revision'"

// A factsReader reads what has changed after a revision; 0 is everything.
type factsReader struct {
	ctx   context.Context
	tx    *sql.Tx
	since int64
}

// changed is a condition and its argument. There is none where everything is
// to be read, but for the row that stands for none: an engine that went through
// the index by version for that would read every row by itself.
func (r *factsReader) changed(condition, none string) (string, []any) {
	if r.since == 0 {
		return " WHERE " + none, nil
	}
	return " WHERE " + condition + " AND " + none, []any{r.since}
}

func (r *factsReader) persons() ([]policy.Person, error) {
	where, args := r.changed("version > $1", "id <> ''")
	persons, err := all(r.ctx, r.tx, readPerson, "SELECT "+personColumns+" FROM persons"+where, args...)
	if err != nil {
		return nil, err
	}
	where, args = r.changed("person IN (SELECT id FROM persons WHERE version > $1)", "person <> ''")
	addresses, err := all(r.ctx, r.tx, readOwned, "SELECT "+addressColumns+" FROM addresses"+where+" ORDER BY id", args...)
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

func (r *factsReader) servers() ([]policy.Server, error) {
	where, args := r.changed("version > $1", "id <> ''")
	servers, err := all(r.ctx, r.tx, readServer, "SELECT "+serverColumns+" FROM servers"+where, args...)
	slices.SortFunc(servers, func(a, b policy.Server) int { return cmp.Compare(a.Name, b.Name) })
	return servers, err
}

func (r *factsReader) groups(k Kind) ([]policy.Group, error) {
	groups, err := all(r.ctx, r.tx, readGroup, "SELECT "+groupColumns+" FROM member_groups WHERE kind = $1 AND version > $2", k, r.since)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(groups, func(a, b policy.Group) int { return cmp.Compare(a.Name, b.Name) })
	byID := make(map[policy.GroupID]*policy.Group, len(groups))
	for i := range groups {
		byID[groups[i].ID] = &groups[i]
	}
	where, args := r.changed("group_id IN (SELECT id FROM member_groups WHERE version > $1)", "group_id <> ''")
	err = each(r.ctx, r.tx, func(r row) error {
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
	}, "SELECT group_id, member, subgroup FROM members"+where, args...)
	if err != nil {
		return nil, err
	}
	for i := range groups {
		slices.Sort(groups[i].Members)
		slices.Sort(groups[i].Groups)
	}
	return groups, nil
}

func (r *factsReader) grants() ([]policy.Grant, error) {
	where, args := r.changed("version > $1", "id <> 0")
	n, err := number(r.tx.QueryRowContext(r.ctx, "SELECT COUNT(*) FROM grants"+where, args...))
	if err != nil {
		return nil, err
	}
	// There may be many; growing the slice would copy them several times.
	grants := make([]policy.Grant, 0, n)
	reader := newGrantReader()
	err = each(r.ctx, r.tx, func(r row) error {
		g, err := reader.read(r)
		grants = append(grants, g)
		return err
	}, "SELECT "+grantColumns+" FROM grants"+where+" ORDER BY id", args...)
	if err != nil {
		return nil, err
	}
	return grants, nil
}
