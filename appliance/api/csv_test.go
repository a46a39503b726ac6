package api

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// What strangers and careless people put into names, logins and reasons.
var hostile = []string{
	"", "plain", "Zażółć", "日本", "a\tb", "a\nb", "a\r\nb", "\x00", "\x00=1", "\x1b[2J\x1b]0;x\x07", "\u009b31m", "\x9b31m",
	"\u202egpj.exe", "\u200f", "\u2066x\u2069", "\u2028", "\u2029", "\ufeff", "\u00ad", "a\u0301", "\xff\xfe", "\xed\xa0\x80",
	"\U0001f600", "\U000e0041", "\ufffd", "=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "|x", "%0a", `"quoted"`, `'`, `\x1b`,
	"x\vy\fz", ",", "a;b", ` "`, strings.Repeat("long ", 2000), strings.Repeat("\x1b", 100),
}

// unshowable returns what of a text must not reach a terminal.
func unshowable(s string, allowed string) rune {
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

// checkCSV wants each text to come out of a spreadsheet as text, and to stand
// in one cell.
func checkCSV(t *testing.T, texts []string) {
	t.Helper()
	list := []Person{}
	for _, s := range texts {
		list = append(list, Person{ID: "p", Name: s, FullName: "f", Email: s, Groups: []string{s, s}, Addresses: []Address{{Label: s}}})
	}
	var out bytes.Buffer
	if err := NewCSV(&out).Write(list); err != nil {
		t.Fatal(err)
	}
	if r := unshowable(out.String(), "\r\n"); r != 0 {
		t.Errorf("the CSV of %q has %U in it", texts, r)
	}
	if n := strings.Count(out.String(), "\r\n"); n != len(texts)+1 || strings.Count(out.String(), "\n") != n || strings.Count(out.String(), "\r") != n {
		t.Errorf("the CSV of %d rows %q has %d lines", len(texts), texts, n)
	}
	rows, err := csv.NewReader(&out).ReadAll()
	if err != nil || len(rows) != len(texts)+1 {
		t.Fatalf("the CSV of %q reads as %d rows: %v", texts, len(rows), err)
	}
	for i, row := range rows[1:] {
		for _, cell := range row {
			if cell != "" && strings.ContainsRune("=+-@\t\r\x00", rune(cell[0])) {
				t.Errorf("%q comes out as the formula %q", texts[i], cell)
			}
		}
		if got := strings.TrimPrefix(row[1], "'"); got != strings.TrimPrefix(Escape(texts[i]), "'") || row[3] != row[1] {
			t.Errorf("%q comes out as %q", texts[i], row)
		}
	}
}

func TestHostileTextBreaksNoCSV(t *testing.T) { checkCSV(t, hostile) }

func TestPlainTextStaysAsItIs(t *testing.T) {
	for _, s := range []string{"alice", "p.mojski", `DOMAIN\user`, "Zażółć gęślą jaźń", "日本", "a b", "100.64.0.20", "\U0001f600"} {
		if got := Escape(s); got != s {
			t.Errorf("Escape(%q) = %q", s, got)
		}
	}
}

func FuzzCSV(f *testing.F) {
	for _, s := range hostile {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if r := unshowable(Escape(s), ""); r != 0 {
			t.Errorf("Escape(%q) has %U in it", s, r)
		}
		checkCSV(t, []string{s, s})
	})
}

// sameAsJSON wants the CSV of a list to say what its JSON says.
func sameAsJSON[T any](t *testing.T, list []T) {
	t.Helper()
	var out bytes.Buffer
	if err := NewCSV(&out).Write(list); err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(&out).ReadAll()
	if err != nil || len(rows) != len(list)+1 {
		t.Fatalf("%T: %d rows, %v", list, len(rows), err)
	}
	for i, one := range list {
		text, err := json.Marshal(one)
		if err != nil {
			t.Fatal(err)
		}
		var want map[string]any
		d := json.NewDecoder(bytes.NewReader(text))
		d.UseNumber()
		if err := d.Decode(&want); err != nil {
			t.Fatal(err)
		}
		for j, name := range rows[0] {
			got := rows[i+1][j]
			value, there := want[name]
			delete(want, name)
			if list, ok := value.([]any); ok {
				value = strings.Trim(strings.ReplaceAll(fmt.Sprint(list), " ", ", "), "[]")
			}
			if value == nil || value == "0001-01-01T00:00:00Z" {
				there = false
			}
			if there && fmt.Sprint(value) != got || !there && got != "" && got != "0" && got != "false" {
				t.Errorf("%T: %s is %q, in JSON %v", list, name, got, value)
			}
		}
		if len(want) > 0 {
			t.Errorf("%T: no column for %v", list, want)
		}
	}
}

func TestAListSaysTheSameInCSVAndJSON(t *testing.T) {
	at := time.Date(2026, 10, 5, 9, 0, 0, 123000, time.UTC)
	sameAsJSON(t, []Stay{{}, {ID: "7", Person: "p.mojski", Where: "prod-db-01", Start: at, End: at.Add(time.Hour), Sessions: 3, Present: true}})
	sameAsJSON(t, []Session{{}, {ID: "abcd", Carried: Carried{In: 1 << 60}, Live: true, Start: at}})
	sameAsJSON(t, []Entry{{}, {ID: 1 << 60, Time: at, Allowed: true, Login: "root"}})
	sameAsJSON(t, []Server{{}, {Name: "web", SSHPort: 22, Groups: []string{"a", "b"}}})
}

func TestTimesInCSVAreUTC(t *testing.T) {
	var out bytes.Buffer
	at := time.Date(2026, 10, 5, 9, 0, 0, 0, time.FixedZone("", 7200))
	if err := NewCSV(&out).Write([]Left{{Stay: "1", Time: at}}); err != nil {
		t.Fatal(err)
	}
	if want := "stay,grant,time\r\n1,,2026-10-05T07:00:00Z\r\n"; out.String() != want {
		t.Error(cmp.Diff(want, out.String()))
	}
}

func TestListsAreAnsweredAsCSVWhereAsked(t *testing.T) {
	h := new(stub)
	handler := NewHandler(t.Context(), h)
	for _, c := range []struct {
		target, accept string
		status         int
		kind, body     string
	}{
		{"/persons?format=csv", "", 200, "text/csv; charset=utf-8; header=present", "id,name,full_name,email,account,disabled,addresses,groups,version\r\n"},
		{"/persons", "text/csv", 200, "text/csv; charset=utf-8; header=present", "id,name,"},
		{"/persons?format=json", "text/csv", 200, "application/json", "[]\n"},
		{"/persons", "*/*", 200, "application/json", "[]\n"},
		{"/grants?person=x&format=csv", "", 200, "text/csv; charset=utf-8; header=present", "id,"},
		{"/persons?format=xml", "", 400, "application/problem+json", `\"xml\" is neither csv nor json`},
		{"/persons?format=csv&format=csv", "", 400, "application/problem+json", "neither csv nor json"},
		{"/persons/x?format=csv", "", 400, "application/problem+json", "only lists are answered as csv"},
	} {
		w := httptest.NewRecorder()
		r := httptest.NewRequest("GET", "http://inside"+prefix+c.target, nil)
		r.Header.Set("Accept", c.accept)
		handler.ServeHTTP(w, r.WithContext(WithActor(r.Context(), Actor{"root", Admin})))
		if w.Code != c.status || w.Header().Get("Content-Type") != c.kind || !strings.Contains(w.Body.String(), c.body) {
			t.Errorf("%s (%s): %d %s %q", c.target, c.accept, w.Code, w.Header().Get("Content-Type"), w.Body)
		}
	}
}
