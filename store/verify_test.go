package store_test

import (
	"crypto/ed25519"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/store"
	"github.com/pawelmojski/inside/store/storetest"
)

// history fills a store with what happens in a day, signed now and then, and
// returns the last head.
func history(tb testing.TB, s *store.Store, days int) (last store.Head, key ed25519.PrivateKey) {
	tb.Helper()
	ctx := tb.Context()
	check := func(err error) {
		tb.Helper()
		if err != nil {
			tb.Fatal(err)
		}
	}
	_, key, err := ed25519.GenerateKey(nil)
	check(err)
	check(s.RegisterKey(ctx, "gate-1", key.Public().(ed25519.PublicKey)))
	sign := func() {
		h, signed, err := s.SignHead(ctx, last, "gate-1", key, time.Now())
		check(err)
		if signed {
			last = h
		}
	}
	session := granted(tb, s)
	known := policy.Identity{Account: "alice@corp.test", Node: "alice-laptop"}
	second, err := s.CreateGrant(ctx, "root", policy.Grant{Person: session.Person, Server: session.Server})
	check(err)
	for range days {
		sign()
		one, _, err := s.Enter(ctx, session)
		check(err)
		check(s.Deny(ctx, store.Entry{Gate: "gate-1", Denial: policy.NoGrant, Login: "root", Identity: known}))
		byName := session
		byName.Identity = known
		two, _, err := s.Enter(ctx, byName)
		check(err)
		check(s.Leave(ctx, one.ID, time.Now(), policy.ClientLeft, policy.Carried{}))
		sign()
		stay, err := s.Move(ctx, two.ID, second.ID, time.Now())
		check(err)
		check(s.EndStay(ctx, two.Stay, time.Now(), policy.GrantExpired))
		check(s.Audit(ctx, "gate:gate-1", "rules.repaired", "table inet inside", "1 rule"))
		check(s.Leave(ctx, two.ID, time.Now(), policy.ServerLeft, policy.Carried{}))
		check(s.EndStay(ctx, stay, time.Now(), policy.AdminEnded))
	}
	_, _, err = s.Enter(ctx, session) // somebody is inside
	check(err)
	sign()
	check(s.Audit(ctx, "root", "a", "b", "not signed yet"))
	return last, key
}

func TestAWholeRecordIsVerified(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		s := storetest.Open(t, url)
		if err := store.FillChain(t.Context(), s, 750); err != nil { // more than one piece
			t.Fatal(err)
		}
		last, _ := history(t, s, 3)
		rows := int64(0)
		good, err := s.Verify(t.Context(), store.Verification{Heads: []store.Head{last}, Row: func(store.AuditRow) error { rows++; return nil }})
		if err != nil {
			t.Fatal(err)
		}
		if good.Links != good.Audits+good.Entries || good.Entries != 750+10 || good.Audits != rows || good.Heads != 7 || good.Signed != good.Links-1 {
			t.Errorf("%+v, %d rows", good, rows)
		}
	})
}

func TestAnEmptyRecordIsWhole(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		if good, err := storetest.Open(t, url).Verify(t.Context(), store.Verification{}); err != nil || good.Links != 0 {
			t.Errorf("%+v, %v", good, err)
		}
	})
}

