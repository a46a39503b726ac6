package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/pawelmojski/inside/appliance/api"
	"github.com/pawelmojski/inside/store/storetest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"inside": main})
}

// Each story under testdata/script runs the real command against the real API
// over a real store, once for each engine. What a gate would carry is carried
// by a stand-in: see standin_test.go.
func TestStories(t *testing.T) {
	engines := map[string]func(testing.TB) string{"sqlite": storetest.SQLite, "postgresql": storetest.PostgreSQL}
	for name, database := range engines {
		t.Run(name, func(t *testing.T) {
			testscript.Run(t, testscript.Params{
				Dir:                 "testdata/script",
				RequireExplicitExec: true,
				Setup: func(env *testscript.Env) error {
					// The path of a unix socket must be short (108 bytes).
					dir, err := os.MkdirTemp("", "inside")
					if err != nil {
						return err
					}
					env.Defer(func() { os.RemoveAll(dir) })
					g := openGate(t, database(t), dir)
					env.Defer(func() { g.answersFit(t); g.close() })
					env.Values[gateKey{}] = g
					env.Setenv("INSIDE_SOCKET", g.socket)
					env.Setenv("GATE_URL", g.url)
					env.Setenv("TZ", "Europe/Warsaw")
					env.Setenv("GORACE", "atexit_sleep_ms=0") // else each of the hundreds of commands sleeps a second at its end
					env.Setenv("TURNED", "abc\u202edef\u200b")
					env.Setenv("NEWLINE", "a\nb")
					env.Setenv("LONG", strings.Repeat("long", 2500))
					env.Setenv("LOGIN", "\x1b[31m\u009b\xff")
					return nil
				},
				Cmds: map[string]func(*testscript.TestScript, bool, []string){
					"exits":         exits,
					"enter":         enter,
					"shows":         shows,
					"leave":         leave,
					"grows":         grows,
					"tell":          tell,
					"token-of":      tokenOf,
					"lose-database": loseDatabase,
					"grants":        grants,
					"tailnet":       tailnet,
					"screen":        screen,
					"notarize":      notarize,
					"tamper":        tamper,
					"spoil":         spoil,
					"remove":        remove,
					"days-pass":     daysPass,
					"film":          film,
					"make-videos":   makeVideos,
					"spoil-video":   spoilVideo,
				},
			})
		})
	}
}

type gateKey struct{}

func gateOf(ts *testscript.TestScript) *standIn { return ts.Value(gateKey{}).(*standIn) }

// exits CODE PROGRAM ARGS… runs a program that must end with this exit code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits code program args…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	var exit *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// enter VAR PERSON SERVER LOGIN lets a person in at the stand-in, if the book
// does, and puts the session's id into VAR.
func enter(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 4 {
		ts.Fatalf("usage: enter VAR person server login")
	}
	id, err := gateOf(ts).enter(context.Background(), args[1], args[2], args[3])
	if neg != (err != nil) {
		ts.Fatalf("enter: %v", err)
	}
	ts.Setenv(args[0], id)
}

// tailnet [ADDRESS=LOGIN]... has the gate ask Tailscale, where these are logged
// in.
func tailnet(ts *testscript.TestScript, neg bool, args []string) {
	g := gateOf(ts)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.logins = map[netip.Addr]string{}
	for _, arg := range args {
		addr, login, ok := strings.Cut(arg, "=")
		if !ok || neg {
			ts.Fatalf("usage: tailnet address=login...")
		}
		g.logins[netip.MustParseAddr(addr)] = login
	}
}

// shows SESSION TEXT has the session's terminal show a text; \e and \n mean
// what they mean to a shell's printf.
func shows(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: shows session text")
	}
	text, err := strconv.Unquote(`"` + args[1] + `"`)
	ts.Check(err)
	ts.Check(gateOf(ts).show(args[0], text))
}

func leave(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: leave session")
	}
	ts.Check(gateOf(ts).leave(args[0]))
}

func loseDatabase(ts *testscript.TestScript, neg bool, args []string) {
	ts.Check(gateOf(ts).store.Close())
}

// grows FILE PATTERN waits until a file that a command in the background
// writes has a line that matches.
func grows(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: grows file pattern")
	}
	pattern, err := regexp.Compile("(?m)" + args[1])
	ts.Check(err)
	deadline := time.Now().Add(30 * time.Second)
	for {
		text, err := os.ReadFile(ts.MkAbs(args[0]))
		if err == nil && pattern.Match(text) {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%s has no line that matches %s:\n%s", args[0], args[1], text)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// tell KIND JSON has the gate tell a piece of news.
func tell(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: tell kind json")
	}
	gateOf(ts).bus.Tell(args[0], json.RawMessage(args[1]))
}

// token-of MAKER NAME ROLE FILE writes a token down that another admin has made.
func tokenOf(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 4 {
		ts.Fatalf("usage: token-of maker name role file")
	}
	ctx := api.WithActor(context.Background(), api.Actor{Name: args[0], Role: api.Admin})
	token, err := gateOf(ts).house().CreateToken(ctx, api.NewToken{Name: args[1], Role: api.Role(args[2])})
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[3]), []byte(token.Secret), 0o600))
}
