package appliance

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/pawelmojski/inside/"

// Who must not import whom, and why. A package stands for itself and all
// below it; "std" as the only import means nothing else at all.
var architecture = []struct {
	pkg     string
	mustNot []string
	because string
}{
	{"policy", []string{"!std"}, "the decision is pure: whoever checks it reads one package and no library"},
	{"proxy", []string{"database/sql", "github.com/jackc/pgx", "modernc.org/sqlite", module + "store", module + "netfilter", module + "appliance", "github.com/vishvananda/netlink"}, "code that faces strangers' bytes knows no SQL and no kernel rules"},
	{"store", []string{"net/http", module + "proxy", module + "netfilter", module + "appliance"}, "facts on disk outlive the way they are used"},
	{"netfilter", []string{module + "policy", module + "proxy", module + "store", module + "appliance"}, "the kernel side knows packets, not people"},
	{"appliance/api", []string{module + "store", module + "proxy", module + "netfilter"}, "the command line links the API and must stay small"},
	{"cmd/inside", []string{module + "store", module + "netfilter", module + "proxy/sshentry"}, "the command line uses nothing but the API"},
	{"cmd/inside-render", []string{"net", "net/http", module + "store", module + "netfilter", module + "appliance", module + "policy"}, "what decodes strangers' pictures offline has no network and knows nobody"},
	{"", []string{"github.com/tomatome/grdp"}, "GPL-3.0, and it panics on two bytes from a peer: nothing that is shipped links it"},
}

func TestNoPackageImportsWhatItsRoomForbids(t *testing.T) {
	for file, imports := range shippedImports(t) {
		pkg := path.Dir(file)
		for _, rule := range architecture {
			if rule.pkg != "" && pkg != rule.pkg && !strings.HasPrefix(pkg, rule.pkg+"/") {
				continue
			}
			for _, imported := range imports {
				if forbids(rule.mustNot, imported) {
					t.Errorf("%s imports %s, but %s must not: %s", file, imported, rule.pkg, rule.because)
				}
			}
		}
	}
}

func TestEveryPackageSaysWhatItIs(t *testing.T) {
	said := map[string]bool{}
	for _, file := range goFiles(t) {
		f, err := parser.ParseFile(token.NewFileSet(), filepath.Join("..", file), nil, parser.PackageClauseOnly|parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		dir := path.Dir(file)
		said[dir] = said[dir] || f.Doc != nil
	}
	for dir, ok := range said {
		if !ok {
			t.Errorf("package %s has no doc comment", dir)
		}
	}
}

func forbids(mustNot []string, imported string) bool {
	for _, m := range mustNot {
		if m == "!std" && strings.Contains(strings.Split(imported, "/")[0], ".") {
			return true
		}
		if imported == m || strings.HasPrefix(imported, strings.TrimSuffix(m, "/")+"/") {
			return true
		}
	}
	return false
}

// goFiles lists the shipped Go files: no tests and no support for tests.
func goFiles(t *testing.T) []string {
	t.Helper()
	var files []string
	err := fs.WalkDir(os.DirFS(".."), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (strings.HasSuffix(name, "test") || d.Name() == "testdata" || (strings.HasPrefix(d.Name(), ".") && name != ".")) {
			return fs.SkipDir
		}
		if strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go") {
			files = append(files, name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 20 {
		t.Fatalf("only %d Go files found: is the test looking in the right place?", len(files))
	}
	return files
}

func shippedImports(t *testing.T) map[string][]string {
	t.Helper()
	imports := map[string][]string{}
	for _, file := range goFiles(t) {
		f, err := parser.ParseFile(token.NewFileSet(), filepath.Join("..", file), nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, spec := range f.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			imports[file] = append(imports[file], imported)
		}
	}
	return imports
}
