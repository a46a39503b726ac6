package store_test

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/store"
	"github.com/pawelmojski/inside/store/storetest"
)

func TestASQLiteFileThatSomebodyElseLocksFailsCallsInTime(t *testing.T) {
	path := storetest.SQLite(t)
	s := storetest.Open(t, path)
	session := granted(t, s)
	other := raw(t, path)
	other.SetMaxOpenConns(1)
	execute(t, other, "BEGIN IMMEDIATE")
	err := within(t, 2*time.Second, "Enter", func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		_, _, err := s.Enter(ctx, session)
		return err
	})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Enter said %v", err)
	}
	if _, err := s.Facts(t.Context()); err != nil {
		t.Errorf("a writer keeps readers out: %v", err)
	}
	entered := make(chan error)
	go func() { _, err := enterFor(s, session); entered <- err }()
	execute(t, other, "COMMIT")
	if err := <-entered; err != nil {
		t.Errorf("with the lock gone Enter said %v", err)
	}
}

func TestTwoGatesOnOneDatabaseKeepOneStay(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		one, two := storetest.Open(t, url), storetest.Open(t, url)
		session := granted(t, one)
		var entering sync.WaitGroup
		for i := range 60 {
			gate := []*store.Store{one, two}[i%2]
			entering.Go(func() {
				session := session
				session.Client = netip.AddrPortFrom(session.Client.Addr(), uint16(50000+i))
				if _, err := enterFor(gate, session); err != nil {
					t.Error(err)
				}
			})
		}
		entering.Wait()
		stays, err := one.Stays(t.Context(), store.StayFilter{})
		if err != nil || len(stays) != 1 {
			t.Errorf("%d stays, %v", len(stays), err)
		}
		entries, err := two.Entries(t.Context(), store.EntryFilter{})
		if err != nil || len(entries) != 60 || entries[0].ID != 60 {
			t.Errorf("%d entries, %v", len(entries), err)
		}
	})
}

// A deadlock is ended by whoever looks for it first. The store is the one that
// does, after long enough for the deadlock to be there, and tries again.
func TestAChangeThatLostADeadlockIsTriedAgain(t *testing.T) {
	t.Parallel()
	url := storetest.PostgreSQL(t)
	s := storetest.Open(t, url+"&options="+"-c%20deadlock_timeout%3D5s")
	db := raw(t, url)
	other, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, statement := range []string{"SET LOCAL deadlock_timeout = '1h'", "UPDATE chain SET link = link"} {
		if _, err := other.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	added := make(chan error)
	go func() {
		_, err := s.AddPerson(context.Background(), "root", policy.Person{Name: "alice"})
		added <- err
	}()
	await(t, "a change that waits for the audit trail", func() bool {
		return query(t, db, "SELECT COUNT(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()") == "1"
	})
	if _, err := other.ExecContext(t.Context(), "UPDATE counters SET n = n WHERE name = 'revision'"); err != nil {
		t.Fatal(err)
	}
	if err := other.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := <-added; err != nil {
		t.Errorf("AddPerson said %v", err)
	}
	if n := query(t, db, "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"); n == "0" {
		t.Log("the server has not counted the deadlock yet")
	}
	if f, err := s.Facts(t.Context()); err != nil || f.Revision != 1 || len(f.Persons) != 1 {
		t.Errorf("%d persons in revision %d, %v", len(f.Persons), f.Revision, err)
	}
}
