package sshentry

import (
	"fmt"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/pawelmojski/inside/netfilter/nettest"
	"github.com/pawelmojski/inside/policy"
)

func (g *gate) grantForwarding(d policy.Forwarding) {
	v := *g.verdict.Load()
	grant := *v.Grant
	grant.Forwarding = d
	v.Grant = &grant
	g.verdict.Store(&v)
}

// greeter is a service on the backend's loopback.
func greeter(t *testing.T) (port int) {
	t.Helper()
	needLab(t)
	ln, err := lab.Backend.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				io.WriteString(c, "hello\n")
				io.Copy(c, c)
				io.WriteString(c, "bye\n")
			}()
		}
	}()
	t.Cleanup(func() { ln.Close() })
	return ln.Addr().(*net.TCPAddr).Port
}

func TestLocalAndDynamicForwardingGoByTheGrant(t *testing.T) {
	port := greeter(t)
	for _, c := range []struct {
		forwarding policy.Forwarding
		allowed    bool
	}{{0, false}, {policy.Remote, false}, {policy.Local, true}, {policy.Dynamic, true}} {
		g := newGate(t, 22)
		g.grantForwarding(c.forwarding)
		client := g.dialClient(t)
		conn, err := client.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if !c.allowed {
			if err == nil || !strings.Contains(err.Error(), policy.NoForwarding.Sentence()) {
				t.Errorf("forwarding %b: %v", c.forwarding, err)
			}
			if e := g.visit(0).noted("denied"); len(e) != 1 {
				t.Errorf("forwarding %b: denials %+v", c.forwarding, e)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(conn, "something\n")
		conn.(interface{ CloseWrite() error }).CloseWrite()
		got, err := io.ReadAll(conn)
		if string(got) != "hello\nsomething\nbye\n" || err != nil {
			t.Errorf("forwarding %b: %q %v", c.forwarding, got, err)
		}
		conn.Close()
		client.Close()
		g.result()
		e := g.visit(0).noted("forward")
		if len(e) != 2 || e[1].To != fmt.Sprintf("to 127.0.0.1:%d", port) || e[1].In != 10 || e[1].Out != 20 {
			t.Errorf("events %+v", e)
		}
	}
}

func TestSSHForwardsLocallyDynamicallyAndRemotely(t *testing.T) {
	nettest.Need(t, "curl")
	port := greeter(t)
	g := newGate(t, 22)
	g.grantForwarding(policy.Local | policy.Remote)
	ln, err := lab.Client.Listen("127.0.0.1:0") // what -R leads to
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		io.WriteString(c, "from the client\n")
		c.Close()
	}()
	cmd := g.command(byPassword, "ssh", "-o", "ExitOnForwardFailure=yes",
		"-L", fmt.Sprintf("7001:127.0.0.1:%d", port), "-D", "7002", "-R", fmt.Sprintf("7003:%s", ln.Addr()), "-R", "0:127.0.0.1:9",
		g.host("ideo"), "echo up; read x")
	out := new(tap)
	cmd.Stdout, cmd.Stderr = out, out
	in, _ := cmd.StdinPipe()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	out.await(t, "up")
	for _, args := range [][]string{
		{"sh", "-c", "curl -s -m 3 telnet://127.0.0.1:7001 </dev/null || true"},
		{"sh", "-c", fmt.Sprintf("curl -s -m 3 --proxy socks5h://127.0.0.1:7002 telnet://127.0.0.1:%d </dev/null || true", port)},
	} {
		got, err := lab.Client.Run(soon(t), args[0], args[1:]...)
		if err != nil || !strings.Contains(got, "hello") {
			t.Errorf("%q: %q %v", args, got, err)
		}
	}
	conn, err := lab.Backend.Dial(soon(t), "127.0.0.1:7003")
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := io.ReadAll(conn); string(got) != "from the client\n" {
		t.Errorf("remote: %q", got)
	}
	conn.Close()
	io.WriteString(in, "\n")
	cmd.Wait()
	if !strings.Contains(out.String(), "Allocated port") {
		t.Errorf("port 0 was not answered: %s", out)
	}
}

func TestRemoteForwardingIsRefusedWithoutAGrantAndBeyondTheLoopback(t *testing.T) {
	for _, c := range []struct {
		forwarding policy.Forwarding
		listen     string
	}{{policy.Local, "7003"}, {policy.Remote, "*:7003"}, {policy.Remote, "10.30.0.140:7003"}} {
		g := newGate(t, 22)
		g.grantForwarding(c.forwarding)
		o := g.ssh(byPassword, "-o", "ExitOnForwardFailure=yes", "-R", c.listen+":127.0.0.1:9", g.host("ideo"), "true")
		if o.code != 255 || !strings.Contains(o.stderr, "remote port forwarding failed") {
			t.Errorf("%b %s: %v", c.forwarding, c.listen, o)
		}
	}
}

func TestAKeyWithoutAnAgentForwardsNothingAndSaysWhy(t *testing.T) {
	g := newGate(t, 22)
	g.grantForwarding(policy.Local)
	key := readKey(t)
	conn, err := lab.Client.Dial(soon(t), g.addr.String())
	if err != nil {
		t.Fatal(err)
	}
	c, channels, requests, err := ssh.NewClientConn(conn, g.addr.String(), &ssh.ClientConfig{
		User: "ideo", Auth: []ssh.AuthMethod{ssh.PublicKeys(key)}, HostKeyCallback: ssh.FixedHostKey(g.own.PublicKey()),
	})
	if err != nil {
		t.Fatal(err)
	}
	client := ssh.NewClient(c, channels, requests)
	defer client.Close()
	if _, err := client.Dial("tcp", "127.0.0.1:1"); err == nil || !strings.Contains(err.Error(), "use ssh -A") {
		t.Errorf("%v", err)
	}
}

func TestOneMasterCarriesManyChannelsAndIsRevokedAsAWhole(t *testing.T) {
	g := newGate(t, 22)
	sock := filepath.Join(t.TempDir(), "m")
	master := g.command(byPassword, "ssh", "-M", "-S", sock, "-o", "ControlPersist=no", g.host("ideo"), "echo up; sleep 100")
	out := new(tap)
	master.Stdout, master.Stderr = out, out
	in, _ := master.StdinPipe()
	defer in.Close()
	if err := master.Start(); err != nil {
		t.Fatal(err)
	}
	out.await(t, "up")
	slave := func(args ...string) (string, int) {
		cmd := lab.Client.Command(soon(t), "ssh", append([]string{"-F", "none", "-S", sock, g.host("ideo")}, args...)...)
		text, _ := cmd.CombinedOutput()
		return string(text), cmd.ProcessState.ExitCode()
	}
	for i := range 20 {
		if text, code := slave(fmt.Sprintf("echo %d; exit %d", i, i)); text != fmt.Sprintf("%d\n", i) || code != i {
			t.Fatalf("%q exit %d, want %d", text, code, i)
		}
	}
	g.visit(0).cancel(policy.GrantRevoked)
	revoked := time.Now()
	g.result()
	master.Wait()
	if text, code := slave("echo in"); strings.Contains(text, "in\n") && code == 0 && time.Since(revoked) < time.Second {
		t.Errorf("a channel was opened after the revocation: %q", text)
	}
	if n := len(g.all()); n > 2 {
		t.Errorf("%d connections for one master", n)
	}
}

func TestKeepalivesAreAnsweredFromEndToEnd(t *testing.T) {
	g := newGate(t, 22)
	o := g.ssh(byPassword, "-v", "-o", "ServerAliveInterval=1", "-o", "ServerAliveCountMax=1", g.host("ideo"), "sleep 3; echo alive")
	if o.stdout != "alive\n" || o.code != 0 {
		t.Error(o)
	}
}

func TestAnAgentOrATunnelIsNeverForwarded(t *testing.T) {
	g := newGate(t, 22)
	sock := startAgent(t, otherKey(t, "ed25519"))
	c := byPassword
	c.agent = sock
	o := g.ssh(c, "-A", "-o", "PubkeyAuthentication=no", g.host("ideo"), "echo agent $SSH_AUTH_SOCK; ssh-add -l; echo display $DISPLAY")
	if !strings.HasPrefix(o.stdout, "agent\n") {
		t.Error(o)
	}
	if e := g.visit(0).noted("denied"); len(e) != 1 || e[0].Detail != "agent forwarding" {
		t.Errorf("denials %+v", e)
	}
	client := g.dialClient(t)
	for _, kind := range []string{"tun@openssh.com", "x11", "auth-agent@openssh.com", "forwarded-tcpip", "nonsense"} {
		if _, _, err := client.OpenChannel(kind, nil); err == nil {
			t.Errorf("a channel %q was opened", kind)
		}
	}
	s, err := client.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"x11-req", "nonsense"} {
		if ok, err := s.SendRequest(kind, true, nil); ok || err != nil {
			t.Errorf("request %q: %v %v", kind, ok, err)
		}
	}
	for _, kind := range []string{"streamlocal-forward@openssh.com", "hostkeys-prove-00@openssh.com", "nonsense"} {
		if ok, _, err := client.SendRequest(kind, true, nil); ok || err != nil {
			t.Errorf("global request %q: %v %v", kind, ok, err)
		}
	}
	if n := len(g.visit(1).noted("denied")); n != 5+2+3 {
		t.Errorf("%d denials were written down", n)
	}
}

func readKey(t *testing.T) ssh.Signer {
	t.Helper()
	text, err := exec.Command("cat", lab.key).Output()
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.ParsePrivateKey(text)
	if err != nil {
		t.Fatal(err)
	}
	return key
}
