package transfer

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/pawelmojski/inside/proxy/recording"
)

// sizes around a packet of 32 KiB, and one that needs many in flight.
var sizes = []int{0, 1, 32<<10 - 1, 32 << 10, 32<<10 + 1, 10<<20 + 17}

func write(t *testing.T, path string, size int) (sum string) {
	t.Helper()
	r := rand.NewChaCha8([32]byte{byte(size), byte(size >> 8)})
	b := make([]byte, size)
	r.Read(b)
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

func check(t *testing.T, got, want []recording.Event) {
	t.Helper()
	for i := range want {
		want[i].Kind = "file"
	}
	if d := gocmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestRealSFTPTransfersAreReportedWithTheirHash(t *testing.T) {
	for _, requests := range []string{"1", "64", "1000"} {
		t.Run(requests+" requests in flight", func(t *testing.T) {
			here, there := t.TempDir(), t.TempDir()
			var batch []string
			var want []recording.Event
			for _, size := range sizes {
				name := strconv.Itoa(size)
				sum := write(t, here+"/"+name, size)
				remote := there + "/" + name
				batch = append(batch,
					"put "+here+"/"+name+" "+remote,
					"get "+remote+" "+here+"/back-"+name)
				want = append(want,
					recording.Event{Op: "upload", Path: remote, In: int64(size), SHA256: sum},
					recording.Event{Op: "download", Path: remote, Out: int64(size), SHA256: sum})
			}
			got, err := sftpRun(t, []string{"-R", requests}, batch...)
			if err != nil {
				t.Fatal(err)
			}
			check(t, got, want)
		})
	}
}

func TestRealSFTPChangesAreReported(t *testing.T) {
	dir := t.TempDir()
	sum := write(t, dir+"/local", 5)
	got, err := sftpRun(t, nil,
		"mkdir "+dir+"/d",
		"put "+dir+"/local "+dir+"/d/a",
		"rename "+dir+"/d/a "+dir+"/d/b",
		"rename -l "+dir+"/d/b "+dir+"/d/c",
		"ln "+dir+"/d/c "+dir+"/d/hard",
		"ln -s /etc/passwd "+dir+"/d/soft",
		"copy "+dir+"/d/c "+dir+"/d/copy",
		"ls -la "+dir+"/d",
		"chmod 600 "+dir+"/d/c",
		"rm "+dir+"/d/*",
		"-rm "+dir+"/none",
		"-rename "+dir+"/none "+dir+"/d/x",
		"-get "+dir+"/none",
		"-put "+dir+"/local "+dir+"/none/x",
		"-mkdir "+dir+"/d",
		"rmdir "+dir+"/d",
	)
	if err != nil {
		t.Fatal(err)
	}
	missing := "failed: no such file"
	check(t, got, []recording.Event{
		{Op: "mkdir", Path: dir + "/d"},
		{Op: "upload", Path: dir + "/d/a", In: 5, SHA256: sum},
		{Op: "rename", Path: dir + "/d/a", To: dir + "/d/b"},
		{Op: "rename", Path: dir + "/d/b", To: dir + "/d/c"},
		{Op: "link", Path: dir + "/d/c", To: dir + "/d/hard"},
		{Op: "symlink", Path: dir + "/d/soft", To: "/etc/passwd"},
		{Op: "copy", Path: dir + "/d/c", To: dir + "/d/copy"},
		{Op: "download", Path: dir + "/d/c"},
		{Op: "upload", Path: dir + "/d/copy"},
		{Op: "remove", Path: dir + "/d/c"},
		{Op: "remove", Path: dir + "/d/copy"},
		{Op: "remove", Path: dir + "/d/hard"},
		{Op: "remove", Path: dir + "/d/soft"},
		{Op: "remove", Path: dir + "/none", Detail: missing},
		{Op: "rename", Path: dir + "/none", To: dir + "/d/x", Detail: missing},
		{Op: "upload", Path: dir + "/none/x", Detail: missing},
		{Op: "mkdir", Path: dir + "/d", Detail: "failed: failure"},
		{Op: "rmdir", Path: dir + "/d"},
	})
}

func TestAResumedTransferHasNoHash(t *testing.T) {
	here, there := t.TempDir(), t.TempDir()
	write(t, here+"/f", 100_000)
	b, err := os.ReadFile(here + "/f")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{there + "/f", here + "/back"} {
		if err := os.WriteFile(name, b[:40_000], 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := sftpRun(t, nil, "reput "+here+"/f "+there+"/f", "reget "+there+"/f "+here+"/back")
	if err != nil {
		t.Fatal(err)
	}
	check(t, got, []recording.Event{
		{Op: "upload", Path: there + "/f", In: 60_000},
		{Op: "download", Path: there + "/f", Out: 60_000},
	})
}

// hostile are names that a log must be able to hold.
var hostile = []string{"a\nb", "\x1b]0;title\a", `qu"o'te\`, "-rf", "ż漢🙂", "caf\xe9", " "}

func TestRealSCPOverSFTP(t *testing.T) {
	here, there := t.TempDir(), t.TempDir()
	for i, name := range hostile {
		sum := write(t, filepath.Join(here, name), 10+i)
		up, err := run(t, "", "scp", "-q", "-D", self(t), filepath.Join(here, name), "host:"+there+"/")
		if err != nil {
			t.Fatal(err)
		}
		check(t, up, []recording.Event{{Op: "upload", Path: legible(there + "/" + name), In: int64(10 + i), SHA256: sum}})
	}
}

func sortByPath(events []recording.Event) {
	slices.SortFunc(events, func(a, b recording.Event) int { return cmp.Compare(a.Path, b.Path) })
}

// legible is what JSON, through which the events come here, makes of a name.
func legible(name string) string {
	var b []rune
	for _, r := range name {
		b = append(b, r)
	}
	return string(b)
}

func scpArgs(t *testing.T, args ...string) []string {
	return append([]string{"-q", "-O", "-S", self(t)}, args...)
}

func TestRealSCP(t *testing.T) {
	here, there := t.TempDir(), t.TempDir()
	for _, size := range sizes {
		name := strconv.Itoa(size)
		sum := write(t, here+"/"+name, size)
		up, err := run(t, "", "scp", scpArgs(t, here+"/"+name, "host:"+there)...)
		if err != nil {
			t.Fatal(err)
		}
		check(t, up, []recording.Event{{Op: "upload", Path: name, To: there, In: int64(size), SHA256: sum}})
		down, err := run(t, "", "scp", scpArgs(t, "host:"+there+"/"+name, here+"/back")...)
		if err != nil {
			t.Fatal(err)
		}
		check(t, down, []recording.Event{{Op: "download", Path: there + "/" + name, Out: int64(size), SHA256: sum}})
	}
	for i, name := range hostile {
		sum := write(t, filepath.Join(here, name), 10+i)
		up, err := run(t, "", "scp", scpArgs(t, "--", filepath.Join(here, name), "host:"+there)...)
		if err != nil {
			t.Fatal(err)
		}
		if name == "a\nb" {
			name = `a\^Jb` // as scp sends it, for the line must not end there
		}
		check(t, up, []recording.Event{{Op: "upload", Path: legible(name), To: there, In: int64(10 + i), SHA256: sum}})
	}
}

func TestRealSCPOfFolders(t *testing.T) {
	here, there := t.TempDir(), t.TempDir()
	if err := os.MkdirAll(here+"/d/e", 0o755); err != nil {
		t.Fatal(err)
	}
	one, two, three := write(t, here+"/d/1", 1), write(t, here+"/d/e/2", 2), write(t, here+"/d/e/3", 3)
	up, err := run(t, "", "scp", scpArgs(t, "-r", "-p", here+"/d", "host:"+there)...)
	if err != nil {
		t.Fatal(err)
	}
	sortByPath(up)
	check(t, up, []recording.Event{
		{Op: "upload", Path: "d/1", To: there, In: 1, SHA256: one},
		{Op: "upload", Path: "d/e/2", To: there, In: 2, SHA256: two},
		{Op: "upload", Path: "d/e/3", To: there, In: 3, SHA256: three},
	})
	down, err := run(t, "", "scp", scpArgs(t, "-r", "host:"+there+"/d", here+"/back")...)
	if err != nil {
		t.Fatal(err)
	}
	sortByPath(down)
	check(t, down, []recording.Event{
		{Op: "download", Path: there + "/d/1", Out: 1, SHA256: one},
		{Op: "download", Path: there + "/d/e/2", Out: 2, SHA256: two},
		{Op: "download", Path: there + "/d/e/3", Out: 3, SHA256: three},
	})
	down, err = run(t, "", "scp", scpArgs(t, "host:"+there+"/d/e/*", here)...)
	if err != nil {
		t.Fatal(err)
	}
	sortByPath(down)
	asked := "asked for as " + there + "/d/e/*"
	check(t, down, []recording.Event{
		{Op: "download", Path: "2", Out: 2, SHA256: two, Detail: asked},
		{Op: "download", Path: "3", Out: 3, SHA256: three, Detail: asked},
	})
}

func TestWhatRealSCPRefusesIsReported(t *testing.T) {
	here, there := t.TempDir(), t.TempDir()
	write(t, here+"/f", 100)
	if err := os.Mkdir(there+"/f", 0o755); err != nil { // a folder is in the way
		t.Fatal(err)
	}
	if err := os.Mkdir(there+"/f/f", 0o755); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		want recording.Event
	}{
		{[]string{here + "/f", "host:" + there + "/f"}, recording.Event{Op: "upload", Path: "f", To: there + "/f", Detail: fmt.Sprintf("failed: scp: %s/f/f: Is a directory", there)}},
		{[]string{here + "/f", "host:" + there + "/none/f"}, recording.Event{Op: "upload", Path: "f", To: there + "/none/f", Detail: fmt.Sprintf("failed: scp: %s/none/f: No such file or directory", there)}},
		{[]string{"host:" + there + "/none", here}, recording.Event{Op: "download", Path: there + "/none", Detail: fmt.Sprintf("failed: scp: %s/none: No such file or directory", there)}},
		{[]string{"-r", here, "host:/proc/none/"}, recording.Event{Op: "upload", Path: filepath.Base(here), To: "/proc/none/", Detail: "failed: scp: /proc/none/: No such file or directory"}},
	} {
		got, err := run(t, "", "scp", scpArgs(t, c.args...)...)
		if err == nil {
			t.Fatalf("scp %q went well", c.args)
		}
		check(t, got, []recording.Event{c.want})
	}
}
