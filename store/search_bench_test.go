package store_test

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/store"
	"github.com/pawelmojski/inside/store/storetest"
)

// What the three years of a busy company are made of.
const (
	manySessions = 1_000_000
	manyDenied   = 300_000
	manyPersons  = 2_000
	manyServers  = 500
	manyGrants   = 5_000
	manyStays    = 100_000
	years        = 3 * 365 * 24 * time.Hour

	robot    = 0 // a person with a fifth of all sessions, never on the busy server
	gone     = 1 // one with 50,000, all of them in the first year
	seldom   = 2 // one with a hundred
	busy     = 0 // a server with a tenth of all sessions
	unused   = manyServers - 1
	noGrants = manyGrants - 1
)

var longAgo = time.Date(2023, 11, 1, 0, 0, 0, 0, time.UTC)

// BenchmarkSearchMillion asks for pages of a hundred among 1,000,000 sessions
// and 300,000 denied entries. p95-ms must stay under 100 for every question.
func BenchmarkSearchMillion(b *testing.B) {
	benchBoth(b, func(b *testing.B, url string) {
		s := storetest.Open(b, url)
		began := time.Now()
		loadMillion(b, url)
		b.Logf("loaded in %s", time.Since(began).Round(time.Second))
		for _, q := range questions() {
			b.Run(q.name, func(b *testing.B) { askPages(b, s, q) })
		}
	})
}

type benchQuestion struct {
	name   string
	search func(r *rand.Rand) store.Search
}

// askPages measures each page on its own and reports percentiles; follow is
// how many pages the whole question took at most.
func askPages(b *testing.B, s *store.Store, q benchQuestion) {
	r := rand.New(rand.NewPCG(3, 4))
	var took []time.Duration
	found, most := 0, 0
	for b.Loop() {
		ask := q.search(r)
		ask.Now = longAgo.Add(years)
		for pages := 1; ; pages++ {
			began := time.Now()
			page, err := s.Search(b.Context(), ask)
			took = append(took, time.Since(began))
			if err != nil {
				b.Fatal(err)
			}
			found += len(page.Found)
			most = max(most, pages)
			// One full page answers; one cut short is followed.
			if page.Next == "" || len(page.Found) > 0 {
				break
			}
			ask.After = page.Next
		}
	}
	slices.Sort(took)
	ms := func(share float64) float64 {
		return float64(took[int(share*float64(len(took)-1))].Microseconds()) / 1000
	}
	b.ReportMetric(ms(0.5), "p50-ms")
	b.ReportMetric(ms(0.95), "p95-ms")
	b.ReportMetric(float64(found)/float64(len(took)), "rows/page")
	b.ReportMetric(float64(most), "pages")
	b.ReportMetric(0, "ns/op")
}

func personNo(i int) policy.PersonID { return policy.PersonID(fmt.Sprintf("person%020d", i)) }
func serverNo(i int) policy.ServerID { return policy.ServerID(fmt.Sprintf("server%020d", i)) }

