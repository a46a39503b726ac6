package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"strconv"
	"strings"
	"time"
)

// An AuditRow is one line of the audit trail, append-only: the database
// itself refuses to change or delete one. Ids are given without gaps.
type AuditRow struct {
	ID     int64
	Time   time.Time
	By     string
	Action string // "grant.revoke", "rules.repaired", …
	Object string // "grant 42"
	Detail string
	Was    string // the thing before, JSON; "" if there was none
	Became string // the thing after, JSON; "" if there is none
	Link   int64  // its place in the chain
	Hash   string // of this link, hexadecimal
}

const auditColumns = "id, at, actor, action, object, detail, was, became, link, hash"

// Audit appends a row of its own; the methods that change facts write theirs
// in the same transaction as the change.
func (s *Store) Audit(ctx context.Context, by, action, object, detail string) error {
	return s.note(ctx, by, deed{action: action, object: object, detail: detail})
}

// AuditChange appends a row about a thing that the store does not keep, with
// the thing before and after; nil is none. It must hold no secret.
func (s *Store) AuditChange(ctx context.Context, by, action, object, detail string, was, became any) error {
	return s.note(ctx, by, deed{action: action, object: object, detail: detail, was: was, became: became})
}

// AuditState appends a row if the thing is not as the last row of this action
// and object left it.
func (s *Store) AuditState(ctx context.Context, by, action, object, detail string, is any) error {
	became, err := canonical(is)
	if err != nil {
		return err
	}
	return s.writing(ctx, func(ctx context.Context, tx *sql.Tx) error {
		last, err := one(ctx, tx, text, nil, "SELECT became FROM audit WHERE object = $1 AND action = $2 ORDER BY id DESC LIMIT 1", object, action)
		if err != nil || last == became {
			return err
		}
		d := deed{action: action, object: object, detail: detail, became: is}
		if last != "" {
			d.was = json.RawMessage(last)
		}
		return writeDown(ctx, tx, by, d)
	})
}

// note appends a row in a transaction of its own.
func (s *Store) note(ctx context.Context, by string, d deed) error {
	if err := checkText("who did it", by, maxName); err != nil {
		return err
	}
	if err := checkText("action", d.action, maxName); err != nil {
		return err
	}
	return s.writing(ctx, func(ctx context.Context, tx *sql.Tx) error {
		return writeDown(ctx, tx, by, d)
	})
}

// auditRow are the columns of a row as they lie in the table.
type auditRow struct {
	id, at                                     int64
	actor, action, object, detail, was, became string
	link                                       int64
	hash                                       string
}

// sum is the hash the row must have behind prev.
func (a auditRow) sum(prev string) string {
	return linkHash(prev, "audit", a.link, a.id, a.at, a.actor, a.action, a.object, a.detail, a.was, a.became)
}

// writeDown is the last statement of its transaction, because it holds the
// lock that every other one needs.
func writeDown(ctx context.Context, tx *sql.Tx, by string, d deed) error {
	was, err := canonical(d.was)
	if err != nil {
		return err
	}
	became, err := canonical(d.became)
	if err != nil {
		return err
	}
	p, err := nextPlace(ctx, tx, nextAudit)
	if err != nil {
		return err
	}
	a := auditRow{
		id: p.id, at: micros(time.Now()), link: p.link, was: was, became: became,
		actor: readable(by, maxName), action: readable(d.action, maxName),
		object: readable(d.object, maxText), detail: readable(d.detail, maxDetail),
	}
	a.hash = a.sum(p.prev)
	_, err = tx.ExecContext(ctx, "INSERT INTO audit ("+auditColumns+") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
		a.id, a.at, a.actor, a.action, a.object, a.detail, a.was, a.became, a.link, a.hash)
	if err != nil {
		return err
	}
	return closeLink(ctx, tx, a.hash)
}

// AuditFilter limits AuditRows; zero fields limit nothing.
type AuditFilter struct {
	By     string
	Action string // "grant.revoke", or "grant" for all that begin so
	Object string // "grant 42"
	From   time.Time
	Until  time.Time // exclusive
	Before int64     // only rows older than this one
	Limit  int       // 0: 100
}

// AuditRows, newest first.
func (s *Store) AuditRows(ctx context.Context, f AuditFilter) ([]AuditRow, error) {
	// The query is put together, as in Sessions, so that indexes serve it.
	var where []string
	args := []any{limitOr100(f.Limit)}
	only := func(condition string, values ...any) {
		for _, v := range values {
			args = append(args, v)
			condition = strings.Replace(condition, "#", "$"+strconv.Itoa(len(args)), 1)
		}
		where = append(where, condition)
	}
	if f.By != "" {
		only("actor = #", f.By)
	}
	if f.Object != "" {
		only("object = #", f.Object)
	}
	switch noun := f.Action + "."; {
	case f.Action == "":
	case strings.Contains(f.Action, "."):
		only("action = #", f.Action)
	default:
		only("substr(action, 1, #) = #", len(noun), noun)
	}
	if !f.From.IsZero() {
		only("at >= #", micros(f.From))
	}
	if !f.Until.IsZero() {
		only("at < #", micros(f.Until))
	}
	if f.Before != 0 {
		only("id < #", f.Before)
	}
	query := "SELECT " + auditColumns + " FROM audit"
	if where != nil {
		query += " WHERE " + strings.Join(where, " AND ")
	}
	query += " ORDER BY id DESC LIMIT $1"
	var rows []AuditRow
	err := s.reading(ctx, func(ctx context.Context, tx *sql.Tx) (err error) {
		rows, err = all(ctx, tx, readAuditRow, query, args...)
		return err
	})
	return rows, err
}

func readAuditColumns(r row) (a auditRow, err error) {
	return a, r.Scan(&a.id, &a.at, &a.actor, &a.action, &a.object, &a.detail, &a.was, &a.became, &a.link, &a.hash)
}

func readAuditRow(r row) (AuditRow, error) {
	a, err := readAuditColumns(r)
	return a.public(), err
}

func (a auditRow) public() AuditRow {
	return AuditRow{
		ID: a.id, Time: moment(a.at), By: a.actor, Action: a.action, Object: a.object, Detail: a.detail,
		Was: a.was, Became: a.became, Link: a.link, Hash: a.hash,
	}
}

func limitOr100(limit int) int {
	if limit <= 0 {
		return 100
	}
	return limit
}
