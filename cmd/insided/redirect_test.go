package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pawelmojski/inside/netfilter/nettest"
	"github.com/pawelmojski/inside/proxy/rdpentry/screen"
)

// holds puts a text on the clipboard of the desk, or has xclip say what is on
// it.
func (d *desk) holds(text string) {
	d.h.t.Helper()
	d.must("printf %s '" + text + "' | xclip -selection clipboard -i >/dev/null 2>&1")
}

func (d *desk) clipboard() string {
	text, _ := d.run("timeout 2 xclip -selection clipboard -o 2>/dev/null")
	return text
}

// onDesktop runs a command on a desktop of xrdp's.
func onDesktop(t testing.TB, x *nettest.XRDP, script string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	text, _ := x.OnDesktop(ctx, "ideo", script)
	return text
}

// What a grant does not open stays closed, whatever client and server offer
// each other; what it opens works, is written down, and is closed when the
// session goes on under another grant.
func TestTheClipboardPassesOnlyWhereTheGrantSaysSo(t *testing.T) {
	h, d, x := desktopHouse(t, settings{})
	nettest.Need(t, "xclip")
	enter := func() (s *seat, id string) {
		t.Helper()
		s = d.rdp("/u:ideo", "/p:"+password, "+clipboard")
		d.shows("the desktop", desktopColour, 100_000, s)
		h.until("the desktop can be used", func() bool {
			_, err := os.Stat(filepath.Join(x.Home("ideo"), "display"))
			return err == nil
		})
		return s, h.live(1)[0].ID
	}
	onClipboard := func() string { return onDesktop(t, x, "timeout 2 xclip -selection clipboard -o") }
	// types waits until a command that was typed has run: what was sent before
	// has arrived by then, or never does.
	types := func(file string) {
		t.Helper()
		d.keys("click 1 type --delay 5 'touch " + file + "'")
		d.keys("key Return")
		h.until("what was typed arrived", func() bool {
			_, err := os.Stat(filepath.Join(x.Home("ideo"), file))
			return err == nil
		})
	}
	const secret = "the colour of the vault"

	h.grant("--protocol", "rdp", "--duration", "1h")
	s, id := enter()
	d.holds(secret)
	types("once")
	if strings.Contains(onClipboard(), secret) {
		t.Error("the clipboard passes though the grant does not open it")
	}
	h.inside("session", "kill", id[:8])
	s.ends(t, exitAdmin)
	h.ended(id)
	if shown := h.inside("session", "show", id); strings.Contains(shown, "clipboard") || !strings.Contains(shown, "channel cliprdr") {
		t.Errorf("session show says\n%s", shown)
	}

	better := h.grant("--protocol", "rdp", "--duration", "2h", "--allow-rdp", "clipboard")
	_, id = enter()
	h.until("the text arrives on the desktop", func() bool {
		d.holds(secret)
		return strings.Contains(onClipboard(), secret)
	})
	answer := strings.Repeat("no vault here ", 400) // more than one chunk
	h.until("the text arrives at the desk", func() bool {
		onDesktop(t, x, "sh -c \"printf %s '"+answer+"' | xclip -selection clipboard -i >/dev/null 2>&1\"")
		return d.clipboard() == answer
	})

	h.inside("grant", "revoke", better)
	h.until("the session goes on under the other grant", func() bool { return h.live(1)[0].Grant != better })
	d.holds("what comes later")
	types("twice")
	if strings.Contains(onClipboard(), "later") {
		t.Error("the clipboard passes though the grant that opened it is gone")
	}
	shown := h.inside("session", "show", id)
	for _, want := range []string{"upload 48 B in text", "download", "out text", "channel cliprdr, from now on"} {
		if !strings.Contains(shown, want) {
			t.Errorf("session show does not say %q:\n%s", want, shown)
		}
	}
	for _, text := range []string{secret, "no vault here"} {
		if found := h.grepState(text); found != "" {
			t.Errorf("what was on the clipboard stands in %s", found)
		}
	}
}

