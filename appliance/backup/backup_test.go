package backup

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
)

var about = About{Gate: "gate-1", Made: time.Date(2026, 12, 24, 10, 0, 0, 0, time.UTC), Version: "abc"}

func made(t testing.TB) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := NewWriter(&b, about, []byte("[gate]\n"))
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(
		w.Folder(Keys, fstest.MapFS{"audit.key": {Data: []byte("a key")}, "10.0.0.1_22/ssh": {Data: []byte("another")}}),
		w.File(Database, 6, strings.NewReader("{}\n{}\nwhat it grew by meanwhile")),
		w.Folder(Recordings, fstest.MapFS{"2026/12/24/x/0.cast": {Data: bytes.Repeat([]byte("hello"), 1_000)}, "empty": {}}),
		w.Close())
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// taken reads a backup and returns what the sink was given.
func taken(text []byte) (map[string]string, error) {
	files := map[string]string{}
	return files, Read(bytes.NewReader(text), func(got About, config []byte) (Sink, error) {
		files["about"], files["config"] = got.Gate, string(config)
		return func(name string, size int64, from io.Reader) error {
			text, err := io.ReadAll(from)
			if err == nil && int64(len(text)) != size {
				err = fmt.Errorf("%s has %d bytes, and not %d", name, len(text), size)
			}
			files[name] = string(text)
			return err
		}, nil
	})
}

func TestABackupIsReadAsItWasWritten(t *testing.T) {
	files, err := taken(made(t))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"about": "gate-1", "config": "[gate]\n",
		"keys/audit.key": "a key", "keys/10.0.0.1_22/ssh": "another",
		"database.jsonl":                 "{}\n{}\n",
		"recordings/2026/12/24/x/0.cast": strings.Repeat("hello", 1_000), "recordings/empty": "",
	}
	if d := cmp.Diff(want, files); d != "" {
		t.Error(d)
	}
}

func TestABackupThatIsCutShortOrChangedIsRefused(t *testing.T) {
	whole := made(t)
	for cut := range len(whole) {
		if _, err := taken(whole[:cut]); err == nil {
			t.Errorf("cut to %d of %d bytes, and taken", cut, len(whole))
		}
	}
	want, _ := taken(whole)
	for at := range whole {
		changed := bytes.Clone(whole)
		changed[at] ^= 0x10
		// A few bits of gzip's header mean nothing.
		if files, err := taken(changed); err == nil && !cmp.Equal(want, files) {
			t.Errorf("byte %d of %d changed, and other files taken", at, len(whole))
		}
	}
}

// A member is a file of a backup that somebody else has made.
type member struct {
	tar.Header
	text string
}

func file(name, text string) member {
	return member{tar.Header{Name: name, Typeflag: tar.TypeReg}, text}
}

