package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

const (
	patience    = 30 * time.Second // of a call whose context has no deadline
	maxAttempts = 20               // of a transaction that others are in the way of
	firstPause  = 5 * time.Millisecond
	longPause   = 200 * time.Millisecond
)

func patient(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, patience)
}

// reading runs f in a transaction that sees one state of the database.
func (s *Store) reading(ctx context.Context, f func(context.Context, *sql.Tx) error) error {
	if s.broken.Load() != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, brokenPatience)
		defer cancel()
	}
	return s.repeat(ctx, s.read, &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true}, f)
}

// writing runs f in a transaction that changes something. On SQLite it holds
// the one write lock from its beginning. On PostgreSQL it is READ COMMITTED:
// what must not happen twice is guarded by a row lock or a unique index, taken
// first, and every later statement sees what was committed before it.
func (s *Store) writing(ctx context.Context, f func(context.Context, *sql.Tx) error) error {
	if err := s.broken.Load(); err != nil {
		return err
	}
	if line, ok := ctx.Value(onceKey{}).(spoolLine); ok {
		f = line.first(f)
	}
	return s.repeat(ctx, s.write, &sql.TxOptions{}, f)
}

// repeat attempts a transaction again while others are in its way.
func (s *Store) repeat(ctx context.Context, db *sql.DB, opts *sql.TxOptions, f func(context.Context, *sql.Tx) error) error {
	ctx, cancel := patient(ctx)
	defer cancel()
	pause := firstPause
	for attempt := 1; ; attempt++ {
		err := s.attempt(ctx, db, opts, f)
		if err == nil || attempt == maxAttempts || !s.contended(err) {
			return s.explain(ctx, err)
		}
		select {
		case <-ctx.Done():
			return s.explain(ctx, err)
		case <-time.After(pause):
		}
		pause = min(2*pause, longPause)
	}
}

func (s *Store) attempt(ctx context.Context, db *sql.DB, opts *sql.TxOptions, f func(context.Context, *sql.Tx) error) error {
	if s.usable != nil {
		if err := s.usable(); err != nil {
			return err
		}
	}
	tx, err := db.BeginTx(ctx, opts)
	if err != nil {
		return err
	}
	if err := f(ctx, tx); err != nil {
		_ = tx.Rollback() // the first error counts
		return err
	}
	return tx.Commit()
}

// explain names the database in its own errors and the context where it was
// the reason.
func (s *Store) explain(ctx context.Context, err error) error {
	if _, ok := errors.AsType[*refusal](err); ok || err == nil {
		return err
	}
	if ended := ctx.Err(); ended != nil && !errors.Is(err, ended) {
		return fmt.Errorf("database %s: %w (%w)", s.database, ended, err)
	}
	return fmt.Errorf("database %s: %w", s.database, err)
}

// errUnchanged leaves a change without a trace: everything was so already.
var errUnchanged = errors.New("nothing to change")

// A deed is what the audit trail says about a change. was and became are the
// thing before and after, as people know it (see known.go): they are kept as
// JSON, nil where there was or is nothing. No secret is ever in one.
type deed struct {
	action      string // "person.disable"
	object      string // "person alice"
	detail      string // "enabled → disabled"
	was, became any    // personFact{…}
}

// change runs f in a transaction that changes facts: it moves the revision on
// and writes the deed down. The revision comes first, since its row lock lets
// only one change at a time through, whichever gate it comes from; what f
// checks is still so when it commits.
func (s *Store) change(ctx context.Context, by string, f func(context.Context, *sql.Tx) (deed, error)) error {
	if err := checkText("who makes the change", by, maxName); err != nil {
		return err
	}
	err := s.writing(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if _, err := next(ctx, tx, "revision"); err != nil {
			return err
		}
		d, err := f(ctx, tx)
		if err != nil {
			return err
		}
		return writeDown(ctx, tx, by, d)
	})
	if errors.Is(err, errUnchanged) {
		return nil
	}
	if err == nil {
		s.announce()
	}
	return err
}

// next counts one further and holds the counter until the transaction ends.
// A number that was rolled back is given again, one that was committed never.
func next(ctx context.Context, tx *sql.Tx, counter string) (int64, error) {
	var n int64
	err := tx.QueryRowContext(ctx, "UPDATE counters SET n = n + 1 WHERE name = $1 RETURNING n", counter).Scan(&n)
	return n, err
}

// A row is one row of a result, whether of one or of many.
type row interface{ Scan(dest ...any) error }

// each runs a query and gives every row to read.
func each(ctx context.Context, tx *sql.Tx, read func(row) error, query string, args ...any) error {
	rows, err := tx.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := read(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// all runs a query and reads every row.
func all[T any](ctx context.Context, tx *sql.Tx, read func(row) (T, error), query string, args ...any) ([]T, error) {
	var ts []T
	err := each(ctx, tx, func(r row) error {
		t, err := read(r)
		ts = append(ts, t)
		return err
	}, query, args...)
	if err != nil {
		return nil, err
	}
	return ts, nil
}

// one runs a query of at most one row; missing is the error when there is none.
func one[T any](ctx context.Context, tx *sql.Tx, read func(row) (T, error), missing error, query string, args ...any) (T, error) {
	t, err := read(tx.QueryRowContext(ctx, query, args...))
	if errors.Is(err, sql.ErrNoRows) {
		return t, missing
	}
	return t, err
}

// text reads a row of one text column.
func text(r row) (s string, err error) { return s, r.Scan(&s) }

// number reads a row of one number.
func number(r row) (n int64, err error) { return n, r.Scan(&n) }