func TestARecordIsVerifiedWhileItGrows(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		s := storetest.Open(t, url)
		last, key := history(t, s, 1)
		session := policy.Session{}
		var writing sync.WaitGroup
		defer writing.Wait()
		done := make(chan struct{})
		writing.Go(func() {
			defer close(done)
			f, err := s.Facts(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			for range 50 {
				session = policy.Session{Person: f.Persons[0].ID, Server: f.Servers[0].ID, Grant: f.Grants[0].ID, Protocol: policy.SSH, Login: "x", Gate: "gate-1", Client: netip.MustParseAddrPort("100.64.0.20:50022"), Dest: netip.MustParseAddrPort("10.30.0.140:22")}
				in, _, err := s.Enter(t.Context(), session)
				if err == nil {
					err = s.Leave(t.Context(), in.ID, time.Now(), policy.ClientLeft, policy.Carried{})
				}
				if err == nil {
					last, _, err = s.SignHead(t.Context(), last, "gate-1", key, time.Now())
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
		for rounds := 0; ; rounds++ {
			if _, err := s.Verify(t.Context(), store.Verification{}); err != nil {
				t.Fatal(err)
			}
			select {
			case <-done:
				return
			default:
			}
		}
	})
}

func TestTwoGatesKeepOneChain(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		one, two := storetest.Open(t, url), storetest.Open(t, url)
		var writing sync.WaitGroup
		for i, s := range []*store.Store{one, two, one, two} {
			writing.Go(func() {
				gate := fmt.Sprint("gate-", i)
				_, key, _ := ed25519.GenerateKey(nil)
				if err := s.RegisterKey(t.Context(), gate, key.Public().(ed25519.PublicKey)); err != nil {
					t.Error(err)
				}
				var last store.Head
				for range 25 {
					if err := s.Deny(t.Context(), store.Entry{Gate: gate, Denial: policy.NoGrant}); err != nil {
						t.Error(err)
					}
					if err := s.Audit(t.Context(), gate, "a", "b", "c"); err != nil {
						t.Error(err)
					}
					h, signed, err := s.SignHead(t.Context(), last, gate, key, time.Now())
					if err != nil || !signed {
						t.Errorf("signed: %v, %v", signed, err)
					}
					last = h
				}
			})
		}
		writing.Wait()
		good, err := one.Verify(t.Context(), store.Verification{})
		if err != nil || good.Links != 4*51 || good.Heads != 100 {
			t.Errorf("%+v, %v", good, err)
		}
	})
}

func TestEveryMutationOfTheRecordIsFoundAndTheFirstNamed(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, url string) {
		t.Parallel()
		s := storetest.Open(t, url)
		last, _ := history(t, s, 3)
		db := raw(t, url)
		dropGuards(t, db, url)
		v := vandal{TB: t, db: db, dice: rand.New(rand.NewPCG(1, 2)), last: last}
		v.measure()
		if _, err := s.Verify(t.Context(), store.Verification{Heads: []store.Head{last}}); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		for i := range mutations / 2 {
			what, want := v.mutate()
			_, err := s.Verify(t.Context(), store.Verification{Heads: []store.Head{last}})
			broken, ok := store.AsBroken(err)
			if !ok {
				t.Fatalf("mutation %d, %s: not found: %v", i, what, err)
			}
			if broken.Link != want {
				t.Fatalf("mutation %d, %s: %v, want link %d", i, what, broken, want)
			}
			v.restore()
		}
		t.Logf("%s each", time.Since(start)/(mutations/2))
		if _, err := s.Verify(t.Context(), store.Verification{Heads: []store.Head{last}}); err != nil {
			t.Fatalf("the test did not put back what it changed: %v", err)
		}
	})
}

// dropGuards does what only an owner of the database can: it takes the
// triggers and unique indexes away.
func dropGuards(tb testing.TB, db *sql.DB, url string) {
	tb.Helper()
	if isPostgres(url) {
		execute(tb, db, "ALTER TABLE audit DISABLE TRIGGER ALL", "ALTER TABLE entries DISABLE TRIGGER ALL", "ALTER TABLE heads DISABLE TRIGGER ALL")
	} else {
		for _, table := range []string{"audit", "entries", "heads"} {
			for _, what := range []string{"update", "delete", "replace"} {
				execute(tb, db, "DROP TRIGGER "+table+"_keeps_"+what)
			}
		}
	}
	execute(tb, db, "DROP INDEX audit_links", "DROP INDEX entries_links")
	if !isPostgres(url) {
		db.SetMaxOpenConns(1)
		execute(tb, db, "PRAGMA synchronous = OFF")
	}
}

// A vandal changes the record by hand, and undoes it.
type vandal struct {
	testing.TB
	db   *sql.DB
	dice *rand.Rand
	last store.Head
	rows []chained
	undo []func()
}

// chained is a row of the chain.
type chained struct {
	table string
	link  int64
}

var columns = map[string][]string{
	"audit":   {"id", "at", "actor", "action", "object", "detail", "was", "became", "link", "hash"},
	"entries": {"id", "at", "gate", "client", "dest", "protocol", "login", "person", "server", "grant_id", "denial", "detail", "session", "account", "node", "link", "hash"},
}

// measure learns where the rows of the chain are.
func (v *vandal) measure() {
	for table := range columns {
		rows, err := v.db.QueryContext(v.Context(), "SELECT link FROM "+table)
		if err != nil {
			v.Fatal(err)
		}
		for rows.Next() {
			c := chained{table: table}
			if err := rows.Scan(&c.link); err != nil {
				v.Fatal(err)
			}
			v.rows = append(v.rows, c)
		}
		rows.Close()
	}
}

func (v *vandal) exec(st string, args ...any) {
	v.Helper()
	if _, err := v.db.ExecContext(v.Context(), st, args...); err != nil {
		v.Fatalf("%s: %v", st, err)
	}
}

func (v *vandal) restore() {
	for i := range v.undo {
		v.undo[len(v.undo)-1-i]()
	}
	v.undo = nil
}

