package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/pawelmojski/inside/policy"
)

// Statistics are counts of the last day, over all gates of the database.
type Statistics struct {
	Hours    []HourCount // HoursCounted of them, the oldest first
	Busiest  []BusyServer
	Stays    int           // that began since a moment
	Ended    int           // stays that ended in the last day
	Average  time.Duration // they lasted
	Recorded time.Time     // start of the oldest session; zero if there is none
}

// An HourCount is how many entries there were from Start on for an hour.
type HourCount struct {
	Start           time.Time
	Allowed, Denied int
}

// A BusyServer is one that was entered.
type BusyServer struct {
	Server  policy.ServerID
	Entries int
}

// HoursCounted is how many hours statistics go back.
const HoursCounted = 24

const busiestShown = 5

// Statistics counts what happened in the hours before now, and the stays that
// began since a moment, such as midnight. Its cost grows with what happened
// in these hours and not with what is kept.
func (s *Store) Statistics(ctx context.Context, now, since time.Time) (Statistics, error) {
	var st Statistics
	err := s.reading(ctx, func(ctx context.Context, tx *sql.Tx) (err error) {
		st, err = statistics(ctx, tx, now, since)
		return err
	})
	return st, err
}

func statistics(ctx context.Context, tx *sql.Tx, now, since time.Time) (st Statistics, err error) {
	from := now.Add(-HoursCounted * time.Hour)
	for i := range HoursCounted {
		st.Hours = append(st.Hours, HourCount{Start: from.Add(time.Duration(i) * time.Hour)})
	}
	err = each(ctx, tx, func(r row) error {
		var hour, allowed, denied int
		if err := r.Scan(&hour, &allowed, &denied); err != nil {
			return err
		}
		st.Hours[hour].Allowed, st.Hours[hour].Denied = allowed, denied
		return nil
	}, `SELECT (at - $1) / 3600000000, COUNT(*) FILTER (WHERE denial = ''), COUNT(*) FILTER (WHERE denial <> '')
		FROM entries WHERE at >= $1 AND at < $2 GROUP BY 1`, micros(from), micros(now))
	if err != nil {
		return st, err
	}
	st.Busiest, err = all(ctx, tx, func(r row) (b BusyServer, err error) { return b, r.Scan(&b.Server, &b.Entries) },
		`SELECT server, COUNT(*) FROM entries WHERE at >= $1 AND at < $2 AND denial = ''
		GROUP BY server ORDER BY 2 DESC, server LIMIT $3`, micros(from), micros(now), busiestShown)
	if err != nil {
		return st, err
	}
	var average, recorded int64
	err = tx.QueryRowContext(ctx, `SELECT (SELECT COUNT(*) FROM stays WHERE started >= $1),
		(SELECT COUNT(*) FROM stays WHERE ended >= $2),
		(SELECT CAST(COALESCE(AVG(ended - started), 0) AS BIGINT) FROM stays WHERE ended >= $2),
		(SELECT COALESCE(MIN(started), 0) FROM sessions)`, micros(since), micros(from)).Scan(&st.Stays, &st.Ended, &average, &recorded)
	st.Average, st.Recorded = time.Duration(average)*time.Microsecond, moment(recorded)
	return st, err
}

// LastHour counts the entries of the hour before now.
func (s *Store) LastHour(ctx context.Context, now time.Time) (c HourCount, err error) {
	c.Start = now.Add(-time.Hour)
	err = s.reading(ctx, func(ctx context.Context, tx *sql.Tx) error {
		return tx.QueryRowContext(ctx, `SELECT COUNT(*) FILTER (WHERE denial = ''), COUNT(*) FILTER (WHERE denial <> '')
			FROM entries WHERE at >= $1 AND at < $2`, micros(c.Start), micros(now)).Scan(&c.Allowed, &c.Denied)
	})
	return c, err
}
