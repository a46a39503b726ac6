package store_test

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/pawelmojski/inside/store/storetest"
)

// BenchmarkStatistics counts the last day of a year with a million sessions
// and as many denied entries, 26,000 of both in the last day.
func BenchmarkStatistics(b *testing.B) {
	benchBoth(b, func(b *testing.B, url string) {
		s := storetest.Open(b, url)
		se := granted(b, s)
		now := time.Now()
		se.Start = now.Add(-365 * 24 * time.Hour)
		se, _, err := s.Enter(b.Context(), se)
		if err != nil {
			b.Fatal(err)
		}
		db := raw(b, url)
		numbers := "WITH RECURSIVE n (i) AS (SELECT CAST(10 AS BIGINT) UNION ALL SELECT i + 1 FROM n WHERE i < $1) "
		fill := func(query string, args ...any) {
			b.Helper()
			if _, err := db.ExecContext(b.Context(), query, args...); err != nil {
				b.Fatal(err)
			}
		}
		const many, dayInMicros = 1_000_000, 24 * 3600 * 1_000_000
		at := fmt.Sprintf("(%d - CASE WHEN i %% 100 = 0 THEN (i * 43200) %% %d ELSE (i * 12960007) %% %d END)", now.UnixMicro(), int64(dayInMicros), int64(300*dayInMicros))
		stay, err := strconv.Atoi(string(se.Stay))
		if err != nil {
			b.Fatal(err)
		}
		fill(numbers+`INSERT INTO entries (id, at, gate, client, dest, protocol, login, person, server, grant_id, denial, detail, session, link, hash)
			SELECT i, `+at+`, 'gate-1', '', '', 'ssh', '', '', $2, 1, CASE WHEN i % 2 = 0 THEN '' ELSE 'no-grant' END, '', '', i + 1000000, '' FROM n`,
			2*many, string(se.Server))
		fill(numbers+`INSERT INTO sessions (id, head, stay, person, server, grant_id, protocol, login, client, dest, gate, started, ended, cause)
			SELECT 'aaaaaaaaaaaaaaaa' || i, 'aaaa', $2, $3, $4, 1, 'ssh', '', '', '', 'gate-1', `+at+`, 1, '' FROM n`,
			many, stay, string(se.Person), string(se.Server))
		for _, table := range []string{"entries", "sessions"} {
			fill("ANALYZE " + table)
			if isPostgres(url) {
				fill("VACUUM " + table) // as autovacuum does where rows are inserted
			}
		}
		b.ResetTimer()
		for b.Loop() {
			if _, err := s.Statistics(b.Context(), now, now.Add(-12*time.Hour)); err != nil {
				b.Fatal(err)
			}
		}
		b.StopTimer()
		began := time.Now()
		if _, err := s.LastHour(b.Context(), now); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(time.Since(began).Microseconds()), "µs/last-hour")
	})
}