func (v *vandal) read(c chained) []any {
	v.Helper()
	cells := make([]any, len(columns[c.table]))
	places := make([]any, len(cells))
	for i := range cells {
		places[i] = &cells[i]
	}
	row := v.db.QueryRowContext(v.Context(), "SELECT "+strings.Join(columns[c.table], ", ")+" FROM "+c.table+" WHERE link = $1", c.link)
	if err := row.Scan(places...); err != nil {
		v.Fatal(err)
	}
	return cells
}

func (v *vandal) insert(table string, cells []any) {
	v.Helper()
	places := make([]string, len(cells))
	for i := range cells {
		places[i] = fmt.Sprint("$", i+1)
	}
	v.exec("INSERT INTO "+table+" ("+strings.Join(columns[table], ", ")+") VALUES ("+strings.Join(places, ", ")+")", cells...)
}

func (v *vandal) set(c chained, column string, value any) {
	v.Helper()
	v.exec("UPDATE "+c.table+" SET "+column+" = $2 WHERE link = $1", c.link, value)
}

// mutate changes something and says at which link that must be found.
func (v *vandal) mutate() (what string, link int64) {
	c := v.rows[v.dice.IntN(len(v.rows))]
	before := v.read(c)
	switch v.dice.IntN(6) {
	case 0:
		v.exec("DELETE FROM "+c.table+" WHERE link = $1", c.link)
		v.undo = append(v.undo, func() { v.insert(c.table, before) })
		return fmt.Sprint("delete ", c), c.link
	case 1: // put one in: where another is, before the first, behind the last
		const forged = 1_000_000
		at := c.link
		link = at + 1 // the one that is read second is one too many
		if v.dice.IntN(2) == 0 {
			at = []int64{0, -at, int64(len(v.rows)) + at}[v.dice.IntN(3)]
			link = int64(len(v.rows)) + 1
		}
		cells := append([]any(nil), before...)
		cells[0], cells[len(cells)-2] = int64(forged), at
		v.insert(c.table, cells)
		v.undo = append(v.undo, func() { v.exec("DELETE FROM "+c.table+" WHERE id = $1", forged) })
		return fmt.Sprint("insert ", c.table, at), link
	case 2: // swap the contents of two rows
		d := v.other(c)
		theirs := v.read(d)
		for i, column := range columns[c.table][1 : len(before)-2] {
			v.set(c, column, theirs[i+1])
			v.set(d, column, before[i+1])
		}
		v.undo = append(v.undo, func() {
			for i, column := range columns[c.table][1 : len(before)-2] {
				v.set(c, column, before[i+1])
				v.set(d, column, theirs[i+1])
			}
		})
		return fmt.Sprint("swap ", c, d), min(c.link, d.link)
	case 3: // reorder: two rows in each other's place
		d := v.other(c)
		v.set(c, "link", -1)
		v.set(d, "link", c.link)
		v.set(chained{c.table, -1}, "link", d.link)
		v.undo = append(v.undo, func() {
			v.set(chained{c.table, c.link}, "link", -1)
			v.set(chained{c.table, d.link}, "link", c.link)
			v.set(chained{c.table, -1}, "link", d.link)
		})
		return fmt.Sprint("reorder ", c, d), min(c.link, d.link)
	}
	n := v.dice.IntN(len(before))
	column := columns[c.table][n]
	var after any
	at := c
	switch old := before[n].(type) {
	case int64:
		after = old ^ 1<<v.dice.IntN(20)
		switch column {
		case "id":
			after = old + 1000
		case "link":
			after, at.link = -old, -old
		}
	case string:
		after = v.changed(old)
	case []byte:
		after = v.changed(string(old))
	default:
		v.Fatalf("column %s holds a %T", column, old)
	}
	v.set(c, column, after)
	v.undo = append(v.undo, func() { v.set(at, column, before[n]) })
	return fmt.Sprintf("change %s of %v from %v to %v", column, c, before[n], after), c.link
}

// other is another row of the same table.
func (v *vandal) other(c chained) chained {
	for {
		if d := v.rows[v.dice.IntN(len(v.rows))]; d.table == c.table && d.link != c.link {
			return d
		}
	}
}

// changed flips, cuts, adds or empties.
func (v *vandal) changed(text string) string {
	if text == "" {
		return "x"
	}
	i := v.dice.IntN(len(text))
	switch v.dice.IntN(3) {
	case 0:
		return strings.ToValidUTF8(text[:i], "?")
	case 1:
		return strings.ToValidUTF8(text[:i]+"~"+text[i:], "?")
	}
	flipped := []byte(text)
	flipped[i] = flipped[i]&0x7f ^ 1
	if string(flipped) == text || flipped[i] == 0 {
		return text + "."
	}
	return strings.ToValidUTF8(string(flipped), "?")
}