// foreign packs members, and the sums of those that are plain files where they
// are asked for.
func foreign(t *testing.T, members []member, sums bool) []byte {
	t.Helper()
	var b, listed bytes.Buffer
	zip := gzip.NewWriter(&b)
	w := tar.NewWriter(zip)
	put := func(m member) {
		h := m.Header
		h.Mode = 0o600
		if h.Size == 0 {
			h.Size = int64(len(m.text))
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, m.text); err != nil {
			t.Fatal(err)
		}
	}
	for _, m := range members {
		put(m)
		fmt.Fprintf(&listed, sumLine, fmt.Sprintf("%x", sha256.Sum256([]byte(m.text))), m.Name)
	}
	if sums {
		put(file(sumsName, listed.String()))
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := zip.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestWhatDoesNotBelongIntoABackupIsRefusedBeforeItIsTaken(t *testing.T) {
	front := []member{file(aboutName, `{"format":1,"gate":"g"}`), file(configName, "")}
	database := file(Database, "{}\n")
	good := append(append([]member{}, front...), file("keys/k", "k"), database)
	if _, err := taken(foreign(t, good, true)); err != nil {
		t.Fatal(err)
	}
	link := func(typ byte, name, to string) member {
		return member{tar.Header{Name: name, Typeflag: typ, Linkname: to}, ""}
	}
	for name, c := range map[string]struct {
		members []member
		want    string
	}{
		"a path upwards":       {[]member{front[0], front[1], file("keys/../../etc/passwd", "x"), database}, "no name of a file"},
		"a path from the root": {[]member{front[0], front[1], file("/etc/passwd", "x"), database}, "no name of a file"},
		"a path with a dot":    {[]member{front[0], front[1], file("keys/./k", "x"), database}, "no name of a file"},
		"an empty element":     {[]member{front[0], front[1], file("keys//k", "x"), database}, "no name of a file"},
		"a long name":          {[]member{front[0], front[1], file("keys/"+strings.Repeat("k", 600), "x"), database}, "no name of a file"},
		"a symlink":            {[]member{front[0], front[1], link(tar.TypeSymlink, "keys/k", "/etc/shadow"), database}, "no plain file"},
		"a hard link":          {[]member{front[0], front[1], link(tar.TypeLink, "keys/k", "inside.toml"), database}, "no plain file"},
		"a device":             {[]member{front[0], front[1], link(tar.TypeChar, "keys/k", ""), database}, "no plain file"},
		"a pipe":               {[]member{front[0], front[1], link(tar.TypeFifo, "keys/k", ""), database}, "no plain file"},
		"a folder":             {[]member{front[0], front[1], link(tar.TypeDir, "keys/k/", ""), database}, "no plain file"},
		"another folder":       {[]member{front[0], front[1], file("etc/passwd", "x"), database}, "does not belong"},
		"a file at the top":    {[]member{front[0], front[1], file("inside.db", "x"), database}, "does not belong"},
		"keys as a file":       {[]member{front[0], front[1], file("keys", "x"), database}, "does not belong"},
		"a key that is huge":   {[]member{front[0], front[1], file("keys/k", strings.Repeat("k", longestKey+1)), database}, "does not belong"},
		"a file twice":         {[]member{front[0], front[1], file("keys/k", "x"), file("keys/k", "y"), database}, "twice"},
		"two databases":        {[]member{front[0], front[1], database, database}, "twice"},
		"no database":          {front, "no database"},
		"no front":             {[]member{database}, "no backup of Inside"},
		"no configuration":     {[]member{front[0], database}, "no backup of Inside"},
		"another format":       {[]member{file(aboutName, `{"format":2,"version":"next"}`), front[1], database}, "format 2"},
		"no JSON":              {[]member{file(aboutName, `?`), front[1], database}, aboutName},
		"a huge configuration": {[]member{front[0], file(configName, strings.Repeat("#", longestConfig+1)), database}, "at most"},
	} {
		t.Run(name, func(t *testing.T) {
			files, err := taken(foreign(t, c.members, true))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
			for bad := range files {
				if strings.Contains(bad, "..") || strings.HasPrefix(bad, "/") || strings.HasPrefix(bad, "etc") {
					t.Errorf("%s was taken", bad)
				}
			}
		})
	}
	t.Run("no sums", func(t *testing.T) {
		if _, err := taken(foreign(t, good, false)); err == nil || !strings.Contains(err.Error(), "not complete") {
			t.Error(err)
		}
	})
}

func FuzzReadTakesNothingThatIsNoBackup(f *testing.F) {
	f.Add([]byte("no gzip"))
	var b bytes.Buffer
	w, err := NewWriter(&b, about, nil)
	if err == nil {
		err = errors.Join(w.File("keys/k", 1, strings.NewReader("k")), w.File(Database, 3, strings.NewReader("{}\n")), w.Close())
	}
	if err != nil {
		f.Fatal(err)
	}
	zip, _ := gzip.NewReader(&b)
	text, _ := io.ReadAll(zip)
	f.Add(text)
	f.Fuzz(func(t *testing.T, text []byte) {
		var packed bytes.Buffer
		zip := gzip.NewWriter(&packed) // what is behind it is of interest
		zip.Write(text)
		zip.Close()
		files, err := taken(packed.Bytes())
		if err == nil && files[Database] == "" {
			if _, there := files[Database]; !there {
				t.Error("taken, and there is no database in it")
			}
		}
		for name := range files {
			if strings.Contains("/"+name+"/", "/../") || strings.HasPrefix(name, "/") {
				t.Errorf("%q was taken", name)
			}
		}
	})
}
