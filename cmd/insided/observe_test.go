package main

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pawelmojski/inside/appliance/api"
	"github.com/pawelmojski/inside/netfilter/nettest"
)

// A network comes in from the first look to the last: nobody's session is cut
// on its way.
func TestANetworkIsObservedAndThenProtectedAsTheReportProposes(t *testing.T) {
	h := emptyHouse(t, settings{})
	h.writeConfig(settings{})
	h.change("protect =", "observe =")
	h.before = "true"
	h.start()

	// People reach it as if there were no gate.
	early := h.sit("root@10.30.0.140", saysBack)
	if es := h.entries(0); len(es) != 0 {
		t.Errorf("entries in an observed network: %+v", es)
	}
	var seen []api.Acquaintance
	h.until("the conversation and the key are learned", func() bool {
		seen = insideJSON[[]api.Acquaintance](h, "observe")
		return len(seen) == 1 && len(seen[0].Keys) == 1
	})
	pub := filepath.Join(h.dir, "host_key.pub")
	h.write(pub, h.sshd.HostKey+"\n")
	key, err := exec.Command("ssh-keygen", "-l", "-f", pub).Output()
	if err != nil {
		t.Fatal(err)
	}
	if a := seen[0]; a.From != nettest.ClientIP4.String() || a.To != "10.30.0.140:22" || a.Protocol != "ssh" || a.Times != 1 ||
		!strings.HasPrefix(a.Client, "SSH-2.0-OpenSSH_") || !strings.HasPrefix(a.Serves, "SSH-2.0-OpenSSH_") || a.Person != "" ||
		!strings.Contains(string(key), strings.Fields(a.Keys[0])[1]) {
		t.Errorf("%+v\nthe key is %s", a, key)
	}
	if out := h.inside("observe"); !strings.Contains(out, "10.30.0.140:22") {
		t.Error(out)
	}

	// Nobody forgets that it is open.
	if out := h.inside("status"); !strings.Contains(out, "NOT CLOSED") || !strings.Contains(out, "10.30.0.0/24: only observed, everybody passes unrecorded") {
		t.Error(out)
	}
	if out, _ := h.tryInside("doctor"); !strings.Contains(out, "everybody reaches 10.30.0.0/24, fd30::/64 past the gate, unrecorded") {
		t.Error(out)
	}

	// The report is a script that makes it known.
	draft := h.inside("observe", "report")
	for _, want := range []string{
		"# observe 10.30.0.0/24\n", "\ninside server add server-10.30.0.140 --ip 10.30.0.140\n",
		" | inside server host-key trust server-10.30.0.140\n", "\ninside person add person-10.50.0.2 --ip 10.50.0.2\n",
		"\ninside grant person-10.50.0.2 --server server-10.30.0.140 --protocol ssh --duration 30d --reason observed\n",
	} {
		if !strings.Contains(draft, want) {
			t.Errorf("no %q in\n%s", want, draft)
		}
	}
	h.runDraft(draft)
	if draft = h.inside("observe", "report"); !strings.Contains(draft, "# nothing to propose\n") {
		t.Errorf("proposed again:\n%s", draft)
	}

	// Protected: what runs goes on untouched, and who comes now is let in by
	// what was proposed, with the pinned key.
	h.change("observe =", "protect =")
	if out := h.inside("reload"); out != "in force: intercept.observe, intercept.protect\n" {
		t.Error(out)
	}
	if _, err := io.WriteString(early.stdin, "protected now\n"); err != nil {
		t.Fatal(err)
	}
	h.shows(early, "seen: protected now")
	h.write(filepath.Join(h.dir, "known_hosts"), "") // the gate shows a key of its own
	late := h.sit("root@10.30.0.140", saysBack)
	if live := h.live(1); live[0].Person != "person-10.50.0.2" || live[0].Server != "server-10.30.0.140" {
		t.Errorf("%+v", live)
	}

	// And back: the session that the gate carries stays with it.
	h.change("protect =", "observe =")
	h.inside("reload")
	for _, tm := range []*terminal{early, late} {
		if _, err := io.WriteString(tm.stdin, "observed again\n"); err != nil {
			t.Fatal(err)
		}
		h.shows(tm, "seen: observed again")
	}
	h.live(1)
}

// runDraft runs a script of inside commands.
func (h *house) runDraft(script string) {
	h.t.Helper()
	cmd := h.Gateway.Command(h.t.Context(), "sh", "-e")
	cmd.Env = append(os.Environ(), "PATH="+binaries+":"+os.Getenv("PATH"), "INSIDE_SOCKET="+h.socket())
	cmd.Stdin = strings.NewReader(script)
	if out, err := cmd.CombinedOutput(); err != nil {
		h.t.Fatalf("%v\n%s\n%s", err, script, out)
	}
}
