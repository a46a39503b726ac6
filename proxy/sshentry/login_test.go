package sshentry

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/proxy"
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

func startAgent(t *testing.T, keys ...string) string {
	t.Helper()
	needLab(t)
	sock := filepath.Join(t.TempDir(), "agent")
	d, err := lab.Client.Start("ssh-agent", "-D", "-a", sock)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Stop)
	if err := d.Await(soon(t), "SSH_AUTH_SOCK"); err != nil {
		t.Fatal(err)
	}
	for _, key := range keys {
		cmd := exec.Command("ssh-add", "-q", key)
		cmd.Env = append(os.Environ(), "SSH_AUTH_SOCK="+sock)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("ssh-add: %v\n%s", err, out)
		}
	}
	return sock
}

func otherKey(t *testing.T, kind string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "other")
	if out, err := exec.Command("ssh-keygen", "-q", "-t", kind, "-N", "", "-f", file).CombinedOutput(); err != nil {
		t.Fatalf("ssh-keygen: %v\n%s", err, out)
	}
	return file
}

func TestKeyboardInteractiveIsRelayed(t *testing.T) {
	g := newGate(t, 2222)
	o := g.ssh(byPassword, g.host("ideo"), "echo in")
	if o.stdout != "in\n" || o.code != 0 {
		t.Fatal(o)
	}
	if e := g.visit(0).noted("login"); len(e) != 1 || e[0].Detail != "keyboard-interactive" {
		t.Errorf("login events: %+v", e)
	}
}

func TestAKeyIsProvenToTheGateAndSignedByTheLentAgent(t *testing.T) {
	g := newGate(t, 22)
	sock := startAgent(t, otherKey(t, "ed25519"), otherKey(t, "rsa"), lab.key)
	o := g.ssh(client{agent: sock}, "-A", g.host("ideo"), "echo in; ssh-add -l; echo $SSH_AUTH_SOCK")
	if !strings.HasPrefix(o.stdout, "in\n") || o.code != 0 {
		t.Fatal(o)
	}
	if strings.Contains(o.stdout, "SHA256") || strings.TrimSpace(o.stdout) != "in" {
		t.Errorf("the agent reached the server: %v", o)
	}
	if e := g.visit(0).noted("login"); len(e) != 2 || !strings.Contains(e[1].Detail, "signed by the agent") {
		t.Errorf("login events: %+v", e)
	}
}

func TestAKeyWithoutAnAgentAndATerminalGetsTheCommandsThatHelp(t *testing.T) {
	g := newGate(t, 22)
	o := g.ssh(client{key: lab.key}, g.host("ideo"), "echo in")
	if o.stdout != "" || o.code != 255 ||
		!strings.Contains(o.stderr, "  ssh -A ideo@10.30.0.140\n") ||
		!strings.Contains(o.stderr, "  ssh -o PubkeyAuthentication=no ideo@10.30.0.140\n") {
		t.Fatal(o)
	}
	g.result()
	if e := g.visit(0).noted("exec"); len(e) != 0 {
		t.Errorf("a command that never ran was written down: %+v", e)
	}
}

func TestAKeyWithoutAnAgentIsAskedForThePasswordInTheTerminal(t *testing.T) {
	g := newGate(t, 22)
	o := g.ssh(client{key: lab.key, stdin: strings.NewReader("wrong\rsesamX\x7fe\recho $LAB_X; stty size; exit 5\n"), env: []string{"LAB_X=there"}},
		"-tt", "-o", "SendEnv=LAB_X", g.host("ideo"))
	if o.code != 5 || !strings.Contains(o.stdout, "ideo@10.30.0.140's password: ") || !strings.Contains(o.stdout, "there\r\n") ||
		!strings.Contains(o.stdout, "did not accept") || strings.Contains(o.stdout, "sesam") {
		t.Fatal(o)
	}
	g.result()
	if shown := g.visit(0).shown(t, 0); shown != o.stdout {
		t.Errorf("recorded %q\nshown %q", shown, o.stdout)
	}
}

func TestAKeyWithoutAnAgentIsAskedKeyboardInteractively(t *testing.T) {
	g := newGate(t, 2222)
	o := g.ssh(client{key: lab.key, stdin: strings.NewReader("sesame\rexit 6\n")}, "-tt", g.host("ideo"))
	if o.code != 6 || !strings.Contains(o.stdout, "Password: ") {
		t.Fatal(o)
	}
}

func TestAnUnknownKeyIsNotTaken(t *testing.T) {
	g := newGate(t, 22)
	o := g.ssh(client{key: otherKey(t, "ed25519")}, g.host("ideo"), "true")
	if o.code != 255 || !strings.Contains(o.stderr, "Permission denied") {
		t.Fatal(o)
	}
	if d := g.denial(); d != policy.NotAuthenticated {
		t.Errorf("denial %s", d)
	}
	if h := g.visit(0); len(h.admitted) != 0 {
		t.Errorf("admitted %q", h.admitted)
	}
}

