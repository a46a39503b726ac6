package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/pawelmojski/inside/policy"
)

// ActionRemoved is the action of the audit rows that tell of recordings that
// were removed; their detail says why.
const ActionRemoved = "recording.removed"

// RemoveRecording writes down, once, that a gate removes the recording of a
// session, and forgets the video that was asked for. Call it before the files
// go: what is not written down stays. A session that has not ended, or whose
// recording is not sealed yet, is ErrConflict.
func (s *Store) RemoveRecording(ctx context.Context, gate string, id policy.SessionID, why string, now time.Time) error {
	if err := checkMoment("time of the removal", now); err != nil {
		return err
	}
	return s.writing(ctx, func(ctx context.Context, tx *sql.Tx) error {
		was, err := one(ctx, tx, number, noSession(string(id)), "SELECT removed FROM sessions WHERE id = $1", id)
		if err != nil || was != 0 {
			return err
		}
		res, err := tx.ExecContext(ctx, "UPDATE sessions SET removed = $2 WHERE id = $1 AND removed = 0 AND ended <> 0 AND sealed = true", id, micros(now))
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil {
			return err
		} else if n == 0 {
			return refuse(ErrConflict, "session %s has not ended, or its recording is not sealed yet", id)
		}
		if _, err := tx.ExecContext(ctx, "DELETE FROM renders WHERE session = $1", id); err != nil {
			return err
		}
		return writeDown(ctx, tx, gateActor(gate), deed{action: ActionRemoved, object: "session " + string(id), detail: why})
	})
}

// WhyRemoved is what the record says of the removal of a session's recording;
// "" if it was not removed.
func (s *Store) WhyRemoved(ctx context.Context, id policy.SessionID) (why string, err error) {
	err = s.reading(ctx, func(ctx context.Context, tx *sql.Tx) (err error) {
		// Not by the index of actions, of which SQLite thinks as much: a session
		// has few rows, removals are many.
		why, err = one(ctx, tx, text, nil, "SELECT detail FROM audit WHERE object = $1 AND action || '' = $2 ORDER BY id DESC LIMIT 1",
			"session "+string(id), ActionRemoved)
		return err
	})
	return why, err
}
