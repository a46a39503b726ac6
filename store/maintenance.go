package store

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"

	"github.com/pawelmojski/inside/policy"
)

// maxExempt bounds the persons maintenance does not concern: the book asks
// about each of them at every decision.
const maxExempt = 100

// Maintain puts a server under maintenance, or changes how; nil ends it. A
// server that has changed since the revision base is ErrConflict.
func (s *Store) Maintain(ctx context.Context, by string, id policy.ServerID, base int64, m *policy.Maintenance) error {
	if err := checkMaintenance(m); err != nil {
		return err
	}
	return s.change(ctx, by, func(ctx context.Context, tx *sql.Tx) (deed, error) {
		v, err := server(ctx, tx, id)
		if err != nil {
			return deed{}, err
		}
		if err := upToDate(ctx, tx, "servers", id, "server "+v.Name, base); err != nil {
			return deed{}, err
		}
		if m == nil && v.Maintenance == nil {
			return deed{}, errUnchanged
		}
		before, err := describeMaintenance(ctx, tx, v.Maintenance)
		if err != nil {
			return deed{}, err
		}
		after, err := describeMaintenance(ctx, tx, m)
		if err != nil {
			return deed{}, err
		}
		kept := cmp.Or(m, &policy.Maintenance{})
		_, err = tx.ExecContext(ctx, `UPDATE servers SET kept_from = $2, kept_clear = $3, kept_until = $4, kept_exempt = $5, kept_reason = $6
			WHERE id = $1`, id, micros(kept.From), micros(kept.Clear), micros(kept.Until), lines(kept.Exempt), kept.Reason)
		if err != nil {
			return deed{}, err
		}
		d := deed{action: "server.maintenance", object: "server " + v.Name, detail: before + " → " + after, was: knownServer(v)}
		v.Maintenance = m
		d.became = knownServer(v)
		return d, touch(ctx, tx, "servers", id, by)
	})
}

func checkMaintenance(m *policy.Maintenance) error {
	if m == nil {
		return nil
	}
	if err := cmp.Or(
		checkMoment("beginning of the maintenance", m.From),
		checkMoment("end of the sessions", m.Clear),
		checkOptional("reason", m.Reason, maxText),
	); err != nil {
		return err
	}
	m.From, m.Clear, m.Until = kept(m.From), kept(m.Clear), kept(m.Until)
	if m.Clear.Before(m.From) {
		return refuse(ErrInvalid, "sessions would end at %s, before the maintenance begins at %s", clock(m.Clear), clock(m.From))
	}
	if !m.Until.IsZero() {
		if err := checkMoment("end of the maintenance", m.Until); err != nil {
			return err
		}
		if !m.Until.After(m.Clear) {
			return refuse(ErrInvalid, "the maintenance would be over at %s, not after the sessions end at %s", clock(m.Until), clock(m.Clear))
		}
	}
	if len(m.Exempt) > maxExempt {
		return refuse(ErrInvalid, "%d persons are to be exempt from the maintenance: at most %d can be", len(m.Exempt), maxExempt)
	}
	slices.Sort(m.Exempt)
	m.Exempt = slices.Compact(m.Exempt)
	return nil
}

func describeMaintenance(ctx context.Context, tx *sql.Tx, m *policy.Maintenance) (string, error) {
	if m == nil {
		return "no maintenance", nil
	}
	var b strings.Builder
	fmt.Fprintf(&b, "maintenance from %s, sessions end at %s", clock(m.From), clock(m.Clear))
	if !m.Until.IsZero() {
		fmt.Fprintf(&b, ", over at %s", clock(m.Until))
	}
	for i, id := range m.Exempt {
		p, err := person(ctx, tx, id)
		if err != nil {
			return "", err
		}
		b.WriteString([]string{", but for ", " and "}[min(i, 1)] + p.Name)
	}
	if m.Reason != "" {
		b.WriteString(", reason: " + m.Reason)
	}
	return b.String(), nil
}
