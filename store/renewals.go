package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/pawelmojski/inside/policy"
)

// Grants that renew themselves. When one is due the gate decides; that it is
// renewed once, and only if it was used, is held here.

// The lengths by which a grant can renew itself: a shorter one would hardly
// ever be far from its end, a longer one is as good as permanent.
const (
	minRenew = time.Hour
	maxRenew = 10 * 366 * 24 * time.Hour
)

func checkRenewal(g policy.Grant) error {
	switch {
	case !g.Renewed.IsZero():
		return refuse(ErrInvalid, "a grant cannot begin renewed")
	case g.Renew == 0:
		return nil
	case g.End.IsZero():
		return refuse(ErrInvalid, "a permanent grant cannot renew itself: it has no end")
	case g.Renew < minRenew || g.Renew > maxRenew || g.Renew%time.Microsecond != 0:
		return refuse(ErrInvalid, "a grant cannot renew itself by %s: use a length from 1 hour to 10 years", policy.FormatDuration(g.Renew))
	}
	return nil
}

// UsedGrants are those of the grants that were used since they began or were
// renewed last: somebody entered under them, or is inside under them through
// this gate right now. What another gate left open counts there only, since a
// gate that crashed and never came back would have it open for ever.
func (s *Store) UsedGrants(ctx context.Context, gate string, ids []policy.GrantID) (inUse []policy.GrantID, err error) {
	err = s.reading(ctx, func(ctx context.Context, tx *sql.Tx) error {
		inUse = nil // of an attempt before
		for _, id := range ids {
			n, _ := idNumber(string(id))
			is, err := used(ctx, tx, gate, n)
			if err != nil {
				return err
			}
			if is {
				inUse = append(inUse, id)
			}
		}
		return nil
	})
	return inUse, err
}

// used looks for one session, by the index of each way there is to find one. A
// session that has moved to another grant entered by this one all the same.
func used(ctx context.Context, tx *sql.Tx, gate string, grant int64) (bool, error) {
	const since = "(SELECT CASE WHEN renewed > starts THEN renewed ELSE starts END FROM grants WHERE id = $1)"
	found, err := number(tx.QueryRowContext(ctx, `SELECT CASE
		WHEN EXISTS (SELECT 1 FROM sessions WHERE grant_id = $1 AND started >= `+since+`) THEN 1
		WHEN EXISTS (SELECT 1 FROM sessions WHERE grant_id = $1 AND ended = 0 AND gate = $2) THEN 1
		WHEN EXISTS (SELECT 1 FROM moves JOIN sessions ON sessions.id = moves.session
			WHERE moves.grant_id = $1 AND sessions.started >= `+since+`) THEN 1
		ELSE 0 END`, grant, gate))
	return found == 1, err
}

// RenewGrant extends a grant by its length. base is as in SetGrantEnd: of two
// gates that renew the same grant at the same time one gets ErrConflict, as it
// does where the grant has ended, does not renew itself, or was not used.
func (s *Store) RenewGrant(ctx context.Context, gate string, id policy.GrantID, base int64, now time.Time) error {
	if err := checkMoment("time of the renewal", now); err != nil {
		return err
	}
	by := gateActor(gate)
	return s.change(ctx, by, func(ctx context.Context, tx *sql.Tx) (deed, error) {
		g, n, err := grantToChange(ctx, tx, id, base)
		if err != nil {
			return deed{}, err
		}
		if g.Renew == 0 || !g.End.After(now) {
			return deed{}, refuse(ErrConflict, "grant %s (%s) does not renew itself at %s", id, describeEnd(g.End), clock(now))
		}
		switch is, err := used(ctx, tx, gate, n); {
		case err != nil:
			return deed{}, err
		case !is:
			return deed{}, refuse(ErrConflict, "nobody has entered under grant %s since it began or was renewed last", id)
		}
		end := g.End.Add(g.Renew)
		if err := checkMoment("end of the grant", end); err != nil {
			return deed{}, err
		}
		if _, err := tx.ExecContext(ctx, "UPDATE grants SET ends = $2, renewed = $3 WHERE id = $1", n, micros(end), micros(now)); err != nil {
			return deed{}, err
		}
		if err := touch(ctx, tx, "grants", n, by); err != nil {
			return deed{}, err
		}
		detail := describeEnd(g.End) + " → " + describeEnd(end)
		return grantChanged(ctx, tx, "grant.renew", g, detail, func(g *grantFact) { g.End = end })
	})
}

// StopRenewal lets a grant end when it does.
func (s *Store) StopRenewal(ctx context.Context, by string, id policy.GrantID, base int64) error {
	return s.change(ctx, by, func(ctx context.Context, tx *sql.Tx) (deed, error) {
		g, n, err := grantToChange(ctx, tx, id, base)
		if err != nil {
			return deed{}, err
		}
		if g.Renew == 0 {
			return deed{}, errUnchanged
		}
		if _, err := tx.ExecContext(ctx, "UPDATE grants SET renew = 0 WHERE id = $1", n); err != nil {
			return deed{}, err
		}
		if err := touch(ctx, tx, "grants", n, by); err != nil {
			return deed{}, err
		}
		detail := "renews itself by " + durationText(g.Renew) + " → no longer, " + describeEnd(g.End)
		return grantChanged(ctx, tx, "grant.no-renew", g, detail, func(g *grantFact) { g.Renew = "" })
	})
}
