package store

import (
	"context"
	"database/sql"
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
}

const auditColumns = "id, at, actor, action, object, detail"

// Audit appends a row of its own; the methods that change facts write theirs
// in the same transaction as the change.
func (s *Store) Audit(ctx context.Context, by, action, object, detail string) error {
	if err := checkText("who did it", by, maxName); err != nil {
		return err
	}
	if err := checkText("action", action, maxName); err != nil {
		return err
	}
	return s.writing(ctx, func(ctx context.Context, tx *sql.Tx) error {
		return writeDown(ctx, tx, by, deed{action, object, detail})
	})
}

// writeDown is the last statement of its transaction, because it holds the
// counter that every other one needs.
func writeDown(ctx context.Context, tx *sql.Tx, by string, d deed) error {
	id, err := next(ctx, tx, "audit")
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, "INSERT INTO audit ("+auditColumns+") VALUES ($1, $2, $3, $4, $5, $6)",
		id, micros(time.Now()), readable(by, maxName), readable(d.action, maxName), readable(d.object, maxText), readable(d.detail, maxDetail))
	return err
}

// AuditRows, newest first; limit 0 is 100.
func (s *Store) AuditRows(ctx context.Context, limit int) ([]AuditRow, error) {
	var rows []AuditRow
	err := s.reading(ctx, func(ctx context.Context, tx *sql.Tx) (err error) {
		rows, err = all(ctx, tx, readAuditRow, "SELECT "+auditColumns+" FROM audit ORDER BY id DESC LIMIT $1", limitOr100(limit))
		return err
	})
	return rows, err
}

func readAuditRow(r row) (a AuditRow, err error) {
	var at int64
	err = r.Scan(&a.ID, &at, &a.By, &a.Action, &a.Object, &a.Detail)
	a.Time = moment(at)
	return a, err
}

func limitOr100(limit int) int {
	if limit <= 0 {
		return 100
	}
	return limit
}
