package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// A thing of the facts has a version: the revision that changed it last.

// touch gives a thing the version of the change that is being made. Every
// change of a row of the facts, or of one that belongs to it (an address, a
// membership), ends with it: who knows an older revision reads only what was
// touched since, see FactsSince.
func touch(ctx context.Context, tx *sql.Tx, table string, id any, by string) error {
	_, err := touched(ctx, tx, table, id, by)
	return err
}

// touched is touch and tells the version.
func touched(ctx context.Context, tx *sql.Tx, table string, id any, by string) (int64, error) {
	return number(tx.QueryRowContext(ctx, "UPDATE "+table+` SET version = (SELECT n FROM counters WHERE name = 'revision'),
		changed = $2, changed_by = $3 WHERE id = $1 RETURNING version`, id, micros(time.Now()), readable(by, maxName)))
}

// upToDate refuses a change whose author saw the facts of an older revision
// than the one that changed the thing last, and says who did that.
func upToDate(ctx context.Context, tx *sql.Tx, table string, id any, what string, base int64) error {
	var version, changed int64
	var by string
	err := tx.QueryRowContext(ctx, "SELECT version, changed, changed_by FROM "+table+" WHERE id = $1", id).Scan(&version, &changed, &by)
	switch {
	case err != nil:
		return fmt.Errorf("version of %s: %w", what, err)
	case version <= base:
		return nil
	}
	return refuse(ErrConflict, "%s has changed since you looked at it: %s did that at %s", what, by, clock(moment(changed)))
}