func questions() []benchQuestion {
	term := func(make func(r *rand.Rand) []store.Term) func(*rand.Rand) store.Search {
		return func(r *rand.Rand) store.Search { return store.Search{Terms: make(r)} }
	}
	person := func(i int) store.Term { return store.Term{Persons: []policy.PersonID{personNo(i)}} }
	server := func(i int) store.Term { return store.Term{Servers: []policy.ServerID{serverNo(i)}} }
	login := func(l string) store.Term { return store.Term{Logins: []string{l}} }
	group := func(first, n int) (t store.Term) {
		for i := range n {
			t.Servers = append(t.Servers, serverNo(first+i))
		}
		return t
	}
	address := func(a string) store.Term { return store.Term{Addresses: []netip.Prefix{netip.MustParsePrefix(a)}} }
	month := func(r *rand.Rand, terms ...store.Term) store.Search {
		from := longAgo.Add(time.Duration(r.IntN(35)) * 30 * 24 * time.Hour)
		return store.Search{From: from, To: from.Add(30 * 24 * time.Hour), Terms: terms}
	}
	one := func(t ...store.Term) func(*rand.Rand) store.Search {
		return term(func(*rand.Rand) []store.Term { return t })
	}
	return []benchQuestion{
		{"everything", one()},
		{"person", term(func(r *rand.Rand) []store.Term { return []store.Term{person(r.IntN(manyPersons))} })},
		{"person-gone-for-two-years", one(person(gone))},
		{"server", term(func(r *rand.Rand) []store.Term { return []store.Term{server(r.IntN(manyServers))} })},
		{"group-of-30", term(func(r *rand.Rand) []store.Term { return []store.Term{group(r.IntN(400), 30)} })},
		{"group-of-300", one(group(100, 300))},
		{"login", one(login("user7"))},
		{"login-root", one(login("ROOT"))},
		{"address", term(func(r *rand.Rand) []store.Term {
			return []store.Term{address(clientOf(r.IntN(manyPersons), r.IntN(3)).String() + "/32")}
		})},
		{"prefix-of-30", one(address("100.64.7.0/27"))},
		{"prefix-of-all", one(address("100.64.0.0/10"))},
		{"grant", term(func(r *rand.Rand) []store.Term {
			return []store.Term{{Grants: []policy.GrantID{policy.GrantID(fmt.Sprint(1 + r.IntN(manyGrants)))}}}
		})},
		{"denial", one(store.Term{Denials: []policy.Denial{policy.WrongLogin}})},
		{"protocol-rdp", one(store.Term{Protocols: []policy.Protocol{policy.RDP}})},
		{"active", one(store.Term{Status: store.Active})},
		{"forwarding", one(store.Term{Forwarding: true})},
		{"longer-than-a-day", one(store.Term{Longer: 24 * time.Hour})},
		{"a-month", func(r *rand.Rand) store.Search { return month(r) }},
		{"a-month-group-of-30", func(r *rand.Rand) store.Search { return month(r, group(r.IntN(400), 30)) }},
		{"a-month-person-server", func(r *rand.Rand) store.Search {
			return month(r, person(r.IntN(manyPersons)), server(r.IntN(manyServers)))
		}},
		{"word-of-a-name", one(store.Term{Persons: []policy.PersonID{personNo(7), personNo(70)}, Servers: []policy.ServerID{serverNo(7)}, LoginPart: "user7"})},
		{"robot-and-root", one(person(robot), login("root"))},
		{"robot-and-rdp", one(person(robot), store.Term{Protocols: []policy.Protocol{policy.RDP}})},
		{"few-busy-server-seldom-person", one(server(busy), person(seldom))},
		{"few-root-forwarding-files", one(login("root"), store.Term{Forwarding: true}, store.Term{Files: true})},
		{"none-unused-server", one(server(unused))},
		{"none-unknown-login", one(login("nobody"), store.Term{Status: store.Ended})},
		{"none-robot-on-busy-server", one(person(robot), server(busy))},
		{"none-gone-this-year", func(*rand.Rand) store.Search {
			return store.Search{From: longAgo.Add(years * 2 / 3), Terms: []store.Term{person(gone), login("root")}}
		}},
		{"none-root-on-busy-by-unused-grant", one(login("root"), server(busy), store.Term{Grants: []policy.GrantID{policy.GrantID(fmt.Sprint(noGrants + 1))}})},
		{"none-robot-login-of-others", one(person(robot), login("user3"))},
		{"none-three-that-are-frequent", one(person(robot), login("root"), store.Term{Protocols: []policy.Protocol{policy.RDP}}, server(busy))},
	}
}

func clientOf(person, of int) netip.Addr {
	return netip.AddrFrom4([4]byte{100, 64 + byte(of), byte(person >> 8), byte(person)})
}

func destOf(server int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, 30, byte(server >> 8), byte(server)})
}

