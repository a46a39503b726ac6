package store_test

import (
	"context"
	"io"
	"math"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/store"
	"github.com/pawelmojski/inside/store/storetest"
)

// everything calls each method that asks the database, and returns its error.
func everything(s *store.Store, session policy.Session) map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"Ping":           s.Ping,
		"Facts":          func(ctx context.Context) error { _, err := s.Facts(ctx); return err },
		"Enter":          func(ctx context.Context) error { _, _, err := s.Enter(ctx, session); return err },
		"Deny":           func(ctx context.Context) error { return s.Deny(ctx, store.Entry{Gate: "g", Denial: policy.NoGrant}) },
		"Audit":          func(ctx context.Context) error { return s.Audit(ctx, "root", "a", "", "") },
		"Entries":        func(ctx context.Context) error { _, err := s.Entries(ctx, store.EntryFilter{}); return err },
		"Sessions":       func(ctx context.Context) error { _, err := s.Sessions(ctx, store.SessionFilter{}); return err },
		"Stays":          func(ctx context.Context) error { _, err := s.Stays(ctx, store.StayFilter{Open: true}); return err },
		"CloseOrphans":   func(ctx context.Context) error { _, err := s.CloseOrphans(ctx, "g", time.Now()); return err },
		"HostKeys":       func(ctx context.Context) error { _, err := s.HostKeys(ctx, session.Dest); return err },
		"ForgetHostKeys": func(ctx context.Context) error { _, err := s.ForgetHostKeys(ctx, "root", session.Dest); return err },
		"SetGrantEnd": func(ctx context.Context) error {
			return s.SetGrantEnd(ctx, "root", session.Grant, math.MaxInt64, time.Now().Add(time.Hour))
		},
	}
}

// allFail calls each method several times at once, each with a deadline, and
// wants every one of them to fail in time, without blaming the caller.
func allFail(t *testing.T, s *store.Store, session policy.Session, patience time.Duration) {
	t.Helper()
	const slack = 2 * time.Second // of a busy machine
	var calling sync.WaitGroup
	for name, call := range everything(s, session) {
		for range 3 {
			calling.Go(func() {
				err := within(t, patience+slack, name, func() error {
					ctx, cancel := context.WithTimeout(context.Background(), patience)
					defer cancel()
					return call(ctx)
				})
				if err == nil || sentinel(err) {
					t.Errorf("%s without a database: %v", name, err)
				}
			})
		}
	}
	calling.Wait()
}

// allWork gives a database that came back one attempt to be noticed.
func allWork(t *testing.T, s *store.Store, session policy.Session) {
	t.Helper()
	for name, call := range everything(s, session) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		if err := call(ctx); err != nil {
			t.Errorf("%s when the database is back: %v", name, err)
		}
		cancel()
	}
}

func TestAKilledDatabaseFailsCallsInTimeAndWorksAgain(t *testing.T) {
	t.Parallel()
	cluster := storetest.StartCluster(t)
	s := storetest.Open(t, cluster.Database(t))
	session := granted(t, s)
	allWork(t, s, session)
	cluster.Kill(t)
	allFail(t, s, session, time.Second)
	cluster.Start(t)
	allWork(t, s, session)
}

func TestACallInFlightFailsWhenTheDatabaseIsKilled(t *testing.T) {
	t.Parallel()
	cluster := storetest.StartCluster(t)
	url := cluster.Database(t)
	s := storetest.Open(t, url)
	lock, err := raw(t, url).BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lock.ExecContext(t.Context(), "UPDATE chain SET link = link"); err != nil {
		t.Fatal(err)
	}
	failed := make(chan error)
	go func() { failed <- s.Audit(context.Background(), "root", "waits", "", "") }()
	await(t, "a call that waits for the lock", func() bool {
		return query(t, raw(t, url), "SELECT COUNT(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()") == "1"
	})
	cluster.Stop(t)
	select {
	case err := <-failed:
		if err == nil || sentinel(err) {
			t.Errorf("the call said %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("the call hangs")
	}
}

// A frontage stands before a PostgreSQL server and can swallow everything, as
// a cut cable does: connections stay open and nothing passes.
type frontage struct {
	listener net.Listener
	server   string

	mu    sync.Mutex
	hole  bool
	conns []net.Conn
}

func newFrontage(t *testing.T, server string) (f *frontage, dir string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "inside-frontage-") // short: a socket's path is
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", filepath.Join(dir, filepath.Base(server)))
	if err != nil {
		t.Fatal(err)
	}
	f = &frontage{listener: l, server: server}
	var serving sync.WaitGroup
	serving.Go(func() { f.serve(&serving) })
	t.Cleanup(func() {
		l.Close()
		f.swallow(false)
		serving.Wait()
		os.RemoveAll(dir)
	})
	return f, dir
}

func (f *frontage) serve(serving *sync.WaitGroup) {
	for {
		client, err := f.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("unix", f.server)
		if err != nil {
			client.Close()
			continue
		}
		f.mu.Lock()
		f.conns = append(f.conns, client, server)
		f.mu.Unlock()
		for _, way := range [][2]net.Conn{{client, server}, {server, client}} {
			serving.Go(func() {
				defer way[1].Close()
				_, _ = io.Copy(way[1], passing{f, way[0]})
			})
		}
	}
}

// passing reads what came in and loses it while there is a hole.
type passing struct {
	*frontage
	from net.Conn
}

func (p passing) Read(b []byte) (int, error) {
	for {
		n, err := p.from.Read(b)
		p.mu.Lock()
		hole := p.hole
		p.mu.Unlock()
		if !hole || err != nil {
			return n, err
		}
	}
}

// swallow opens the hole, or closes it with all connections that fell in.
func (f *frontage) swallow(hole bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hole = hole
	if !hole {
		for _, c := range f.conns {
			c.Close()
		}
		f.conns = nil
	}
}

func TestASilentDatabaseFailsCallsInTimeAndWorksAgain(t *testing.T) {
	t.Parallel()
	cluster := storetest.StartCluster(t)
	front, dir := newFrontage(t, cluster.Socket())
	direct, err := url.Parse(cluster.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	direct.RawQuery = url.Values{"host": {dir}}.Encode()
	s := storetest.Open(t, direct.String())
	session := granted(t, s)
	heard := follow(t, s)
	hearRevision(t, heard, 3, 10*time.Second)
	allWork(t, s, session)
	hearRevision(t, heard, 4, 10*time.Second)

	front.swallow(true)
	allFail(t, s, session, time.Second)
	if n := hear(t, heard, 20*time.Second); n.err == nil {
		t.Errorf("in silence Changes said revision %d", n.revision)
	}
	front.swallow(false)
	hearRevision(t, heard, 4, 20*time.Second)
	allWork(t, s, session)
	hearRevision(t, heard, 5, 10*time.Second)
}
