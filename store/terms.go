package store

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"

	"github.com/pawelmojski/inside/policy"
)

// How terms are asked of the database. A term is an alternative of conditions,
// each of which can be checked on a row. Where an index has the rows of a
// condition in the order of time, it is also a leg to walk on: see walk.go.

const (
	// mostLegs bounds the indexes that are walked side by side.
	mostLegs = 40

	// mostLogins bounds how many different logins are looked through for a
	// part of one before every row is.
	mostLogins = 500
)

// A condition puts its arguments into a query and returns its text.
type condition func(*where) string

// A leg is a condition whose rows an index has in the order of time, those
// that began before lo left out.
type leg struct {
	holds condition
	lo    int64
}

// A test is one term, or one more thing that must hold.
type test struct {
	holds   condition
	columns []string // it looks at
	legs    []leg
	walked  bool // the legs have every row for which it holds
	exact   bool // and no other
	apart   bool // no row is on two legs
}

// isTrue and never are the terms that hold for all rows of a table, or none.
var (
	isTrue = test{exact: true}
	never  = test{walked: true, exact: true, apart: true}
)

// A prober makes tests of terms; it may have to look what there is.
type prober struct {
	ctx context.Context
	tx  *sql.Tx
	q   Search
	of  string // the table
}

// An anyOf collects the alternatives of a term.
type anyOf struct {
	p       *prober
	test    test
	holds   []condition
	several int // kinds of legs
}

func (p *prober) anyOf() *anyOf { return &anyOf{p: p, test: test{walked: true, exact: true}} }

// or adds an alternative that is walked on legs; none are too many to walk.
func (a *anyOf) or(column string, holds condition, legs []leg, walked bool) {
	a.holds = append(a.holds, holds)
	a.test.columns = append(a.test.columns, column)
	a.test.legs = append(a.test.legs, legs...)
	a.test.walked = a.test.walked && walked && len(a.test.legs) <= mostLegs
	a.several++
}

// oneOf adds: the column has one of the values.
func oneOf[T cmp.Ordered](a *anyOf, column string, values []T) {
	if len(values) == 0 {
		return
	}
	values = slices.Compact(slices.Sorted(slices.Values(values))) // no row on two legs
	legs := make([]leg, 0, min(len(values), mostLegs+1))
	for _, v := range values[:cap(legs)] {
		legs = append(legs, leg{holds: func(w *where) string { return column + " = " + w.place(v) }})
	}
	a.or(column, func(w *where) string { return isOneOf(w, column, values) }, legs, len(legs) <= mostLegs)
}

// alike adds an alternative that is one leg.
func (a *anyOf) alike(column string, holds condition) {
	a.or(column, holds, []leg{{holds: holds}}, true)
}

// done makes the test of the alternatives; without any it never holds.
func (a *anyOf) done() test {
	if len(a.holds) == 0 {
		return never
	}
	a.test.apart = a.several == 1
	a.test.holds = func(w *where) string {
		texts := make([]string, len(a.holds))
		for i, holds := range a.holds {
			texts[i] = holds(w)
		}
		return "(" + strings.Join(texts, " OR ") + ")"
	}
	return a.test
}

// common adds the alternatives that sessions and denied entries share.
func (a *anyOf) common(t Term) error {
	persons, err := present(a.p, "person", "persons", t.Persons)
	if err != nil {
		return err
	}
	oneOf(a, "person", persons)
	servers, err := present(a.p, "server", "servers", t.Servers)
	if err != nil {
		return err
	}
	oneOf(a, "server", servers)
	oneOf(a, "grant_id", numbersOf(t.Grants))
	oneOf(a, "protocol", t.Protocols)
	var logins []string
	for _, login := range t.Logins {
		logins = append(logins, loginKey(login))
	}
	oneOf(a, "login_key", logins)
	if t.LoginPart != "" {
		if err := a.loginPart(loginKey(t.LoginPart)); err != nil {
			return err
		}
	}
	for _, prefix := range t.Addresses {
		for _, column := range []string{"client_key", "dest_key"} {
			first, last := addrRange(prefix)
			if err := a.between(column, first, last); err != nil {
				return err
			}
		}
	}
	return nil
}

// present leaves out of a long list who has no row in the table, so that there
// are fewer to walk.
func present[ID ~string](p *prober, column, names string, ids []ID) ([]ID, error) {
	if len(ids) <= mostLegs {
		return ids, nil
	}
	var left []ID
	for some := range slices.Chunk(ids, mostPlaces) {
		var w where
		w.and(isOneOf(&w, "n.id", some))
		there := "SELECT 1 FROM " + p.of + " r WHERE r." + column + " = n.id"
		if !p.q.To.IsZero() {
			there += " AND r.started < " + w.place(micros(p.q.To))
		}
		w.and("EXISTS (" + there + ")")
		found, err := all(p.ctx, p.tx, text, "SELECT n.id FROM "+names+" n"+w.clause(), w.args...)
		if err != nil {
			return nil, err
		}
		for _, id := range found {
			left = append(left, ID(id))
		}
	}
	return left, nil
}

// loginPart adds: the login has this part. There are few different logins, so
// they are looked through; if not, every row is.
func (a *anyOf) loginPart(part string) error {
	logins, complete, err := a.p.different("login_key", "", "", mostLogins)
	if err != nil {
		return err
	}
	if complete {
		oneOf(a, "login_key", slices.DeleteFunc(logins, func(l string) bool { return !strings.Contains(l, part) }))
		return nil
	}
	a.or("login_key", func(w *where) string { return "replace(login_key, " + w.place(part) + ", '') <> login_key" }, nil, false)
	return nil
}

