package stories

import (
	"context"
	"os/exec"

	"github.com/rogpeppe/go-internal/testscript"
)

func init() { commands["database"] = sqliteOnTheMachine }

// database FILE STATEMENT has SQLite run a statement on a database of the
// machine, which has no SQLite of its own.
func sqliteOnTheMachine(ts *testscript.TestScript, neg bool, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), longest)
	defer cancel()
	run(ts, neg, exec.CommandContext(ctx, "sqlite3", "-bail", of(ts).machine.Root()+args[0], args[1]))
}
