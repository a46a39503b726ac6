// Package storetest tests stores and lends databases to tests: [Run] is the
// contract every engine keeps, [PostgreSQL] and [Schema] give an empty database
// or schema on a real server that the test binary starts by itself,
// [StartCluster] a server to be stopped, killed and started again. It is no
// part of a shipped program.
package storetest

import (
	"path/filepath"
	"testing"

	"github.com/pawelmojski/inside/store"
)

// SQLite names a new database file for one test.
func SQLite(tb testing.TB) (url string) {
	tb.Helper()
	return filepath.Join(tb.TempDir(), "inside.db")
}

// Open opens a store and closes it when the test ends.
func Open(tb testing.TB, url string) *store.Store {
	tb.Helper()
	s, err := store.Open(tb.Context(), url)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Errorf("close: %v", err)
		}
	})
	return s
}
