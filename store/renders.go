package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/pawelmojski/inside/policy"
)

// A RenderState is where a video stands.
type RenderState string

const (
	RenderQueued  RenderState = "queued"
	RenderRunning RenderState = "running"
	RenderDone    RenderState = "done"
	RenderFailed  RenderState = "failed"
)

// RenderAttempts is how often making a video is tried before it has failed.
const RenderAttempts = 3

// A Render is a video that is to be made of the recording of a session, or
// was.
type Render struct {
	Session  policy.SessionID
	Gate     string // that has the recording
	State    RenderState
	Attempts int
	Progress float64 // of the last attempt, 0 to 1
	Asked    time.Time
	By       string
	Began    time.Time // the last attempt
	Ended    time.Time // that
	Detail   string    // why it failed, or what the video does not show
}

const renderColumns = "session, gate, state, attempts, done_mille, asked, asked_by, began, ended, detail"

// AskRender puts the video of a session into the queue of its gate. One that
// waits or runs stays as it is, one that failed gets all its attempts again;
// one that is done is made again only if anew says so.
func (s *Store) AskRender(ctx context.Context, by string, se policy.Session, now time.Time, anew bool) (r Render, err error) {
	if err := checkText("who asks for the video", by, maxName); err != nil {
		return r, err
	}
	if err := checkMoment("time of the request", now); err != nil {
		return r, err
	}
	err = s.writing(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if _, err := one(ctx, tx, text, noSession(string(se.ID)), "SELECT id FROM sessions WHERE id = $1", se.ID); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, "INSERT INTO renders ("+renderColumns+`) VALUES ($1, $2, 'queued', 0, 0, $3, $4, 0, 0, '')
			ON CONFLICT (session) DO UPDATE SET state = 'queued', attempts = 0, done_mille = 0, asked = excluded.asked, asked_by = excluded.asked_by, began = 0, ended = 0, detail = ''
			WHERE renders.state = 'failed' OR renders.state = 'done' AND $5`, se.ID, se.Gate, micros(now), by, anew)
		if err != nil {
			return err
		}
		if r, err = one(ctx, tx, readRender, noRender(se.ID), "SELECT "+renderColumns+" FROM renders WHERE session = $1", se.ID); err != nil {
			return err
		}
		return writeDown(ctx, tx, by, deed{action: "video.ask", object: "session " + string(se.ID), detail: "it is " + string(r.State)})
	})
	return r, err
}

func noRender(id policy.SessionID) error {
	return refuse(ErrNotFound, "nobody has asked for a video of session %.8s", id)
}

// Render finds the video of a session.
func (s *Store) Render(ctx context.Context, id policy.SessionID) (r Render, err error) {
	err = s.reading(ctx, func(ctx context.Context, tx *sql.Tx) (err error) {
		r, err = one(ctx, tx, readRender, noRender(id), "SELECT "+renderColumns+" FROM renders WHERE session = $1", id)
		return err
	})
	return r, err
}

// NextRender takes the video that has waited longest out of a gate's queue;
// ErrNotFound says that none waits.
func (s *Store) NextRender(ctx context.Context, gate string, now time.Time) (r Render, err error) {
	err = s.writing(ctx, func(ctx context.Context, tx *sql.Tx) (err error) {
		r, err = one(ctx, tx, readRender, refuse(ErrNotFound, "no video waits"), `UPDATE renders SET state = 'running', attempts = attempts + 1, done_mille = 0, began = $2, ended = 0
			WHERE session = (SELECT session FROM renders WHERE gate = $1 AND state = 'queued' ORDER BY asked, session LIMIT 1) AND state = 'queued'
			RETURNING `+renderColumns, gate, micros(now))
		return err
	})
	return r, err
}

