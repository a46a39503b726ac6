package store

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"time"
)

// How a search goes through a million sessions. Every list is in the order of
// time, and for each thing that can be asked for an index has its rows in that
// order. So whatever is asked for, the search walks back in time on the index
// of one of the terms and checks the others on each row, a few thousand rows
// at a time. It chooses the term whose rows lie furthest apart: that of which
// the last row of the first step lies furthest back. Where two terms that are
// both frequent are hardly ever true together, or never, there is no index for
// the answer; then the walk stops after a while and says how far it has come.

var (
	firstStep = 512  // rows of the first step, in all
	longStep  = 4096 // and of those that follow
	leastStep = 64   // of each leg

	// searchTime is how long the walks of one page may take before the next
	// step is left to the next page.
	searchTime = 40 * time.Millisecond
)

// newestFirst is the order of everything.
const newestFirst = " ORDER BY started DESC, id DESC"

// A trail goes back in time through the rows of a table for which all tests
// hold.
type trail struct {
	prober
	keyOf func(row) (key, error)
	tests []test
	below edge  // begin there
	lo    int64 // and end here, 0 at the beginning of time
}

// An edge lies just before a row; the zero edge after all of them.
type edge struct {
	started int64
	id      any
}

// walkSessions returns up to want sessions for which q holds. reached is where
// it stopped, if not at the end.
func walkSessions(ctx context.Context, tx *sql.Tx, q Search, after key, want int, until time.Time) (found []key, reached key, err error) {
	w := trail{prober: prober{ctx, tx, q, "sessions"}, keyOf: func(r row) (k key, err error) { return k, r.Scan(&k.started, &k.session) }}
	if err := w.ask(w.sessionTest); err != nil {
		return nil, key{}, err
	}
	// Of the same moment, sessions come before denied entries.
	below := edge{after.started, after.session}
	w.below, w.lo = lower(below, edge{micros(q.To), ""}), micros(q.From)
	if from := micros(q.From); from == 0 || w.below == (edge{}) || w.below.started >= from {
		if found, reached, err = w.run(want, until); err != nil || q.From.IsZero() || reached != (key{}) || len(found) == want {
			return found, reached, err
		}
	}
	// Those that began before the first moment and were there then: the longer
	// ago they began, the longer they must have lasted.
	w.below, w.lo = lower(w.below, edge{micros(q.From), ""}), 0
	legs := []leg{lastedLeg(stillOpen, 0)}
	for k := range longestKey + 1 {
		legs = append(legs, lastedLeg(k, max(1, micros(q.From.Add(-longest(k))))))
	}
	w.tests = append(w.tests, test{
		holds:   func(w *where) string { return "(ended = 0 OR ended > " + w.place(micros(q.From)) + ")" },
		columns: []string{"ended"}, legs: legs, walked: true, apart: true,
	})
	more, reached, err := w.run(want-len(found), until)
	return append(found, more...), reached, err
}

// walkDenials does the same for denied entries.
func walkDenials(ctx context.Context, tx *sql.Tx, q Search, after key, want int, until time.Time) (found []key, reached key, err error) {
	w := trail{prober: prober{ctx, tx, q, "denials"}, keyOf: func(r row) (k key, err error) { return k, r.Scan(&k.started, &k.entry) }}
	if err := w.ask(w.denialTest); err != nil {
		return nil, key{}, err
	}
	below := edge{after.started, after.entry}
	if after.session != "" {
		below.started++
	}
	w.below, w.lo = lower(below, edge{micros(q.To), int64(0)}), micros(q.From)
	return w.run(want, until)
}

// lower is the edge further back; the zero edge is none.
func lower(a, b edge) edge {
	switch {
	case a.started == 0:
		a = b
	case b.started != 0 && b.started <= a.started:
		a = b
	}
	if a.started == 0 {
		return edge{}
	}
	return a
}

// ask makes the tests of the terms.
func (w *trail) ask(testOf func(Term) (test, error)) error {
	for _, t := range w.q.Terms {
		made, err := testOf(t)
		if err != nil {
			return err
		}
		if made.holds != nil || made.walked {
			w.tests = append(w.tests, made)
		}
	}
	w.pair()
	return nil
}

// pair makes one test of who and where, the question asked most often: there
// is an index of both together.
func (w *trail) pair() {
	find := func(column string) int {
		return slices.IndexFunc(w.tests, func(t test) bool { return t.walked && t.apart && len(t.columns) == 1 && t.columns[0] == column })
	}
	who, where := find("person"), find("server")
	if who < 0 || where < 0 || len(w.tests[who].legs)*len(w.tests[where].legs) > mostLegs {
		return
	}
	persons, servers := w.tests[who], w.tests[where]
	both := test{holds: and(persons.holds, servers.holds), columns: []string{"person", "server"}, walked: true, exact: true, apart: true}
	for _, p := range persons.legs {
		for _, s := range servers.legs {
			both.legs = append(both.legs, leg{holds: and(p.holds, s.holds)})
		}
	}
	w.tests[who] = both
	w.tests = slices.Delete(w.tests, where, where+1)
}

