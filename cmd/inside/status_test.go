package main

import (
	"context"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/pawelmojski/inside/appliance/api"
)

// grants NUMBER PERSON SERVER makes so many grants that end in half an hour.
func grants(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: grants number person server")
	}
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	for range n {
		_, err := api.NewClient(gateOf(ts).socket).CreateGrant(context.Background(), api.NewGrant{Person: args[1], Server: args[2], Duration: "30m"})
		ts.Check(err)
	}
}

// screen checks that what was printed last is one screen.
func screen(ts *testscript.TestScript, _ bool, _ []string) {
	lines := strings.Split(strings.TrimSuffix(ts.ReadFile("stdout"), "\n"), "\n")
	if len(lines) > 24 {
		ts.Fatalf("%d lines", len(lines))
	}
	for _, line := range lines {
		if n := utf8.RuneCountInString(line); n > 80 {
			ts.Fatalf("%d columns: %s", n, line)
		}
	}
}

func TestAStatusWithEverythingWrongIsStillOneScreen(t *testing.T) {
	long := strings.Repeat("\x1b[31m\u202every long ", 50)
	now := time.Now()
	s := api.Status{Gate: long, Version: long, Started: now.Add(-100 * 24 * time.Hour), Free: 1 << 40, Share: 0.5}
	for _, p := range []*api.Part{&s.Rules, &s.Database, &s.Recorder, &s.Doors} {
		p.Detail = long
	}
	for range 100 {
		s.Alerts = append(s.Alerts, api.Alert{Kind: api.AlertServerUnreachable, Object: long, Text: long, Begin: now})
		s.Ending = append(s.Ending, api.EndingSoon{Grant: "1", Who: long, Where: long, End: now.Add(time.Hour)})
	}
	for _, database := range []bool{false, true} {
		s.Database.OK = database
		var out strings.Builder
		if err := (&cli{out: &out, err: &out}).printStatus(s, now); err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
		if len(lines) > 24 {
			t.Errorf("%d lines:\n%s", len(lines), out.String())
		}
		for _, line := range lines {
			if n := utf8.RuneCountInString(line); n > 80 {
				t.Errorf("%d columns: %s", n, line)
			}
			if strings.ContainsAny(line, "\x1b\u202e") {
				t.Errorf("not escaped: %q", line)
			}
		}
		for _, want := range []string{"and 95 more: inside alerts", "and 95 more grants", "50.0% used"} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("no %q:\n%s", want, out.String())
			}
		}
	}
}
