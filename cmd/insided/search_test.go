package main

import (
	"context"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pawelmojski/inside/appliance/api"
	"github.com/pawelmojski/inside/netfilter/nettest"
)

// only is the one session a search finds.
func (h *house) only(s api.Search) api.Found {
	h.t.Helper()
	page, err := h.api().Search(context.Background(), s)
	if err != nil {
		h.t.Fatal(err)
	}
	if len(page.Results) != 1 {
		h.t.Fatalf("%+v finds %+v, want one session", s, page.Results)
	}
	return page.Results[0]
}

func TestWhatASessionCarriedIsFoundAgain(t *testing.T) {
	h := newHouse(t, settings{})
	h.know()
	h.grant()
	agent := h.agent("ideo")
	const size = 3 << 20
	file := filepath.Join(h.dir, "local", "file")
	randomFile(t, file, size)
	scp := h.clientCommand(context.Background(), "scp", "-A", "-q", "-F", filepath.Join(h.dir, "ssh_config"), file, at("ideo", nettest.BackendIP4)+":moved")
	scp.Env = append(scp.Env, "SSH_AUTH_SOCK="+agent)
	if r := h.finish(scp); r.exit != 0 {
		t.Fatalf("scp: exit %d: %s", r.exit, r.stderr)
	}
	h.live(0)
	h.until("the end of the session to be written down", func() bool {
		page, err := h.api().Search(context.Background(), api.Search{Status: api.StatusEnded})
		return err == nil && len(page.Results) == 1
	})
	f := h.only(api.Search{Files: true, Login: "IDEO", Address: nettest.BackendIP4.String(), Query: "ssh ended"})
	if f.In < size || f.In > 2*size || f.Out == 0 || f.Forwarding || f.Stay != "1" {
		t.Errorf("scp of %d bytes is found as %+v", size, f)
	}

	// A terminal, and a gate that dies under it.
	tm := h.sit(at("root", nettest.BackendIP4), "echo ready; cat")
	h.shows(tm, "ready")
	if f = h.only(api.Search{Status: api.StatusActive}); f.Recordings != 1 || f.Files {
		t.Errorf("the live session is %+v", f)
	}
	h.daemon.Kill()
	<-tm.done
	h.start()
	if f = h.only(api.Search{Login: "root"}); f.Cause != "gate-crashed" || f.Recordings != 1 {
		t.Errorf("the session of the gate that crashed is %+v", f)
	}
	stay := h.inside("stay", "show", f.Stay)
	if !strings.Contains(stay, "2 sessions, 1 recording, absent now") {
		t.Errorf("the stay is said so:\n%s", stay)
	}

	// What is exported is what lies there.
	tar := filepath.Join(h.dir, "export.tar")
	h.inside("export", f.Session[:8], tar)
	out, err := exec.Command("tar", "-xOf", tar, f.Session+"/0.cast").Output()
	if err != nil || !strings.Contains(string(out), "ready") {
		t.Errorf("the export holds %q, %v", out, err)
	}
}
