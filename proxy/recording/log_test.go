package recording

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func createLog(t testing.TB, root *os.Root) *Log {
	t.Helper()
	l, err := CreateLog(root)
	must(t, err)
	t.Cleanup(func() { l.Close() })
	return l
}

func TestEventsComeBackAsTheyWere(t *testing.T) {
	root := newRoot(t)
	l := createLog(t, root)
	at := time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC)
	three := 3
	events := []Event{
		{Time: at, Kind: "exec", Channel: 1, Command: "rm -rf \"/tmp/x y\"\n\x1b]0;t\a\u2028<script>&"},
		{Time: at, Kind: "exit", Channel: 1, Exit: &three},
		{Time: at, Kind: "exit", Channel: 2, Signal: "KILL"},
		{Time: at, Kind: "file", Op: "rename", Path: "a\nb", To: "c\x00d", In: 1 << 40, Out: -1, SHA256: strings.Repeat("a", 64), Detail: "…"},
	}
	for _, e := range events {
		must(t, l.Append(e))
	}
	got, err := ReadLog(root)
	must(t, err)
	if d := cmp.Diff(events, got); d != "" {
		t.Error(d)
	}
	b, err := root.ReadFile("events.jsonl")
	must(t, err)
	for _, line := range strings.SplitAfter(strings.TrimSuffix(string(b), "\n"), "\n") {
		if i := strings.IndexFunc(strings.TrimSuffix(line, "\n"), func(r rune) bool { return r < 0x20 || r == 0x7f || r == '\u2028' }); i >= 0 {
			t.Errorf("%q stands in the log as it is", line[i])
		}
	}
	must(t, l.Close())
	if err := l.Append(Event{}); !errors.Is(err, os.ErrClosed) {
		t.Error(err)
	}
	if err := l.Close(); !errors.Is(err, os.ErrClosed) {
		t.Error(err)
	}
}

func TestABadByteIsStillToBeSeen(t *testing.T) {
	root := newRoot(t)
	must(t, createLog(t, root).Append(Event{Kind: "file", Path: "caf\xe9"}))
	got, err := ReadLog(root)
	if err != nil || got[0].Path != `caf\xe9` || time.Since(got[0].Time) > time.Minute {
		t.Error(got, err)
	}
}

func TestALineOfTheLogIsBounded(t *testing.T) {
	root := newRoot(t)
	l := createLog(t, root)
	for _, s := range []string{strings.Repeat("a", 60<<10), strings.Repeat("\x01", 40<<10), strings.Repeat("\xff", 1<<20), strings.Repeat("漢", 1<<20)} {
		must(t, l.Append(Event{Kind: "exec", Command: s, Path: "short"}))
		must(t, l.Append(Event{Kind: s, Command: s, Signal: s, Op: s, Path: s, To: s, SHA256: s, Detail: s}))
	}
	b, err := root.ReadFile("events.jsonl")
	must(t, err)
	for _, line := range bytes.SplitAfter(b, []byte("\n")) {
		if len(line) > maxLine || !utf8.Valid(line) {
			t.Errorf("a line has %d bytes, UTF-8 %v", len(line), utf8.Valid(line))
		}
	}
	got, err := ReadLog(root)
	must(t, err)
	if len(got) != 8 || got[0].Command != strings.Repeat("a", 60<<10) || got[2].Path != "short" ||
		!strings.HasSuffix(got[2].Command, "… (cut, 40960 bytes)") || !strings.HasPrefix(got[4].Command, `\xff`) {
		t.Errorf("%d events, %.50q …", len(got), got[0].Command)
	}
}

func TestSeveralGoroutinesMayAppend(t *testing.T) {
	root := newRoot(t)
	l := createLog(t, root)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 100 {
				l.Append(Event{Kind: "exec", Channel: i, Command: fmt.Sprint(j)})
			}
		})
	}
	wg.Go(func() {
		for range 20 {
			l.Round()
		}
	})
	wg.Wait()
	got, err := ReadLog(root)
	must(t, err)
	next := [8]int{}
	for _, e := range got {
		if e.Command != fmt.Sprint(next[e.Channel]) {
			t.Fatalf("%+v, want %d", e, next[e.Channel])
		}
		next[e.Channel]++
	}
	if len(got) != 800 {
		t.Errorf("%d events", len(got))
	}
}

func TestALogTornAnywhereIsReadAndGoesOn(t *testing.T) {
	root := newRoot(t)
	l := createLog(t, root)
	for i := range 3 {
		must(t, l.Append(Event{Kind: "exec", Channel: i + 1}))
	}
	must(t, l.Close())
	b, err := root.ReadFile("events.jsonl")
	must(t, err)
	for n := range b {
		must(t, root.WriteFile("events.jsonl", b[:n], 0o600))
		lines := bytes.Count(b[:n], []byte("\n"))
		torn := n > 0 && b[n-1] != '\n'
		got, err := ReadLog(root)
		if len(got) != lines || errors.Is(err, ErrTorn) != torn {
			t.Fatalf("torn at %d: %v %v", n, got, err)
		}
		l := createLog(t, root)
		must(t, l.Append(Event{Kind: "end"}))
		must(t, l.Close())
		got, err = ReadLog(root)
		if len(got) == 0 || got[len(got)-1].Kind != "end" || errors.Is(err, ErrTorn) {
			t.Fatalf("torn at %d, then appended: %v %v", n, got, err)
		}
	}
	must(t, root.Remove("events.jsonl"))
	if got, err := ReadLog(root); got != nil || err != nil {
		t.Error("no log", got, err)
	}
}

func FuzzReadLog(f *testing.F) {
	b, _ := json.Marshal(Event{Kind: "exec", Command: "x"})
	f.Add(append(b, '\n'))
	f.Add([]byte("{}\nnonsense\n{\"kind\":\"exit\",\"exit\":1}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		root := newRoot(t)
		must(t, root.WriteFile("events.jsonl", b, 0o600))
		got, err := ReadLog(root)
		if len(got) > bytes.Count(b, []byte("\n")) {
			t.Fatal(got, err)
		}
	})
}
