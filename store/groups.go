package store

import (
	"context"
	"database/sql"

	"github.com/pawelmojski/inside/policy"
)

// Kind tells the two kinds of groups apart.
type Kind string

// Names are unique within a kind.
const (
	ServerGroup Kind = "server"
	PersonGroup Kind = "person"
)

const groupColumns = "id, name, description, sensitive, version"

func (k Kind) check() error {
	if k != ServerGroup && k != PersonGroup {
		return refuse(ErrInvalid, "%q is no kind of group: use %q or %q", k, ServerGroup, PersonGroup)
	}
	return nil
}

// CreateGroup creates an empty group and gives its id; members come by
// AddMember.
func (s *Store) CreateGroup(ctx context.Context, by string, k Kind, g policy.Group) (policy.Group, error) {
	if err := checkGroup(k, g); err != nil {
		return policy.Group{}, err
	}
	err := s.change(ctx, by, func(ctx context.Context, tx *sql.Tx) (deed, error) {
		taken, err := number(tx.QueryRowContext(ctx, "SELECT COUNT(*) FROM member_groups WHERE kind = $1 AND name = $2", k, g.Name))
		if err != nil {
			return deed{}, err
		}
		if taken > 0 {
			return deed{}, refuse(ErrConflict, "there is a %s group named %s already: choose another name", k, g.Name)
		}
		g.ID = policy.GroupID(newID())
		_, err = tx.ExecContext(ctx, "INSERT INTO member_groups (id, kind, name, description) VALUES ($1, $2, $3, $4)",
			g.ID, k, g.Name, g.Description)
		if err == nil {
			g.Version, err = touched(ctx, tx, "member_groups", g.ID, by)
		}
		return deed{
			action: "group.create", object: string(k) + " group " + g.Name, detail: "created",
			became: knownGroup(k, g),
		}, err
	})
	if err != nil {
		return policy.Group{}, err
	}
	return g, nil
}

func checkGroup(k Kind, g policy.Group) error {
	if err := k.check(); err != nil {
		return err
	}
	if err := policy.CheckName(g.Name); err != nil {
		return refuse(ErrInvalid, "%v", err)
	}
	if len(g.Members)+len(g.Groups) > 0 {
		return refuse(ErrInvalid, "group %s is to be created with members: create it empty and add them", g.Name)
	}
	if g.Sensitive {
		return refuse(ErrInvalid, "group %s is to be created as a sensitive one: create it, then mark it", g.Name)
	}
	return checkOptional("description of "+g.Name, g.Description, maxText)
}

// AddMember puts a person, a server or another group of the same kind into a
// group. Exactly one of member and group is set. A cycle is ErrConflict; a
// member that is already there is no error.
func (s *Store) AddMember(ctx context.Context, by string, k Kind, into policy.GroupID, member string, group policy.GroupID) error {
	return s.change(ctx, by, func(ctx context.Context, tx *sql.Tx) (deed, error) {
		m, err := findMembership(ctx, tx, k, into, member, group)
		if err != nil {
			return deed{}, err
		}
		if m.present {
			return deed{}, errUnchanged
		}
		if err := m.refuseCycle(ctx, tx, k); err != nil {
			return deed{}, err
		}
		_, err = tx.ExecContext(ctx, "INSERT INTO members (group_id, member, subgroup) VALUES ($1, $2, $3)", into, member, group)
		if err == nil {
			err = touch(ctx, tx, "member_groups", into, by)
		}
		return deed{
			action: "group.add", object: string(k) + " group " + m.into.Name, detail: "added " + m.name,
			became: memberFact{Group: m.into.Name, Member: m.name},
		}, err
	})
}

// RemoveMember takes a member out of a group; one that is not in it is
// ErrNotFound.
func (s *Store) RemoveMember(ctx context.Context, by string, k Kind, from policy.GroupID, member string, group policy.GroupID) error {
	return s.change(ctx, by, func(ctx context.Context, tx *sql.Tx) (deed, error) {
		m, err := findMembership(ctx, tx, k, from, member, group)
		if err != nil {
			return deed{}, err
		}
		if !m.present {
			return deed{}, refuse(ErrNotFound, "%s is not in the %s group %s itself", m.name, k, m.into.Name)
		}
		_, err = tx.ExecContext(ctx, "DELETE FROM members WHERE group_id = $1 AND member = $2 AND subgroup = $3", from, member, group)
		if err == nil {
			err = touch(ctx, tx, "member_groups", from, by)
		}
		return deed{
			action: "group.remove", object: string(k) + " group " + m.into.Name, detail: "removed " + m.name,
			was: memberFact{Group: m.into.Name, Member: m.name},
		}, err
	})
}

// A membership is a member and the group it is or may be in.
type membership struct {
	into     policy.Group
	subgroup policy.Group // set when the member is a group
	name     string       // of the member: "person alice", "group prod"
	present  bool
}

func findMembership(ctx context.Context, tx *sql.Tx, k Kind, into policy.GroupID, member string, group policy.GroupID) (m membership, err error) {
	if err := k.check(); err != nil {
		return m, err
	}
	if (member == "") == (group == "") {
		return m, refuse(ErrInvalid, "name either a %s or a %s group as the member", k, k)
	}
	if m.into, err = groupOf(ctx, tx, k, into); err != nil {
		return m, err
	}
	switch {
	case group != "":
		m.subgroup, err = groupOf(ctx, tx, k, group)
		m.name = "group " + m.subgroup.Name
	case k == PersonGroup:
		var p policy.Person
		p, err = person(ctx, tx, policy.PersonID(member))
		m.name = "person " + p.Name
	default:
		var v policy.Server
		v, err = server(ctx, tx, policy.ServerID(member))
		m.name = "server " + v.Name
	}
	if err != nil {
		return m, err
	}
	n, err := number(tx.QueryRowContext(ctx, "SELECT COUNT(*) FROM members WHERE group_id = $1 AND member = $2 AND subgroup = $3", into, member, group))
	m.present = n > 0
	return m, err
}

// refuseCycle walks down from the subgroup; meeting the group it is to be put
// into would close a circle.
func (m membership) refuseCycle(ctx context.Context, tx *sql.Tx, k Kind) error {
	if m.subgroup.ID == "" {
		return nil
	}
	if m.subgroup.ID == m.into.ID {
		return refuse(ErrConflict, "the %s group %s cannot hold itself", k, m.into.Name)
	}
	n, err := number(tx.QueryRowContext(ctx, `WITH RECURSIVE below (id) AS (
			SELECT subgroup FROM members WHERE group_id = $1 AND subgroup <> ''
			UNION
			SELECT m.subgroup FROM members m JOIN below b ON m.group_id = b.id WHERE m.subgroup <> ''
		) SELECT COUNT(*) FROM below WHERE id = $2`, m.subgroup.ID, m.into.ID))
	if err != nil {
		return err
	}
	if n > 0 {
		return refuse(ErrConflict, "the %s group %s cannot hold %s, which holds it already", k, m.into.Name, m.subgroup.Name)
	}
	return nil
}

func groupOf(ctx context.Context, tx *sql.Tx, k Kind, id policy.GroupID) (policy.Group, error) {
	return one(ctx, tx, readGroup, refuse(ErrNotFound, "there is no %s group with the id %q", k, id),
		"SELECT "+groupColumns+" FROM member_groups WHERE kind = $1 AND id = $2", k, id)
}

func readGroup(r row) (g policy.Group, err error) {
	return g, r.Scan(&g.ID, &g.Name, &g.Description, &g.Sensitive, &g.Version)
}