func TestADeniedPersonIsToldWhyBeforeAnyPrompt(t *testing.T) {
	g := newGate(t, 22)
	v := *g.verdict.Load()
	v.Denial = policy.Expired
	g.verdict.Store(&v)
	dialled := false
	g.set(func() {
		g.dial = func(context.Context) (net.Conn, error) { dialled = true; return nil, errors.New("no") }
	})
	o := g.ssh(byPassword, g.host("ideo"), "true")
	if o.code != 255 || !strings.Contains(o.stderr, "p.mojski") || !strings.Contains(o.stderr, "test-ssh-server") ||
		!strings.Contains(o.stderr, policy.Expired.Sentence()) || g.asked() != "" {
		t.Fatalf("%v\nasked: %s", o, g.asked())
	}
	if d := g.denial(); d != policy.Expired {
		t.Errorf("denial %s", d)
	}
	if dialled {
		t.Error("the server was dialled")
	}
}

func TestALoginTheGrantDoesNotCoverIsDeniedBeforeAnyPrompt(t *testing.T) {
	g := newGate(t, 22)
	g.set(func() {
		g.decide = func(login string) policy.Verdict {
			v := *g.verdict.Load()
			if login == "root" {
				v.Denial = policy.WrongLogin
			}
			return v
		}
	})
	o := g.ssh(client{password: "open"}, g.host("root"), "true")
	if o.code != 255 || !strings.Contains(o.stderr, policy.WrongLogin.Sentence()) || g.asked() != "" {
		t.Fatalf("%v\nasked: %s", o, g.asked())
	}
	if d := g.denial(); d != policy.WrongLogin {
		t.Errorf("denial %s", d)
	}
}

func TestAPersonWhoIsNotAdmittedIsToldWhyAndNotLetIn(t *testing.T) {
	g := newGate(t, 22)
	g.set(func() {
		g.admit = func(string) error {
			v := *g.verdict.Load()
			v.Denial = policy.RecorderUnavailable
			return &proxy.Refusal{Verdict: v}
		}
	})
	for _, c := range []client{byPassword, {key: lab.key}} {
		o := g.ssh(c, g.host("ideo"), "echo in")
		if o.code != 255 || o.stdout != "" || !strings.Contains(o.stderr, policy.RecorderUnavailable.Sentence()) {
			t.Fatal(o)
		}
		if d := g.denial(); d != policy.RecorderUnavailable {
			t.Errorf("denial %s", d)
		}
	}
}

func TestAServerWithAnotherHostKeyIsRefused(t *testing.T) {
	g := newGate(t, 22)
	other, _, _, _, err := ssh.ParseAuthorizedKey([]byte(lab.keyPub))
	if err != nil {
		t.Fatal(err)
	}
	g.set(func() { g.pins = []ssh.PublicKey{other} })
	o := g.ssh(byPassword, g.host("ideo"), "true")
	if o.code != 255 || !strings.Contains(o.stderr, "has changed to ssh-ed25519 SHA256:") || g.asked() != "" {
		t.Fatalf("%v\nasked: %s", o, g.asked())
	}
	if d := g.denial(); d != policy.HostKeyChanged {
		t.Errorf("denial %s", d)
	}
}

func TestAHostKeyIsPinnedOnceAndThenRequired(t *testing.T) {
	g := newGate(t, 22)
	for range 2 {
		if o := g.ssh(byPassword, g.host("ideo"), "true"); o.code != 0 {
			t.Fatal(o)
		}
	}
	if len(g.pins) != 1 || !strings.HasPrefix(lab.sshd.HostKey, strings.TrimSpace(string(ssh.MarshalAuthorizedKey(g.pins[0])))) {
		t.Errorf("pinned %v", g.pins)
	}
}

func TestADeadServerIsARefusedConnection(t *testing.T) {
	g := newGate(t, 22)
	g.set(func() {
		g.dial = func(ctx context.Context) (net.Conn, error) { return lab.Gateway.Dial(ctx, "10.30.0.140:9") }
	})
	o := g.ssh(byPassword, g.host("ideo"), "true")
	if o.code != 255 || !strings.Contains(o.stderr, "Connection reset by") {
		t.Fatal(o)
	}
	if d := g.denial(); d != policy.ServerUnreachable {
		t.Errorf("denial %s", d)
	}
}

func TestTheServersTextReachesAClientThatTriedTooOften(t *testing.T) {
	g := newGate(t, 22)
	o := g.ssh(client{password: "wrong", prompts: 8}, g.host("ideo"), "true")
	if o.code != 255 || !strings.Contains(o.stderr, "Too many authentication failures") {
		t.Fatal(o)
	}
}
