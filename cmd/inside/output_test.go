package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// What strangers and careless people put into names, logins and reasons.
var hostile = []string{
	"", "plain", "Zażółć", "日本", "a\tb", "a\nb", "a\r\nb", "\x00", "\x1b[2J\x1b]0;x\x07", "\u009b31m", "\x9b31m",
	"\u202egpj.exe", "\u200f", "\u2066x\u2069", "\u2028", "\u2029", "\ufeff", "\u00ad", "a\u0301", "\xff\xfe", "\xed\xa0\x80",
	"\U0001f600", "\U000e0041", "\ufffd", "=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "|x", "%0a", `"quoted"`, `'`, `\x1b`,
	"x\vy\fz", strings.Repeat("long ", 100), strings.Repeat("\x1b", 100),
}

// unsafe returns what of a text must not reach a terminal.
func unsafe(s string, allowed string) rune {
	if !utf8.ValidString(s) {
		return utf8.RuneError
	}
	for _, r := range s {
		if !unicode.IsPrint(r) && !strings.ContainsRune(allowed, r) {
			return r
		}
	}
	return 0
}

func checkTable(t *testing.T, cells []string) {
	t.Helper()
	l := list{head: []string{"A", "B"}, wide: true}
	for _, cell := range cells {
		l.add(cell, []string{cell, cell})
	}
	var out bytes.Buffer
	if err := l.table(&out); err != nil {
		t.Fatal(err)
	}
	if r := unsafe(out.String(), "\n"); r != 0 {
		t.Errorf("the table of %q has %U in it", cells, r)
	}
	if lines := strings.Count(out.String(), "\n"); lines != len(cells)+1 {
		t.Errorf("the table of %d rows %q has %d lines", len(cells), cells, lines)
	}
}

func checkJSON(t *testing.T, cell string) {
	t.Helper()
	var out bytes.Buffer
	c := &cli{out: &out}
	if err := c.printJSON(map[string]string{"cell": cell}); err != nil {
		t.Fatal(err)
	}
	if r := unsafe(out.String(), "\n"); r != 0 {
		t.Errorf("the JSON of %q has %U in it", cell, r)
	}
	var back map[string]string
	if err := json.Unmarshal(out.Bytes(), &back); err != nil {
		t.Fatalf("the JSON of %q: %v", cell, err)
	}
	if diff := cmp.Diff(cell, back["cell"]); diff != "" && utf8.ValidString(cell) {
		t.Errorf("the JSON of %q reads back differently:\n%s", cell, diff)
	}
}

func TestHostileTextBreaksNoOutput(t *testing.T) {
	checkTable(t, hostile)
	for _, s := range hostile {
		checkJSON(t, s)
		var out, errs bytes.Buffer
		c := &cli{out: &out, err: &errs}
		c.error(s)
		c.hint(s)
		c.note(s)
		c.say(nil, []string{s}, "%s", s)
		if r := unsafe(out.String()+errs.String(), "\n"); r != 0 {
			t.Errorf("%q is said with %U in it", s, r)
		}
		for line := range strings.Lines(errs.String()) {
			if !strings.HasPrefix(line, "inside: ") {
				t.Errorf("%q breaks a line: %q", s, line)
			}
		}
	}
}

func FuzzOutput(f *testing.F) {
	for _, s := range hostile {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		checkTable(t, []string{s, s})
		checkJSON(t, s)
	})
}

func TestATableShowsWholeWhoItWas(t *testing.T) {
	who := from("[fd7a:115c:a1e0:ab12:4843:cd96:6258:b240]:54321", "alexandra.longname@corp.example", "laptop-of-alexandra")
	l := list{head: []string{"FROM", "DETAIL"}}
	l.add(whole(who), strings.Repeat("x", 80))
	l.add(whole("a\x1b[2Jb"), "")
	var out bytes.Buffer
	if err := l.table(&out); err != nil {
		t.Fatal(err)
	}
	if text := out.String(); !strings.Contains(text, who) || !strings.Contains(text, "x…") || strings.Contains(text, "\x1b") {
		t.Error(text)
	}
}
