package store_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/store"
	"github.com/pawelmojski/inside/store/storetest"
)

// A news is what Changes yields.
type news struct {
	revision int64
	err      error
	at       time.Time
}

// follow hears the changes of a store until the test ends.
func follow(t *testing.T, s *store.Store) <-chan news {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	heard, done := make(chan news, 1000), make(chan struct{})
	go func() {
		defer close(done)
		for revision, err := range s.Changes(ctx) {
			heard <- news{revision, err, time.Now()}
		}
	}()
	t.Cleanup(func() {
		cancel()
		select {
		case <-done:
		case <-time.After(10 * time.Second):
			t.Error("Changes does not end with its context")
		}
	})
	return heard
}

func hear(t *testing.T, heard <-chan news, limit time.Duration) news {
	t.Helper()
	select {
	case n := <-heard:
		return n
	case <-time.After(limit):
		t.Fatalf("nothing was heard for %s", limit)
		return news{}
	}
}

func hearRevision(t *testing.T, heard <-chan news, want int64, limit time.Duration) news {
	t.Helper()
	n := hear(t, heard, limit)
	if n.err != nil || n.revision != want {
		t.Fatalf("heard of revision %d, %v: want %d", n.revision, n.err, want)
	}
	return n
}

func addPerson(t *testing.T, s *store.Store, name string) {
	t.Helper()
	if _, err := s.AddPerson(t.Context(), "root", policy.Person{Name: name}); err != nil {
		t.Fatal(err)
	}
}

func TestTwoGatesHearOfEachOthersChanges(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		one, two := storetest.Open(t, url), storetest.Open(t, url)
		heardOne, heardTwo := follow(t, one), follow(t, two)
		hearRevision(t, heardOne, 0, 10*time.Second)
		hearRevision(t, heardTwo, 0, 10*time.Second)
		var slowest time.Duration
		for revision := int64(1); revision <= 4; revision++ {
			writer, others := one, heardTwo
			if revision%2 == 0 {
				writer, others = two, heardOne
			}
			addPerson(t, writer, "p"+string(rune('0'+revision)))
			changed := time.Now()
			slowest = max(slowest, hearRevision(t, others, revision, 10*time.Second).at.Sub(changed))
			for _, own := range []<-chan news{heardOne, heardTwo} {
				if own != others {
					hearRevision(t, own, revision, 10*time.Second)
				}
			}
		}
		t.Logf("the slowest news took %s", slowest)
		if slowest > 2*time.Second {
			t.Errorf("the slowest news took %s", slowest)
		}
	})
}

func TestALostNotificationIsMadeUpForByThePoll(t *testing.T) {
	t.Parallel()
	url := storetest.PostgreSQL(t)
	s := storetest.Open(t, url)
	heard := follow(t, s)
	hearRevision(t, heard, 0, 10*time.Second)
	db := raw(t, url)
	execute(t, db, "DROP TRIGGER revision_announces ON counters") // now nobody notifies
	changed := time.Now()
	execute(t, db, "UPDATE counters SET n = n + 1 WHERE name = 'revision'")
	if took := hearRevision(t, heard, 1, 10*time.Second).at.Sub(changed); took > 2*time.Second {
		t.Errorf("the poll took %s", took)
	}
}

func TestTheListenerComesBack(t *testing.T) {
	t.Parallel()
	url := storetest.PostgreSQL(t)
	s := storetest.Open(t, url)
	heard := follow(t, s)
	hearRevision(t, heard, 0, 10*time.Second)
	db := raw(t, url)
	const listeners = "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND query = 'LISTEN inside_facts'"
	await(t, "a listener", func() bool { return query(t, db, listeners) == "1" })
	execute(t, db, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND query = 'LISTEN inside_facts'")
	await(t, "no listener", func() bool { return query(t, db, listeners) == "0" })
	await(t, "another listener", func() bool { return query(t, db, listeners) == "1" })
	addPerson(t, s, "alice")
	hearRevision(t, heard, 1, 10*time.Second)
}

// A listener that hears nothing asks whether anybody is there, and listens on.
func TestAnIdleListenerKeepsListening(t *testing.T) {
	t.Parallel()
	url := storetest.PostgreSQL(t)
	s := storetest.Open(t, url)
	heard := follow(t, s)
	hearRevision(t, heard, 0, 10*time.Second)
	db := raw(t, url)
	const listener = "SELECT COALESCE(MAX(pid), 0) FROM pg_stat_activity WHERE datname = current_database() AND query = "
	var pid string
	await(t, "a listener", func() bool { pid = query(t, db, listener+"'LISTEN inside_facts'"); return pid != "0" })
	await(t, "a ping", func() bool { return query(t, db, listener+"'-- ping'") == pid })
	var fastest time.Duration = time.Hour
	for i := range 5 { // the poll, each second, would not be that fast five times
		addPerson(t, s, "p"+string(rune('0'+i)))
		hearRevision(t, heard, int64(2*i+1), 10*time.Second)
		execute(t, db, "UPDATE counters SET n = n + 1 WHERE name = 'revision'")
		changed := time.Now()
		fastest = min(fastest, hearRevision(t, heard, int64(2*i+2), 10*time.Second).at.Sub(changed))
	}
	if fastest > 500*time.Millisecond {
		t.Errorf("the fastest of five notifications took %s", fastest)
	}
}

// await polls what gives no signal.
func await(t *testing.T, what string, reached func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !reached(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("no sign of %s in 20 seconds", what)
		}
	}
}

func TestAnOutageIsToldOnceAndThenItsEnd(t *testing.T) {
	t.Parallel()
	cluster := storetest.StartCluster(t)
	s := storetest.Open(t, cluster.Database(t))
	heard := follow(t, s)
	hearRevision(t, heard, 0, 10*time.Second)
	for outage := int64(1); outage <= 2; outage++ {
		cluster.Stop(t)
		if n := hear(t, heard, 10*time.Second); n.err == nil || sentinel(n.err) || strings.Contains(n.err.Error(), "\n") {
			t.Fatalf("outage %d: heard of revision %d, %v", outage, n.revision, n.err)
		}
		select { // nothing more, though it polls each second
		case n := <-heard:
			t.Fatalf("outage %d: heard twice: %+v", outage, n)
		case <-time.After(2500 * time.Millisecond):
		}
		cluster.Start(t)
		hearRevision(t, heard, outage-1, 15*time.Second)
		addPerson(t, s, "p"+string(rune('0'+outage)))
		hearRevision(t, heard, outage, 10*time.Second)
	}
}

func TestFactsThatWentBackAreAnError(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		s := storetest.Open(t, url)
		addPerson(t, s, "alice")
		addPerson(t, s, "bob")
		heard := follow(t, s)
		hearRevision(t, heard, 2, 10*time.Second)
		db := raw(t, url)
		execute(t, db, "UPDATE counters SET n = 1 WHERE name = 'revision'")
		if n := hear(t, heard, 10*time.Second); n.err == nil || !strings.Contains(n.err.Error(), "from revision 2 to 1") {
			t.Errorf("heard of revision %d, %v", n.revision, n.err)
		}
		execute(t, db, "UPDATE counters SET n = 3 WHERE name = 'revision'")
		hearRevision(t, heard, 3, 10*time.Second)
	})
}
