package store

import (
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// Pragmas of every connection. FULL, because an entry that was allowed must
// still be written down after a power cut. The busy timeout is short because
// SQLite sleeps it out without looking at the context; attempts are repeated
// instead. All writers of this process share one connection, so only another
// process can be in the way.
var sqlitePragmas = url.Values{
	"_busy_timeout": {"100"},
	"_journal_mode": {"WAL"},
	"_synchronous":  {"FULL"},
	"_foreign_keys": {"on"},
	"_txlock":       {"immediate"},
	"_dqs":          {"0"},
	"_defensive":    {"1"},
	"_pragma":       {"journal_size_limit(67108864)"},
}

const sqliteReaders = 4

func openSQLite(path string) (engine, error) {
	if err := createPrivate(path); err != nil {
		return engine{}, fmt.Errorf("database %s: %w", path, err)
	}
	opened, err := os.Stat(path)
	if err != nil {
		return engine{}, fmt.Errorf("database %s: %w", path, err)
	}
	if opened.IsDir() {
		return engine{}, refuse(ErrInvalid, "database %s is a directory: name a file in it", path)
	}
	write, err := sqliteDB(path, false)
	if err != nil {
		return engine{}, fmt.Errorf("database %s: %w", path, err)
	}
	read, err := sqliteDB(path, true)
	if err != nil {
		return engine{}, fmt.Errorf("database %s: %w", path, err)
	}
	return engine{
		name:      "sqlite",
		database:  path,
		write:     write,
		read:      read,
		hasSchema: "SELECT COUNT(*) FROM sqlite_schema WHERE type = 'table' AND name = 'schema_version'",
		usable:    func() error { return unmoved(path, opened) },
		contended: sqliteContended,
	}, nil
}

// createPrivate creates the file for its owner alone; SQLite gives the same
// mode to the write-ahead log. An existing file is not opened, because closing
// it again would drop the POSIX locks of every other connection of this
// process (https://www.sqlite.org/howtocorrupt.html, section 2.2).
func createPrivate(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return f.Close()
}

func sqliteDB(path string, readOnly bool) (*sql.DB, error) {
	query := url.Values{}
	for k, v := range sqlitePragmas {
		query[k] = v
	}
	if readOnly {
		query.Set("_query_only", "on")
	}
	// The URI form, because in a plain name a '?' would end the path.
	uri := url.URL{Scheme: "file", Path: path, RawQuery: query.Encode()}
	c, err := sqlite.NewConnector(uri.String())
	if err != nil {
		return nil, err
	}
	db := sql.OpenDB(c)
	if readOnly {
		db.SetMaxOpenConns(sqliteReaders)
		db.SetMaxIdleConns(sqliteReaders)
	} else {
		db.SetMaxOpenConns(1)
	}
	return db, nil
}

// unmoved guards against writing to a file nobody will find again: in WAL mode
// SQLite does not notice that its file was removed or replaced. It is not
// reopened by itself, because the write-ahead log that lies beside belongs to
// the old file and would be played into the new one.
func unmoved(path string, opened os.FileInfo) error {
	now, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !os.SameFile(opened, now) {
		return errors.New("the file was replaced while in use: stop the gate, remove the -wal and -shm files beside it, start again")
	}
	return nil
}

func sqliteContended(err error) bool {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return false
	}
	primary := e.Code() & 0xff // the rest is the extended code
	return primary == sqlite3.SQLITE_BUSY || primary == sqlite3.SQLITE_LOCKED
}
