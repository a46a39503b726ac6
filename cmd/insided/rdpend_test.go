package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pawelmojski/inside/netfilter/nettest"
	"github.com/pawelmojski/inside/proxy/recording/desktop"
)

// How desktops begin and end at one server, which takes longer to start than
// they take.
func TestDesktopsBeginAndEnd(t *testing.T) {
	state := mountSmall(t, "600m")
	h, d, x := desktopHouse(t, settings{state: state, minFree: "5%"})
	grant := h.grant("--protocol", "rdp", "--ssh-login", "ideo", "--duration", "1h")
	t.Run("who sends no login is asked where the grant is for one", func(t *testing.T) { noLogin(t, h, d) })
	t.Run("a wrong password is the server's business", func(t *testing.T) { wrongPassword(t, h, d) })
	t.Run("a full disk ends a session and lets nobody in", func(t *testing.T) { fullDisk(t, h, d, x, state) })
	t.Run("a gate that was stopped relays nothing after the end", func(t *testing.T) { stoppedGate(t, h, d, x, grant) })
}

func noLogin(t *testing.T, h *house, d *desk) {
	s := d.rdp("/u:", "/p:") // without them xfreerdp sends the name it runs as
	d.shows("the form", formColour, 10_000, s)
	d.keys("type --delay 5 'ideo'")
	d.keys("key Tab Tab")
	d.keys("type --delay 5 '" + password + "'")
	d.keys("key Return")
	d.shows("the desktop", desktopColour, 100_000, s)
	live := h.live(1)[0]
	if live.Login != "ideo" {
		t.Errorf("session %+v", live)
	}
	h.until("the recording equals the window", func() bool { return d.differs(h.replay(live.ID), 0) == 0 })
	h.inside("session", "kill", live.ID[:8])
	s.ends(t, exitAdmin)
}

// xrdp shows its own login box to whom it has not let in: what the client sent
// with is wrong, and the gate cannot know. The box passes and is recorded.
func wrongPassword(t *testing.T, h *house, d *desk) {
	s := d.login("ideo", "wrong horse")
	live := h.live(1)[0]
	if live.Login != "ideo" {
		t.Errorf("session %+v", live)
	}
	d.shows("xrdp's own box", 0xdedede, 5000, s)
	h.until("the recording equals the window", func() bool { return d.differs(h.replay(live.ID), 0) == 0 })
	if e := h.entries(1)[0]; e.Denial != "" || e.Login != "ideo" {
		t.Errorf("entry %+v", e)
	}
	if log := h.eventLog(live.ID); !strings.Contains(log, `"login"`) || strings.Contains(log, "taken by the server") {
		t.Errorf("the events say\n%s", log)
	}
	h.inside("session", "kill", live.ID[:8])
	s.ends(t, exitAdmin)
	if found := h.grepState("wrong horse"); found != "" {
		t.Errorf("the password stands in %s", found)
	}
}

// fill leaves a disk next to no room.
func fill(t *testing.T, dir string) (ballast string) {
	t.Helper()
	ballast = filepath.Join(dir, "ballast")
	f, err := os.Create(ballast)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var disk unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &disk); err != nil {
		t.Fatal(err)
	}
	if err := unix.Fallocate(int(f.Fd()), 0, 0, int64(disk.Bavail)*disk.Bsize-(64<<10)); err != nil {
		t.Fatal(err)
	}
	return ballast
}

func fullDisk(t *testing.T, h *house, d *desk, x *nettest.XRDP, state string) {
	s := d.login("ideo", password)
	d.shows("the desktop", desktopColour, 100_000, s)
	live := h.live(1)[0]
	ballast := fill(t, state)
	d.keys("click 1 type --delay 5 'while [ ! -e enough ]; do head -c 3000 /dev/urandom | base64; done; rm -f enough'")
	d.keys("key Return")
	s.ends(t, exitAdmin)
	again := d.login("ideo", password)
	d.shows("the message", messageColour, 10_000, again)
	d.keys("key Return")
	again.ends(t, exitDenied)
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	if e := h.ended(live.ID); e.Cause != "recording-failed" {
		t.Errorf("cause %q, want recording-failed", e.Cause)
	}
	if e := h.entries(4)[0]; e.Denial != "recorder-unavailable" {
		t.Errorf("entry %+v, want recorder-unavailable", e)
	}
	// The desktop lives on: whoever has it next finds a shell that listens.
	enough := filepath.Join(x.Home("ideo"), "enough")
	h.write(enough, "")
	h.until("the shell has heard that it is enough", func() bool {
		_, err := os.Stat(enough)
		return errors.Is(err, os.ErrNotExist)
	})
}

// A gate that was stopped over the end of a grant relays nothing when it goes
// on: neither what was typed meanwhile nor what the server has drawn.
func stoppedGate(t *testing.T, h *house, d *desk, x *nettest.XRDP, grant string) {
	s := d.login("ideo", password)
	d.shows("the desktop", desktopColour, 100_000, s)
	live := h.live(1)[0]
	d.keys("click 1 type --delay 5 'cat >typed'") // the desktop is the one before
	d.keys("key Return")
	d.keys("type --delay 5 'before'")
	d.keys("key Return")
	typed := filepath.Join(x.Home("ideo"), "typed")
	h.until("what was typed arrived", func() bool {
		text, _ := os.ReadFile(typed)
		return string(text) == "before\n"
	})
	h.inside("grant", "extend", grant, "--duration", "4s")
	end := h.live(1)[0].Until
	time.Sleep(time.Until(end.Add(-time.Second)))
	h.daemon.Signal(syscall.SIGSTOP)
	if time.Now().After(end) {
		t.Fatal("the machine is too busy to tell before from after")
	}
	d.keys("type --delay 5 'after'")
	d.keys("key Return")
	time.Sleep(time.Until(end.Add(2 * time.Second)))
	h.daemon.Signal(syscall.SIGCONT)
	<-s.done
	if e := h.ended(live.ID); e.Cause != "grant-expired" {
		t.Errorf("cause %q, want grant-expired", e.Cause)
	}
	if text, _ := os.ReadFile(typed); string(text) != "before\n" {
		t.Errorf("%q was typed after the end", text)
	}
	if at := h.lastDrawn(live.ID); at.After(end) {
		t.Errorf("something was recorded at %s, after the end at %s", at, end)
	}
}

// lastDrawn is when the server drew last, as the recording of an ended session
// has it.
func (h *house) lastDrawn(id string) (at time.Time) {
	h.t.Helper()
	f, err := os.Open(filepath.Join(h.sessionDir(id), desktop.Name))
	if err != nil {
		h.t.Fatal(err)
	}
	defer f.Close()
	header, events, err := desktop.Read(f)
	if err != nil {
		h.t.Fatal(err)
	}
	for e, err := range events {
		if err != nil {
			h.t.Fatal(err)
		}
		if e.Kind == desktop.Update {
			at = header.Start.Add(e.Time)
		}
	}
	return at
}
