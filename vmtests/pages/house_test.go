package pages

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pawelmojski/inside/appliance/api"
	"github.com/pawelmojski/inside/netfilter/nettest"
)

const (
	patience = 40 * time.Second
	origin   = "http://127.0.0.1:5000"

	sshPassword  = "correct horse"
	rolePassword = "a long enough password"
)

var binaries string // the folder the programs were built into

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "inside-pages-")
	if err != nil {
		panic(err)
	}
	binaries = dir
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// A house is a lab with a running gateway and a server behind it.
type house struct {
	*nettest.Lab
	t      testing.TB
	daemon *nettest.Daemon
	sshd   *nettest.SSHD
}

func newHouse(t testing.TB) *house {
	t.Helper()
	nettest.Need(t, "ip", "nft", "ssh", "chromium", "go")
	if _, err := os.Stat(filepath.Join(binaries, "inside")); err != nil {
		build := exec.Command("go", "build", "-o", binaries+"/", "./cmd/insided", "./cmd/inside")
		build.Dir = "../.." // their module, with its own versions
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("build: %v\n%s", err, out)
		}
	}
	h := &house{t: t, Lab: nettest.For(t, nettest.Options{})}
	var err error
	if h.sshd, err = h.StartSSHD(nettest.SSHDOptions{Users: []nettest.User{{Name: "ideo", Password: sshPassword}}}); err != nil {
		t.Fatal(err)
	}
	h.write("inside.toml", fmt.Sprintf(`
[gate]
name = "gate-1"
[intercept]
interfaces = [%q]
protect = [%q]
other = "forward"
[paths]
state = %q
run = %q
[recordings]
min_free = "0%%"
keep = "forever"
`, nettest.ClientSide, nettest.BackendNet4, filepath.Join(h.Dir, "state"), h.run()))
	h.write("ssh_config", fmt.Sprintf("Host *\nUserKnownHostsFile %s\nGlobalKnownHostsFile /dev/null\nStrictHostKeyChecking accept-new\nIdentityFile /nonexistent\nConnectTimeout 20\n", filepath.Join(h.Dir, "known_hosts")))
	h.write("askpass", "#!/bin/sh\necho '"+sshPassword+"'\n")
	if err := os.Chmod(filepath.Join(h.Dir, "askpass"), 0o755); err != nil {
		t.Fatal(err)
	}
	if h.daemon, err = h.Gateway.Start(filepath.Join(binaries, "insided"), "--config", filepath.Join(h.Dir, "inside.toml")); err != nil {
		t.Fatal(err)
	}
	h.until("the daemon serves", func() bool {
		c, err := h.Gateway.Dial(context.Background(), strings.TrimPrefix(origin, "http://"))
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	return h
}

func (h *house) run() string { return filepath.Join(h.Dir, "run") }

// api is the daemon's API, for what a story makes sure of besides the pages.
func (h *house) api() *api.Client { return api.NewClient(filepath.Join(h.run(), "inside.sock")) }

func (h *house) write(name, text string) {
	h.t.Helper()
	if err := os.WriteFile(filepath.Join(h.Dir, name), []byte(text), 0o644); err != nil {
		h.t.Fatal(err)
	}
}

// inside runs the command, which must succeed.
func (h *house) inside(args ...string) string { h.t.Helper(); return h.insideInput("", args...) }

func (h *house) insideInput(stdin string, args ...string) string {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := h.Gateway.Command(ctx, filepath.Join(binaries, "inside"), append([]string{"--socket", filepath.Join(h.run(), "inside.sock")}, args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		h.t.Fatalf("inside %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// know registers the person at the client's address and the server, and an
// admin of each role.
func (h *house) know() {
	h.t.Helper()
	h.inside("person", "add", "alice", "--ip", nettest.ClientIP4.String())
	h.inside("server", "add", "prod-db-01", "--ip", nettest.BackendIP4.String())
	for _, role := range api.Roles {
		h.insideInput(rolePassword+"\n", "admin", "add", "the-"+string(role), "--role", string(role))
	}
}

// A terminal is an ssh session of the person, with a shell at its other end.
type terminal struct {
	in   io.WriteCloser
	out  strings.Builder
	done chan error
}

// ssh logs in and leaves the terminal open.
func (h *house) ssh() *terminal {
	h.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := h.Client.Command(ctx, "ssh", "-tt", "-F", filepath.Join(h.Dir, "ssh_config"), "ideo@"+nettest.BackendIP4.String())
	cmd.Env = append(os.Environ(), "SSH_ASKPASS="+filepath.Join(h.Dir, "askpass"), "SSH_ASKPASS_REQUIRE=force", "SSH_AUTH_SOCK=", "DISPLAY=:0", "TERM=xterm")
	in, err := cmd.StdinPipe()
	if err != nil {
		h.t.Fatal(err)
	}
	term := &terminal{in: in, done: make(chan error, 1)}
	cmd.Stdout, cmd.Stderr = &term.out, &term.out
	if err := cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	go func() { term.done <- cmd.Wait() }()
	h.t.Cleanup(func() {
		cancel()
		in.Close()
	})
	return term
}

func (term *terminal) typed(h *house, text string) {
	h.t.Helper()
	if _, err := io.WriteString(term.in, text); err != nil {
		h.t.Fatal(err)
	}
}

// until waits for something that gives no signal of its own.
func (h *house) until(what string, ok func() bool) {
	h.t.Helper()
	deadline := time.Now().Add(patience)
	for !ok() {
		if time.Now().After(deadline) {
			h.t.Fatalf("still waiting after %s: %s\n%s", patience, what, h.daemon.Output())
		}
		time.Sleep(10 * time.Millisecond)
	}
}