// loadMillion fills a database past the store, which would take hours.
func loadMillion(b *testing.B, url string) {
	b.Helper()
	db := raw(b, url)
	at := func(t time.Time) int64 { return t.UnixMicro() }
	pour(b, db, url, "persons", []string{"id", "name", "full_name", "email", "disabled"}, manyPersons, func(i int) []any {
		return []any{string(personNo(i)), fmt.Sprint("person.", i), "", "", false}
	})
	pour(b, db, url, "servers", []string{"id", "name", "prefix", "ssh_port", "rdp_port", "disabled"}, manyServers, func(i int) []any {
		return []any{string(serverNo(i)), fmt.Sprint("server-", i), destOf(i).String() + "/32", int64(0), int64(0), false}
	})
	pour(b, db, url, "grants", []string{"id", "person", "person_group", "server", "server_group", "protocols", "logins", "source", "forwarding",
		"starts", "ends", "schedules", "reason", "revoked", "created", "created_by"}, manyGrants, func(i int) []any {
		return []any{int64(i + 1), string(personNo(i % manyPersons)), "", string(serverNo(i % manyServers)), "", "", "", "", int64(0),
			at(longAgo), int64(0), "", "", int64(0), at(longAgo), "root"}
	})
	pour(b, db, url, "stays", []string{"id", "person", "grant_id", "started", "ended", "cause", "sessions", "recordings"}, manyStays, func(i int) []any {
		return []any{int64(i + 1), string(personNo(i % manyPersons)), int64(i%(manyGrants-1) + 1), at(longAgo), at(longAgo) + 1, "grant-expired", int64(10), int64(5)}
	})
	indexes := dropIndexes(b, db, url)
	r := rand.New(rand.NewPCG(1, 2))
	draw := func(i, of int) (person, server int, login string, start time.Time) {
		start = longAgo.Add(years / time.Duration(of) * time.Duration(i)).Add(time.Duration(r.IntN(3600)) * time.Second)
		person, server = 3+r.IntN(manyPersons-3), r.IntN(manyServers-1)
		if r.IntN(10) == 0 {
			server = busy
		}
		login = fmt.Sprint("user", r.IntN(200))
		if r.IntN(10) < 6 {
			login = "root"
		}
		switch n := r.IntN(100); {
		case n < 20:
			person, server = robot, 1+r.IntN(manyServers-2)
			login = []string{"root", "deploy"}[r.IntN(2)]
		case n < 35 && i < of/3:
			person = gone
		case r.IntN(10_000) == 0:
			person = seldom
		}
		return person, server, login, start
	}
	protocol := func(person int) string {
		if person != robot && r.IntN(25) == 0 {
			return "rdp"
		}
		return "ssh"
	}
	letters := "abcdefghijklmnopqrstuvwxyz234567"
	pour(b, db, url, "sessions", []string{"id", "head", "stay", "person", "server", "grant_id", "protocol", "login", "client", "dest", "gate", "started", "ended", "cause",
		"login_key", "client_key", "dest_key", "lasted", "bytes_in", "bytes_out", "recordings", "forwarding", "files"}, manySessions, func(i int) []any {
		person, server, login, start := draw(i, manySessions)
		id := make([]byte, 26)
		for j := range id {
			id[j] = letters[r.IntN(len(letters))]
		}
		client, dest := clientOf(person, r.IntN(3)), destOf(server)
		seconds := r.Int64N(1 << r.IntN(17))
		if r.IntN(5000) == 0 {
			seconds += 100_000
		}
		ended, cause, lasted := at(start.Add(time.Duration(seconds)*time.Second)), "client-left", int64(store.LengthKey(time.Duration(seconds)*time.Second))
		if i > manySessions-2000 && r.IntN(20) == 0 {
			ended, cause, lasted = 0, "", -1
		}
		grant := 1 + r.IntN(manyGrants-1)
		return []any{string(id), string(id[:4]), int64(1 + r.IntN(manyStays)), string(personNo(person)), string(serverNo(server)), int64(grant), protocol(person), login,
			client.String() + ":50000", dest.String() + ":22", "gate-1", at(start), ended, cause,
			login, store.AddrKey(client), store.AddrKey(dest), lasted, int64(1000), int64(100_000), int64(r.IntN(2)), r.IntN(100) == 0, r.IntN(20) == 0}
	})
	codes := []string{"no-grant", "no-grant", "no-grant", "unknown-person", "unknown-person", "expired", "outside-schedule", "login"}
	var denied [][]any
	pour(b, db, url, "entries", []string{"id", "at", "gate", "client", "dest", "protocol", "login", "person", "server", "grant_id", "denial", "detail", "session", "link"}, manyDenied, func(i int) []any {
		person, server, login, start := draw(i, manyDenied)
		code := codes[r.IntN(len(codes))]
		client, dest := clientOf(person, r.IntN(3)), destOf(server)
		who, where := string(personNo(person)), string(serverNo(server))
		if code == "unknown-person" {
			who = ""
		}
		denied = append(denied, []any{int64(i + 1), at(start), who, where, int64(0), protocol(person), login, store.AddrKey(client), store.AddrKey(dest), code})
		return []any{int64(i + 1), at(start), "gate-1", client.String() + ":50000", dest.String() + ":22", "ssh", login, who, where, int64(0), code, "made up", "", int64(i + 1)}
	})
	pour(b, db, url, "denials", []string{"id", "started", "person", "server", "grant_id", "protocol", "login_key", "client_key", "dest_key", "denial"}, manyDenied,
		func(i int) []any { return denied[i] })
	db.SetMaxOpenConns(1)
	if isPostgres(url) {
		execute(b, db, "SET maintenance_work_mem = '256MB'")
	} else {
		execute(b, db, "PRAGMA synchronous = OFF", "PRAGMA cache_size = -400000", "PRAGMA temp_store = MEMORY")
	}
	execute(b, db, indexes...)
	if isPostgres(url) {
		execute(b, db, "VACUUM ANALYZE") // as autovacuum does by itself after a while
	}
}

