package store_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pawelmojski/inside/store"
	"github.com/pawelmojski/inside/store/storetest"
)

func TestADatabaseThatCannotBeOpenedIsNamed(t *testing.T) {
	dir := t.TempDir()
	garbage := filepath.Join(dir, "garbage.db")
	if err := os.WriteFile(garbage, []byte(strings.Repeat("this is no database\n", 500)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		url      string
		invalid  bool
		mentions string
	}{
		{"", true, "give the absolute path"},
		{"mysql://root:s3cret@localhost/inside", true, "neither"},
		{"host=localhost password=s3cret", true, "neither"},
		{"inside.db", true, "absolute path"},
		{":memory:", true, "absolute path"},
		{dir, true, "is a directory"},
		{filepath.Join(dir, "no", "inside.db"), false, filepath.Join(dir, "no", "inside.db")},
		{garbage, false, garbage},
		{"postgres://gate:s3cret@127.0.0.1:1/inside", false, "postgres://gate@127.0.0.1:1/inside"},
		{"postgresql://gate:s3cret@127.0.0.1:1/inside?sslmode=disable&password=s3cret", false, "postgresql://gate@127.0.0.1:1/inside"},
		{"postgres:///inside?host=" + dir + "&password=s3cret", false, "inside?host="},
		{"postgres://gate:%s3cret@127.0.0.1:1/inside", true, "percent-encode"},
		{"postgres://gate:1/s3cret@127.0.0.1:1/inside", true, "percent-encode"},
		{"postgres://gate:1?s3cret@127.0.0.1:1/inside", true, "percent-encode"},
		{"postgres://gate:1#s3cret@127.0.0.1:1/inside", true, "percent-encode"},
		{"postgres://gate:a@s3cret/b@127.0.0.1:1/inside", true, "percent-encode"},
		{"postgres://gate:s3cret@127.0.0.1:port/inside", true, "percent-encode"},
		{"postgres://gate:s3cret@127.0.0.1:1/inside?sslmode=s3cret", true, "setting"},
		{"postgres://gate:s3cret@127.0.0.1:1/inside?default_query_exec_mode=simple_protocol", true, "simple protocol"},
	} {
		s, err := store.Open(t.Context(), c.url)
		if err == nil {
			s.Close()
			t.Errorf("%q was opened", c.url)
			continue
		}
		if errors.Is(err, store.ErrInvalid) != c.invalid || !strings.Contains(err.Error(), c.mentions) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%q: %v", c.url, err)
		}
	}
}

func TestOnlyTheOwnerReadsTheFile(t *testing.T) {
	path := storetest.SQLite(t)
	s := storetest.Open(t, path)
	if err := s.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(path + "*")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != 3 {
		t.Errorf("files are %q: want the database, its write-ahead log and their index", files)
	}
	for _, file := range files {
		if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", file, info.Mode(), err)
		}
	}
}

func TestAFileMayHaveAnyName(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a ?b#c%41&_pragma=journal_mode(off).db")
	s := storetest.Open(t, path)
	if err := s.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
}

func TestAClosedStoreLeavesOneFile(t *testing.T) {
	path := storetest.SQLite(t)
	s, err := store.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	granted(t, s)
	if _, err := s.Facts(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path + "-wal"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the write-ahead log is left: %v", err)
	}
	if err := s.Ping(t.Context()); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("a closed store answers %v", err)
	}
}

// A server that drops a gate which fell silent in a transaction frees its
// locks for the others.
func TestTheServerEndsIdleTransactions(t *testing.T) {
	s := storetest.Open(t, storetest.PostgreSQL(t))
	if got := store.Setting(t, s, "idle_in_transaction_session_timeout"); got != "15s" {
		t.Errorf("idle_in_transaction_session_timeout is %s", got)
	}
}
