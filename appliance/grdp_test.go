package appliance

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

const grdp = "github.com/tomatome/grdp"

// grdp is GPL-3.0 and dangerous (packaging/doc/decisions/0001 and 0023): only
// the tests of the module vmtests may import it, and only that module may
// require it.
func grdpBreaches(tree fs.FS) (breaches []string, err error) {
	err = fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		inVMTests := strings.HasPrefix(name, "vmtests/")
		switch {
		case d.IsDir() && name != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "node_modules"):
			return fs.SkipDir
		case d.IsDir():
			return nil
		case (strings.HasSuffix(name, "go.mod") || strings.HasSuffix(name, "go.sum")) && !inVMTests:
			text, err := fs.ReadFile(tree, name)
			if err == nil && strings.Contains(string(text), grdp) {
				breaches = append(breaches, name)
			}
			return err
		case !strings.HasSuffix(name, ".go") || inVMTests && strings.HasSuffix(name, "_test.go"):
			return nil
		}
		text, err := fs.ReadFile(tree, name)
		if err != nil {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, text, parser.ImportsOnly)
		if err != nil {
			return nil // no Go that is compiled
		}
		for _, spec := range f.Imports {
			if path := strings.Trim(spec.Path.Value, "\"`"); path == grdp || strings.HasPrefix(path, grdp+"/") {
				breaches = append(breaches, name)
			}
		}
		return nil
	})
	return breaches, err
}

func TestOnlyTestsOfVMTestsImportGRDP(t *testing.T) {
	breaches, err := grdpBreaches(os.DirFS(".."))
	if err != nil || len(breaches) > 0 {
		t.Errorf("%q import %s: %v", breaches, grdp, err)
	}
	// The test itself finds what it looks for.
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	uses := file("package x\n\nimport \"" + grdp + "/core\"\n\nvar _ = core.Decompress\n")
	breaches, err = grdpBreaches(fstest.MapFS{
		"vmtests/x_test.go": uses, "vmtests/go.mod": file("require " + grdp + " v0.1.0\n"), "proxy/x.go": file("package x\n"),
		"vmtests/x.go": uses, "proxy/x_test.go": uses, "cmd/insided/x.go": uses, "go.mod": file("require " + grdp + " v0.1.0\n"),
	})
	if want := []string{"cmd/insided/x.go", "go.mod", "proxy/x_test.go", "vmtests/x.go"}; err != nil || !slices.Equal(breaches, want) {
		t.Errorf("found %q, %v; want %q", breaches, err, want)
	}
}
