package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pawelmojski/inside/netfilter/nettest"
	"github.com/pawelmojski/inside/proxy/rdpentry/screen"
	"github.com/pawelmojski/inside/proxy/recording/desktop"
)

// A desk is what a person sits at: an X server on the client host, seen by
// nobody else on this machine.
type desk struct {
	h *house
	x *nettest.Daemon
}

const (
	deskDisplay = ":1"
	deskLab     = "/mnt/lab" // where a desk finds the house's folder: it has a /tmp of its own
)

func (h *house) desk() *desk {
	h.t.Helper()
	script := "set -e\nmount -t tmpfs none /mnt\nmkdir " + deskLab + "\nmount --bind " + h.dir + " " + deskLab + "\n" +
		"mount -t tmpfs none /tmp\nmkdir -m 1777 /tmp/.X11-unix\n" +
		"Xvfb " + deskDisplay + " -screen 0 840x640x24 -nolisten tcp -noreset -fbdir " + deskLab + " &\n" +
		"export DISPLAY=" + deskDisplay + "; until xdpyinfo >/dev/null 2>&1; do sleep 0.1; done; exec openbox\n" // which gives a window the keyboard
	x, err := h.Client.Start("unshare", "--mount", "--propagation", "private", "/bin/sh", "-c", script)
	if err != nil {
		h.t.Fatal(err)
	}
	d := &desk{h, x}
	h.until("the desk has a window manager", func() bool {
		out, err := d.run("xprop -root _NET_SUPPORTING_WM_CHECK")
		return err == nil && strings.Contains(out, "window id")
	})
	return d
}

// command prepares a shell command at the desk.
func (d *desk) command(ctx context.Context, script string) *exec.Cmd {
	script = "export DISPLAY=" + deskDisplay + " HOME=" + deskLab + "; exec " + script
	return d.h.Client.Command(ctx, "nsenter", "-t", strconv.Itoa(d.x.PID()), "-m", "/bin/sh", "-c", script)
}

func (d *desk) run(script string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	out, err := d.command(ctx, script).Output()
	return string(out), err
}

func (d *desk) must(script string) string {
	d.h.t.Helper()
	out, err := d.run(script)
	if err != nil {
		d.h.t.Fatalf("at the desk: %s: %v", script, err)
	}
	return out
}

// colours counts the pixels of each colour, as 0xRRGGBB, that the desk shows.
func (d *desk) colours() map[uint32]int {
	d.h.t.Helper()
	raw := d.must("import -silent -window root -depth 8 rgb:-")
	count := map[uint32]int{}
	for ; len(raw) >= 3; raw = raw[3:] {
		count[uint32(raw[0])<<16|uint32(raw[1])<<8|uint32(raw[2])]++
	}
	return count
}

// shows waits until the desk shows many pixels of a colour.
func (d *desk) shows(what string, colour uint32, atLeast int, s *seat) {
	d.h.t.Helper()
	d.h.until("the desk shows "+what, func() bool {
		select {
		case <-s.done:
			d.h.t.Fatalf("xfreerdp ended with %d before %s was seen:\n%s", s.exit, what, s.output())
		case <-time.After(100 * time.Millisecond): // looking costs more than what is looked at
		}
		return d.colours()[colour] >= atLeast
	})
}

// differs counts the pixels of xfreerdp's window that are not those of a
// picture, but for rounding where a server sends fewer bits of colour. The
// pointer is not part of either.
func (d *desk) differs(p screen.Picture, rounding int) (n int) {
	d.h.t.Helper()
	shown := d.window()
	if len(shown.Pix) != len(p.Pix) {
		d.h.t.Fatalf("the window has %d × %d pixels, the recording %d × %d", shown.W, shown.H, p.W, p.H)
	}
	for i, c := range p.Pix {
		for shift := 0; shift < 24; shift += 8 {
			if off := int(shown.Pix[i]>>shift&0xff) - int(c>>shift&0xff); off > rounding || -off > rounding {
				n++
				break
			}
		}
	}
	return n
}

