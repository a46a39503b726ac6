package main

import (
	"context"
	"database/sql"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/pawelmojski/inside/appliance"
	"github.com/pawelmojski/inside/policy"
)

// notarize does what a gate does each second: it seals and signs.
func notarize(ts *testscript.TestScript, neg bool, args []string) {
	g := gateOf(ts)
	g.notary.Round(context.Background())
	if problem := g.notary.Problem(); problem != "" {
		ts.Fatalf("%s", problem)
	}
}

// daysPass N does what a gate that keeps recordings for 90 days does N days
// from now.
func daysPass(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: days-pass n")
	}
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	g := gateOf(ts)
	now := func() time.Time { return time.Now().AddDate(0, 0, n) }
	r, err := appliance.NewRemovals("gate-1", "90d", g.store, g.root, time.Time{}, now, slog.New(slog.DiscardHandler))
	ts.Check(err)
	ts.Check(r.Round(context.Background()))
}

// tamper SQL… changes the database past everything that keeps it.
func tamper(ts *testscript.TestScript, neg bool, args []string) {
	g := gateOf(ts)
	driver, off := "sqlite", []string{"DROP TRIGGER IF EXISTS audit_keeps_update", "DROP TRIGGER IF EXISTS entries_keeps_delete"}
	if strings.HasPrefix(g.database, "postgres") {
		driver, off = "pgx", []string{"ALTER TABLE audit DISABLE TRIGGER ALL", "ALTER TABLE entries DISABLE TRIGGER ALL"}
	}
	db, err := sql.Open(driver, g.database)
	ts.Check(err)
	defer db.Close()
	for _, statement := range append(off, args...) {
		if _, err := db.Exec(statement); err != nil {
			ts.Fatalf("%s: %v", statement, err)
		}
	}
}

// recordFile is the path of a file of a session, which is named first.
func recordFile(ts *testscript.TestScript, args []string) string {
	if len(args) != 2 {
		ts.Fatalf("usage: spoil|remove session file")
	}
	g := gateOf(ts)
	se, err := g.store.Session(context.Background(), string(policy.SessionID(args[0])))
	ts.Check(err)
	return filepath.Join(g.root.Name(), se.Start.UTC().Format("2006/01/02"), args[0], args[1])
}

// spoil SESSION FILE flips a bit in the middle of a file.
func spoil(ts *testscript.TestScript, neg bool, args []string) {
	path := recordFile(ts, args)
	text, err := os.ReadFile(path)
	ts.Check(err)
	text[len(text)/2] ^= 1
	ts.Check(os.WriteFile(path, text, 0o640))
}

func remove(ts *testscript.TestScript, neg bool, args []string) {
	ts.Check(os.Remove(recordFile(ts, args)))
}
