package store

import (
	"context"
	"database/sql"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pawelmojski/inside/policy"
)

const grantColumns = `id, person, person_group, server, server_group, protocols, logins, source, forwarding,
	starts, ends, schedules, reason, revoked, created, created_by, idle, max_sessions, max_entries, entries_per, renew, renewed,
	approved, approved_by, authors, redirection, version`

// CreateGrant gives the id and the creation time. A zero Start is the moment
// of creation.
func (s *Store) CreateGrant(ctx context.Context, by string, g policy.Grant) (policy.Grant, error) {
	g.Created, g.CreatedBy, g.Authors = kept(time.Now()), by, []string{by}
	if g.Start.IsZero() {
		g.Start = g.Created
	}
	g.Start, g.End = kept(g.Start), kept(g.End)
	if err := checkGrant(g); err != nil {
		return policy.Grant{}, err
	}
	err := s.change(ctx, by, func(ctx context.Context, tx *sql.Tx) (deed, error) {
		became, err := knownGrant(ctx, tx, g)
		if err != nil {
			return deed{}, err
		}
		n, err := next(ctx, tx, "grant")
		if err != nil {
			return deed{}, err
		}
		g.ID = policy.GrantID(numberID(n))
		became.ID = g.ID
		_, err = tx.ExecContext(ctx, "INSERT INTO grants ("+grantColumns+`)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, 0, 0, '', $22, $23, 0)`,
			n, g.Person, g.PersonGroup, g.Server, g.ServerGroup,
			lines(g.Protocols), lines(g.Logins), prefixText(g.From), int64(g.Forwarding),
			micros(g.Start), micros(g.End), scheduleLines(g.Schedules), g.Reason, 0, micros(g.Created), g.CreatedBy,
			g.Idle.Microseconds(), g.MaxSessions, g.MaxEntries.Most, g.MaxEntries.Per.Microseconds(), g.Renew.Microseconds(), lines(g.Authors), int64(g.Redirection))
		if err == nil {
			g.Version, err = touched(ctx, tx, "grants", n, by)
		}
		return deed{
			action: "grant.create", object: "grant " + string(g.ID), detail: describeGrant(g, became.Who, became.Where),
			became: became,
		}, err
	})
	if err != nil {
		return policy.Grant{}, err
	}
	return g, nil
}

func checkGrant(g policy.Grant) error {
	if (g.Person == "") == (g.PersonGroup == "") {
		return refuse(ErrInvalid, "a grant is for a person or a person group: name one of them")
	}
	if (g.Server == "") == (g.ServerGroup == "") {
		return refuse(ErrInvalid, "a grant is for a server or a server group: name one of them")
	}
	for _, p := range g.Protocols {
		if err := checkProtocol(p); err != nil {
			return err
		}
	}
	for _, l := range g.Logins {
		if err := checkText("login", l, maxName); err != nil {
			return err
		}
	}
	if g.From != (netip.Prefix{}) {
		if err := checkPrefix("source address", g.From); err != nil {
			return err
		}
	}
	if g.Forwarding&^(policy.Local|policy.Remote|policy.Dynamic) != 0 {
		return refuse(ErrInvalid, "port forwarding %#b has unknown directions: use local, remote, dynamic", g.Forwarding)
	}
	if g.Redirection&^policy.AllRedirections != 0 {
		return refuse(ErrInvalid, "redirection %#b has unknown parts: use %s", g.Redirection, policy.AllRedirections)
	}
	for _, sch := range g.Schedules {
		if _, err := policy.ParseSchedule(sch.String(), sch.Zone()); err != nil || sch.Zone() == "" || sch.String() == "" {
			return refuse(ErrInvalid, "schedule %q in zone %q cannot be kept: make it with ParseSchedule", sch.String(), sch.Zone())
		}
	}
	if !g.Revoked.IsZero() {
		return refuse(ErrInvalid, "a grant cannot begin revoked")
	}
	if !g.Approved.IsZero() || g.ApprovedBy != "" {
		return refuse(ErrInvalid, "a grant cannot begin approved")
	}
	if g.Idle != 0 && (g.Idle < minIdle || g.Idle > maxIdle || g.Idle%time.Microsecond != 0) {
		return refuse(ErrInvalid, "an idle time of %s cannot be: use one from 10 seconds to 30 days", g.Idle)
	}
	if g.MaxSessions < 0 || g.MaxSessions > maxSessions {
		return refuse(ErrInvalid, "a grant cannot allow %d sessions at a time: use a number from 1 to %d", g.MaxSessions, maxSessions)
	}
	if rate, err := policy.ParseRate(g.MaxEntries.String()); g.MaxEntries != rate || err != nil && g.MaxEntries != (policy.Rate{}) {
		return refuse(ErrInvalid, "a grant cannot allow %d entries in %s: use a rate that ParseRate reads", g.MaxEntries.Most, g.MaxEntries.Per)
	}
	if err := checkRenewal(g); err != nil {
		return err
	}
	if err := checkMoment("start of the grant", g.Start); err != nil {
		return err
	}
	if err := checkEnd(g.Start, g.End); err != nil {
		return err
	}
	return checkOptional("reason", g.Reason, maxText)
}

