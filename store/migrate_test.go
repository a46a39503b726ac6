package store_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pawelmojski/inside/store"
	"github.com/pawelmojski/inside/store/storetest"
)

func TestOpeningAgainFindsEverythingAndMigratesNothing(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		first := storetest.Open(t, url)
		granted(t, first)
		before, err := first.Facts(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		db := raw(t, url)
		versions := query(t, db, "SELECT COUNT(*) FROM schema_version")
		after, err := storetest.Open(t, url).Facts(t.Context())
		if err != nil || after.Revision != before.Revision || len(after.Grants) != 1 {
			t.Errorf("facts of revision %d with %d grants, %v", after.Revision, len(after.Grants), err)
		}
		if now := query(t, db, "SELECT COUNT(*) FROM schema_version"); now != versions {
			t.Errorf("migrations applied: %s, then %s", versions, now)
		}
	})
}

func TestGatesThatStartTogetherMigrateOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		var starting sync.WaitGroup
		for range 8 {
			starting.Go(func() {
				s, err := store.Open(t.Context(), url)
				if err != nil {
					t.Error(err)
					return
				}
				defer s.Close()
				if err := s.Ping(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		starting.Wait()
		db := raw(t, url)
		if twice := query(t, db, "SELECT COUNT(*) - COUNT(DISTINCT version) FROM schema_version"); twice != "0" {
			t.Errorf("%s migrations were applied twice", twice)
		}
	})
}

func TestASchemaFromTheFutureIsRefusedAndLeftAlone(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		storetest.Open(t, url)
		db := raw(t, url)
		execute(t, db, "INSERT INTO schema_version (version, name) VALUES (99, '0099_from_the_future')")
		_, err := store.Open(t.Context(), url)
		if !errors.Is(err, store.ErrInvalid) || !strings.Contains(err.Error(), "schema 99") || !strings.Contains(err.Error(), "install the newer version") {
			t.Errorf("got %v", err)
		}
	})
}

func TestASchemaThatWasNeverReleasedIsRefused(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		storetest.Open(t, url)
		execute(t, raw(t, url), "UPDATE schema_version SET name = '0002_append_only' WHERE version = 2")
		_, err := store.Open(t.Context(), url)
		if !errors.Is(err, store.ErrInvalid) || !strings.Contains(err.Error(), "unreleased") {
			t.Errorf("got %v", err)
		}
	})
}

// openOnly is the part of a gate that is killed while it starts.
func openOnly(url string) error {
	fmt.Println("opening")
	s, err := store.Open(context.Background(), url)
	if err != nil {
		return err
	}
	return s.Close()
}

func TestAKillWhileMigratingLeavesNothingHalfDone(t *testing.T) {
	for name, empty := range map[string]func(testing.TB) string{"SQLite": storetest.SQLite, "PostgreSQL": storetest.PostgreSQL} {
		t.Run(name, func(t *testing.T) {
			const rounds = 12
			start := time.Now()
			storetest.Open(t, empty(t))
			whole := time.Since(start) // about; the kills are spread over it
			interrupted := 0
			for round := range rounds {
				url := empty(t)
				if openThenKill(t, url, whole*time.Duration(round)/rounds) {
					interrupted++
				}
				granted(t, storetest.Open(t, url))
			}
			t.Logf("%d of %d were killed before they had finished", interrupted, rounds)
			if interrupted == 0 {
				t.Error("no gate was killed in time")
			}
		})
	}
}

// openThenKill starts a gate and reports whether it was killed that long after
// it began to open the database.
func openThenKill(t *testing.T, url string, after time.Duration) bool {
	t.Helper()
	gate := process(t, "open", url)
	out, err := gate.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := gate.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	kill := time.AfterFunc(after, func() { _ = gate.Process.Kill() })
	defer kill.Stop()
	return gate.Wait() != nil
}
