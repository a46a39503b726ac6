package lab

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// Package makes the package of this machine's architecture and returns a copy
// of it, so that another test may make its own meanwhile. The folder of the
// test is two below the repository.
func Package(t testing.TB) string {
	t.Helper()
	if d := os.Getenv("QUICK_DEB"); d != "" {
		return d
	}
	if d := os.Getenv("QUICK_DEB"); d != "" {
		return d
	}
	if d := os.Getenv("QUICK_DEB"); d != "" {
		return d
	}
	const repository = "../.."
	lock, err := os.Open(filepath.Join(repository, "packaging/deb"))
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	c := exec.Command("packaging/deb", "amd64")
	c.Dir = repository
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("make the package: %v\n%s", err, out)
	}
	_, name, ok := strings.Cut(string(out), "created package: ")
	if !ok {
		t.Fatalf("make the package:\n%s", out)
	}
	name = strings.TrimSpace(name)
	text, err := os.ReadFile(filepath.Join(repository, name))
	if err != nil {
		t.Fatal(err)
	}
	deb := filepath.Join(t.TempDir(), filepath.Base(name))
	if err := os.WriteFile(deb, text, 0o644); err != nil {
		t.Fatal(err)
	}
	return deb
}
