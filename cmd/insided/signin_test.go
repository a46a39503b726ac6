package main

import (
	"context"
	"io"
	"strings"
	"testing"
)

// formColour is what only the sign-in form has: where something is typed.
const formColour = 0x111820

func TestWhoSentNoPasswordTypesItIntoTheGatesForm(t *testing.T) {
	h, d, _ := shadowHouse(t)
	h.grant("--protocol", "rdp", "--duration", "1h")
	s := d.rdp("/u:ideo", "/p:")
	d.shows("the form", formColour, 10_000, s)
	if live := h.live(0); len(live) != 0 {
		t.Errorf("sessions %+v before anybody signed in", live)
	}
	d.keys("type --delay 5 'wrong horse'")
	d.keys("key Return")
	d.shows("what was wrong", noticeColour, 2000, s)
	d.keys("key Caps_Lock")
	d.keys("type --delay 5 '" + strings.ToUpper(password) + "'") // with Shift, which the lock undoes
	d.keys("key Return")
	d.shows("the desktop", shadowColour, 100_000, s)
	live := h.live(1)[0]
	if live.Login != "ideo" {
		t.Errorf("session %+v", live)
	}
	h.until("the recording equals the window", func() bool { return d.differs(h.replay(live.ID), 8) == 0 })
	h.inside("session", "kill", live.ID[:8])
	s.ends(t, exitAdmin)
	events := h.eventLog(live.ID)
	if !strings.Contains(events, "sign-in form") || !strings.Contains(events, "did not accept") {
		t.Errorf("the events say\n%s", events)
	}
	for _, secret := range []string{password, "wrong horse"} {
		if found := h.grepState(secret); found != "" {
			t.Errorf("%q stands in %s", secret, found)
		}
	}

	// Three wrong ones are enough; who leaves the form is written down as well.
	s = d.rdp("/u:ideo", "/p:")
	d.shows("the form", formColour, 10_000, s)
	for range 3 {
		d.keys("type --delay 5 'x'")
		d.keys("key Return")
	}
	d.shows("the message", messageColour, 10_000, s)
	d.keys("key Return")
	s.ends(t, exitDenied)
	if e := h.entries(2)[0]; e.Denial != "not-authenticated" || !strings.Contains(e.Detail, "3 logins were tried") {
		t.Errorf("entry %+v", e)
	}
	s = d.rdp("/u:ideo", "/p:")
	d.shows("the form", formColour, 10_000, s)
	d.keys("key Escape")
	s.ends(t, exitDenied)
	if e := h.entries(3)[0]; e.Denial != "not-authenticated" || !strings.Contains(e.Detail, "nothing was entered") {
		t.Errorf("entry %+v", e)
	}
}

// eventLog is a session's event log.
func (h *house) eventLog(session string) string {
	h.t.Helper()
	log, err := h.api().Events(context.Background(), session)
	if err != nil {
		h.t.Fatal(err)
	}
	defer log.Close()
	text, err := io.ReadAll(log)
	if err != nil {
		h.t.Fatal(err)
	}
	return string(text)
}
