package lab

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// tailscaledHas are the parts of Tailscale that a router and a laptop need; the
// others are left out (tailscale.com/cmd/featuretags), for they take minutes to
// compile. tailnetlock is needed by the control server only: with the same tags
// both share what is compiled.
const tailscaledHas = "osrouter,cli,advertiseexitnode,advertiseroutes,useroutes,useexitnode,unixsocketidentity,dns,health,ipnbus,sdnotify,tailnetlock"

// Tailscale returns a folder with the programs of a tailnet, made by the first
// who asks: tailscaled, which is the command tailscale under that name, with
// the unit and the defaults of Tailscale's own package, and tsctl. module is
// the folder of their module.
func Tailscale(t testing.TB, module string) string {
	t.Helper()
	sum := sha256.New()
	fmt.Fprintln(sum, runtime.Version(), tailscaledHas)
	for _, name := range []string{"go.mod", "go.sum", "tsctl/main.go"} {
		text, err := os.ReadFile(filepath.Join(module, name))
		if err != nil {
			t.Fatal(err)
		}
		sum.Write(text)
	}
	dir, err := cache()
	if err != nil {
		t.Fatal(err)
	}
	dir = filepath.Join(dir, "tailscale-"+hex.EncodeToString(sum.Sum(nil)[:6]))
	lock, err := os.OpenFile(dir+".lock", os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); err == nil {
		return dir
	}
	part := dir + ".part"
	err = os.RemoveAll(part)
	if err == nil {
		err = buildTailscale(module, part)
	}
	if err == nil {
		err = os.Rename(part, dir)
	}
	if err != nil {
		t.Fatalf("build tailscaled: %v", err)
	}
	return dir
}

func buildTailscale(module, into string) error {
	tags, err := goCommand(module, "run", "tailscale.com/cmd/featuretags", "--min", "--add="+tailscaledHas)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(into, 0o755); err != nil {
		return err
	}
	if _, err := goCommand(module, "build", "-trimpath", "-ldflags=-s -w", "-tags="+tags, "-o", into+"/", "tailscale.com/cmd/tailscaled", "./tsctl"); err != nil {
		return err
	}
	source, err := goCommand(module, "list", "-m", "-f", "{{.Dir}}", "tailscale.com")
	if err != nil {
		return err
	}
	for _, name := range []string{"tailscaled.service", "tailscaled.defaults"} {
		text, err := os.ReadFile(filepath.Join(source, "cmd/tailscaled", name))
		if err == nil {
			err = os.WriteFile(filepath.Join(into, name), text, 0o644)
		}
		if err != nil {
			return err
		}
	}
	return os.Symlink("tailscaled", filepath.Join(into, "tailscale"))
}

// goCommand returns what the go command says.
func goCommand(dir string, args ...string) (string, error) {
	c := exec.Command("go", args...)
	c.Dir, c.Env = dir, append(os.Environ(), "CGO_ENABLED=0")
	var errs strings.Builder
	c.Stderr = &errs
	out, err := c.Output()
	if err != nil {
		return "", fmt.Errorf("go %s: %w\n%s", args[0], err, errs.String())
	}
	return strings.TrimSpace(string(out)), nil
}