func and(a, b condition) condition {
	return func(w *where) string { return a(w) + " AND " + b(w) }
}

func (w *trail) run(want int, until time.Time) (found []key, reached key, err error) {
	if slices.ContainsFunc(w.tests, func(t test) bool { return t.holds == nil }) {
		return nil, key{}, nil // one of them never holds
	}
	for step := firstStep; ; step = longStep {
		way, bound, err := w.choose(step, want-len(found))
		if err != nil {
			return nil, key{}, err
		}
		some, err := w.take(way, bound, want-len(found))
		if err != nil {
			return nil, key{}, err
		}
		found = append(found, some...)
		if len(found) == want || bound == (key{}) {
			return found, key{}, nil
		}
		if time.Now().After(until) {
			return found, bound, nil
		}
		w.below = edge{bound.started, bound.session}
		if bound.entry != 0 {
			w.below.id = bound.entry
		}
	}
}

// A way is what is walked on: the legs of a test, or time itself.
type way struct {
	legs  []leg
	apart bool
	rest  []test // what is to be checked on each row
	rows  int    // of each leg
}

func (w *trail) ways() []way {
	ways := []way{{legs: []leg{{}}, apart: true, rest: w.tests}}
	for i, t := range w.tests {
		if !t.walked {
			continue
		}
		rest := slices.Clone(w.tests)
		if t.exact {
			rest = slices.Delete(rest, i, i+1)
		}
		ways = append(ways, way{t.legs, t.apart, rest, 0})
	}
	return ways
}

// choose picks the way whose step leads furthest back, and says to where; the
// zero key is the end. A way that leaves nothing to check is the best one, and
// needs no longer steps than rows are wanted.
func (w *trail) choose(step, want int) (best way, bound key, err error) {
	ways := w.ways()
	for _, way := range ways {
		if len(way.rest) == 0 {
			way.rows = want
			return way, key{}, nil
		}
	}
	for i, way := range ways {
		way.rows = max(leastStep, step/len(way.legs))
		to, err := w.end(way)
		if err != nil {
			return way, key{}, err
		}
		if i == 0 || to == (key{}) || bound.compare(to) > 0 {
			best, bound = way, to
		}
		if bound == (key{}) {
			break
		}
	}
	return best, bound, nil
}

// end is the last row of a step: where the first of its legs ends. The zero
// key says that none does before the rows do.
func (w *trail) end(on way) (key, error) {
	var sql where
	ends := make([]string, len(on.legs))
	for i, l := range on.legs {
		ends[i] = w.leg(&sql, l, "started, id", fmt.Sprintf("1 OFFSET %d", on.rows-1), i)
	}
	query := "SELECT started, id FROM (" + strings.Join(ends, " UNION ALL ") + ") AS ends" + newestFirst + " LIMIT 1"
	found, err := all(w.ctx, w.tx, w.keyOf, query, sql.args...)
	if err != nil || len(found) == 0 {
		return key{}, err
	}
	return found[0], nil
}

// take returns the rows of a step for which everything holds.
func (w *trail) take(on way, bound key, want int) ([]key, error) {
	columns := []string{"started", "id"}
	for _, t := range on.rest {
		for _, c := range t.columns {
			if !slices.Contains(columns, c) {
				columns = append(columns, c)
			}
		}
	}
	var sql where
	legs := make([]string, len(on.legs))
	for i, l := range on.legs {
		legs[i] = w.leg(&sql, l, strings.Join(columns, ", "), fmt.Sprint(on.rows), i)
	}
	if bound != (key{}) {
		sql.and("(started, id) >= (" + sql.place(bound.started) + ", " + sql.place(bound.id()) + ")")
	}
	for _, t := range on.rest {
		sql.and(t.holds(&sql))
	}
	union := " UNION ALL "
	if !on.apart {
		union = " UNION "
	}
	query := "SELECT started, id FROM (" + strings.Join(legs, union) + ") AS walked" + sql.clause() + newestFirst + fmt.Sprintf(" LIMIT %d", want)
	return all(w.ctx, w.tx, w.keyOf, query, sql.args...)
}

// leg is the query of one leg. Its limit keeps the planners from looking into
// it, so that the index walked on is the one that was chosen. The limit is
// part of the text: of one that is a parameter PostgreSQL assumes a tenth of
// the table.
func (w *trail) leg(sql *where, l leg, columns, limit string, i int) string {
	conditions := []string{"1 = 1"}
	if l.holds != nil {
		conditions[0] = l.holds(sql)
	}
	if lo := max(l.lo, w.lo); lo != 0 {
		conditions = append(conditions, "started >= "+sql.place(lo))
	}
	if w.below != (edge{}) {
		conditions = append(conditions, "(started, id) < ("+sql.place(w.below.started)+", "+sql.place(w.below.id)+")")
	}
	return fmt.Sprintf("SELECT * FROM (SELECT %s FROM %s WHERE %s%s LIMIT %s) AS leg%d",
		columns, w.of, strings.Join(conditions, " AND "), newestFirst, limit, i)
}

func (k key) id() any {
	if k.entry != 0 {
		return k.entry
	}
	return k.session
}
