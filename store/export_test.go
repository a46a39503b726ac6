package store

import (
	"context"
	"database/sql"
	"strings"
	"testing"
	"time"
)

// Setting asks the database how a connection of the store is set.
func Setting(tb testing.TB, s *Store, name string) (value string) {
	tb.Helper()
	if err := s.write.QueryRowContext(tb.Context(), "SELECT current_setting($1)", name).Scan(&value); err != nil {
		tb.Fatal(err)
	}
	return value
}

// WriteAnew makes all hashes of the chain anew over what the rows say now.
func WriteAnew(ctx context.Context, s *Store) error {
	return s.writing(ctx, func(ctx context.Context, tx *sql.Tx) error {
		audits, err := all(ctx, tx, readAuditColumns, "SELECT "+auditColumns+" FROM audit ORDER BY link")
		if err != nil {
			return err
		}
		entries, err := all(ctx, tx, readEntryColumns, "SELECT "+entryColumns+" FROM entries ORDER BY link")
		if err != nil {
			return err
		}
		hash := ""
		for len(audits)+len(entries) > 0 {
			if len(entries) == 0 || len(audits) > 0 && audits[0].link < entries[0].link {
				hash = audits[0].sum(hash)
				_, err = tx.ExecContext(ctx, "UPDATE audit SET hash = $2 WHERE id = $1", audits[0].id, hash)
				audits = audits[1:]
			} else {
				hash = entries[0].sum(hash)
				_, err = tx.ExecContext(ctx, "UPDATE entries SET hash = $2 WHERE id = $1", entries[0].id, hash)
				entries = entries[1:]
			}
			if err != nil {
				return err
			}
		}
		return closeLink(ctx, tx, hash)
	})
}

// FirstSchema makes a database as it was before there was a chain.
func FirstSchema(ctx context.Context, s *Store) error {
	ms, err := migrationsFor(s.engine.name)
	if err != nil {
		return err
	}
	return s.writing(ctx, func(ctx context.Context, tx *sql.Tx) error { return ms[0].apply(ctx, tx) })
}

// OpenUnmigrated opens a database without bringing its schema up to date.
func OpenUnmigrated(url string) (*Store, error) {
	open := openSQLite
	if strings.HasPrefix(url, "postgres") {
		open = openPostgres
	}
	e, err := open(url)
	return &Store{engine: e, changed: make(chan struct{})}, err
}

// SmallSteps has searches go in steps of a few rows and stop after each, until
// the test ends: what is done for a million rows is then done for a hundred.
func SmallSteps(tb testing.TB, rows int) {
	first, long, least, time := firstStep, longStep, leastStep, searchTime
	firstStep, longStep, leastStep, searchTime = rows, rows, 1, 0
	tb.Cleanup(func() { firstStep, longStep, leastStep, searchTime = first, long, least, time })
}

// FillChain appends n denied entries and as many audit rows, in few
// transactions.
func FillChain(ctx context.Context, s *Store, n int) error {
	for n > 0 {
		some := min(n, 250) // PostgreSQL walks over every version of the head that a transaction made
		n -= some
		ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
		err := s.writing(ctx, func(ctx context.Context, tx *sql.Tx) error {
			for range some {
				err := insertEntry(ctx, tx, Entry{Time: time.Now(), Gate: "gate-1", Denial: "no-grant", Login: "root", Detail: "a denied entry as there are many"})
				if err == nil {
					err = writeDown(ctx, tx, "root", deed{action: "person.disable", object: "person alice", detail: "enabled → disabled", was: personFact{Name: "alice"}, became: personFact{Name: "alice", Disabled: true}})
				}
				if err != nil {
					return err
				}
			}
			return nil
		})
		cancel()
		if err != nil {
			return err
		}
	}
	return nil
}

// Keys, for who fills a database past the store.
var (
	AddrKey   = addrKey
	LengthKey = lengthKey
)
