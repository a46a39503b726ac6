package store

import (
	"context"
	"database/sql"
	"slices"
	"time"

	"github.com/pawelmojski/inside/policy"
)

const stayColumns = "id, person, grant_id, started, ended, cause, sessions, recordings"

// joinOrStart returns the open stay of a person under a grant, starting one
// where there is none, and counts one session more. The partial unique index open_stays lets only one be
// open; the stay's row stays locked until the transaction ends, so that it
// cannot be ended between here and the session that is written next.
func joinOrStart(ctx context.Context, tx *sql.Tx, person policy.PersonID, grant int64, now time.Time) (stay int64, joined bool, err error) {
	// Counting takes the row lock in SQL that both engines understand.
	open, err := all(ctx, tx, number, "UPDATE stays SET sessions = sessions + 1 WHERE person = $1 AND grant_id = $2 AND ended = 0 RETURNING id", person, grant)
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
	stay, err = number(tx.QueryRowContext(ctx, `INSERT INTO stays (`+stayColumns+`) VALUES ($1, $2, $3, $4, 0, '', 1, 0)
		ON CONFLICT (person, grant_id) WHERE ended = 0 DO UPDATE SET sessions = stays.sessions + 1
		RETURNING id`, n, person, grant, micros(now)))
	return stay, stay != n, err
}

// visitServer notes the first session of a stay on a server.
func visitServer(ctx context.Context, tx *sql.Tx, stay int64, server policy.ServerID, now time.Time) error {
	_, err := tx.ExecContext(ctx, "INSERT INTO stay_servers (stay, server, since) VALUES ($1, $2, $3) ON CONFLICT (stay, server) DO NOTHING",
		stay, server, micros(now))
	return err
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

// StayFilter limits Stays; zero fields limit nothing.
type StayFilter struct {
	Open    bool
	Persons []policy.PersonID // one of them; empty but not nil: nobody
	Servers []policy.ServerID // one of them was entered; likewise
	Grant   policy.GrantID
	From    time.Time // inside at any moment from then on
	To      time.Time // and before then
	After   policy.StayID
	Limit   int // 0: all, so that nobody inside is overlooked
}

// Stays, newest first.
func (s *Store) Stays(ctx context.Context, f StayFilter) ([]policy.Stay, error) {
	var w where
	w.and("id <> 0") // none
	if f.Open {
		w.and("ended = 0")
	}
	if f.Persons != nil {
		w.and(isOneOf(&w, "person", f.Persons))
	}
	if f.Servers != nil {
		entered := "SELECT stay FROM stay_servers WHERE " + isOneOf(&w, "server", f.Servers)
		if !f.To.IsZero() {
			entered += " AND since < " + w.place(micros(f.To))
		}
		w.and("id IN (" + entered + ")")
	}
	if f.Grant != "" {
		n, _ := idNumber(string(f.Grant))
		w.and("grant_id = " + w.place(n))
	}
	if !f.To.IsZero() {
		w.and("started < " + w.place(micros(f.To)))
	}
	if !f.From.IsZero() {
		w.and("(ended = 0 OR ended > " + w.place(micros(f.From)) + ")")
	}
	if f.After != "" {
		n, ok := idNumber(string(f.After))
		if !ok {
			return nil, noStay(f.After)
		}
		w.and("id < " + w.place(n))
	}
	query := "SELECT " + stayColumns + " FROM stays" + w.clause() + " ORDER BY id DESC"
	if f.Limit > 0 {
		query += " LIMIT " + w.place(f.Limit)
	}
	var stays []policy.Stay
	err := s.reading(ctx, func(ctx context.Context, tx *sql.Tx) (err error) {
		if stays, err = all(ctx, tx, readStay, query, w.args...); err != nil {
			return err
		}
		return addServers(ctx, tx, stays)
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
		if stay, err = one(ctx, tx, readStay, noStay(id), "SELECT "+stayColumns+" FROM stays WHERE id = $1", n); err != nil {
			return err
		}
		found := []policy.Stay{stay}
		err = addServers(ctx, tx, found)
		stay = found[0]
		return err
	})
	return stay, err
}

// addServers names the servers that were entered in each of the stays.
func addServers(ctx context.Context, tx *sql.Tx, stays []policy.Stay) error {
	for some := range slices.Chunk(stays, mostPlaces) {
		var w where
		at := map[policy.StayID]*policy.Stay{}
		var numbers []int64
		for i := range some {
			n, _ := idNumber(string(some[i].ID))
			numbers, at[some[i].ID] = append(numbers, n), &some[i]
		}
		w.and(isOneOf(&w, "stay", numbers))
		err := each(ctx, tx, func(r row) error {
			var stay int64
			var server policy.ServerID
			err := r.Scan(&stay, &server)
			if st := at[policy.StayID(numberID(stay))]; err == nil {
				st.Servers = append(st.Servers, server)
			}
			return err
		}, "SELECT stay, server FROM stay_servers"+w.clause()+" ORDER BY since, server", w.args...)
		if err != nil {
			return err
		}
	}
	return nil
}

func readStay(r row) (s policy.Stay, err error) {
	var id, grant, started, ended int64
	err = r.Scan(&id, &s.Person, &grant, &started, &ended, &s.Cause, &s.Sessions, &s.Recordings)
	s.ID, s.Grant = policy.StayID(numberID(id)), policy.GrantID(numberID(grant))
	s.Start, s.End = moment(started), moment(ended)
	return s, err
}
