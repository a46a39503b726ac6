package store

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"

	"github.com/pawelmojski/inside/policy"
)

// A Template is a named set of options of grants. Grants made by it have a
// copy: whatever becomes of the template changes none of them.
type Template struct {
	Name string

	// Options are, of a grant, how and when and how much, the reason, and who
	// created the template and when. Nobody and nowhere is in a template.
	Options policy.Grant

	Length    time.Duration // how long its grants last; 0: it does not say
	Permanent bool          // its grants have no end
}

const templateColumns = `name, protocols, logins, forwarding, length, permanent, schedules, idle, max_sessions, reason, created, created_by,
	max_entries, entries_per, renew, redirection`

// CreateTemplate keeps a template under a name that is free.
func (s *Store) CreateTemplate(ctx context.Context, by string, t Template) (Template, error) {
	g := &t.Options
	g.Created, g.CreatedBy = kept(time.Now()), by
	if err := checkTemplate(t); err != nil {
		return Template{}, err
	}
	err := s.change(ctx, by, func(ctx context.Context, tx *sql.Tx) (deed, error) {
		taken, err := number(tx.QueryRowContext(ctx, "SELECT COUNT(*) FROM templates WHERE name = $1", t.Name))
		if err != nil {
			return deed{}, err
		}
		if taken > 0 {
			return deed{}, refuse(ErrConflict, "there is a template named %s already: remove it first, or choose another name", t.Name)
		}
		_, err = tx.ExecContext(ctx, "INSERT INTO templates ("+templateColumns+") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)",
			t.Name, lines(g.Protocols), lines(g.Logins), int64(g.Forwarding), t.Length.Microseconds(), t.Permanent,
			scheduleLines(g.Schedules), g.Idle.Microseconds(), g.MaxSessions, g.Reason, micros(g.Created), by,
			g.MaxEntries.Most, g.MaxEntries.Per.Microseconds(), g.Renew.Microseconds(), int64(g.Redirection))
		return deed{action: "template.create", object: "template " + t.Name, detail: describeTemplate(t), became: knownTemplate(t)}, err
	})
	if err != nil {
		return Template{}, err
	}
	return t, nil
}

// checkTemplate checks the grant that would be made by it now.
func checkTemplate(t Template) error {
	if err := policy.CheckName(t.Name); err != nil {
		return refuse(ErrInvalid, "%v", err)
	}
	if t.Permanent && t.Length != 0 {
		return refuse(ErrInvalid, "a template makes permanent grants or those of a length, not both")
	}
	if t.Length%time.Microsecond != 0 {
		return refuse(ErrInvalid, "a length of %s cannot be kept", t.Length)
	}
	g := t.Options
	if g.Renew != 0 && g.Renew != t.Length {
		return refuse(ErrInvalid, "grants made by a template renew themselves by its length, %s, not by %s", policy.ExactDuration(t.Length), policy.ExactDuration(g.Renew))
	}
	g.Person, g.Server, g.Start = "somebody", "somewhere", g.Created
	if t.Length != 0 {
		g.End = g.Start.Add(t.Length)
	}
	return checkGrant(g)
}

// RemoveTemplate forgets a template. Grants made by it stay as they are.
func (s *Store) RemoveTemplate(ctx context.Context, by, name string) (t Template, err error) {
	missing := refuse(ErrNotFound, "there is no template %.80q", name)
	if policy.CheckName(name) != nil {
		return Template{}, missing
	}
	err = s.change(ctx, by, func(ctx context.Context, tx *sql.Tx) (deed, error) {
		t, err = one(ctx, tx, readTemplate, missing, "SELECT "+templateColumns+" FROM templates WHERE name = $1", name)
		if err != nil {
			return deed{}, err
		}
		_, err = tx.ExecContext(ctx, "DELETE FROM templates WHERE name = $1", name)
		return deed{action: "template.remove", object: "template " + name, detail: describeTemplate(t), was: knownTemplate(t)}, err
	})
	if err != nil {
		return Template{}, err
	}
	return t, nil
}

// Templates are all there are, by name.
func (s *Store) Templates(ctx context.Context) ([]Template, error) {
	var templates []Template
	err := s.reading(ctx, func(ctx context.Context, tx *sql.Tx) (err error) {
		templates, err = all(ctx, tx, readTemplate, "SELECT "+templateColumns+" FROM templates")
		return err
	})
	// Sorted here, because the order of text in SQL depends on the collation.
	slices.SortFunc(templates, func(a, b Template) int { return cmp.Compare(a.Name, b.Name) })
	return templates, err
}

func readTemplate(r row) (t Template, err error) {
	var forwarding, length, idle, created, entriesPer, renew, redirection int64
	var protocols, logins, schedules string
	g := &t.Options
	if err := r.Scan(&t.Name, &protocols, &logins, &forwarding, &length, &t.Permanent, &schedules, &idle, &g.MaxSessions, &g.Reason, &created, &g.CreatedBy,
		&g.MaxEntries.Most, &entriesPer, &renew, &redirection); err != nil {
		return Template{}, err
	}
	g.Protocols, g.Logins = fromLines[policy.Protocol](protocols), fromLines[string](logins)
	g.Forwarding, g.Redirection = policy.Forwarding(forwarding), policy.Redirection(redirection)
	g.Idle, g.MaxEntries.Per = time.Duration(idle)*time.Microsecond, time.Duration(entriesPer)*time.Microsecond
	g.Renew = time.Duration(renew) * time.Microsecond
	g.Created = moment(created)
	t.Length = time.Duration(length) * time.Microsecond
	if g.Schedules, err = parseScheduleLines(schedules); err != nil {
		return Template{}, fmt.Errorf("template %s: %w", t.Name, err)
	}
	return t, nil
}

// A templateFact is what the audit trail keeps of a template.
type templateFact struct {
	Name       string            `json:"name"`
	Protocols  []policy.Protocol `json:"protocols,omitempty"`
	Logins     []string          `json:"logins,omitempty"`
	Forwarding string            `json:"forwarding"`
	RDP        string            `json:"redirection,omitempty"`
	Length     string            `json:"length,omitempty"`
	Permanent  bool              `json:"permanent"`
	Schedules  []string          `json:"schedules,omitempty"`
	Idle       string            `json:"idle,omitempty"`
	Sessions   int               `json:"max_sessions,omitempty"`
	Reason     string            `json:"reason,omitempty"`
	CreatedBy  string            `json:"created_by"`
	Entries    string            `json:"max_entries,omitempty"`
	Renew      string            `json:"renew,omitempty"`
}

func knownTemplate(t Template) templateFact {
	g := t.Options
	return templateFact{
		Name: t.Name, Protocols: g.Protocols, Logins: g.Logins, Forwarding: g.Forwarding.String(), RDP: redirectionText(g.Redirection), Length: policy.ExactDuration(t.Length),
		Permanent: t.Permanent, Schedules: knownSchedules(g.Schedules), Idle: policy.ExactDuration(g.Idle), Sessions: g.MaxSessions,
		Reason: g.Reason, CreatedBy: g.CreatedBy, Entries: g.MaxEntries.String(), Renew: policy.ExactDuration(g.Renew),
	}
}

func describeTemplate(t Template) string {
	length := "of no certain length"
	switch {
	case t.Permanent:
		length = "permanent"
	case t.Length != 0:
		length = "for " + policy.ExactDuration(t.Length)
	}
	return length + describeOptions(t.Options)
}