// The idle times and the highest number of sessions that mean anything.
const (
	minIdle     = 10 * time.Second
	maxIdle     = 30 * 24 * time.Hour
	maxSessions = 10_000
)

func checkProtocol(p policy.Protocol) error {
	switch p {
	case policy.SSH, policy.RDP, policy.HTTP:
		return nil
	}
	return refuse(ErrInvalid, "%q is no protocol: use ssh, rdp or http", p)
}

func checkEnd(start, end time.Time) error {
	if end.IsZero() {
		return nil
	}
	if !end.After(start) {
		return refuse(ErrInvalid, "the grant would end at %s, not after its start at %s", clock(end), clock(start))
	}
	return checkMoment("end of the grant", end)
}

// parties names who and where, which must exist.
func parties(ctx context.Context, tx *sql.Tx, g policy.Grant) (who, where string, err error) {
	if g.Person != "" {
		p, err := person(ctx, tx, g.Person)
		if err != nil {
			return "", "", err
		}
		who = "person " + p.Name
	} else {
		pg, err := groupOf(ctx, tx, PersonGroup, g.PersonGroup)
		if err != nil {
			return "", "", err
		}
		who = "person group " + pg.Name
	}
	if g.Server != "" {
		v, err := server(ctx, tx, g.Server)
		return who, "server " + v.Name, err
	}
	sg, err := groupOf(ctx, tx, ServerGroup, g.ServerGroup)
	return who, "server group " + sg.Name, err
}

func describeGrant(g policy.Grant, who, where string) string {
	return fmt.Sprintf("%s to %s, from %s, %s", who, where, clock(g.Start), describeEnd(g.End)) + describeOptions(g)
}

// describeOptions says how and how much, each part behind a comma.
func describeOptions(g policy.Grant) string {
	var b strings.Builder
	for _, part := range []struct{ what, value string }{
		{"protocols", strings.ReplaceAll(lines(g.Protocols), "\n", " ")},
		{"logins", strings.Join(g.Logins, " ")},
		{"source", prefixText(g.From)},
		{"forwarding", g.Forwarding.String()},
		{"over RDP", redirectionText(g.Redirection)},
		{"idle", durationText(g.Idle)},
		{"sessions at a time", numberText(g.MaxSessions)},
		{"entries", g.MaxEntries.String()},
		{"renews itself by", durationText(g.Renew)},
		{"schedule", strings.ReplaceAll(scheduleLines(g.Schedules), "\n", " or ")},
		{"reason", g.Reason},
	} {
		if part.value != "" {
			fmt.Fprintf(&b, ", %s: %s", part.what, part.value)
		}
	}
	return b.String()
}

func durationText(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return policy.FormatDuration(d)
}

// redirectionText is empty for nothing, as most grants have it.
func redirectionText(r policy.Redirection) string {
	if r == 0 {
		return ""
	}
	return r.String()
}

