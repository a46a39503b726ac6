package lab

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// What a router has before Inside is installed. Nothing that Inside brings or
// needs beyond its Depends is in here, so that a lacking one shows.
var packages = []string{
	"systemd", "systemd-sysv", "dbus", "udev", "kmod", "procps", "init-system-helpers", "debconf",
	"nftables", "iproute2", "iputils-ping",
}

// Neighbours is what else may run on a router. None of it is started.
var Neighbours = []string{"ufw", "firewalld", "docker.io", "wireguard-tools", "wireguard-go", "openvpn"}

// mmdebstrap's arguments but for suite and target.
func bootstrap(further []string) []string {
	args := []string{"--mode=root", "--variant=minbase", "--include=" + strings.Join(slices.Concat(packages, further), ","), `--aptopt=Acquire::Languages "none"`}
	if len(further) > 0 { // Debian enables what it installs
		args = append(args, `--customize-hook=chroot "$1" sh -c 'cd /etc/systemd/system && systemctl disable $(ls -d *.wants/* | grep -E "ufw|firewalld|docker|containerd|openvpn" | xargs -n 1 basename)'`)
	}
	for _, unread := range []string{"man", "doc", "locale"} {
		args = append(args, "--dpkgopt=path-exclude=/usr/share/"+unread+"/*")
	}
	return args
}

// cache is where files that take long to make are kept between runs.
func cache() (string, error) {
	dir := os.Getenv("VMTESTS_CACHE")
	if dir == "" {
		home, err := os.UserCacheDir()
		if err != nil {
			return "", err
		}
		dir = filepath.Join(home, "inside", "vmtests")
	}
	return dir, os.MkdirAll(dir, 0o755)
}

// archive returns a tar of a fresh Debian of that suite with further packages,
// made by the first who asks. Another process that asks meanwhile waits.
func archive(suite string, further []string) (string, error) {
	dir, err := cache()
	if err != nil {
		return "", err
	}
	args := bootstrap(further)
	sum := sha256.Sum256([]byte(strings.Join(args, "\n")))
	tar := filepath.Join(dir, suite+"-"+hex.EncodeToString(sum[:6])+".tar")
	lock, err := os.OpenFile(tar+".lock", os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return "", err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", err
	}
	if _, err := os.Stat(tar); err == nil {
		return tar, nil
	}
	part := tar + ".part.tar"
	out, err := exec.Command("mmdebstrap", append(args, suite, part)...).CombinedOutput()
	if err == nil {
		err = os.Rename(part, tar)
	}
	if err != nil {
		return "", errors.Join(fmt.Errorf("make a root file system of %s: %w\n%s", suite, err, out), os.RemoveAll(part))
	}
	return tar, nil
}

// Rootfs unpacks a fresh Debian, with further packages, into a folder that is
// removed with the test. Machines only read it.
func Rootfs(t testing.TB, suite string, further ...string) string {
	t.Helper()
	tar, err := archive(suite, further)
	if err != nil {
		t.Fatal(err)
	}
	root, err := os.MkdirTemp("", "inside-"+suite+"-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(root) })
	if out, err := exec.Command("tar", "-C", root, "-xf", tar).CombinedOutput(); err != nil {
		t.Fatalf("unpack %s: %v\n%s", tar, err, out)
	}
	return root
}
