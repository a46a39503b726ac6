package stories

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

func init() {
	commands["heal"] = heal
	commands["plug"] = func(ts *testscript.TestScript, neg bool, args []string) {
		ts.Check(map[string]func() error{"client": of(ts).lab.Plug, "server": of(ts).lab.PlugBackend}[args[0]]())
	}
	commands["unplug"] = func(ts *testscript.TestScript, neg bool, args []string) {
		ts.Check(map[string]func() error{"client": of(ts).lab.Unplug, "server": of(ts).lab.UnplugBackend}[args[0]]())
	}
}

// mostCures bounds how often the doctor's command is run: one may remove what
// stands before the next obstacle.
const mostCures = 8

// heal CHECK does what the doctor says: it runs the command that stands with
// the check until the doctor is content with it. At least once.
func heal(ts *testscript.TestScript, neg bool, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), longest)
	defer cancel()
	m := of(ts).machine
	for cures := 0; ; cures++ {
		// The exit code says that something fails, which it does.
		out, err := m.Command(ctx, "inside", "doctor", "--json").Output()
		var checks []struct{ Name, State, Text, Hint string }
		if jsonErr := json.Unmarshal(out, &checks); jsonErr != nil {
			ts.Fatalf("inside doctor: %v, %v\n%s", err, jsonErr, out)
		}
		said, hint := "", ""
		for _, c := range checks {
			if c.Name == args[0] && c.State != "ok" {
				said, hint = c.Text, c.Hint
				break
			}
		}
		switch {
		case hint == "" && said != "":
			ts.Fatalf("the doctor gives no command for %s: %s", args[0], said)
		case said == "" && cures == 0:
			ts.Fatalf("the doctor finds nothing wrong with %s", args[0])
		case said == "":
			return
		case cures == mostCures:
			ts.Fatalf("after %d commands the doctor still says: %s", cures, said)
		}
		out, err = m.Command(ctx, "sh", "-c", hint).CombinedOutput()
		ts.Logf("%s: %s\n# %s\n%s", args[0], said, hint, strings.TrimSpace(string(out)))
		if err != nil {
			ts.Fatalf("%s: %v", hint, err)
		}
	}
}
