package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/pawelmojski/inside/policy"
)

const stayColumns = "id, person, grant_id, started, ended, cause"

// joinOrStart returns the open stay of a person under a grant, starting one
// where there is none. The partial unique index open_stays lets only one be
// open; the stay's row stays locked until the transaction ends, so that it
// cannot be ended between here and the session that is written next.
func joinOrStart(ctx context.Context, tx *sql.Tx, person policy.PersonID, grant int64, now time.Time) (stay int64, joined bool, err error) {
	// Writing a value over itself takes the row lock in SQL that both engines
	// understand; an open stay has no cause yet.
	open, err := all(ctx, tx, number, "UPDATE stays SET cause = cause WHERE person = $1 AND grant_id = $2 AND ended = 0 RETURNING id", person, grant)
	if err != nil {
		return 0, false, err
	}
	if len(open) > 0 {
		return open[0], true, nil
	}
	n, err := next(ctx, tx, "stay")
	if err != nil {
		return 0, false, err
	}
	// Another gate may have started it since; then its stay is the answer and
	// the number is lost.
	stay, err = number(tx.QueryRowContext(ctx, `INSERT INTO stays (`+stayColumns+`) VALUES ($1, $2, $3, $4, 0, '')
		ON CONFLICT (person, grant_id) WHERE ended = 0 DO UPDATE SET cause = excluded.cause
		RETURNING id`, n, person, grant, micros(now)))
	return stay, stay != n, err
}

// EndStay ends a stay. Ending twice is no error; the first end stays. Its
// sessions are ended by Leave.
func (s *Store) EndStay(ctx context.Context, id policy.StayID, end time.Time, why policy.EndCause) error {
	if err := checkEnded("stay", end, why); err != nil {
		return err
	}
	n, ok := idNumber(string(id))
	if !ok {
		return noStay(id)
	}
	return s.writing(ctx, func(ctx context.Context, tx *sql.Tx) error {
		ended, err := all(ctx, tx, readStay, "UPDATE stays SET ended = $2, cause = $3 WHERE id = $1 AND ended = 0 RETURNING "+stayColumns, n, micros(end), why)
		if err != nil {
			return err
		}
		if len(ended) > 0 {
			return writeDown(ctx, tx, "insided", stayEnded(ended[0]))
		}
		_, err = one(ctx, tx, number, noStay(id), "SELECT id FROM stays WHERE id = $1", n)
		return err
	})
}

func noStay(id policy.StayID) error { return refuse(ErrNotFound, "there is no stay %s", id) }

func checkEnded(what string, end time.Time, why policy.EndCause) error {
	if err := checkMoment("end of the "+what, end); err != nil {
		return err
	}
	return checkText("cause of the end of the "+what, string(why), maxName)
}

// Stays, newest first. open limits to stays that have not ended; limit 0 does
// not limit, so that nobody inside is overlooked.
func (s *Store) Stays(ctx context.Context, open bool, limit int) ([]policy.Stay, error) {
	query, args := "SELECT "+stayColumns+" FROM stays", []any(nil)
	if open {
		query += " WHERE ended = 0"
	}
	query += " ORDER BY id DESC"
	if limit > 0 {
		query, args = query+" LIMIT $1", append(args, limit)
	}
	var stays []policy.Stay
	err := s.reading(ctx, func(ctx context.Context, tx *sql.Tx) (err error) {
		stays, err = all(ctx, tx, readStay, query, args...)
		return err
	})
	return stays, err
}

// Stay finds a stay by its id.
func (s *Store) Stay(ctx context.Context, id policy.StayID) (policy.Stay, error) {
	n, ok := idNumber(string(id))
	if !ok {
		return policy.Stay{}, noStay(id)
	}
	var stay policy.Stay
	err := s.reading(ctx, func(ctx context.Context, tx *sql.Tx) (err error) {
		stay, err = one(ctx, tx, readStay, noStay(id), "SELECT "+stayColumns+" FROM stays WHERE id = $1", n)
		return err
	})
	return stay, err
}

func readStay(r row) (s policy.Stay, err error) {
	var id, grant, started, ended int64
	err = r.Scan(&id, &s.Person, &grant, &started, &ended, &s.Cause)
	s.ID, s.Grant = policy.StayID(numberID(id)), policy.GrantID(numberID(grant))
	s.Start, s.End = moment(started), moment(ended)
	return s, err
}
