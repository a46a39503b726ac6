package store_test

import (
	"strings"
	"testing"

	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/store"
	"github.com/pawelmojski/inside/store/storetest"
)

func TestTheDatabaseRefusesToChangeTheRecord(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		s := storetest.Open(t, url)
		if err := s.Audit(t.Context(), "root", "a", "b", "c"); err != nil {
			t.Fatal(err)
		}
		if err := s.Deny(t.Context(), store.Entry{Gate: "gate-1", Denial: policy.NoGrant}); err != nil {
			t.Fatal(err)
		}
		execute(t, raw(t, url), "INSERT INTO heads (link, gate, at, hash, signer, signature) VALUES (1, 'gate-1', 1, '', '', '')")
		attempts := []string{
			"UPDATE audit SET actor = 'nobody'", "DELETE FROM audit", "DELETE FROM audit WHERE id = 1",
			"INSERT INTO audit SELECT * FROM audit ON CONFLICT (id) DO UPDATE SET actor = 'nobody'",
			"UPDATE entries SET login = 'nobody'", "DELETE FROM entries",
			"UPDATE heads SET link = 0", "DELETE FROM heads", "DELETE FROM chain",
		}
		if isPostgres(url) {
			attempts = append(attempts, "TRUNCATE audit", "TRUNCATE entries", "TRUNCATE heads", "TRUNCATE chain")
		} else {
			attempts[3] = "INSERT INTO audit SELECT * FROM audit WHERE true ON CONFLICT (id) DO UPDATE SET actor = 'nobody'" // SQLite's grammar needs the WHERE
			attempts = append(attempts, "REPLACE INTO audit SELECT id, at, 'nobody', action, object, detail, was, became, link, hash FROM audit",
				"REPLACE INTO audit SELECT id + 9, at, 'nobody', action, object, detail, was, became, link, hash FROM audit",
				"REPLACE INTO chain SELECT * FROM chain",
				"INSERT OR REPLACE INTO entries SELECT * FROM entries")
		}
		db := raw(t, url)
		for _, attempt := range attempts {
			if _, err := db.ExecContext(t.Context(), attempt); err == nil || !strings.Contains(err.Error(), "append-only") {
				t.Errorf("%s: %v", attempt, err)
			}
		}
		if n := query(t, db, "SELECT COUNT(*) FROM audit WHERE actor = 'root'"); n != "1" {
			t.Errorf("%s audit rows are left", n)
		}
		if n := query(t, db, "SELECT COUNT(*) FROM entries WHERE login = ''"); n != "1" {
			t.Errorf("%s entries are left", n)
		}
	})
}

func TestTheDatabaseKnowsNoSecondOpenStay(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		s := storetest.Open(t, url)
		if _, _, err := s.Enter(t.Context(), granted(t, s)); err != nil {
			t.Fatal(err)
		}
		db := raw(t, url)
		const again = "INSERT INTO stays (id, person, grant_id, started, ended, cause) SELECT id + %, person, grant_id, started, ended, cause FROM stays"
		if _, err := db.ExecContext(t.Context(), strings.Replace(again, "%", "100", 1)); err == nil {
			t.Error("a second open stay of one person and grant was taken")
		}
		execute(t, db, "UPDATE stays SET ended = 1", strings.Replace(again, "%", "100", 1))
	})
}