// dropIndexes lets a million rows be written at the speed of the disk; what it
// returns makes them again.
func dropIndexes(b *testing.B, db *sql.DB, url string) (again []string) {
	b.Helper()
	question := "SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL AND tbl_name IN ('sessions', 'denials')"
	if isPostgres(url) {
		question = "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = current_schema() AND tablename IN ('sessions', 'denials') AND indexname NOT LIKE '%_pkey'"
	}
	rows, err := db.QueryContext(b.Context(), question)
	if err != nil {
		b.Fatal(err)
	}
	defer rows.Close()
	var names []string
	for rows.Next() {
		var name, text string
		if err := rows.Scan(&name, &text); err != nil {
			b.Fatal(err)
		}
		names, again = append(names, name), append(again, text)
	}
	rows.Close()
	for _, name := range names {
		execute(b, db, "DROP INDEX "+name)
	}
	return again
}

func pour(b *testing.B, db *sql.DB, url, table string, columns []string, n int, row func(i int) []any) {
	b.Helper()
	ctx := context.Background()
	conn, err := db.Conn(ctx)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	if isPostgres(url) {
		err := conn.Raw(func(driver any) error {
			_, err := driver.(*stdlib.Conn).Conn().CopyFrom(ctx, pgx.Identifier{table}, columns, pgx.CopyFromSlice(n, func(i int) ([]any, error) { return row(i), nil }))
			return err
		})
		if err != nil {
			b.Fatalf("%s: %v", table, err)
		}
		return
	}
	if _, err := conn.ExecContext(ctx, "PRAGMA synchronous = OFF"); err != nil {
		b.Fatal(err)
	}
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		b.Fatal(err)
	}
	defer tx.Rollback()
	const atOnce = 50
	places := strings.Repeat(", (?"+strings.Repeat(", ?", len(columns)-1)+")", atOnce)[2:]
	many, err := tx.Prepare("INSERT INTO " + table + " (" + strings.Join(columns, ", ") + ") VALUES " + places)
	if err != nil {
		b.Fatalf("%s: %v", table, err)
	}
	for i := 0; i < n; i += atOnce {
		var values []any
		for j := range atOnce {
			values = append(values, row(i+j)...)
		}
		if _, err := many.Exec(values...); err != nil {
			b.Fatalf("%s: %v", table, err)
		}
	}
	if err := tx.Commit(); err != nil {
		b.Fatal(err)
	}
}
