package store_test

import (
	"bufio"
	"context"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/store"
	"github.com/pawelmojski/inside/store/storetest"
)

// enterForEver says each session that was let in, once it is written down.
func enterForEver(url string) error {
	ctx := context.Background()
	s, err := store.Open(ctx, url)
	if err != nil {
		return err
	}
	f, err := s.Facts(ctx)
	if err != nil {
		return err
	}
	for {
		se, _, err := s.Enter(ctx, policy.Session{
			Person: f.Persons[0].ID, Server: f.Servers[0].ID, Grant: f.Grants[0].ID, Protocol: policy.SSH, Gate: "gate-1",
			Client: netip.MustParseAddrPort("100.64.0.20:50022"), Dest: netip.MustParseAddrPort("10.30.0.140:22"),
		})
		if err != nil {
			return err
		}
		fmt.Println(se.ID)
		if err := s.Leave(ctx, se.ID, time.Now(), policy.ClientLeft, policy.Carried{}); err != nil {
			return err
		}
	}
}

func TestAKilledGateLosesNoEntryItLetIn(t *testing.T) {
	const rounds = 10
	path := storetest.SQLite(t)
	s, err := store.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	granted(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	entered := 0
	for round := range rounds {
		for _, id := range enterUntilKilled(t, path, 20+7*round) {
			entered++
			s, err := store.Open(t.Context(), path)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.Session(t.Context(), id); err != nil {
				t.Errorf("round %d: %v", round, err)
			}
			s.Close()
		}
		db := raw(t, path)
		for question, want := range map[string]string{
			"PRAGMA integrity_check":                                     "ok",
			"SELECT COUNT(*) FROM pragma_foreign_key_check":              "0",
			"SELECT COUNT(*) - MAX(id) FROM entries":                     "0",
			"SELECT COUNT(DISTINCT session) FROM entries":                query(t, db, "SELECT COUNT(*) FROM sessions"),
			"SELECT COUNT(*) FROM stays WHERE id <> 0":                   "1",
			"SELECT COUNT(*) FROM sessions WHERE stay <> 1":              "0",
			"SELECT entries - (SELECT COUNT(*) FROM entries) FROM chain": "0",
		} {
			if got := query(t, db, question); got != want {
				t.Errorf("round %d: %s: %s, want %s", round, question, got, want)
			}
		}
		db.Close()
	}
	t.Logf("%d entries were let in before %d kills", entered, rounds)
	if entered < rounds {
		t.Error("the gate was killed before it did anything")
	}
}

// enterUntilKilled kills a gate after so many entries, in the middle of
// whatever it does then.
func enterUntilKilled(t *testing.T, url string, after int) (ids []string) {
	t.Helper()
	gate := process(t, "enter", url)
	out, err := gate.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := gate.Start(); err != nil {
		t.Fatal(err)
	}
	said := bufio.NewScanner(out)
	for said.Scan() {
		ids = append(ids, said.Text())
		if len(ids) == after {
			_ = gate.Process.Kill()
		}
	}
	_ = gate.Wait() // killed, as it should be
	return ids
}