// between adds: the key lies in a range.
func (a *anyOf) between(column, first, last string) error {
	if first == last {
		oneOf(a, column, []string{first})
		return nil
	}
	keys, complete, err := a.p.different(column, first, last, mostLegs)
	if err != nil {
		return err
	}
	if complete {
		oneOf(a, column, keys)
		return nil
	}
	a.or(column, func(w *where) string { return column + " BETWEEN " + w.place(first) + " AND " + w.place(last) }, nil, false)
	return nil
}

// different lists the different values of a column, from value to value in its
// index; complete if there are no more than so many.
func (p *prober) different(column, first, last string, most int) (values []string, complete bool, err error) {
	var w where
	lo, hi := "", ""
	if first != "" {
		lo = " WHERE r." + column + " >= " + w.place(first)
		hi = " AND r." + column + " <= " + w.place(last)
	}
	query := fmt.Sprintf(`WITH RECURSIVE found (v) AS (
		SELECT MIN(r.%[1]s) FROM %[2]s r%[3]s%[4]s UNION ALL
		SELECT (SELECT MIN(r.%[1]s) FROM %[2]s r WHERE r.%[1]s > found.v%[4]s) FROM found WHERE found.v IS NOT NULL)
		SELECT v FROM found WHERE v IS NOT NULL LIMIT %[5]d`, column, p.of, lo, hi, most+1)
	values, err = all(p.ctx, p.tx, text, query, w.args...)
	return values, len(values) <= most, err
}

func numbersOf[ID ~string](ids []ID) []int64 {
	var numbers []int64
	for _, id := range ids {
		if n, ok := idNumber(string(id)); ok {
			numbers = append(numbers, n)
		}
	}
	return numbers
}

// sessionTest is what a term asks of sessions.
func (p *prober) sessionTest(t Term) (test, error) {
	a := p.anyOf()
	if err := a.common(t); err != nil {
		return test{}, err
	}
	oneOf(a, "stay", numbersOf(t.Stays))
	if err := a.moved(t); err != nil {
		return test{}, err
	}
	if len(t.Entries) > 0 {
		a.alike("id", func(w *where) string {
			return "id IN (SELECT session FROM entries WHERE " + isOneOf(w, "id", t.Entries) + ")"
		})
	}
	if t.Session != "" {
		a.alike("head", func(w *where) string {
			return fmt.Sprintf("(head = %s AND substr(id, 1, %d) = %s)", w.place(t.Session[:headLength]), len(t.Session), w.place(t.Session))
		})
		a.test.columns = append(a.test.columns, "id")
	}
	switch t.Status {
	case Active:
		a.alike("ended", func(*where) string { return "ended = 0" })
	case Ended:
		a.or("ended", func(*where) string { return "ended > 0" }, nil, false)
	}
	if t.Forwarding {
		a.alike("forwarding", func(*where) string { return "forwarding = true" })
	}
	if t.Files {
		a.alike("files", func(*where) string { return "files = true" })
	}
	a.length(t)
	return a.done(), nil
}

// moved adds: it rested once on one of the stays, or ran under one of the
// grants, and has moved since.
func (a *anyOf) moved(t Term) error {
	for column, numbers := range map[string][]int64{"grant_id": numbersOf(t.Grants), "stay": numbersOf(t.Stays)} {
		if len(numbers) == 0 {
			continue
		}
		from := func(w *where) string { return "SELECT session FROM moves WHERE " + isOneOf(w, column, numbers) }
		var w where
		one := from(&w)
		some, err := all(a.p.ctx, a.p.tx, text, one+" LIMIT 1", w.args...)
		if err != nil {
			return err
		}
		if len(some) > 0 {
			a.alike("id", func(w *where) string { return "id IN (" + from(w) + ")" })
		}
	}
	return nil
}

// length adds how long it lasted, or has lasted by now.
func (a *anyOf) length(t Term) {
	now := micros(a.p.q.Now)
	if t.Longer > 0 {
		least := t.Longer.Microseconds()
		legs := []leg{lastedLeg(stillOpen, 0)}
		for k := lengthKey(t.Longer); k <= longestKey; k++ {
			legs = append(legs, lastedLeg(k, 0))
		}
		a.or("ended", func(w *where) string {
			return "(ended > 0 AND ended - started >= " + w.place(least) + " OR ended = 0 AND started <= " + w.place(now-least) + ")"
		}, legs, true)
		a.test.exact = false
	}
	if t.Shorter > 0 {
		most := t.Shorter.Microseconds()
		a.or("ended", func(w *where) string {
			return "(ended > 0 AND ended - started <= " + w.place(most) + " OR ended = 0 AND started >= " + w.place(now-most) + ")"
		}, nil, false)
	}
}

func lastedLeg(k int, lo int64) leg {
	return leg{holds: func(w *where) string { return "lasted = " + w.place(k) }, lo: lo}
}

// denialTest is what a term asks of denied entries.
func (p *prober) denialTest(t Term) (test, error) {
	if t.Status == Denied {
		return isTrue, nil
	}
	a := p.anyOf()
	if err := a.common(t); err != nil {
		return test{}, err
	}
	oneOf(a, "id", t.Entries)
	oneOf(a, "denial", slices.DeleteFunc(slices.Clone(t.Denials), func(d policy.Denial) bool { return d == "" }))
	return a.done(), nil
}
