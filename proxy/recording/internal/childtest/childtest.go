// Package childtest starts a test binary a second time, as the process that is
// killed, that follows, or that is given a disk of its own that gets full. The
// tests of packages recording and desktop call it; nothing that is shipped
// does.
package childtest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

const childEnv = "INSIDE_RECORDING_CHILD"

// Main is the TestMain of a package whose test binary may be one of these
// children, each of which is given a folder.
func Main(m *testing.M, children map[string]func(dir string) error) {
	if child := children[os.Getenv(childEnv)]; child != nil {
		if err := child(os.Args[1]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// Command is the child called what; its end is that of the test at the latest.
func Command(t testing.TB, what, dir string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), exe, dir)
	c.Env = append(os.Environ(), childEnv+"="+what)
	c.Stderr = os.Stderr
	return c
}

// Report is what a child says on its standard output each time something more
// was shown: how much was so far.
func Report(shown uint64) error {
	_, err := os.Stdout.Write(binary.BigEndian.AppendUint64(nil, shown))
	return err
}

// Kill lets the child that writes in dir report up to most times, kills it at
// a moment nobody chose, and returns how much was shown.
func Kill(t testing.TB, dir string, most int) (shown uint64) {
	t.Helper()
	c := Command(t, "writer", dir)
	out, err := c.StdoutPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	var b [8]byte
	for range 1 + rand.IntN(most) { // the kill comes while the child writes
		if _, err := io.ReadFull(out, b[:]); err != nil {
			t.Fatal(err)
		}
		shown = binary.BigEndian.Uint64(b[:])
	}
	if err := c.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for { // what it still said before it died
		if _, err := io.ReadFull(out, b[:]); err != nil {
			break
		}
		shown = binary.BigEndian.Uint64(b[:])
	}
	_ = c.Wait() // was killed
	return shown
}

// RunWithMounts runs a child that may mount what it likes: nobody else sees
// it, and it goes with the child.
func RunWithMounts(t testing.TB, what string) {
	t.Helper()
	c := Command(t, what, t.TempDir())
	c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if os.Geteuid() != 0 {
		c.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		c.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		c.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	if err := c.Run(); err != nil {
		t.Fatal(err)
	}
}

// SmallDisk mounts on dir, in a child of [RunWithMounts], a file system of a
// size such as "1m".
func SmallDisk(dir, size string) error {
	return errors.Join(unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
		unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+size))
}

// GrowDisk gives that file system another size.
func GrowDisk(dir, size string) error {
	return unix.Mount("tmpfs", dir, "tmpfs", unix.MS_REMOUNT, "size="+size)
}