// RendersWaiting counts the videos of a gate that wait or are being made.
func (s *Store) RendersWaiting(ctx context.Context, gate string) (int, error) {
	var n int64
	err := s.reading(ctx, func(ctx context.Context, tx *sql.Tx) (err error) {
		n, err = number(tx.QueryRowContext(ctx, `SELECT (SELECT COUNT(*) FROM renders WHERE gate = $1 AND state = 'queued')
			+ (SELECT COUNT(*) FROM renders WHERE gate = $1 AND state = 'running')`, gate))
		return err
	})
	return int(n), err
}

// RenderProgress says how far a running video is, 0 to 1.
func (s *Store) RenderProgress(ctx context.Context, id policy.SessionID, progress float64) error {
	mille := int64(min(max(progress, 0), 1) * 1000)
	return s.writing(ctx, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "UPDATE renders SET done_mille = $2 WHERE session = $1 AND state = 'running'", id, mille)
		return err
	})
}

// RenderMade says that a running video is done; what names what it does not
// show.
func (s *Store) RenderMade(ctx context.Context, id policy.SessionID, what string, now time.Time) error {
	return s.writing(ctx, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "UPDATE renders SET state = 'done', done_mille = 1000, ended = $2, detail = $3 WHERE session = $1 AND state = 'running'",
			id, micros(now), readable(what, maxDetail))
		return err
	})
}

// RenderBroke says that an attempt failed. It is tried again until
// RenderAttempts are used up.
func (s *Store) RenderBroke(ctx context.Context, id policy.SessionID, why string, now time.Time) error {
	return s.writing(ctx, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE renders SET state = CASE WHEN attempts < $4 THEN 'queued' ELSE 'failed' END, ended = $2, detail = $3
			WHERE session = $1 AND state = 'running'`, id, micros(now), readable(why, maxDetail), RenderAttempts)
		return err
	})
}

// RequeueRenders puts what a gate was at when it stopped back into its queue.
// A video that the gate crashed over as often as it may be tried has failed.
// With unharmed the attempts that were cut off do not count. It returns the
// sessions whose videos those are.
func (s *Store) RequeueRenders(ctx context.Context, gate string, now time.Time, unharmed bool) (cut []string, err error) {
	err = s.writing(ctx, func(ctx context.Context, tx *sql.Tx) (err error) {
		if unharmed {
			cut, err = all(ctx, tx, text, "UPDATE renders SET state = 'queued', attempts = attempts - 1 WHERE gate = $1 AND state = 'running' RETURNING session", gate)
			return err
		}
		cut, err = all(ctx, tx, text, `UPDATE renders SET state = CASE WHEN attempts < $3 THEN 'queued' ELSE 'failed' END, ended = $2, detail = 'the gate stopped while it was made'
			WHERE gate = $1 AND state = 'running' RETURNING session`, gate, micros(now), RenderAttempts)
		return err
	})
	return cut, err
}

// OldestRender is the video of a gate that was done first; ErrNotFound says
// that none is.
func (s *Store) OldestRender(ctx context.Context, gate string) (r Render, err error) {
	err = s.reading(ctx, func(ctx context.Context, tx *sql.Tx) (err error) {
		r, err = one(ctx, tx, readRender, refuse(ErrNotFound, "there is no video"),
			"SELECT "+renderColumns+" FROM renders WHERE gate = $1 AND state = 'done' ORDER BY ended, session LIMIT 1", gate)
		return err
	})
	return r, err
}

// ForgetRender says that a video that was done is not there any more: it can
// be asked for again.
func (s *Store) ForgetRender(ctx context.Context, id policy.SessionID) error {
	return s.writing(ctx, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "DELETE FROM renders WHERE session = $1 AND state = 'done'", id)
		return err
	})
}

func readRender(row row) (r Render, err error) {
	var mille, asked, began, ended int64
	if err := row.Scan(&r.Session, &r.Gate, &r.State, &r.Attempts, &mille, &asked, &r.By, &began, &ended, &r.Detail); err != nil {
		return Render{}, err
	}
	r.Progress = float64(mille) / 1000
	r.Asked, r.Began, r.Ended = moment(asked), moment(began), moment(ended)
	return r, nil
}