func TestRecordsTakenFromTheEndAreMissed(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		s := storetest.Open(t, url)
		last, _ := history(t, s, 2)
		db := raw(t, url)
		dropGuards(t, db, url)
		cut := func(statements ...string) {
			t.Helper()
			for _, table := range []string{"audit", "entries"} {
				execute(t, db, fmt.Sprintf("DELETE FROM %s WHERE link > %d", table, last.Link-3))
			}
			hash := query(t, db, fmt.Sprintf("SELECT hash FROM audit WHERE link = %d", last.Link-3))
			execute(t, db, fmt.Sprintf("UPDATE chain SET link = %d, hash = '%s', audits = (SELECT MAX(id) FROM audit), entries = (SELECT MAX(id) FROM entries)", last.Link-3, hash))
			execute(t, db, statements...)
		}
		cut()
		_, err := s.Verify(t.Context(), store.Verification{})
		if broken, ok := store.AsBroken(err); !ok || broken.Link != last.Link-2 || !strings.Contains(err.Error(), "taken away") {
			t.Errorf("heads in the database: %v", err)
		}
		execute(t, db, fmt.Sprintf("DELETE FROM heads WHERE link > %d", last.Link-3))
		_, err = s.Verify(t.Context(), store.Verification{Heads: []store.Head{last}})
		if broken, ok := store.AsBroken(err); !ok || broken.Link != last.Link-2 || !strings.Contains(err.Error(), "taken away") {
			t.Errorf("a head kept elsewhere: %v", err)
		}
		if _, _, err := s.SignHead(t.Context(), last, "gate-1", make(ed25519.PrivateKey, ed25519.PrivateKeySize), time.Now()); err == nil {
			t.Error("the gate signed a record that is not the one it signed before")
		}
	})
}

func TestARecordWrittenAnewDoesNotFitItsSignatures(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		s := storetest.Open(t, url)
		last, _ := history(t, s, 2)
		db := raw(t, url)
		dropGuards(t, db, url)
		execute(t, db, "UPDATE entries SET login = 'somebody else' WHERE id = 2")
		if err := store.WriteAnew(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		_, err := s.Verify(t.Context(), store.Verification{})
		if _, ok := store.AsBroken(err); !ok || !strings.Contains(err.Error(), "signed head") {
			t.Errorf("heads in the database: %v", err)
		}
		execute(t, db, "DELETE FROM heads")
		if _, err := s.Verify(t.Context(), store.Verification{}); err != nil {
			t.Errorf("the test did not write it anew: %v", err)
		}
		_, err = s.Verify(t.Context(), store.Verification{Heads: []store.Head{last}})
		if _, ok := store.AsBroken(err); !ok || !strings.Contains(err.Error(), "anew") {
			t.Errorf("a head kept elsewhere: %v", err)
		}
	})
}

