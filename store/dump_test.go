package store_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/store"
	"github.com/pawelmojski/inside/store/storetest"
)

// lived opens a database in which something has happened, with words that need
// care.
func lived(t *testing.T, url string) *store.Store {
	t.Helper()
	ctx := t.Context()
	s, err := store.Open(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	session := granted(t, s)
	session.Login, session.Start = `"<żółw>& `, time.UnixMicro(1_790_000_000_123_456)
	entered, _, err := s.Enter(ctx, session)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Leave(ctx, entered.ID, session.Start.Add(time.Minute), policy.ClientLeft, policy.Carried{}); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if err := s.Audit(ctx, "root", "test.word", fmt.Sprint("thing ", i), "said 'so'; --\\"); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func dumped(t *testing.T, s *store.Store) string {
	t.Helper()
	var b bytes.Buffer
	if err := s.Dump(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestADumpOfEitherEngineIsLoadedIntoEither(t *testing.T) {
	engines := map[string]func(testing.TB) string{"SQLite": storetest.SQLite, "PostgreSQL": storetest.PostgreSQL}
	for from, urlFrom := range engines {
		for to, urlTo := range engines {
			t.Run(from+" into "+to, func(t *testing.T) {
				before := lived(t, urlFrom(t))
				text := dumped(t, before)
				url := urlTo(t)
				after, err := store.Load(t.Context(), url, strings.NewReader(text))
				if err != nil {
					t.Fatal(err)
				}
				defer after.Close()
				want, got := strings.Split(text, "\n"), strings.Split(dumped(t, after), "\n")
				slices.Sort(want) // rows have no order
				slices.Sort(got)
				if d := cmp.Diff(want, got); d != "" {
					t.Error(d)
				}
				good, err := after.Verify(t.Context(), store.Verification{})
				if err != nil || good.Links < 6 {
					t.Errorf("%+v, %v", good, err)
				}
				// It goes on where it was.
				if err := after.Audit(t.Context(), "root", "test.word", "after", ""); err != nil {
					t.Error(err)
				}
				if _, err := store.Load(t.Context(), url, strings.NewReader(text)); !errors.Is(err, store.ErrNotEmpty) {
					t.Errorf("loaded on top: %v", err)
				}
			})
		}
	}
}

func TestADumpHoldsEveryTable(t *testing.T) {
	s := lived(t, storetest.SQLite(t))
	var tables []string
	for line := range strings.Lines(dumped(t, s)) {
		if name, ok := strings.CutPrefix(line, `{"table":"`); ok {
			name, _, _ = strings.Cut(name, `"`)
			tables = append(tables, name)
		}
	}
	onBoth(t, func(t *testing.T, url string) {
		s, err := store.Open(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		question := "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
		if isPostgres(url) {
			question = "SELECT table_name FROM information_schema.tables WHERE table_schema = current_schema()"
		}
		rows, err := raw(t, url).QueryContext(t.Context(), question)
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		found := 0
		for ; rows.Next(); found++ {
			var name string
			if err := rows.Scan(&name); err != nil {
				t.Fatal(err)
			}
			if name != "schema_version" && name != "signins" && !slices.Contains(tables, name) {
				t.Errorf("table %s is not in a dump: add it to dumpedTables", name)
			}
		}
		if found != len(tables)+2 {
			t.Errorf("%d tables, and %d are in a dump", found-2, len(tables))
		}
	})
}

func TestNobodyIsSignedInByADump(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		s, ctx, now := lived(t, url), t.Context(), time.Now()
		admin, err := s.AddAdmin(ctx, "root", store.Admin{Name: "jon", Role: "viewer", Password: "$argon2id$jon", Created: now})
		if err != nil {
			t.Fatal(err)
		}
		hash := sha256.Sum256([]byte("browser"))
		if err := s.SignIn(ctx, admin, store.Signin{Hash: hash, Client: "127.0.0.1", Began: now, Ends: now.Add(time.Hour)}, now.Add(-time.Hour)); err != nil {
			t.Fatal(err)
		}
		text := dumped(t, s)
		if strings.Contains(text, "signins") {
			t.Error("sign-ins are in a dump")
		}
		// Nor by one that somebody else has made.
		lines := strings.SplitAfter(strings.TrimSuffix(text, "\n"), "\n")
		last := len(lines) - 1
		var n int
		if _, err := fmt.Sscanf(lines[last], `{"rows":%d}`, &n); err != nil {
			t.Fatal(err)
		}
		lines[last] = fmt.Sprintf("{\"table\":\"signins\",\"columns\":[\"hash\",\"admin\",\"client\",\"began\",\"seen\",\"ends\"]}\n[%q,%s,\"x\",1,1,%d]\n{\"rows\":%d}\n",
			base64.StdEncoding.EncodeToString(hash[:]), admin.ID, now.Add(time.Hour).UnixMicro(), n+1)
		into := storetest.SQLite(t)
		loaded, err := store.Load(ctx, into, strings.NewReader(strings.Join(lines, "")))
		if err != nil {
			t.Fatal(err)
		}
		defer loaded.Close()
		if _, _, err := loaded.Signed(ctx, hash); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("signed in: %v", err)
		}
	})
}

func TestADumpThatIsNotWholeLeavesNothing(t *testing.T) {
	lines := strings.SplitAfter(strings.TrimSuffix(dumped(t, lived(t, storetest.SQLite(t))), "\n"), "\n")
	last := len(lines) - 1
	person := slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, `{"table":"persons"`) })
	alice := person + slices.IndexFunc(lines[person:], func(l string) bool { return strings.Contains(l, `"alice"`) })
	with := func(at int, text string) string {
		all := slices.Clone(lines)
		all[at] = text
		return strings.Join(all, "")
	}
	cases := map[string]string{
		"nothing":               "",
		"no dump":               "[1]\n",
		"words":                 "SELECT 1;\n",
		"another format":        with(0, `{"format":2,"schema":{"1":"0001_facts_and_record"}}`+"\n"),
		"a newer schema":        with(0, strings.Replace(lines[0], `{"1":`, `{"9999":"9999_future","1":`, 1)),
		"another history":       with(0, strings.Replace(lines[0], "facts_and_record", "fiction", 1)),
		"no end":                strings.Join(lines[:last], ""),
		"a row less":            strings.Join(slices.Delete(slices.Clone(lines), person+1, person+2), ""),
		"more behind the end":   strings.Join(lines, "") + "\n[1]\n",
		"a table twice":         with(person, lines[person]+lines[person]),
		"a foreign table":       with(person, `{"table":"sqlite_schema","columns":["sql"]}`+"\n"),
		"a table of commands":   with(person, `{"table":"persons; DROP TABLE audit","columns":[]}`+"\n"),
		"a column of commands":  with(person, strings.Replace(lines[person], `"name"`, `"name) SELECT 1; --"`, 1)),
		"a column less":         with(person, strings.Replace(lines[person], `"name",`, ``, 1)),
		"a number in a text":    with(alice, strings.Replace(lines[alice], `"alice"`, `7`, 1)),
		"a list in a text":      with(alice, strings.Replace(lines[alice], `"alice"`, `["alice"]`, 1)),
		"nothing in a text":     with(alice, strings.Replace(lines[alice], `"alice"`, `null`, 1)),
		"a text in a number":    with(alice, strings.Replace(lines[alice], `false`, `"false"`, 1)),
		"the same person twice": with(alice, lines[alice]+lines[alice]),
		"rows before a table":   with(1, `["a"]`+"\n"+lines[1]),
		"a line without end":    with(alice, `["`+strings.Repeat("x", 17<<20)),
	}
	for _, at := range []int{0, 1, person, person + 1, last} { // cut in the middle of it
		cases[fmt.Sprintf("cut in line %d", at+1)] = strings.Join(lines[:at], "") + lines[at][:len(lines[at])/2]
	}
	for name, text := range cases {
		t.Run(name, func(t *testing.T) {
			url := filepath.Join(t.TempDir(), "inside.db")
			s, err := store.Load(t.Context(), url, strings.NewReader(text))
			if err == nil {
				s.Close()
				t.Fatal("it was loaded")
			}
			if tables := query(t, raw(t, url), "SELECT COUNT(*) FROM sqlite_schema"); tables != "0" {
				t.Errorf("%s tables are left: %v", tables, err)
			}
		})
	}
}