// The window of a client may be made another size, and what is shown then is
// recorded too.
func TestADesktopFollowsItsWindow(t *testing.T) {
	h, d, x := desktopHouse(t, settings{})
	h.grant("--protocol", "rdp", "--duration", "1h")
	s := d.rdp("/u:ideo", "/p:"+password, "/dynamic-resolution")
	d.shows("the desktop", desktopColour, 100_000, s)
	id := h.live(1)[0].ID
	d.must("xdotool getactivewindow windowsize 700 500")
	h.until("the desktop has the window's size", func() bool {
		return strings.Contains(onDesktop(t, x, "xdpyinfo"), "dimensions:    700x500 pixels")
	})
	h.until("the recording equals the window", func() bool {
		p := h.replay(id)
		return p.W == 700 && p.H == 500 && d.differs(p, 0) == 0
	})

	// The video has room for both sizes and shows the last in its corner.
	shown := h.replay(id)
	h.inside("session", "kill", id[:8])
	s.ends(t, exitAdmin)
	h.ended(id)
	video := filepath.Join(h.dir, "desktop.mp4")
	h.inside("export", id[:8], video, "--mp4")
	canvas := screen.NewPicture(800, 560)
	for y := range shown.H {
		copy(canvas.Pix[y*canvas.W:], shown.Pix[y*shown.W:][:shown.W])
	}
	if db := likeness(t, canvas, video); db < 30 {
		t.Errorf("the last frame of the video is not the desktop of another size: %.1f dB", db)
	}
}

// A drive of the person's, by another client than xfreerdp: its version 2 does
// not announce drives to xrdp.
func TestADriveIsReadAndWrittenAndItsFilesAreWrittenDown(t *testing.T) {
	nettest.Need(t, "rdesktop", "fusermount3", "setpriv")
	h, d, x := desktopHouse(t, settings{})
	shared := filepath.Join(h.dir, "shared")
	if err := os.Mkdir(shared, 0o755); err != nil {
		t.Fatal(err)
	}
	const plan, loot = "the plan of the vault", "what lies in it\n"
	if err := os.WriteFile(filepath.Join(shared, "plan.txt"), []byte(plan), 0o644); err != nil {
		t.Fatal(err)
	}
	h.grant("--protocol", "rdp", "--duration", "1h", "--allow-rdp", "drive")
	ctx, cancel := context.WithCancel(context.Background())
	client := d.command(ctx, "sh -c 'echo yes | rdesktop -u ideo -p \""+password+"\" -g 800x560 -a 24 -r disk:desk="+deskLab+"/shared "+nettest.BackendIP4.String()+"'")
	client.WaitDelay = patience
	if err := client.Start(); err != nil {
		t.Fatal(err)
	}
	defer client.Wait()
	defer cancel()
	id := h.live(1)[0].ID

	// FUSE shows the drive to the one user it was mounted for, and to root not.
	as := "setpriv --reuid ideo --regid ideo --clear-groups "
	drive := "/home/ideo/thinclient_drives/desk"
	h.until("the file is read on the desktop", func() bool {
		return strings.Contains(onDesktop(t, x, as+"cat "+drive+"/plan.txt"), plan)
	})
	onDesktop(t, x, as+"sh -c \"echo "+strings.TrimSpace(loot)+" >"+drive+"/loot.txt\"")
	h.until("the file that was written is on the drive", func() bool {
		text, _ := os.ReadFile(filepath.Join(shared, "loot.txt"))
		return string(text) == loot
	})
	h.inside("session", "kill", id[:8])
	if s := h.ended(id); !s.Files {
		t.Error("the session is not one with files")
	}
	shown := h.inside("session", "show", id)
	for _, want := range []string{"drive desk", "upload desk:/plan.txt 21 B in drive", "download desk:/loot.txt 16 B out drive"} {
		if !strings.Contains(shown, want) {
			t.Errorf("session show does not say %q:\n%s", want, shown)
		}
	}
	if found := h.grepState(plan); found != "" {
		t.Errorf("the file's contents stand in %s", found)
	}
}
