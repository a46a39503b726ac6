package store_test

import (
	"context"
	"database/sql"
	"fmt"
	"net/netip"
	"runtime"
	"testing"

	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/store"
	"github.com/pawelmojski/inside/store/storetest"
)

func benchBoth(b *testing.B, bench func(b *testing.B, url string)) {
	b.Run("SQLite", func(b *testing.B) { bench(b, storetest.SQLite(b)) })
	b.Run("PostgreSQL", func(b *testing.B) { bench(b, storetest.PostgreSQL(b)) })
}

// BenchmarkEnter is what a person waits for the store when entering: checks,
// stay, session and entry in one transaction. SQLite waits for the disk, the
// tests' PostgreSQL does not.
func BenchmarkEnter(b *testing.B) {
	benchBoth(b, func(b *testing.B, url string) {
		s := storetest.Open(b, url)
		session := granted(b, s)
		for b.Loop() {
			if _, _, err := s.Enter(b.Context(), session); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkEnterAtOnce is a crowd at the door, each person with a stay of
// their own.
func BenchmarkEnterAtOnce(b *testing.B) {
	benchBoth(b, func(b *testing.B, url string) {
		s := storetest.Open(b, url)
		session := granted(b, s)
		const crowd = 50
		grants := make(chan policy.GrantID, crowd)
		for range crowd {
			g, err := s.CreateGrant(b.Context(), "root", policy.Grant{Person: session.Person, Server: session.Server})
			if err != nil {
				b.Fatal(err)
			}
			grants <- g.ID
		}
		b.SetParallelism(crowd / runtime.GOMAXPROCS(0))
		b.ResetTimer()
		b.RunParallel(func(each *testing.PB) {
			session := session
			session.Grant = <-grants
			for each.Next() {
				if _, _, err := s.Enter(b.Context(), session); err != nil {
					b.Error(err)
				}
			}
		})
	})
}

func BenchmarkDeny(b *testing.B) {
	benchBoth(b, func(b *testing.B, url string) {
		s := storetest.Open(b, url)
		for b.Loop() {
			if err := s.Deny(b.Context(), store.Entry{Gate: "gate-1", Denial: policy.UnknownPerson}); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkFacts reads 10,000 persons, 1,000 servers and 100,000 grants, as a
// gate does after each change.
func BenchmarkFacts(b *testing.B) {
	benchBoth(b, func(b *testing.B, url string) {
		s := storetest.Open(b, url)
		crowd(b, url)
		for b.Loop() {
			f, err := s.Facts(b.Context())
			if err != nil || len(f.Grants) != 100_000 || len(f.Persons) != 10_000 {
				b.Fatalf("%d grants, %d persons, %v", len(f.Grants), len(f.Persons), err)
			}
		}
	})
}

// BenchmarkAddAddress adds an address that must be compared with 10,000 others.
func BenchmarkAddAddress(b *testing.B) {
	benchBoth(b, func(b *testing.B, url string) {
		s := storetest.Open(b, url)
		crowd(b, url)
		p, err := s.AddPerson(b.Context(), "root", policy.Person{Name: "alice"})
		if err != nil {
			b.Fatal(err)
		}
		at := netip.MustParseAddr("192.168.0.0")
		for b.Loop() {
			if _, err := s.AddAddress(b.Context(), "root", p.ID, policy.Address{Prefix: netip.PrefixFrom(at, 32)}); err != nil {
				b.Fatal(err)
			}
			at = at.Next()
		}
	})
}

// crowd fills a database past the store, which would take its time.
func crowd(b *testing.B, url string) {
	b.Helper()
	tx, err := raw(b, url).BeginTx(context.Background(), nil)
	if err != nil {
		b.Fatal(err)
	}
	insert := func(into string, n int, row func(i int) []any) {
		var st *sql.Stmt
		for i := range n {
			values := row(i)
			if st == nil {
				places := ""
				for p := range values {
					places += fmt.Sprintf(", $%d", p+1)
				}
				if st, err = tx.Prepare("INSERT INTO " + into + " VALUES (" + places[2:] + ")"); err != nil {
					b.Fatal(err)
				}
			}
			if _, err := st.Exec(values...); err != nil {
				b.Fatal(err)
			}
		}
	}
	insert("persons (id, name, full_name, email, disabled)", 10_000, func(i int) []any { return []any{fmt.Sprint("p", i), fmt.Sprint("person.", i), "", "", false} })
	insert("addresses", 10_000, func(i int) []any {
		return []any{-1 - i, fmt.Sprint("p", i), fmt.Sprintf("10.%d.%d.%d/32", i>>16, i>>8&255, i&255), "home", false}
	})
	insert("servers (id, name, prefix, ssh_port, rdp_port, disabled)", 1_000, func(i int) []any {
		return []any{fmt.Sprint("s", i), fmt.Sprint("server-", i), fmt.Sprintf("172.16.%d.%d/32", i>>8, i&255), 0, 0, false}
	})
	insert(`grants (id, person, person_group, server, server_group, protocols, logins, source, forwarding,
		starts, ends, schedules, reason, revoked, created, created_by)`, 100_000, func(i int) []any {
		return []any{1 + i, fmt.Sprint("p", i%10_000), "", fmt.Sprint("s", i%1_000), "", "ssh", "root\nadmin", "", 0,
			1_700_000_000_000_000, 1_800_000_000_000_000, "Europe/Warsaw Mon-Fri 09:00-17:00", "because", 0, 1_700_000_000_000_000, "root"}
	})
	if err := tx.Commit(); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkVerify reads a record of 100,000 links; links/s is how fast.
func BenchmarkVerify(b *testing.B) {
	benchBoth(b, func(b *testing.B, url string) {
		s := storetest.Open(b, url)
		const each = 50_000
		if err := store.FillChain(b.Context(), s, each); err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			if good, err := s.Verify(b.Context(), store.Verification{}); err != nil || good.Links != 2*each {
				b.Fatalf("%+v, %v", good, err)
			}
		}
		b.ReportMetric(2*each*float64(b.N)/b.Elapsed().Seconds(), "links/s")
	})
}
