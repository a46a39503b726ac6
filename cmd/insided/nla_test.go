package main

import (
	"strings"
	"testing"

	"github.com/pawelmojski/inside/netfilter/nettest"
)

// exitLogon is how xfreerdp ends when CredSSP says that name or password is
// wrong.
const exitLogon = 134

// shadowHouse is a house whose server insists on NLA.
func shadowHouse(t testing.TB) (*house, *desk, *nettest.Shadow) {
	t.Helper()
	nettest.Need(t, "freerdp-shadow-cli", "winpr-hash", "xfreerdp", "Xvfb", "xterm", "import", "xdotool", "xdpyinfo", "nsenter", "openbox", "xprop")
	h := newHouse(t, settings{})
	x, err := h.StartShadow(accounts("ideo")[0])
	if err != nil {
		t.Fatal(err)
	}
	h.know()
	return h, h.desk(), x
}

func TestAPersonLogsInByNLAWithTheStoredPassword(t *testing.T) {
	h, d, _ := shadowHouse(t)
	h.grant("--protocol", "rdp", "--duration", "1h")

	s := d.rdp("/u:ideo", "/p:"+password, "/sec:nla")
	<-s.done
	if e := h.entries(1)[0]; e.Denial != "not-served" || !strings.Contains(e.Detail, "a password that an administrator has stored") {
		t.Errorf("entry %+v, want not-served because nothing is stored", e)
	}
	h.insideInput(password+"\n", "credential", "add", "p.mojski", "--server", "test-ssh-server", "--login", "ideo", "--password")

	d.rdp("/u:ideo", "/p:wrong horse", "/sec:nla").ends(t, exitLogon)
	if e := h.entries(2)[0]; e.Denial != "not-authenticated" || e.Login != "ideo" || !strings.Contains(e.Detail, "does not know the password") {
		t.Errorf("entry %+v, want not-authenticated", e)
	}
	s = d.rdp("/u:admin", "/p:"+password, "/sec:nla")
	<-s.done
	if e := h.entries(3)[0]; e.Denial != "not-served" || e.Login != "admin" {
		t.Errorf("entry %+v, want not-served for a login that nothing is stored for", e)
	}

	s = d.rdp("/u:ideo", "/p:"+password, "/sec:nla")
	d.shows("the desktop", shadowColour, 100_000, s)
	live := h.live(1)[0]
	if live.Login != "ideo" || live.Protocol != "rdp" {
		t.Errorf("session %+v", live)
	}
	h.inside("session", "kill", live.ID[:8])
	s.ends(t, exitAdmin)
	if found := h.grepState(password); found != "" {
		t.Errorf("the password stands in %s", found)
	}
}

func TestAStoredPasswordLogsInWhoeverNeedsNotKnowIt(t *testing.T) {
	h, d, _ := shadowHouse(t)
	h.grant("--protocol", "rdp", "--duration", "1h")
	add := func(stored string) {
		h.insideInput(stored+"\n", "credential", "add", "p.mojski", "--server", "test-ssh-server", "--login", "ideo", "--password", "--without-proof")
	}
	add("an old password")
	s := d.rdp("/u:ideo", "/sec:tls") // and no password
	d.shows("the message", messageColour, 10_000, s)
	d.keys("key Return")
	s.ends(t, exitDenied)
	h.inside("credential", "remove", "1")
	add(password)
	s = d.rdp("/u:ideo", "/sec:tls")
	d.shows("the desktop", shadowColour, 100_000, s)
	live := h.live(1)[0]
	uses := h.audit("credential.use")
	if len(uses) != 2 || uses[0].Object != "credential 2" || uses[1].Object != "credential 1" || !strings.Contains(uses[0].Detail, "session "+live.ID) {
		t.Errorf("audit: %+v", uses)
	}
	h.inside("session", "kill", live.ID[:8])
	s.ends(t, exitAdmin)
	if found := h.grepState(password); found != "" {
		t.Errorf("the password stands in %s", found)
	}
}
