package stories

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/rogpeppe/go-internal/testscript"
)

func init() { commands["database"] = sqliteOnTheMachine }

// database FILE STATEMENT has SQLite run a statement on a database of the
// machine that nobody has open: the machine has no SQLite of its own.
func sqliteOnTheMachine(ts *testscript.TestScript, neg bool, args []string) {
	m := of(ts).machine
	ctx, cancel := context.WithTimeout(context.Background(), longest)
	defer cancel()
	text, err := m.Command(ctx, "cat", args[0]).Output()
	ts.Check(err)
	copied := filepath.Join(ts.Getenv("WORK"), "copied.db")
	ts.Check(os.WriteFile(copied, text, 0o600))
	// A journal of its own kind, which leaves nothing beside the file.
	run(ts, neg, exec.CommandContext(ctx, "sqlite3", "-bail", copied, "PRAGMA journal_mode = DELETE", args[1]))
	text, err = os.ReadFile(copied)
	ts.Check(err)
	back := m.Command(ctx, "sh", "-c", `cat >"$0"`, args[0])
	back.Stdin = bytes.NewReader(text)
	ts.Check(back.Run())
}
