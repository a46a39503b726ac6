package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pawelmojski/inside/appliance/api"
	"github.com/pawelmojski/inside/netfilter/nettest"
)

// Another admin, of a group inside that this machine need not have: only the
// daemon sees these files.
const (
	annaUID   = "48243"
	insideGID = "48242"
)

// twoAdmins is a house that root and anna administrate.
func twoAdmins(t *testing.T) *house {
	t.Helper()
	dir := t.TempDir()
	for name, line := range map[string]string{
		"passwd": "anna:x:" + annaUID + ":" + insideGID + "::/:/bin/false\n",
		"group":  "inside:x:" + insideGID + ":\n",
	} {
		all, err := os.ReadFile("/etc/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), append(all, line...), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	bind := func(name string) string { return "mount --bind " + filepath.Join(dir, name) + " /etc/" + name }
	h := newHouse(t, settings{before: bind("passwd") + " && " + bind("group")})
	for _, way := range []string{binaries, h.dir, filepath.Dir(h.dir)} { // anna gets to the program and the socket
		if err := os.Chmod(way, 0o711); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

// anna runs the command as the other admin.
func (h *house) anna(args ...string) string {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	out, err := h.Gateway.Run(ctx, "setpriv", append([]string{"--reuid", annaUID, "--regid", insideGID, "--clear-groups",
		filepath.Join(binaries, "inside"), "--socket", h.socket()}, args...)...)
	if err != nil {
		h.t.Fatal(err)
	}
	return out
}

func TestASensitiveServerIsEnteredByGrantsThatAnotherAdminHasApproved(t *testing.T) {
	h := twoAdmins(t)
	h.know()
	server := at("ideo", nettest.BackendIP4)
	h.inside("server", "approval", "test-ssh-server", "on")
	grant := h.grant("--duration", "1h")
	waits := func(when string, entries int) {
		t.Helper()
		r := h.ssh(server, "true")
		if r.exit != 255 || r.asked || !strings.Contains(r.stderr, "your grant for this server waits for approval") {
			t.Errorf("%s: exit %d, asked %v\n%s", when, r.exit, r.asked, r.stderr)
		}
		if e := h.entries(entries)[0]; e.Denial != "not-approved" || e.Grant != grant {
			t.Errorf("%s, the entry says %+v", when, e)
		}
	}
	waits("before anybody approved it", 1)
	if out, err := h.tryInside("grant", "approve", grant); err == nil || !strings.Contains(out, "root made or extended grant "+grant) {
		t.Errorf("root approves its own: %v\n%s", err, out)
	}
	waits("after root tried", 2)

	h.anna("grant", "approve", grant)
	tm := h.sit(server, "echo ready; cat")
	h.shows(tm, "ready")
	s := h.live(1)[0]

	// A later end is not what was approved.
	h.inside("grant", "extend", grant, "--by", "1h")
	h.closed(tm)
	if e := h.ended(s.ID); e.Cause != "no-longer-allowed" || !strings.Contains(tm.text(), "you are no longer allowed in") {
		t.Errorf("cause %q; the terminal shows %q", e.Cause, tail(tm.text()))
	}
	h.until("the stay has ended too", func() bool {
		stays, err := h.api().Stays(context.Background(), allStays)
		return err == nil && len(stays) == 1 && stays[0].Cause == "no-longer-allowed"
	})
	waits("after it was extended", 4)
	h.anna("grant", "approve", grant)
	if r := h.ssh(server, "id -un"); r.exit != 0 || r.stdout != "ideo\n" {
		t.Errorf("approved again: exit %d\n%s", r.exit, r.stderr)
	}
	var deeds []string
	for _, ch := range insideJSON[[]api.Change](h, "grant", "history", grant) {
		deeds = append(deeds, ch.By+" "+ch.Action)
	}
	if got := strings.Join(deeds, ", "); got != "root grant.create, anna grant.approve, root grant.end, anna grant.approve" {
		t.Errorf("the history says %s", got)
	}
}
