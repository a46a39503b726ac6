package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pawelmojski/inside/netfilter/nettest"
	"github.com/pawelmojski/inside/store/storetest"
)

// mountSmall puts a small disk of its own where the house keeps its state.
func mountSmall(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("none", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func TestAFullDiskLetsNobodyInAndHealsByItself(t *testing.T) {
	state := mountSmall(t, "1g")
	h := newHouse(t, settings{state: state, minFree: "5%"})
	h.know()
	h.grant()
	server := at("ideo", nettest.BackendIP4)
	if r := h.ssh(server, "true"); r.exit != 0 {
		t.Fatalf("exit %d: %s", r.exit, r.stderr)
	}
	ballast := filepath.Join(state, "ballast")
	f, err := os.Create(ballast)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Fallocate(int(f.Fd()), 0, 0, 700<<20); err != nil {
		t.Fatal(err)
	}
	f.Close()
	r := h.ssh(server, "true")
	if r.exit != 255 || r.asked || !strings.Contains(r.stderr, "record") {
		t.Errorf("with a full disk: exit %d, asked %v, %q", r.exit, r.asked, r.stderr)
	}
	if out, _ := h.tryInside("status"); !strings.Contains(out, "free") {
		t.Errorf("status does not tell: %s", out)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	h.until("entries are let in again", func() bool { return h.ssh(server, "true").exit == 0 })
}

func TestASessionEndsWhenItsRecordingCannotBeWritten(t *testing.T) {
	state := mountSmall(t, "600m")
	h := newHouse(t, settings{state: state})
	h.know()
	h.grant()
	tm := h.sit(at("ideo", nettest.BackendIP4), "echo ready; cat >/dev/null; while sleep 0.01; do head -c 1000 /dev/zero | tr '\\0' x; done")
	h.shows(tm, "ready")
	s := h.live(1)[0]
	f, err := os.Create(filepath.Join(state, "ballast"))
	if err != nil {
		t.Fatal(err)
	}
	var disk unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &disk); err != nil {
		t.Fatal(err)
	}
	if err := unix.Fallocate(int(f.Fd()), 0, 0, int64(disk.Bavail)*disk.Bsize-(64<<10)); err != nil {
		t.Fatal(err)
	}
	f.Close()
	tm.stdin.Write([]byte("\x04")) // end of file: the output begins
	h.closed(tm)
	if !strings.Contains(tm.text(), "recording") {
		t.Errorf("the person is not told: %q", tail(tm.text()))
	}
	if err := os.Remove(filepath.Join(state, "ballast")); err != nil {
		t.Fatal(err)
	}
	if e := h.ended(s.ID); e.Cause != "recording-failed" {
		t.Errorf("cause %q, want recording-failed", e.Cause)
	}
}

func TestAVanishedDatabaseLetsNobodyInAndDisturbsNobodyInside(t *testing.T) {
	pg := storetest.StartCluster(t)
	h := newHouse(t, settings{store: pg.Database(t)})
	h.know()
	h.grant()
	server := at("ideo", nettest.BackendIP4)
	tm := h.sit(server, "echo ready; cat")
	h.shows(tm, "ready")
	s := h.live(1)[0]
	pg.Stop(t)
	h.until("nobody new is let in", func() bool {
		r := h.ssh(server, "true")
		return r.exit == 255 && !r.asked && strings.Contains(r.stderr, "written down")
	})
	tm.stdin.Write([]byte("still inside\n"))
	h.shows(tm, "still inside")
	tm.stdin.Write([]byte("\x04"))
	h.closed(tm)
	pg.Start(t)
	h.until("entries are let in again", func() bool { return h.ssh(server, "true").exit == 0 })
	if e := h.ended(s.ID); e.Cause != "client-left" && e.Cause != "server-left" {
		t.Errorf("the session that ended meanwhile has cause %q", e.Cause)
	}
}

func TestARecordingsFolderThatCannotBeWrittenLetsNobodyIn(t *testing.T) {
	state := t.TempDir()
	recordings := filepath.Join(state, "recordings")
	h := newHouse(t, settings{state: state, before: "mkdir -p " + recordings + " && mount --bind " + recordings + " " + recordings})
	h.know()
	h.grant()
	server := at("ideo", nettest.BackendIP4)
	h.remount(recordings, "ro")
	h.until("the gate has noticed", func() bool { return h.api().Ready(context.Background()) != nil })
	r := h.ssh(server, "true")
	if r.exit != 255 || r.asked {
		t.Errorf("with a read-only folder: exit %d, asked %v, %q", r.exit, r.asked, r.stderr)
	}
	status, err := h.api().Status(context.Background())
	if err != nil || status.Recorder.OK {
		t.Errorf("status %+v, %v: want the recorder to say it cannot write", status.Recorder, err)
	}
	h.remount(recordings, "rw")
	h.until("entries are let in again", func() bool { return h.ssh(server, "true").exit == 0 })
}

// remount changes the mount options of a folder as the daemon sees it: `ip
// netns exec` has given it mounts of its own.
func (h *house) remount(dir, option string) {
	h.t.Helper()
	pid := strconv.Itoa(h.daemon.PID())
	out, err := exec.Command("nsenter", "--target", pid, "--mount", "mount", "-o", "remount,bind,"+option, dir).CombinedOutput()
	if err != nil {
		h.t.Fatalf("remount %s %s: %v\n%s", dir, option, err, out)
	}
}
