package store

import (
	"context"
	"database/sql"
	"slices"
	"strings"
	"time"

	"github.com/pawelmojski/inside/policy"
)

// SetServerSensitive says whether a server is entered by approved grants only.
// One that has changed since the revision base is ErrConflict.
func (s *Store) SetServerSensitive(ctx context.Context, by string, id policy.ServerID, base int64, sensitive bool) error {
	return s.editServer(ctx, by, id, base, func(ctx context.Context, tx *sql.Tx, v *policy.Server) (deed, error) {
		if v.Sensitive == sensitive {
			return deed{}, errUnchanged
		}
		d := deed{action: "server.approval", detail: needed(v.Sensitive) + " → " + needed(sensitive)}
		v.Sensitive = sensitive
		_, err := tx.ExecContext(ctx, "UPDATE servers SET sensitive = $2 WHERE id = $1", id, sensitive)
		return d, err
	})
}

// SetGroupSensitive says the same of every server in a group, however deep.
func (s *Store) SetGroupSensitive(ctx context.Context, by string, id policy.GroupID, base int64, sensitive bool) error {
	return s.change(ctx, by, func(ctx context.Context, tx *sql.Tx) (deed, error) {
		g, err := groupOf(ctx, tx, ServerGroup, id)
		if err != nil {
			return deed{}, err
		}
		if err := upToDate(ctx, tx, "member_groups", id, "server group "+g.Name, base); err != nil {
			return deed{}, err
		}
		if g.Sensitive == sensitive {
			return deed{}, errUnchanged
		}
		if _, err := tx.ExecContext(ctx, "UPDATE member_groups SET sensitive = $2 WHERE id = $1", id, sensitive); err != nil {
			return deed{}, err
		}
		d := deed{
			action: "group.approval", object: "server group " + g.Name, detail: needed(g.Sensitive) + " → " + needed(sensitive),
			was: knownGroup(ServerGroup, g),
		}
		g.Sensitive = sensitive
		d.became = knownGroup(ServerGroup, g)
		return d, touch(ctx, tx, "member_groups", id, by)
	})
}

func needed(sensitive bool) string {
	if sensitive {
		return "approval needed"
	}
	return "no approval needed"
}

// ApproveGrant approves a grant as it was at the revision base. Whoever made it
// or extended it does not, by a token neither: that is ErrConflict, as is a
// grant that has changed since, that is revoked, or that was approved already.
func (s *Store) ApproveGrant(ctx context.Context, by string, id policy.GrantID, base int64, now time.Time) error {
	if err := checkMoment("time of the approval", now); err != nil {
		return err
	}
	return s.change(ctx, by, func(ctx context.Context, tx *sql.Tx) (deed, error) {
		g, err := grant(ctx, tx, id)
		if err != nil {
			return deed{}, err
		}
		n, _ := idNumber(string(id))
		switch {
		case !g.Revoked.IsZero():
			return deed{}, refuse(ErrConflict, "grant %s was revoked at %s: create a new one", id, clock(g.Revoked))
		case !g.Approved.IsZero():
			return deed{}, refuse(ErrConflict, "grant %s was approved already, by %s at %s", id, g.ApprovedBy, clock(g.Approved))
		}
		if err := another(ctx, tx, by, g); err != nil {
			return deed{}, err
		}
		if err := upToDate(ctx, tx, "grants", n, "grant "+string(id), base); err != nil {
			return deed{}, err
		}
		if _, err := tx.ExecContext(ctx, "UPDATE grants SET approved = $2, approved_by = $3 WHERE id = $1", n, micros(now), by); err != nil {
			return deed{}, err
		}
		if err := touch(ctx, tx, "grants", n, by); err != nil {
			return deed{}, err
		}
		detail := "approved, made or extended by " + strings.Join(g.Authors, " and ")
		return grantChanged(ctx, tx, "grant.approve", g, detail, func(g *grantFact) { g.Approved, g.ApprovedBy = kept(now), by })
	})
}

// another is ErrConflict when by is one of those who made or extended a grant,
// or acts by the same admin's hand.
func another(ctx context.Context, tx *sql.Tx, by string, g policy.Grant) error {
	who, err := maker(ctx, tx, by)
	if err != nil {
		return err
	}
	for _, author := range g.Authors {
		behind, err := maker(ctx, tx, author)
		switch {
		case err != nil:
			return err
		case by == author:
			return refuse(ErrConflict, "%s made or extended grant %s: another admin or operator must approve it", by, g.ID)
		case who == behind:
			return refuse(ErrConflict, "%s made or extended grant %s, and %s is the same admin's, as a token is of who made it: another admin or operator must approve it",
				author, g.ID, by)
		}
	}
	return nil
}

// extended is what becomes of the approval of a grant that is given another
// end. A later one is not what was approved, and has another author. It is
// so for every grant, also one that reaches nothing sensitive: a server that
// is marked tomorrow must not be entered until an end nobody has approved.
func extended(g policy.Grant, end time.Time, by string) policy.Grant {
	later := !g.End.IsZero() && (end.IsZero() || end.After(g.End))
	switch {
	case later && !g.Approved.IsZero():
		g.Approved, g.ApprovedBy, g.Authors = time.Time{}, "", []string{by}
	case later && !slices.Contains(g.Authors, by):
		g.Authors = append(slices.Clone(g.Authors), by)
	}
	g.End = end
	return g
}
