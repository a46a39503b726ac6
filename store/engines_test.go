package store_test

import (
	"context"
	"database/sql"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/store"
	"github.com/pawelmojski/inside/store/storetest"
)

// onBoth runs a test on an empty database of each engine.
func onBoth(t *testing.T, test func(t *testing.T, url string)) {
	t.Run("SQLite", func(t *testing.T) { test(t, storetest.SQLite(t)) })
	t.Run("PostgreSQL", func(t *testing.T) { test(t, storetest.PostgreSQL(t)) })
}

// raw opens a database past the store.
func raw(tb testing.TB, url string) *sql.DB {
	tb.Helper()
	driver, dsn := "sqlite", url+"?_busy_timeout=10000&_foreign_keys=on"
	if isPostgres(url) {
		driver, dsn = "pgx", url
	}
	db, err := sql.Open(driver, dsn)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { db.Close() })
	return db
}

func isPostgres(url string) bool { return strings.HasPrefix(url, "postgres://") }

func execute(tb testing.TB, db *sql.DB, statements ...string) {
	tb.Helper()
	for _, st := range statements {
		if _, err := db.ExecContext(tb.Context(), st); err != nil {
			tb.Fatalf("%s: %v", st, err)
		}
	}
}

func query(tb testing.TB, db *sql.DB, question string) (answer string) {
	tb.Helper()
	if err := db.QueryRowContext(tb.Context(), question).Scan(&answer); err != nil {
		tb.Fatalf("%s: %v", question, err)
	}
	return answer
}

// granted sets a person, a server and a grant up and returns a session to be
// entered by it.
func granted(tb testing.TB, s *store.Store) policy.Session {
	tb.Helper()
	session, err := grantedOn(s)
	if err != nil {
		tb.Fatal(err)
	}
	return session
}

func grantedOn(s *store.Store) (policy.Session, error) {
	ctx := context.Background()
	p, err := s.AddPerson(ctx, "root", policy.Person{Name: "alice", Addresses: []policy.Address{{Prefix: netip.MustParsePrefix("100.64.0.20/32")}}})
	if err != nil {
		return policy.Session{}, err
	}
	v, err := s.AddServer(ctx, "root", policy.Server{Name: "db", Prefix: netip.MustParsePrefix("10.30.0.140/32")})
	if err != nil {
		return policy.Session{}, err
	}
	g, err := s.CreateGrant(ctx, "root", policy.Grant{Person: p.ID, Server: v.ID})
	return policy.Session{
		Person: p.ID, Server: v.ID, Grant: g.ID, Protocol: policy.SSH, Login: "ideo", Gate: "gate-1",
		Client: netip.MustParseAddrPort("100.64.0.20:50022"), Dest: netip.MustParseAddrPort("10.30.0.140:22"),
	}, err
}

// Some tests need a process of their own, to be killed or to have its own
// mounts: the test binary again, which finds its part in the environment.
const (
	partOf = "INSIDE_STORE_TEST_PART"
	partAt = "INSIDE_STORE_TEST_URL"
)

var parts = map[string]func(url string) error{
	"open":      openOnly,
	"enter":     enterForEver,
	"full disk": fillDisk,
	"read-only": openReadOnly,
}

func TestMain(m *testing.M) {
	part := os.Getenv(partOf)
	if part == "" {
		os.Exit(m.Run())
	}
	if err := parts[part](os.Getenv(partAt)); err != nil {
		os.Stderr.WriteString(err.Error() + "\n")
		os.Exit(1)
	}
}

func process(tb testing.TB, part, url string) *exec.Cmd {
	tb.Helper()
	self, err := os.Executable()
	if err != nil {
		tb.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), partOf+"="+part, partAt+"="+url)
	return cmd
}

// within wants the call to return in time.
func within(tb testing.TB, limit time.Duration, what string, call func() error) error {
	tb.Helper()
	start := time.Now()
	err := call()
	if took := time.Since(start); took > limit {
		tb.Errorf("%s took %s, at most %s are allowed (error: %v)", what, took, limit, err)
	}
	return err
}

// sentinel reports whether an error says that what was asked is wrong, which a
// broken database must never say.
func sentinel(err error) bool {
	return errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrInvalid)
}
