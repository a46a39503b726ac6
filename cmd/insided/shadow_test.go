package main

import (
	"strings"
	"testing"
)

// Every ending a desktop can have, on a server that lets nobody in without
// network level authentication.
func TestADesktopBehindNLAEndsAsAnyOther(t *testing.T) {
	h, d, server := shadowHouse(t)
	entries := 0
	denied := func(want string) {
		t.Helper()
		s := d.login("ideo", password)
		d.shows("the message", messageColour, 10_000, s)
		d.keys("key Return")
		s.ends(t, exitDenied)
		entries++
		if e := h.entries(entries)[0]; e.Denial != want || e.Login != "ideo" || e.Protocol != "rdp" {
			t.Errorf("entry %+v, want %s", e, want)
		}
	}
	granted := func(then func(grant string), exit int, cause string) {
		t.Helper()
		grant := h.grant("--protocol", "rdp", "--duration", "1h")
		s := d.login("ideo", password)
		d.shows("the desktop", shadowColour, 100_000, s)
		entries++
		id := h.live(1)[0].ID
		then(grant)
		s.ends(t, exit)
		if e := h.ended(id); e.Cause != cause {
			t.Errorf("cause %q, want %s", e.Cause, cause)
		}
	}

	denied("no-grant")
	if said := server.Output(); strings.Contains(said, "ideo") {
		t.Errorf("the server was asked about somebody who is denied:\n%s", said)
	}
	granted(func(grant string) { h.inside("grant", "extend", grant, "--duration", "1s") }, exitLimit, "grant-expired")
	denied("expired")
	granted(func(grant string) { h.inside("grant", "revoke", grant) }, exitAdmin, "grant-revoked")
	denied("revoked")
}
