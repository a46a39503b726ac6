package store

import (
	"context"
	"database/sql"

	"github.com/pawelmojski/inside/policy"
)

// ActionSealed is the action of the audit rows that seal recordings: what
// became holds what the caller knows of the files.
const ActionSealed = "recording.sealed"

// Unsealed are sessions of a gate that have ended and whose recordings are not
// sealed into the chain yet, the oldest first.
func (s *Store) Unsealed(ctx context.Context, gate string, limit int) ([]policy.Session, error) {
	var sessions []policy.Session
	err := s.reading(ctx, func(ctx context.Context, tx *sql.Tx) (err error) {
		sessions, err = all(ctx, tx, readSession, "SELECT "+sessionColumns+` FROM sessions
			WHERE gate = $1 AND sealed = false AND ended <> 0 ORDER BY started LIMIT $2`, gate, limit)
		return err
	})
	return sessions, err
}

// Seal writes down what the files of a session are, once; later seals of the
// same session are not kept.
func (s *Store) Seal(ctx context.Context, se policy.Session, detail string, seal any) error {
	return s.writing(ctx, func(ctx context.Context, tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, "UPDATE sessions SET sealed = true WHERE id = $1 AND sealed = false AND ended <> 0", se.ID)
		if err != nil {
			return err
		}
		if sealed, err := res.RowsAffected(); err != nil || sealed == 0 {
			return err
		}
		return writeDown(ctx, tx, gateActor(se.Gate), deed{action: ActionSealed, object: "session " + string(se.ID), detail: detail, became: seal})
	})
}
