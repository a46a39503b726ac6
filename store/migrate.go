package store

import (
	"cmp"
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
)

// The files are numbered. NNNN_name.sql serves both engines,
// NNNN_name.sqlite.sql and NNNN_name.postgres.sql one of them. A file that
// was shipped is never changed again, a new one is added.
//
//go:embed migrations/*.sql
var migrations embed.FS

type migration struct {
	version    int64
	name       string
	statements []string
}

// migrationsFor returns the engine's migrations in their order.
func migrationsFor(engine string) ([]migration, error) {
	names, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return nil, err
	}
	var ms []migration
	for _, path := range names {
		name := strings.TrimSuffix(strings.TrimPrefix(path, "migrations/"), ".sql")
		if base, only, ok := strings.Cut(name, "."); ok {
			if only != engine {
				continue
			}
			name = base
		}
		number, _, _ := strings.Cut(name, "_")
		version, err := strconv.ParseInt(number, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("migration %s has no number: %w", path, err)
		}
		text, err := migrations.ReadFile(path)
		if err != nil {
			return nil, err
		}
		ms = append(ms, migration{version, name, statements(string(text))})
	}
	slices.SortFunc(ms, func(a, b migration) int { return cmp.Compare(a.version, b.version) })
	return ms, nil
}

// programs are the steps of migrations that SQL cannot do, written in them as
// PROGRAM and the name.
var programs = map[string]func(context.Context, *sql.Tx) error{"chainRows;": chainRows, "fillKeys;": fillKeys}

// statements cuts a migration where a semicolon ends a line and an empty line
// follows. Bodies of functions and triggers therefore hold no empty lines.
func statements(text string) []string {
	var all []string
	for s := range strings.SplitSeq(strings.TrimSpace(text)+"\n\n", ";\n\n") {
		if s = strings.TrimSpace(s); s != "" {
			all = append(all, s+";")
		}
	}
	return all
}

// migrate brings the schema up to date. All that is missing is applied in one
// transaction under a lock, so gates that start together do not collide and a
// kill in between leaves nothing half done.
func (s *Store) migrate(ctx context.Context) error {
	ms, err := migrationsFor(s.engine.name)
	if err != nil {
		return err
	}
	// Look before locking: a gate whose role may not change the schema can
	// still use one that is up to date.
	var todo []migration
	err = s.reading(ctx, func(ctx context.Context, tx *sql.Tx) error {
		todo, err = s.missing(ctx, tx, ms)
		return err
	})
	if err != nil || len(todo) == 0 {
		return err
	}
	return s.writing(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if s.engine.lockSchema != "" {
			if _, err := tx.ExecContext(ctx, s.engine.lockSchema); err != nil {
				return err
			}
		}
		todo, err := s.missing(ctx, tx, ms)
		if err != nil {
			return err
		}
		for _, m := range todo {
			if err := m.apply(ctx, tx); err != nil {
				return fmt.Errorf("migration %s: %w", m.name, err)
			}
		}
		return nil
	})
}

// missing are the migrations that a database has not had. One that had others
// than these is refused: a newer program made it, or one that was never
// released.
func (s *Store) missing(ctx context.Context, tx *sql.Tx, ms []migration) ([]migration, error) {
	var tables int64
	if err := tx.QueryRowContext(ctx, s.engine.hasSchema).Scan(&tables); err != nil || tables == 0 {
		return ms, err
	}
	had, err := versions(ctx, tx)
	if err != nil {
		return nil, err
	}
	return lacking(had, ms)
}

// versions are the migrations that a database has had, and their names.
func versions(ctx context.Context, tx *sql.Tx) (map[int64]string, error) {
	had := map[int64]string{}
	return had, each(ctx, tx, func(r row) error {
		var version int64
		var name string
		err := r.Scan(&version, &name)
		had[version] = name
		return err
	}, "SELECT version, name FROM schema_version")
}

// lacking are the migrations that come after those a database has had.
func lacking(had map[int64]string, ms []migration) ([]migration, error) {
	newest := ms[len(ms)-1].version
	for version := range had {
		if version > newest {
			return nil, refuse(ErrInvalid, "the database was made by a newer version: it has schema %d, this one knows schemas up to %d; install the newer version again", version, newest)
		}
	}
	var todo []migration
	for _, m := range ms {
		switch name, ok := had[m.version]; {
		case !ok:
			todo = append(todo, m)
		case name != m.name:
			return nil, refuse(ErrInvalid, "the database was made by an unreleased version: its schema %d is %s, here it is %s; begin with an empty one", m.version, name, m.name)
		}
	}
	return todo, nil
}

func (m migration) apply(ctx context.Context, tx *sql.Tx) error {
	if m.version == 1 {
		if _, err := tx.ExecContext(ctx, "CREATE TABLE schema_version (version BIGINT NOT NULL, name TEXT NOT NULL)"); err != nil {
			return err
		}
	}
	for _, st := range m.statements {
		var err error
		if _, name, ok := strings.Cut(st, "PROGRAM "); ok {
			err = programs[name](ctx, tx)
		} else {
			_, err = tx.ExecContext(ctx, st)
		}
		if err != nil {
			return err
		}
	}
	_, err := tx.ExecContext(ctx, "INSERT INTO schema_version (version, name) VALUES ($1, $2)", m.version, m.name)
	return err
}