// replay plays the recording of a session, which may go on, to where it is.
func (h *house) replay(id string) screen.Picture {
	h.t.Helper()
	root, err := os.OpenRoot(h.sessionDir(id))
	if err != nil {
		h.t.Fatal(err)
	}
	defer root.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	header, events, err := desktop.Follow(ctx, root, desktop.Name, 0, cancel)
	if err != nil {
		h.t.Fatal(err)
	}
	picture, err := screen.New(header.Width, header.Height)
	if err != nil {
		h.t.Fatal(err)
	}
	for e, err := range events {
		if errors.Is(err, context.Canceled) {
			break
		}
		if err == nil {
			err = e.Apply(picture)
		}
		if err != nil {
			h.t.Fatal(err)
		}
	}
	return picture.Picture()
}

// picture keeps what the desk shows in a file: make picture does so for the
// README.
func (d *desk) picture(file string) {
	d.h.t.Helper()
	d.keys("click 1 type --delay 5 'clear; printf \"\\n\\n\\n\\n\\n\"; id; head -4 /etc/os-release; ls -lA /usr'")
	d.keys("key Return mousemove 820 620")
	time.Sleep(time.Second)
	png := d.must("import -silent -window root -colors 64 png:-")
	if err := os.WriteFile(file, []byte(png), 0o644); err != nil {
		d.h.t.Fatal(err)
	}
}

// A seat is a running xfreerdp.
type seat struct {
	out   bytes.Buffer
	done  chan struct{}
	exit  int    // after done
	leave func() // ends it
}

func (s *seat) output() string {
	<-s.done
	return s.out.String()
}

// rdp starts xfreerdp at the desk, towards the backend's own address.
func (d *desk) rdp(args ...string) *seat {
	d.h.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	line := "xfreerdp /v:" + nettest.BackendIP4.String() + " /cert:ignore /size:800x560 /log-level:INFO"
	for _, a := range args {
		line += " '" + a + "'"
	}
	s := &seat{done: make(chan struct{})}
	s.leave = func() { cancel(); <-s.done }
	cmd := d.command(ctx, line)
	cmd.Stdout, cmd.Stderr = &s.out, &s.out
	if err := cmd.Start(); err != nil {
		d.h.t.Fatal(err)
	}
	go func() {
		cmd.Wait()
		s.exit = cmd.ProcessState.ExitCode()
		close(s.done)
	}()
	d.h.t.Cleanup(func() {
		s.leave()
		if d.h.t.Failed() {
			d.h.t.Logf("xfreerdp ended with %d:\n%s", s.exit, s.out.String())
		}
	})
	return s
}

// login is rdp as somebody.
func (d *desk) login(user, password string) *seat {
	d.h.t.Helper()
	return d.rdp("/u:"+user, "/p:"+password)
}

// keys types at the desk, into xfreerdp's window.
func (d *desk) keys(xdotool string) {
	d.h.t.Helper()
	d.must("xdotool mousemove 300 300 " + xdotool)
}

// desktopHouse is a house whose server is xrdp.
func desktopHouse(t testing.TB, s settings) (*house, *desk, *nettest.XRDP) {
	t.Helper()
	nettest.Need(t, "xrdp", "xfreerdp", "Xvfb", "xterm", "import", "xdotool", "xdpyinfo", "nsenter", "openbox", "xprop")
	h := newHouse(t, s)
	x, err := h.StartXRDP(nettest.XRDPOptions{Users: accounts("ideo", "admin")})
	if err != nil {
		t.Fatal(err)
	}
	h.know()
	return h, h.desk(), x
}

// The colours the stories look for.
const (
	desktopColour = 0x204060 // of xrdp's desktop, as nettest sets it
	shadowColour  = 0x214263 // the same in 16 bits, as freerdp-shadow sends it
	messageColour = 0x1f2933 // of the gate's own page
	noticeColour  = 0xffd75f // of its lines over the desktop
)

func (h *house) sessionDir(id string) string {
	h.t.Helper()
	dirs, _ := filepath.Glob(filepath.Join(h.state, "recordings", "*", "*", "*", id))
	if len(dirs) != 1 {
		h.t.Fatalf("recording folders of session %s: %q", id, dirs)
	}
	return dirs[0]
}
