package main

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pawelmojski/inside/netfilter/nettest"
)

// How xfreerdp ends, by the error code it was told (MS-RDPBCGR 2.2.5.1.1).
const (
	exitAdmin  = 1
	exitLimit  = 4
	exitDenied = 7
)

func (s *seat) ends(t testing.TB, want int) {
	t.Helper()
	select {
	case <-s.done:
	case <-time.After(patience):
		t.Fatalf("xfreerdp does not end")
	}
	if s.exit != want {
		t.Errorf("xfreerdp ended with %d, want %d\n%s", s.exit, want, s.output())
	}
}

func TestAPersonReachesADesktop(t *testing.T) {
	h, d, x := desktopHouse(t, settings{})
	h.grant("--protocol", "rdp", "--duration", "1h")
	s := d.login("ideo", password)
	d.shows("the desktop", desktopColour, 100_000, s)
	live := h.live(1)[0]
	if live.Protocol != "rdp" || live.Login != "ideo" || live.Server != "test-ssh-server" || live.Person != "p.mojski" {
		t.Errorf("session %+v", live)
	}

	typed := filepath.Join(x.Home("ideo"), "typed")
	d.keys("click 1 type --delay 5 'id -un >typed'")
	d.keys("key Return")
	h.until("what was typed arrived", func() bool {
		text, _ := os.ReadFile(typed)
		return string(text) == "ideo\n"
	})
	if e := h.entries(1)[0]; e.Denial != "" || e.Login != "ideo" || e.Protocol != "rdp" {
		t.Errorf("entry %+v", e)
	}

	// The recording, played to here, shows what the person sees, pixel by pixel.
	h.until("the recording equals the window", func() bool {
		return d.differs(h.replay(live.ID), 0) == 0
	})

	h.inside("session", "kill", live.ID[:8])
	s.ends(t, exitAdmin)
	if e := h.ended(live.ID); e.Cause != "ended-by-admin" {
		t.Errorf("cause %q, want ended-by-admin", e.Cause)
	}
	for _, secret := range []string{password, "id -un"} {
		if found := h.grepState(secret); found != "" {
			t.Errorf("%q stands in %s", secret, found)
		}
	}
}

// grepState finds a file of the gate's that holds a text as it is or in
// UTF-16.
func (h *house) grepState(text string) (found string) {
	wide := ""
	for _, c := range text {
		wide += string(c) + "\x00"
	}
	filepath.Walk(h.state, func(name string, st os.FileInfo, err error) error {
		if err == nil && st.Mode().IsRegular() {
			if b, _ := os.ReadFile(name); strings.Contains(string(b), text) || strings.Contains(string(b), wide) {
				found = name
			}
		}
		return nil
	})
	return found
}

func TestWhoIsDeniedADesktopReadsWhy(t *testing.T) {
	h, d, x := desktopHouse(t, settings{})
	s := d.login("ideo", password)
	d.shows("the message", messageColour, 10_000, s)
	d.keys("key Return")
	s.ends(t, exitDenied)
	if e := h.entries(1)[0]; e.Denial != "no-grant" || e.Login != "ideo" || e.Protocol != "rdp" {
		t.Errorf("entry %+v, want no-grant", e)
	}
	if strings.Contains(x.Output(), "ideo") {
		t.Error("the server was asked about somebody who is denied")
	}
}

func TestADesktopSessionEndsWithItsGrant(t *testing.T) {
	h, d, _ := desktopHouse(t, settings{})
	grant := h.grant("--protocol", "rdp", "--duration", "1h")
	s := d.login("ideo", password)
	d.shows("the desktop", desktopColour, 100_000, s)
	live := h.live(1)[0]

	h.inside("grant", "extend", grant, "--duration", "2h")
	d.shows("the notice", noticeColour, 1000, s)
	if file := os.Getenv("INSIDE_PICTURE"); file != "" {
		d.picture(file)
	}
	h.inside("grant", "extend", grant, "--duration", "1s")
	s.ends(t, exitLimit)
	if e := h.ended(live.ID); e.Cause != "grant-expired" {
		t.Errorf("cause %q, want grant-expired", e.Cause)
	}
	again := d.login("ideo", password)
	d.shows("the message", messageColour, 10_000, again)
	d.keys("key Return")
	again.ends(t, exitDenied)
	if e := h.entries(2)[0]; e.Denial != "expired" {
		t.Errorf("entry %+v, want expired", e)
	}
}