func numberText(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

func describeEnd(end time.Time) string {
	if end.IsZero() {
		return "permanent"
	}
	return "until " + clock(end)
}

func clock(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// SetGrantEnd extends or shortens a grant; a zero end makes it permanent.
// base is the revision of the facts that whoever asks has seen: a grant that
// has changed since is ErrConflict, and so is a revoked one. A later end takes
// the approval away. Whoever gives an earlier end, or none at all, means it: the
// grant no longer renews itself.
func (s *Store) SetGrantEnd(ctx context.Context, by string, id policy.GrantID, base int64, end time.Time) error {
	end = kept(end)
	return s.change(ctx, by, func(ctx context.Context, tx *sql.Tx) (deed, error) {
		g, n, err := grantToChange(ctx, tx, id, base)
		if err != nil {
			return deed{}, err
		}
		if g.End.Equal(end) {
			return deed{}, errUnchanged
		}
		if err := checkEnd(g.Start, end); err != nil {
			return deed{}, err
		}
		renew := g.Renew
		if end.Before(g.End) { // permanent is the zero time
			renew = 0
		}
		now := extended(g, end, by)
		_, err = tx.ExecContext(ctx, "UPDATE grants SET ends = $2, renew = $3, approved = $4, approved_by = $5, authors = $6 WHERE id = $1",
			n, micros(end), renew.Microseconds(), micros(now.Approved), now.ApprovedBy, lines(now.Authors))
		if err != nil {
			return deed{}, err
		}
		if err := touch(ctx, tx, "grants", n, by); err != nil {
			return deed{}, err
		}
		detail := describeEnd(g.End) + " → " + describeEnd(end)
		if renew != g.Renew {
			detail += ", no longer renews itself"
		}
		if now.Approved.IsZero() && !g.Approved.IsZero() {
			detail += ", no longer approved"
		}
		return grantChanged(ctx, tx, "grant.end", g, detail, func(g *grantFact) {
			g.End, g.Renew, g.Approved, g.ApprovedBy = end, durationText(renew), now.Approved, now.ApprovedBy
		})
	})
}

// grantToChange reads a grant for a change by somebody who has seen the facts
// of the revision base.
func grantToChange(ctx context.Context, tx *sql.Tx, id policy.GrantID, base int64) (policy.Grant, int64, error) {
	g, err := grant(ctx, tx, id)
	if err != nil {
		return policy.Grant{}, 0, err
	}
	if !g.Revoked.IsZero() {
		return policy.Grant{}, 0, refuse(ErrConflict, "grant %s was revoked at %s: create a new one", id, clock(g.Revoked))
	}
	n, _ := idNumber(string(id))
	return g, n, upToDate(ctx, tx, "grants", n, "grant "+string(id), base)
}

// RevokeGrant revokes, whatever has changed meanwhile: shutting a door must
// never fail for being late. Revoking twice is ErrConflict.
func (s *Store) RevokeGrant(ctx context.Context, by string, id policy.GrantID, now time.Time) error {
	if err := checkMoment("time of the revocation", now); err != nil {
		return err
	}
	return s.change(ctx, by, func(ctx context.Context, tx *sql.Tx) (deed, error) {
		g, err := grant(ctx, tx, id)
		if err != nil {
			return deed{}, err
		}
		if !g.Revoked.IsZero() {
			return deed{}, refuse(ErrConflict, "grant %s was revoked already, at %s", id, clock(g.Revoked))
		}
		n, _ := idNumber(string(id))
		if _, err := tx.ExecContext(ctx, "UPDATE grants SET revoked = $2 WHERE id = $1", n, micros(now)); err != nil {
			return deed{}, err
		}
		if err := touch(ctx, tx, "grants", n, by); err != nil {
			return deed{}, err
		}
		detail := describeEnd(g.End) + " → revoked at " + clock(now)
		return grantChanged(ctx, tx, "grant.revoke", g, detail, func(g *grantFact) { g.Revoked = kept(now) })
	})
}

// grantChanged is the deed of changing g as change does.
func grantChanged(ctx context.Context, tx *sql.Tx, action string, g policy.Grant, detail string, change func(*grantFact)) (deed, error) {
	was, err := knownGrant(ctx, tx, g)
	became := was
	change(&became)
	return deed{action: action, object: "grant " + string(g.ID), detail: detail, was: was, became: became}, err
}

func grant(ctx context.Context, tx *sql.Tx, id policy.GrantID) (policy.Grant, error) {
	missing := refuse(ErrNotFound, "there is no grant %s", id)
	n, ok := idNumber(string(id))
	if !ok {
		return policy.Grant{}, missing
	}
	return one(ctx, tx, newGrantReader().read, missing, "SELECT "+grantColumns+" FROM grants WHERE id = $1", n)
}

// A grantReader reads rows of grants. There may be a hundred thousand after
// each change of facts, most with the same few lists and schedules, so it
// keeps what it parsed, and the places that rows are read into.
type grantReader struct {
	g                                              policy.Grant
	id, starts, ends, revoked, created, forwarding int64
	idle, entriesPer, renew, renewed, approved     int64
	protocols, logins, source, schedules, authors  string
	redirection                                    int64
	places                                         []any

	knownProtocols map[string][]policy.Protocol
	knownNames     map[string][]string // logins and authors
	knownSchedules map[string][]policy.Schedule
}

func newGrantReader() *grantReader {
	r := &grantReader{
		knownProtocols: map[string][]policy.Protocol{},
		knownNames:     map[string][]string{},
		knownSchedules: map[string][]policy.Schedule{},
	}
	r.places = []any{&r.id, &r.g.Person, &r.g.PersonGroup, &r.g.Server, &r.g.ServerGroup, &r.protocols, &r.logins, &r.source, &r.forwarding,
		&r.starts, &r.ends, &r.schedules, &r.g.Reason, &r.revoked, &r.created, &r.g.CreatedBy, &r.idle, &r.g.MaxSessions,
		&r.g.MaxEntries.Most, &r.entriesPer, &r.renew, &r.renewed, &r.approved, &r.g.ApprovedBy, &r.authors, &r.redirection, &r.g.Version}
	return r
}

func (r *grantReader) read(from row) (policy.Grant, error) {
	if err := from.Scan(r.places...); err != nil {
		return policy.Grant{}, err
	}
	g := &r.g
	g.ID = policy.GrantID(numberID(r.id))
	g.Forwarding, g.Redirection = policy.Forwarding(r.forwarding), policy.Redirection(r.redirection)
	g.Idle, g.MaxEntries.Per = time.Duration(r.idle)*time.Microsecond, time.Duration(r.entriesPer)*time.Microsecond
	g.Renew, g.Renewed = time.Duration(r.renew)*time.Microsecond, moment(r.renewed)
	g.Start, g.End, g.Revoked, g.Created = moment(r.starts), moment(r.ends), moment(r.revoked), moment(r.created)
	g.Approved = moment(r.approved)
	var err error
	if g.From, err = parsePrefix(r.source); err != nil {
		return policy.Grant{}, fmt.Errorf("grant %d: %w", r.id, err)
	}
	if g.Schedules, err = known(r.knownSchedules, r.schedules, parseScheduleLines); err != nil {
		return policy.Grant{}, fmt.Errorf("grant %d: %w", r.id, err)
	}
	g.Protocols, _ = known(r.knownProtocols, r.protocols, asLines[policy.Protocol])
	g.Logins, _ = known(r.knownNames, r.logins, asLines[string])
	g.Authors, _ = known(r.knownNames, r.authors, asLines[string])
	return *g, nil
}

// asLines is fromLines as known wants it.
func asLines[S ~string](text string) ([]S, error) { return fromLines[S](text), nil }

// known parses a text, or finds what it was parsed to before. The slices are
// shared between grants: facts are not to be changed by who gets them.
func known[T any](before map[string][]T, text string, parse func(string) ([]T, error)) ([]T, error) {
	if ts, ok := before[text]; ok {
		return ts, nil
	}
	ts, err := parse(text)
	if err == nil {
		ts = slices.Clip(ts)
		before[text] = ts
	}
	return ts, err
}
