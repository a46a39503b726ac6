package store_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// What one of the engines does not have, or does otherwise.
var banned = []struct {
	sql     *regexp.Regexp
	because string
}{
	{regexp.MustCompile(`(?i)\bILIKE\b|\bLIKE\b`), "LIKE ignores case on SQLite only, and there is no ILIKE"},
	{regexp.MustCompile(`(?i)\b(lower|upper)\s*\(`), "SQLite folds ASCII only: fold in Go"},
	{regexp.MustCompile(`(?i)\bFOR\s+(UPDATE|SHARE|NO\s+KEY)\b`), "SQLite has no row locks: take one by an UPDATE"},
	{regexp.MustCompile(`(?i)=\s*(ANY|ALL|SOME)\b|\bARRAY\b|\bunnest\s*\(`), "SQLite has no arrays"},
	{regexp.MustCompile(`::`), "write CAST (x AS t)"},
	{regexp.MustCompile(`(?i)json`), "the two know different JSON"},
	{regexp.MustCompile(`(?i)\b(now|datetime|strftime|clock_timestamp|random|gen_random_uuid|last_insert_rowid)\s*\(|\bCURRENT_(TIME|DATE|TIMESTAMP)\b`), "times and ids are made in Go"},
	{regexp.MustCompile(`\?`), "placeholders are $1, $2, …"},
	{regexp.MustCompile(`(?i)\b(SERIAL|BIGSERIAL|AUTOINCREMENT|IDENTITY|TIMESTAMPTZ?|INET|UUID|BYTEA|BLOB|VARCHAR)\b`), "columns are TEXT, BIGINT and BOOLEAN"},
}

var isSQL = regexp.MustCompile(`^\s*(SELECT|INSERT|UPDATE|DELETE|WITH|CREATE|ALTER|DROP|SET|WHERE|VALUES|FROM|ON CONFLICT|ORDER)\b|\b(FROM|WHERE|VALUES|RETURNING) `)

func TestBothEnginesUnderstandEveryQuery(t *testing.T) {
	seen := 0
	check := func(where, sql string) {
		seen++
		for _, ban := range banned {
			if found := ban.sql.FindString(sql); found != "" {
				t.Errorf("%s: %q: %s", where, found, ban.because)
			}
		}
	}
	for _, file := range glob(t, "*.go") {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		fset := token.NewFileSet()
		parsed, err := parser.ParseFile(fset, file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING && isSQL.MatchString(lit.Value[1:len(lit.Value)-1]) {
				check(fset.Position(lit.Pos()).String(), lit.Value)
			}
			return true
		})
	}
	for _, file := range glob(t, "migrations/*.sql") {
		if strings.Count(filepath.Base(file), ".") > 1 {
			continue // for one engine
		}
		text, err := fs.ReadFile(os.DirFS("."), file)
		if err != nil {
			t.Fatal(err)
		}
		comment := regexp.MustCompile(`(?m)--.*$`)
		check(file, comment.ReplaceAllString(string(text), ""))
	}
	if seen < 50 {
		t.Errorf("only %d pieces of SQL were found: the test looks in the wrong place", seen)
	}
}

func glob(t *testing.T, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: %d files, %v", pattern, len(files), err)
	}
	return files
}