func TestSessionsAndStaysMustBeWhatTheRecordTells(t *testing.T) {
	url := storetest.SQLite(t)
	s := storetest.Open(t, url)
	history(t, s, 1)
	db := raw(t, url)
	dropGuards(t, db, url)
	execute(t, db, "DROP TRIGGER chain_keeps_delete", "DROP TRIGGER chain_keeps_replace", "PRAGMA foreign_keys = OFF")
	tables := []string{"sessions", "stays", "heads", "chain"}
	for _, table := range tables {
		execute(t, db, "CREATE TABLE kept_"+table+" AS SELECT * FROM "+table)
	}
	for what, statements := range map[string][]string{
		"another login":        {"UPDATE sessions SET login = 'nobody' WHERE ended = 0"},
		"another person":       {"UPDATE sessions SET client = '10.9.9.9:1' WHERE ended <> 0"},
		"a later end":          {"UPDATE sessions SET ended = ended + 1 WHERE ended <> 0"},
		"another cause":        {"UPDATE sessions SET cause = 'failed' WHERE ended <> 0"},
		"an end":               {"UPDATE sessions SET ended = 5 WHERE ended = 0"},
		"no end":               {"UPDATE sessions SET ended = 0 WHERE ended <> 0"},
		"another grant":        {"UPDATE sessions SET grant_id = 2 WHERE ended = 0"},
		"no session":           {"DELETE FROM sessions WHERE ended <> 0"},
		"no open session":      {"DELETE FROM sessions WHERE ended = 0"},
		"a stay longer":        {"UPDATE stays SET ended = ended + 1 WHERE ended <> 0"},
		"a stay for ever":      {"UPDATE stays SET ended = 0 WHERE id = 2"},
		"a stay that ended":    {"UPDATE stays SET ended = 5 WHERE ended = 0"},
		"a stay from before":   {"UPDATE stays SET started = started - 1 WHERE ended = 0"},
		"one more session":     {"INSERT INTO sessions (id, head, stay, person, server, grant_id, protocol, login, client, dest, gate, started, ended, cause) SELECT 'put-in', 'put-', stay, person, server, grant_id, protocol, login, client, dest, gate, started, 7, cause FROM sessions WHERE ended = 0"},
		"one more stay":        {"INSERT INTO stays (id, person, grant_id, started, ended, cause) SELECT 99, person, 2, started, 7, cause FROM stays WHERE ended = 0"},
		"a forged signed head": {"UPDATE heads SET hash = 'x'"},
		"a forged signer":      {"UPDATE heads SET signer = 'x'"},
		"no head of the chain": {"UPDATE chain SET hash = 'x'"},
		"no chain":             {"DELETE FROM chain"},
	} {
		t.Run(what, func(t *testing.T) {
			execute(t, db, statements...)
			if _, err := s.Verify(t.Context(), store.Verification{}); err == nil {
				t.Error("not found")
			} else if _, ok := store.AsBroken(err); !ok {
				t.Errorf("found, but: %v", err)
			} else {
				t.Log(err)
				if strings.HasPrefix(what, "one more") && !strings.Contains(err.Error(), "put in by hand") {
					t.Error("it is not named")
				}
			}
			for _, table := range tables {
				execute(t, db, "DELETE FROM "+table, "INSERT INTO "+table+" SELECT * FROM kept_"+table)
			}
			if _, err := s.Verify(t.Context(), store.Verification{}); err != nil {
				t.Fatalf("the test did not put back what it changed: %v", err)
			}
		})
	}
}

func TestWhatWasThereBeforeTheChainIsPutIntoIt(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		old, err := store.OpenUnmigrated(url)
		if err != nil {
			t.Fatal(err)
		}
		defer old.Close()
		if err := store.FirstSchema(t.Context(), old); err != nil {
			t.Fatal(err)
		}
		db := raw(t, url)
		execute(t, db,
			"INSERT INTO persons VALUES ('p', 'alice', '', '', false)",
			"INSERT INTO servers VALUES ('v', 'db', '10.30.0.140/32', 0, 0, false)",
			"INSERT INTO grants VALUES (1, 'p', '', 'v', '', '', '', '', 0, 5, 0, '', '', 0, 5, 'root')",
			"INSERT INTO stays VALUES (1, 'p', 1, 10, 30, 'grant-expired'), (2, 'p', 1, 40, 0, '')",
			"INSERT INTO sessions VALUES ('aaaaaaaaaaaaaaaa', 'aaaa', 1, 'p', 'v', 1, 'ssh', 'ideo', '1.2.3.4:5', '1.2.3.4:22', 'gate-1', 10, 20, 'client-left')",
			"INSERT INTO sessions VALUES ('bbbbbbbbbbbbbbbb', 'bbbb', 2, 'p', 'v', 1, 'ssh', 'ideo', '1.2.3.4:5', '1.2.3.4:22', 'gate-1', 40, 0, '')",
			"INSERT INTO entries VALUES (1, 10, 'gate-1', '1.2.3.4:5', '1.2.3.4:22', 'ssh', 'ideo', 'p', 'v', 1, '', '', 'aaaaaaaaaaaaaaaa')",
			"INSERT INTO entries VALUES (2, 40, 'gate-1', '1.2.3.4:5', '1.2.3.4:22', 'ssh', 'ideo', 'p', 'v', 1, '', '', 'bbbbbbbbbbbbbbbb')",
			"INSERT INTO audit VALUES (1, 5, 'root', 'grant.create', 'grant 1', ''), (2, 30, 'root', 'grant.end', 'grant 1', '')",
			"UPDATE counters SET n = 2 WHERE name IN ('audit', 'entry', 'stay')")
		s := storetest.Open(t, url)
		good, err := s.Verify(t.Context(), store.Verification{})
		if err != nil || good.Links != 4+3+2 {
			t.Fatalf("%+v, %v", good, err)
		}
		if err := s.Leave(t.Context(), "bbbbbbbbbbbbbbbb", time.Now(), policy.ClientLeft, policy.Carried{}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Verify(t.Context(), store.Verification{}); err != nil {
			t.Error(err)
		}
	})
}
