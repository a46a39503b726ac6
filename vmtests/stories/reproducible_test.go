package stories

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// samePackage makes the package once more of the same commit, as somebody else
// would: elsewhere, later, with another umask, time zone and language. It must
// be the same to the byte.
func samePackage(t *testing.T, deb string) {
	if changes, err := exec.Command("git", "status", "--porcelain").Output(); err != nil || len(changes) > 0 {
		t.Skipf("it was not made of a commit alone: %v\n%s", err, changes)
	}
	elsewhere := filepath.Join(t.TempDir(), "another folder")
	if out, err := exec.Command("git", "clone", "--quiet", "--no-hardlinks", "../..", elsewhere).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	c := exec.Command("sh", "-c", "umask 077 && exec packaging/deb amd64")
	c.Dir = elsewhere
	c.Env = append(os.Environ(), "TZ=Pacific/Kiritimati", "LC_ALL=C", "HOSTNAME=other")
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	_, name, _ := strings.Cut(string(out), "created package: ")
	again := filepath.Join(elsewhere, strings.TrimSpace(name))
	one, err := os.ReadFile(deb)
	if err != nil {
		t.Fatal(err)
	}
	two, err := os.ReadFile(again)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(one, two) {
		t.Errorf("%d and %d bytes, and not the same:\n%s", len(one), len(two), differences(deb, again))
	}
}

// differences are the files of two packages that are not the same.
func differences(debs ...string) string {
	out, _ := exec.Command("sh", "-c", `
for deb in "$@"; do
  d=$(mktemp -d) && dpkg-deb -R "$deb" "$d" && (cd "$d" && dpkg-deb -c "$deb" && find . -type f -exec sha256sum {} + | sort -k 2) >"$d.txt"; rm -r "$d"; set -- "$@" "$d.txt"; shift
done
diff "$@"; rm "$@"`, "sh", debs[0], debs[1]).CombinedOutput()
	return string(out)
}
