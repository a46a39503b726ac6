package sshentry

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/pawelmojski/inside/netfilter/nettest"
	"github.com/pawelmojski/inside/policy"
)

// runOther runs a program in the client's namespace.
func (g *gate) runOther(argv ...string) outcome {
	g.t.Helper()
	cmd := g.other(client{}, argv...)
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.Stdin = strings.NewReader("")
	if err := cmd.Run(); err != nil {
		if _, ok := err.(*exec.ExitError); !ok {
			g.t.Fatal(err)
		}
	}
	return outcome{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

func (g *gate) plink(args ...string) outcome {
	g.t.Helper()
	return g.runOther(append([]string{"plink", "-batch", "-hostkey", ssh.FingerprintSHA256(g.own.PublicKey()),
		"-P", fmt.Sprint(g.addr.Port())}, args...)...)
}

func TestPlinkLogsInByPassword(t *testing.T) {
	nettest.Need(t, "plink")
	for _, port := range []uint16{22, 2222} {
		g := newGate(t, port)
		o := g.plink("-pw", "sesame", g.host("ideo"), "echo in; exit 3")
		if o.stdout != "in\n" || o.code != 3 || strings.Contains(o.stderr, "Further authentication") {
			t.Errorf("port %d: %v", port, o)
		}
	}
}

func TestPlinkIsToldWhyItIsDenied(t *testing.T) {
	nettest.Need(t, "plink")
	g := newGate(t, 22)
	v := *g.verdict.Load()
	v.Denial = policy.Expired
	g.verdict.Store(&v)
	// Without -v, plink keeps banners from scripts.
	o := g.plink("-v", "-pw", "sesame", g.host("ideo"), "true")
	if o.code == 0 || !strings.Contains(o.stdout+o.stderr, "p.mojski may not enter test-ssh-server") {
		t.Fatal(o)
	}
}

// paramiko repeats its service request before every attempt after the first,
// which x/crypto/ssh takes for a violation and closes the connection; so it has
// one attempt here. (Transport.auth_* all do it; SSHClient.connect makes one
// attempt for every key it finds unless look_for_keys and allow_agent are off.)
const paramiko = `
import paramiko, sys
host, port, key, user, secret = sys.argv[1:6]
t = paramiko.Transport((host, int(port)))
t.start_client(timeout=20)
assert t.get_remote_server_key().get_base64() == key
t.auth_password(user, secret, fallback=False)
c = t.open_session()
c.exec_command("cat; exit 4")
c.sendall(b"through"); c.shutdown_write()
print(c.makefile("rb").read().decode(), c.recv_exit_status())
s = paramiko.SFTPClient.from_transport(t)
f = s.open("p", "wb"); f.write(b"x" * 100000); f.close()
print(s.stat("p").st_size)
t.close()
`

func TestParamikoLogsInAtTheFirstAttempt(t *testing.T) {
	g := newGate(t, 22)
	key := strings.Fields(string(ssh.MarshalAuthorizedKey(g.own.PublicKey())))[1]
	python := "/usr/bin/python3" // Debian's, which has Debian's paramiko
	if _, err := os.Stat(python); err != nil {
		nettest.Need(t, "python3-paramiko")
	}
	o := g.runOther(python, "-c", paramiko, g.addr.Addr().String(), fmt.Sprint(g.addr.Port()), key, "ideo", "sesame")
	if o.code != 0 || o.stdout != "through 4\n100000\n" {
		t.Error(o)
	}
}

func TestDropbearsClientLogsIn(t *testing.T) {
	nettest.Need(t, "dbclient")
	g := newGate(t, 22)
	cmd := g.other(client{}, "dbclient", "-y", "-y", "-T", "-p", fmt.Sprint(g.addr.Port()), g.host("ideo"), "echo in; exit 3")
	cmd.Env = append(cmd.Env, "DROPBEAR_PASSWORD=sesame", "HOME="+t.TempDir())
	out, _ := cmd.Output()
	if string(out) != "in\n" || cmd.ProcessState.ExitCode() != 3 {
		t.Errorf("%q, exit %d", out, cmd.ProcessState.ExitCode())
	}
}
