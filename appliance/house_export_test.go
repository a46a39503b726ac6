package appliance

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/pawelmojski/inside/appliance/api"
	"github.com/pawelmojski/inside/store"
)

// exported reads an export whole: its files by name.
func exported(t *testing.T, body io.ReadCloser) map[string]string {
	t.Helper()
	defer body.Close()
	files := map[string]string{}
	in := tar.NewReader(body)
	for {
		head, err := in.Next()
		if err == io.EOF {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(in)
		if err != nil || head.Typeflag != tar.TypeReg {
			t.Fatalf("%s: a file of type %c, %v", head.Name, head.Typeflag, err)
		}
		files[head.Name] = string(text)
	}
}

func TestAnExportHasTheFilesOfTheSessionAndNoOthers(t *testing.T) {
	h, _, ctx := newHouse(t)
	se := entered(t, h, ctx, "gate-1")
	dir := folder(se)
	if err := errors.Join(h.Records.MkdirAll(dir, 0o750), h.Records.WriteFile(dir+"/0.cast", []byte("{}\n"), 0o640),
		h.Records.WriteFile("secret", []byte("of another"), 0o640), h.Records.Symlink("../../../../secret", dir+"/1.cast"),
		h.Records.Symlink("/etc/passwd", dir+"/2.cast"), h.Records.Mkdir(dir+"/more", 0o750), h.Records.WriteFile(dir+"/more/desktop.rdpr", []byte("x"), 0o640)); err != nil {
		t.Fatal(err)
	}
	body, err := h.Export(ctx, string(se.ID)[:8])
	if err != nil {
		t.Fatal(err)
	}
	// It is written down before the first byte is read.
	rows := must[[]store.AuditRow](t)(h.Store.AuditRows(ctx, store.AuditFilter{Limit: 1}))
	if rows[0].Action != "recording.export" || rows[0].By != "root" || rows[0].Object != "session "+string(se.ID) {
		t.Errorf("audit: %+v", rows[0])
	}
	files := exported(t, body)
	at := string(se.ID) + "/"
	if len(files) != 3 || files[at+"0.cast"] != "{}\n" || files[at+"more/desktop.rdpr"] != "x" {
		t.Errorf("exported: %q", files)
	}
	var about api.Exported
	if err := json.Unmarshal([]byte(files[at+"session.json"]), &about); err != nil {
		t.Fatal(err)
	}
	if about.Session.ID != string(se.ID) || about.Stay.Person != "alice" || about.Grant.ID != "1" || about.By != "root" || about.Gate != "gate-1" {
		t.Errorf("about: %+v", about)
	}
}

func TestAnExportThatCannotBeWrittenDownIsNone(t *testing.T) {
	h, _, ctx := newHouse(t)
	se := entered(t, h, ctx, "gate-1")
	if err := h.Records.MkdirAll(folder(se), 0o750); err != nil {
		t.Fatal(err)
	}
	h.Store.Close()
	if _, err := h.Export(ctx, string(se.ID)); codeOf(err) != api.CodeUnavailable {
		t.Errorf("got %v", err)
	}
}

// A reader that goes away ends the packing.
func TestAnExportNobodyReadsEnds(t *testing.T) {
	h, _, ctx := newHouse(t)
	se := entered(t, h, ctx, "gate-1")
	dir := folder(se)
	if err := errors.Join(h.Records.MkdirAll(dir, 0o750), h.Records.WriteFile(dir+"/0.cast", []byte(strings.Repeat("x", 1<<20)), 0o640)); err != nil {
		t.Fatal(err)
	}
	body, err := h.Export(ctx, string(se.ID))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(body, make([]byte, 1024)); err != nil {
		t.Fatal(err)
	}
	body.Close()
}
