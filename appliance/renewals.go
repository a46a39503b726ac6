package appliance

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pawelmojski/inside/appliance/api"
	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/store"
)

// Grants that renew themselves: near its end one is extended by its length, if
// somebody has used it meanwhile. What nobody uses ends by itself, and what
// cannot be renewed, because the database is away, ends on time.

const (
	renewsAgain = 30 * time.Second // how often grants are looked at
	renewsAfter = time.Second      // and how long after a change of the facts
	minRenewed  = time.Hour        // the shortest length that renews itself
)

// renewing checks that what was asked for can renew itself.
func renewing(asked api.NewGrant, g *policy.Grant) (err error) {
	const hint = "give --duration, for example 30d: it is extended by that"
	switch {
	case !asked.Renew:
		return nil
	case asked.Duration == "":
		return invalid(hint, "a grant that renews itself needs a length")
	}
	if g.Renew, err = policy.ParseDuration(asked.Duration); err == nil && g.Renew < minRenewed {
		err = invalid(hint, "a grant of %s cannot renew itself: it must be one of 1 hour at least", asked.Duration)
	}
	return err
}

// renewable reports whether a grant is to be renewed now, if it was used: less
// than a tenth of its length is left, but at most a day. That is never less
// than five minutes, so that it is renewed before anybody is warned.
func renewable(g *policy.Grant, now time.Time) bool {
	if g.Renew == 0 || g.End.IsZero() || !g.Revoked.IsZero() {
		return false
	}
	left := g.End.Sub(now)
	return left > 0 && left < min(max(g.Renew/10, warnings[0]), 24*time.Hour)
}

// renewedInTime reports whether an end was put off by a renewal before anybody
// was warned of it: then nothing has changed for the person.
func renewedInTime(before, after policy.Verdict, now time.Time) bool {
	return before.Grant.ID == after.Grant.ID && !after.Grant.Renewed.Equal(before.Grant.Renewed) &&
		after.Until.After(before.Until) && before.Until.Sub(now) > warnings[0]
}

// keepRenewing renews grants until ctx ends.
func (a *Appliance) keepRenewing(ctx context.Context) {
	again := time.NewTicker(renewsAgain)
	defer again.Stop()
	for {
		if err := a.renew(ctx); err != nil && ctx.Err() == nil {
			a.log.Error("grants not renewed: as long as they are not, they end on time", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-again.C:
		case <-a.turned:
			select { // many changes one after the other are looked at once
			case <-ctx.Done():
				return
			case <-time.After(renewsAfter):
			}
		}
	}
}

// renew renews what is due and was used. Looking through a hundred thousand
// grants takes less than copying them, which every new book does; the database
// is asked only about those that are due.
func (a *Appliance) renew(ctx context.Context) error {
	book, now := a.book.Load(), a.clock.now()
	var due []policy.GrantID
	for i := range book.Facts().Grants {
		if g := &book.Facts().Grants[i]; renewable(g, now) {
			due = append(due, g.ID)
		}
	}
	if len(due) == 0 {
		return nil
	}
	used, err := a.store.UsedGrants(ctx, a.cfg.Gate.Name, due)
	if err != nil {
		return err
	}
	var failed []error
	for _, id := range used {
		g := book.Grant(id)
		switch err := a.renewOne(ctx, g); {
		case err == nil:
			a.log.Info("grant renewed", "grant", id, "until", g.End.Add(g.Renew))
		case errors.Is(err, store.ErrConflict): // another gate was first, or an admin
		default:
			failed = append(failed, fmt.Errorf("grant %s: %w", id, err))
		}
	}
	return errors.Join(failed...)
}

// renewOne waits for the database no longer than the grant lasts: what has ended
// meanwhile is over, and does not come to life again.
func (a *Appliance) renewOne(ctx context.Context, g *policy.Grant) error {
	now := a.clock.now()
	ctx, cancel := context.WithTimeout(ctx, g.End.Sub(now))
	defer cancel()
	return a.store.RenewGrant(ctx, a.cfg.Gate.Name, g.ID, g.Version, now)
}
