package store

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"strings"
	"time"
)

// An engine is what differs between the two databases; all queries are the
// same.
type engine struct {
	name     string // "sqlite", "postgres": chooses migrations
	database string // for humans, without a password

	write *sql.DB
	read  *sql.DB // the same as write on PostgreSQL

	hasSchema  string // query: is there a schema_version table?
	lockSchema string // statement that keeps other gates from migrating; "" where a transaction does

	// usable reports that the database is not what was opened any more, where
	// the driver would not notice.
	usable func() error
	// contended tells the errors that a new attempt may not meet.
	contended func(error) bool
	// hints calls hint when another gate may have changed the facts, until ctx
	// ends; nil where only polling tells.
	hints func(ctx context.Context, hint func())
}

// Open opens the database and brings its schema up to date. url is the absolute
// path of an SQLite file or postgres://….
func Open(ctx context.Context, url string) (*Store, error) {
	s, err := open(url)
	if err != nil {
		return nil, err
	}
	if err := s.migrate(ctx); err != nil {
		_ = s.Close()
		return nil, err
	}
	return s, nil
}

// open opens a database as it is.
func open(url string) (*Store, error) {
	var e engine
	var err error
	switch {
	case url == "":
		err = refuse(ErrInvalid, "no database is named: give the absolute path of an SQLite file or postgres://…")
	case strings.HasPrefix(url, "postgres://"), strings.HasPrefix(url, "postgresql://"):
		e, err = openPostgres(url)
	case filepath.IsAbs(url):
		e, err = openSQLite(url)
	default: // not quoted: "host=… password=…" comes here too
		err = refuse(ErrInvalid, "the database is neither an absolute path of an SQLite file nor postgres://…")
	}
	if err != nil {
		return nil, err
	}
	return &Store{engine: e, changed: make(chan struct{})}, nil
}

// Close closes the database. Calls that are running may fail.
func (s *Store) Close() error {
	var err error
	if s.read != s.write {
		// Readers first: the writer, as the last one, then folds SQLite's
		// write-ahead log into the file.
		err = s.read.Close()
	}
	return errors.Join(err, s.write.Close())
}

// Ping writes and commits, so that a full disk or a database that has become
// read-only is seen: both engines keep what is rolled back in memory.
func (s *Store) Ping(ctx context.Context) error {
	return s.repeat(ctx, s.write, &sql.TxOptions{}, func(ctx context.Context, tx *sql.Tx) error {
		_, err := next(ctx, tx, "probe")
		return err
	})
}

// brokenPatience is how long a database that takes nothing is asked for an
// answer: on a full disk it still has one.
const brokenPatience = 3 * time.Second

// Break has every call that writes fail at once with an error, and those that
// read wait no longer than for a moment, until it is called with nil: who
// knows that the database is away should not have everybody wait for it in
// turn. Ping, which finds out that it is back, still asks.
func (s *Store) Break(err error) {
	if err == nil {
		s.broken.Store(nil)
	} else if a := new(away); !errors.As(err, &a) { // else it is ours
		s.broken.Store(&away{err.Error()})
	}
}

// An away is why calls fail at once. It is none of the errors it was made of:
// nobody waited for this answer.
type away struct{ text string }

func (a *away) Error() string { return a.text }
