package store

import (
	"context"
	"database/sql"

	"github.com/pawelmojski/inside/policy"
)

// A gate that cannot reach the database keeps what it has to write down in a
// spool of its own, as numbered lines. Whether a line was written before the
// connection broke it cannot know; the database does, since the number goes
// into the same transaction.

// OpenSpool returns the number of the last line of a spool that is written
// down; 0 for a new one. The id is the spool's own and not the gate's name: two
// gates that were given one name must not take each other's lines for written.
func (s *Store) OpenSpool(ctx context.Context, id, gate string) (n int64, err error) {
	if err := checkText("id of the spool", id, maxName); err != nil {
		return 0, err
	}
	if err := checkText("gate of the spool", gate, maxName); err != nil {
		return 0, err
	}
	err = s.writing(ctx, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "INSERT INTO spools (id, gate, n) VALUES ($1, $2, 0) ON CONFLICT (id) DO NOTHING", id, gate)
		if err != nil {
			return err
		}
		n, err = number(tx.QueryRowContext(ctx, "SELECT n FROM spools WHERE id = $1", id))
		return err
	})
	return n, err
}

// Once has write, which calls one method of the store that writes, do so only
// if the line has not been written yet. Lines are written in the order of
// their numbers.
func (s *Store) Once(ctx context.Context, spool string, line int64, write func(context.Context) error) error {
	return write(context.WithValue(ctx, onceKey{}, spoolLine{spool, line}))
}

type onceKey struct{}

type spoolLine struct {
	spool string
	n     int64
}

// first puts the number of a line before what is written by it, and leaves out
// what was written already.
func (l spoolLine) first(f func(context.Context, *sql.Tx) error) func(context.Context, *sql.Tx) error {
	return func(ctx context.Context, tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, "UPDATE spools SET n = $2 WHERE id = $1 AND n < $2", l.spool, l.n)
		if err != nil {
			return err
		}
		if fresh, err := res.RowsAffected(); err != nil || fresh == 0 {
			return err
		}
		return f(ctx, tx)
	}
}

func readableIdentity(i policy.Identity) policy.Identity {
	return policy.Identity{Account: readable(i.Account, maxText), Node: readable(i.Node, maxText)}
}

// Readable is the entry as it will be kept: what strangers may have chosen,
// its protocol, login, identity and detail, made readable and bounded.
func (e Entry) Readable() Entry {
	e.Protocol = policy.Protocol(readable(string(e.Protocol), maxName))
	e.Login, e.Detail = readable(e.Login, maxText), readable(e.Detail, maxDetail)
	e.Identity = readableIdentity(e.Identity)
	return e
}
