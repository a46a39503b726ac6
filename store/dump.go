package store

import (
	"bufio"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// A dump is the whole database as text, the same from both engines and for
// both: lines of JSON. First the schema, then each table with the names of its
// columns, its rows as lists behind it, and last how many rows there were.
//
// A dump of a schema is loaded into that schema, and migrated then, so that one
// of an older program is as good as one of this.

// dumpedTables are all tables but signins, in an order in which what is referred to comes
// first. The schema's own versions are the dump's first line.
var dumpedTables = []string{
	"counters", "chain",
	"persons", "addresses", "servers", "member_groups", "members", "grants", "templates", "tokens", "admins",
	"stays", "sessions", "entries", "audit", "heads", "moves", "stay_servers", "denials",
	"host_keys", "person_keys", "credentials", "server_logins", "enrolments", "user_cas", "renders", "spools", "observed", "observed_keys",
}

// signins is not in a dump: whoever was signed in may have been signed out since.
// Of a dump that has it, it is not kept.
const signins = "signins"

const dumpFormat = 1

// A dumpLine is a line that is not a row.
type dumpLine struct {
	Format  int              `json:"format,omitempty"`
	Schema  map[int64]string `json:"schema,omitempty"`
	Table   string           `json:"table,omitempty"`
	Columns []string         `json:"columns,omitempty"`
	Rows    *int64           `json:"rows,omitempty"` // the last line
}

// Dump writes the database as it is at one moment. Nobody waits for it.
func (s *Store) Dump(ctx context.Context, to io.Writer) error {
	w := bufio.NewWriterSize(to, 64<<10)
	opts := &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true}
	// Attempted once: what is written is written.
	err := s.attempt(ctx, s.read, opts, func(ctx context.Context, tx *sql.Tx) error { return dump(ctx, tx, json.NewEncoder(w)) })
	return errors.Join(s.explain(ctx, err), w.Flush())
}

func dump(ctx context.Context, tx *sql.Tx, w *json.Encoder) error {
	had, err := versions(ctx, tx)
	if err != nil {
		return err
	}
	if err := w.Encode(dumpLine{Format: dumpFormat, Schema: had}); err != nil {
		return err
	}
	total := int64(0)
	for _, table := range dumpedTables {
		n, err := dumpTable(ctx, tx, table, w)
		if err != nil {
			return fmt.Errorf("table %s: %w", table, err)
		}
		total += n
	}
	return w.Encode(dumpLine{Rows: &total})
}

func dumpTable(ctx context.Context, tx *sql.Tx, table string, w *json.Encoder) (n int64, err error) {
	rows, err := tx.QueryContext(ctx, "SELECT * FROM "+table)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	types, err := rows.ColumnTypes()
	if err != nil {
		return 0, err
	}
	var columns, kinds []string
	for _, c := range types {
		columns, kinds = append(columns, c.Name()), append(kinds, columnKind(c.DatabaseTypeName()))
	}
	if err := w.Encode(dumpLine{Table: table, Columns: columns}); err != nil {
		return 0, err
	}
	row, into := make([]any, len(columns)), make([]any, len(columns))
	for i := range row {
		into[i] = &row[i]
	}
	for ; rows.Next(); n++ {
		if err := rows.Scan(into...); err != nil {
			return n, err
		}
		for i, v := range row {
			if bit, ok := v.(int64); ok && kinds[i] == "BOOLEAN" { // SQLite has no other
				row[i] = bit != 0
			}
		}
		if err := w.Encode(row); err != nil {
			return n, err
		}
	}
	return n, rows.Err()
}

// longestDumpLine bounds a row: far more than any column takes.
const longestDumpLine = 16 << 20

// ErrNotEmpty says that a database has something in it.
var ErrNotEmpty = errors.New("the database is not empty")