func TestRevokingEndsOneDesktopAndNotItsNeighbour(t *testing.T) {
	h, d, x := desktopHouse(t, settings{})
	grant := h.grant("--protocol", "rdp", "--ssh-login", "ideo", "--duration", "1h")
	h.grant("--protocol", "rdp", "--ssh-login", "admin", "--duration", "1h")
	first := d.login("ideo", password)
	d.shows("the desktop", desktopColour, 100_000, first)
	one := h.live(1)[0]
	second := d.login("admin", password)
	h.until("the neighbour has a desktop", func() bool {
		_, err := os.Stat(filepath.Join(x.Home("admin"), "display"))
		return err == nil
	})
	h.live(2)
	h.inside("grant", "revoke", grant)
	first.ends(t, exitAdmin)
	if e := h.ended(one.ID); e.Cause != "grant-revoked" {
		t.Errorf("cause %q, want grant-revoked", e.Cause)
	}
	d.shows("the neighbour's desktop", desktopColour, 100_000, second)
	d.keys("click 1 type --delay 5 'touch typed'")
	d.keys("key Return")
	h.until("the neighbour goes on typing", func() bool {
		_, err := os.Stat(filepath.Join(x.Home("admin"), "typed"))
		return err == nil
	})
}

func TestAServerThatShowsAnotherCertificateIsRefused(t *testing.T) {
	h, d, x := desktopHouse(t, settings{})
	h.grant("--protocol", "rdp", "--duration", "1h")
	s := d.login("ideo", password)
	d.shows("the desktop", desktopColour, 100_000, s)
	h.inside("session", "kill", h.live(1)[0].ID[:8])
	s.ends(t, exitAdmin)

	x.Kill()
	if _, err := h.StartXRDP(nettest.XRDPOptions{Users: accounts("ideo")}); err != nil {
		t.Fatal(err)
	}
	s = d.login("ideo", password)
	d.shows("the message", messageColour, 10_000, s)
	d.keys("key Return")
	s.ends(t, exitDenied)
	if e := h.entries(2)[0]; e.Denial != "host-key-changed" || !strings.Contains(e.Detail, "SHA256:") {
		t.Errorf("entry %+v, want host-key-changed with the new key", e)
	}

	if out, err := h.tryInside("doctor", "rdp", "test-ssh-server", "--address", nettest.BackendIP4.String()); err == nil || !strings.Contains(out, "NOT the pinned one") {
		t.Errorf("the doctor says (%v)\n%s", err, out)
	}

	// Until an admin says that the change is meant.
	at := netip.AddrPortFrom(nettest.BackendIP4, 3389).String()
	if out := h.inside("server", "host-key", "show", "test-ssh-server", "--address", at); !strings.Contains(out, "x509-spki") {
		t.Errorf("host-key show says\n%s", out)
	}
	h.inside("server", "host-key", "forget", "test-ssh-server", "--address", at)
	s = d.login("ideo", password)
	d.shows("the desktop", desktopColour, 100_000, s)
}

func TestWhatIsNoRDPIsRefusedAndWrittenDown(t *testing.T) {
	h, d, _ := desktopHouse(t, settings{})
	h.grant("--protocol", "rdp", "--duration", "1h")
	for _, garbage := range []string{"GET / HTTP/1.1\r\n\r\n", "\x03\x00\xff\xff" + strings.Repeat("x", 70_000), "\x00\x00", "SSH-2.0-x\r\n"} {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		c, err := h.Client.Dial(ctx, netip.AddrPortFrom(nettest.BackendIP4, 3389).String())
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		c.SetDeadline(time.Now().Add(patience))
		c.Write([]byte(garbage))
		if n, err := c.Read(make([]byte, 1)); err == nil {
			t.Errorf("%.20q was answered with %d bytes", garbage, n)
		}
		c.Close()
	}
	for _, e := range h.entries(4) {
		if e.Denial != "protocol-error" {
			t.Errorf("entry %+v, want protocol-error", e)
		}
	}
	s := d.rdp("/u:ideo", "/p:"+password, "/sec:rdp")
	<-s.done
	if e := h.entries(5)[0]; e.Denial != "not-served" || !strings.Contains(e.Detail, "standard RDP security") {
		t.Errorf("entry %+v, want not-served for standard RDP security", e)
	}
}

func TestAServerThatInsistsOnNLAIsLoggedInTo(t *testing.T) {
	h, d, _ := shadowHouse(t)
	h.grant("--protocol", "rdp", "--duration", "1h")
	wrong := d.login("ideo", "wrong horse")
	d.shows("the message", messageColour, 10_000, wrong)
	d.keys("key Return")
	wrong.ends(t, exitDenied)
	if e := h.entries(1)[0]; e.Denial != "not-authenticated" || e.Login != "ideo" {
		t.Errorf("entry %+v, want not-authenticated", e)
	}
	s := d.login("ideo", password)
	d.shows("the desktop", shadowColour, 100_000, s)
	live := h.live(1)[0]
	h.until("the recording equals the window", func() bool { return d.differs(h.replay(live.ID), 8) == 0 })
	h.inside("session", "kill", live.ID[:8])
	s.ends(t, exitAdmin)
	if found := h.grepState(password); found != "" {
		t.Errorf("the password stands in %s", found)
	}
}
