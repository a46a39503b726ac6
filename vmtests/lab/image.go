package lab

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

//go:embed image.sh
var imageScript string

// kernelPackage is Debian's name for the newest kernel of its backports to this
// release. The package that it depends on is the kernel itself.
const kernelPackage = "linux-image-6.12-cloud-amd64"

// kernel resolves that name: older kernels vanish from the archive.
func kernel() (string, error) {
	out, err := exec.Command("apt-cache", "depends", kernelPackage).CombinedOutput()
	_, name, found := strings.Cut(string(out), "Depends: ")
	if err != nil || !found {
		return "", fmt.Errorf("find the kernel %s: %w: %s\nrun `apt-get update`", kernelPackage, err, out)
	}
	return strings.Fields(name)[0], nil
}

// image returns the folder of a router without Inside: tree.tar, which disks are
// made of, kernel and initrd.
func image(ctx context.Context) (string, error) {
	rootfs, err := archive("bookworm", nil)
	if err != nil {
		return "", err
	}
	linux, err := kernel()
	if err != nil {
		return "", err
	}
	agent, err := buildAgent(ctx)
	if err != nil {
		return "", err
	}
	defer os.Remove(agent)
	binary, err := os.ReadFile(agent)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	for _, part := range []string{filepath.Base(rootfs), linux, imageScript, string(binary)} {
		fmt.Fprintf(h, "%d\n%s", len(part), part)
	}
	dir, err := cache()
	if err != nil {
		return "", err
	}
	dir = filepath.Join(dir, "machine-"+hex.EncodeToString(h.Sum(nil)[:6]))
	lock, err := os.OpenFile(dir+".lock", os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return "", err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", err
	}
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	part := dir + ".part"
	if err := errors.Join(os.RemoveAll(part), os.Mkdir(part, 0o755)); err != nil {
		return "", err
	}
	if err = script(ctx, "", "machine", rootfs, linux, agent, part); err == nil {
		err = os.Rename(part, dir)
	}
	if err != nil {
		return "", errors.Join(err, os.RemoveAll(part))
	}
	return dir, nil
}

// script runs lab/image.sh.
func script(ctx context.Context, stdin string, args ...string) error {
	c := exec.CommandContext(ctx, "bash", append([]string{"-c", imageScript, "image.sh"}, args...)...)
	c.Stdin = strings.NewReader(stdin)
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("make a %s: %w\n%s", args[0], err, out)
	}
	return nil
}

// buildAgent builds what answers inside of the machine.
func buildAgent(ctx context.Context) (file string, err error) {
	f, err := os.CreateTemp("", "labagent-")
	if err != nil {
		return "", err
	}
	f.Close()
	c := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", f.Name(), "github.com/pawelmojski/inside/vmtests/cmd/labagent")
	c.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := c.CombinedOutput(); err != nil {
		return "", errors.Join(fmt.Errorf("build the agent: %w\n%s", err, out), os.Remove(f.Name()))
	}
	return f.Name(), nil
}