// Load opens an empty database and fills it with a dump, all of it or nothing,
// in one transaction. One with tables of Inside in it is ErrNotEmpty.
func Load(ctx context.Context, url string, from io.Reader) (*Store, error) {
	s, err := open(url)
	if err != nil {
		return nil, err
	}
	lines := bufio.NewScanner(from)
	lines.Buffer(make([]byte, 64<<10), longestDumpLine)
	err = s.explain(ctx, s.attempt(ctx, s.write, &sql.TxOptions{}, func(ctx context.Context, tx *sql.Tx) error {
		return (&loading{tx: tx, engine: s.engine, lines: lines}).run(ctx)
	}))
	if err == nil {
		err = s.migrate(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// A loading is a dump on its way into a database.
type loading struct {
	tx     *sql.Tx
	engine engine
	lines  *bufio.Scanner
	line   int64
	rows   int64
}

func (l *loading) run(ctx context.Context) error {
	if err := l.schema(ctx); err != nil {
		return err
	}
	var insert *insertion
	seen := map[string]bool{}
	for {
		text, err := l.next()
		if err != nil {
			return err
		}
		if text[0] == '[' {
			if insert == nil {
				return l.bad("a row before any table")
			}
			if err := insert.row(ctx, text); err != nil {
				return l.bad("table %s: %w", insert.table, err)
			}
			l.rows++
			continue
		}
		var head dumpLine
		if err := json.Unmarshal(text, &head); err != nil {
			return l.bad("%w", err)
		}
		switch {
		case head.Rows != nil && *head.Rows == l.rows:
			if _, err = l.next(); !errors.Is(err, io.ErrUnexpectedEOF) {
				return l.bad("there is more behind its end")
			}
			if seen[signins] {
				_, err = l.tx.ExecContext(ctx, "DELETE FROM "+signins)
				return err
			}
			return nil
		case head.Rows != nil:
			return l.bad("it had %d rows, and %d are here", *head.Rows, l.rows)
		case !slices.Contains(dumpedTables, head.Table) && head.Table != signins || seen[head.Table]:
			return l.bad("there is no such table, or it comes twice: %.60q", head.Table)
		}
		seen[head.Table] = true
		if insert != nil {
			insert.stmt.Close()
		}
		if insert, err = l.table(ctx, head); err != nil {
			return l.bad("table %s: %w", head.Table, err)
		}
	}
}

func (l *loading) bad(format string, args ...any) error {
	return fmt.Errorf("line %d of the dump: %w", l.line, fmt.Errorf(format, args...))
}

func (l *loading) next() ([]byte, error) {
	l.line++
	if l.lines.Scan() && len(l.lines.Bytes()) > 0 {
		return l.lines.Bytes(), nil
	}
	if err := l.lines.Err(); err != nil {
		return nil, l.bad("%w", err)
	}
	return nil, fmt.Errorf("the dump breaks off at line %d: %w", l.line, io.ErrUnexpectedEOF)
}

// schema makes the tables as they were where the dump comes from.
func (l *loading) schema(ctx context.Context) error {
	if l.engine.lockSchema != "" {
		if _, err := l.tx.ExecContext(ctx, l.engine.lockSchema); err != nil {
			return err
		}
	}
	var tables int64
	if err := l.tx.QueryRowContext(ctx, l.engine.hasSchema).Scan(&tables); err != nil {
		return err
	}
	if tables > 0 {
		return ErrNotEmpty
	}
	text, err := l.next()
	if err != nil {
		return err
	}
	var head dumpLine
	if err := json.Unmarshal(text, &head); err != nil || head.Format != dumpFormat || len(head.Schema) == 0 {
		return l.bad("it is not the beginning of a dump of format %d", dumpFormat)
	}
	ms, err := migrationsFor(l.engine.name)
	if err != nil {
		return err
	}
	later, err := lacking(head.Schema, ms)
	if err != nil {
		return err
	}
	for _, m := range ms {
		if slices.ContainsFunc(later, func(n migration) bool { return n.version == m.version }) {
			continue
		}
		if err := m.apply(ctx, l.tx); err != nil {
			return fmt.Errorf("migration %s: %w", m.name, err)
		}
	}
	// The rows that stand for none are in the dump, too.
	for _, table := range []string{"stays", "grants", "servers", "persons"} {
		if _, err := l.tx.ExecContext(ctx, "DELETE FROM "+table); err != nil {
			return err
		}
	}
	return nil
}

// An insertion takes the rows of a table.
type insertion struct {
	table string
	kinds []string // of the columns: "TEXT", "BIGINT", "BOOLEAN"
	stmt  *sql.Stmt
}

// table prepares a table for its rows. What the migrations have put in gives
// way; of the chain's one row, which nobody may take out, it is the values.
func (l *loading) table(ctx context.Context, head dumpLine) (*insertion, error) {
	rows, err := l.tx.QueryContext(ctx, "SELECT * FROM "+head.Table+" WHERE 1 = 0")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	columns, err := rows.ColumnTypes()
	if err != nil {
		return nil, err
	}
	in := &insertion{table: head.Table}
	var places []string
	for i, column := range columns {
		if i >= len(head.Columns) || head.Columns[i] != column.Name() {
			return nil, fmt.Errorf("its columns are not those of this schema: %.200q", head.Columns)
		}
		in.kinds = append(in.kinds, columnKind(column.DatabaseTypeName()))
		places = append(places, fmt.Sprintf("$%d", i+1))
	}
	if len(head.Columns) != len(columns) {
		return nil, fmt.Errorf("its columns are not those of this schema: %.200q", head.Columns)
	}
	rows.Close()
	command := "INSERT INTO " + in.table + " (" + strings.Join(head.Columns, ", ") + ") VALUES (" + strings.Join(places, ", ") + ")"
	switch in.table {
	case "counters":
		if _, err := l.tx.ExecContext(ctx, "DELETE FROM counters"); err != nil {
			return nil, err
		}
	case "chain":
		var set []string
		for i, column := range head.Columns {
			set = append(set, column+" = "+places[i])
		}
		command = "UPDATE chain SET " + strings.Join(set, ", ") + " WHERE id = 1"
	}
	in.stmt, err = l.tx.PrepareContext(ctx, command)
	return in, err
}

// columnKind is the type of a column as the schema calls it.
func columnKind(name string) string {
	switch name {
	case "INT8":
		return "BIGINT"
	case "BOOL":
		return "BOOLEAN"
	}
	return name
}

func (in *insertion) row(ctx context.Context, text []byte) error {
	d := json.NewDecoder(strings.NewReader(string(text)))
	d.UseNumber()
	var row []any
	if err := d.Decode(&row); err != nil || d.More() {
		return errors.New("a row that is no list")
	}
	if len(row) != len(in.kinds) {
		return fmt.Errorf("a row of %d columns, and not of %d", len(row), len(in.kinds))
	}
	for i, v := range row {
		var err error
		if row[i], err = columnValue(in.kinds[i], v); err != nil {
			return err
		}
	}
	_, err := in.stmt.ExecContext(ctx, row...)
	return err
}

// columnValue is a value as the driver takes it. SQLite would keep a value of
// any type in any column.
func columnValue(kind string, v any) (any, error) {
	switch v := v.(type) {
	case string:
		if kind == "TEXT" {
			return v, nil
		}
	case bool:
		if kind == "BOOLEAN" {
			return v, nil
		}
	case json.Number:
		if n, err := v.Int64(); kind == "BIGINT" && err == nil {
			return n, nil
		}
	}
	return nil, fmt.Errorf("a value that is no %s", kind)
}
