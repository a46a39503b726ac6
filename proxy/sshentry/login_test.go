package sshentry

import (
	"strings"
	"testing"

	"github.com/pawelmojski/inside/policy"
)

var byPassword = client{password: "sesame"}

func TestAPasswordIsRelayedAndACommandRuns(t *testing.T) {
	g := newGate(t, 22)
	o := g.ssh(byPassword, g.host("ideo"), "echo out; echo err >&2; exit 7")
	if o.stdout != "out\n" || o.stderr != "err\n" || o.code != 7 {
		t.Fatal(o)
	}
	if err := g.result(); err != policy.ClientLeft {
		t.Errorf("Serve returned %v, want %v", err, policy.ClientLeft)
	}
	h := g.visit(0)
	if len(h.admitted) != 1 || h.admitted[0] != "ideo" {
		t.Errorf("admitted %q", h.admitted)
	}
	if e := h.noted("exit"); len(e) != 1 || e[0].Exit == nil || *e[0].Exit != 7 {
		t.Errorf("exit events: %+v", e)
	}
	if shown := h.shown(t, 0); !strings.Contains(shown, "out\n") || !strings.Contains(shown, "err\n") {
		t.Errorf("recorded %q", shown)
	}
}

func TestAWrongPasswordIsRefusedByTheServer(t *testing.T) {
	g := newGate(t, 22)
	o := g.ssh(client{password: "wrong"}, g.host("ideo"), "true")
	if o.code != 255 || !strings.Contains(o.stderr, "Permission denied (publickey,password)") && !strings.Contains(o.stderr, "Permission denied (password,publickey)") {
		t.Fatal(o)
	}
	if d := g.denial(); d != policy.NotAuthenticated {
		t.Errorf("denial %s", d)
	}
}

func TestAShellWithATerminalIsRecordedAsItWasSeen(t *testing.T) {
	g := newGate(t, 22)
	c := byPassword
	c.stdin = strings.NewReader("stty -a | head -1\nexit 3\n")
	o := g.ssh(c, "-tt", g.host("ideo"))
	if o.code != 3 || !strings.Contains(o.stdout, "rows") {
		t.Fatal(o)
	}
	g.result()
	if shown := g.visit(0).shown(t, 0); shown != o.stdout {
		t.Errorf("recorded %q\nshown %q", shown, o.stdout)
	}
}
