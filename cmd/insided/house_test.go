package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/pawelmojski/inside/appliance/api"
	"github.com/pawelmojski/inside/netfilter/nettest"
)

// The stories of this package run the two real programs, built once, in a lab
// of namespaces: real ssh on the client, real rules on the gateway, real sshd
// on the backend.

// patience is how long a story waits for something that has to happen.
const patience = 30 * time.Second

var binaries string // the folder the programs are built into

func TestMain(m *testing.M) {
	if os.Getenv(spliceEnv) != "" {
		splice()
		return
	}
	os.Setenv("GORACE", "atexit_sleep_ms=0") // else each command sleeps a second at its end
	dir, err := os.MkdirTemp("", "inside-stories-")
	if err != nil {
		panic(err)
	}
	binaries = dir
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// built makes the programs, with the race detector where the test has it.
var built = sync.OnceValue(func() error {
	args := []string{"build", "-o", binaries + "/"}
	if raceDetector {
		args = append(args, "-race")
	}
	out, err := exec.Command("go", append(args, "../insided", "../inside", "../inside-render")...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("build: %w\n%s", err, out)
	}
	return nil
})

// A house is a lab with a running gateway and a server behind it.
type house struct {
	*nettest.Lab
	t      testing.TB
	dir    string
	state  string // the folder of what the gate keeps
	config string
	before string
	daemon *nettest.Daemon
	sshd   *nettest.SSHD
	meter  *api.Client // reads the numbers, over one connection
}

// settings of a house; the zero value is what most stories need.
type settings struct {
	lab       nettest.Options
	sshd      nettest.SSHDOptions
	intercept string // further lines of [intercept]
	source    string // "gateway" unless given
	gate      string // its name; "gate-1" unless given
	store     string // the URL; embedded SQLite unless given
	state     string // the folder; one of the house's own unless given
	minFree   string // "0%" unless given
	keep      string // how long recordings are; "forever" unless given
	listen    string // of the API; the socket only unless given
	more      string // further tables of the configuration
	before    string // a shell command in the daemon's own mounts, before it starts
}

const password = "correct horse"

// accounts are the logins of the server, all with the same password.
func accounts(names ...string) []nettest.User {
	var users []nettest.User
	for _, name := range names {
		users = append(users, nettest.User{Name: name, Password: password})
	}
	return users
}

func newHouse(t testing.TB, s settings) *house {
	t.Helper()
	h := emptyHouse(t, s)
	h.writeConfig(s)
	h.before = or(s.before, "true")
	h.start()
	return h
}

// emptyHouse is a house before the gate moves in: the gateway only forwards.
func emptyHouse(t testing.TB, s settings) *house {
	t.Helper()
	nettest.Need(t, "ip", "nft", "ssh", "ssh-agent", "unshare", "go")
	if err := built(); err != nil {
		t.Fatal(err)
	}
	h := &house{t: t, Lab: nettest.For(t, s.lab)}
	h.dir = h.Lab.Dir
	if len(s.sshd.Users) == 0 {
		s.sshd.Users = accounts("root", "p.mojski", "ideo", "admin")
	}
	var err error
	if h.sshd, err = h.StartSSHD(s.sshd); err != nil {
		t.Fatal(err)
	}
	h.writeClient()
	return h
}

func (h *house) writeConfig(s settings) {
	h.state = or(s.state, filepath.Join(h.dir, "state"))
	h.config = filepath.Join(h.dir, "inside.toml")
	h.write(h.config, fmt.Sprintf(`
[gate]
name = %q
[intercept]
interfaces = [%q]
protect = [%q, %q]
other = "forward"
source = %q
%s
[store]
url = %q
[paths]
state = %q
run = %q
[recordings]
min_free = %q
keep = %q
[api]
listen = %q
%s
`, or(s.gate, "gate-1"), nettest.ClientSide, nettest.BackendNet4, nettest.BackendNet6, or(s.source, "gateway"), s.intercept,
		s.store, h.state, h.run(), or(s.minFree, "0%"), or(s.keep, "forever"), s.listen, s.more))
}

func (h *house) run() string    { return filepath.Join(h.dir, "run") }
func (h *house) socket() string { return filepath.Join(h.run(), "inside.sock") }

// writeClient gives the client host an ssh configuration of its own and
// something that types the password.
func (h *house) writeClient() {
	h.write(filepath.Join(h.dir, "ssh_config"), fmt.Sprintf(`Host *
UserKnownHostsFile %s
GlobalKnownHostsFile /dev/null
StrictHostKeyChecking accept-new
IdentityFile /nonexistent
ConnectTimeout 20
`, filepath.Join(h.dir, "known_hosts")))
	askpass := filepath.Join(h.dir, "askpass")
	h.write(askpass, "#!/bin/sh\necho asked >>"+h.dir+"/asked\necho \"${LAB_PASSWORD-"+password+"}\"\n")
	if err := os.Chmod(askpass, 0o755); err != nil {
		h.t.Fatal(err)
	}
}

// start starts the daemon and waits until it serves.
func (h *house) start() {
	h.t.Helper()
	var err error
	script := h.before + " && exec " + filepath.Join(binaries, "insided") + " --config " + h.config
	if h.daemon, err = h.Gateway.Start("sh", "-c", script); err != nil {
		h.t.Fatal(err)
	}
	h.until("the daemon serves", func() bool {
		select {
		case <-h.daemon.Done():
			h.t.Fatalf("the daemon ended:\n%s", h.daemon.Output())
		default:
		}
		_, err := h.api().Status(context.Background())
		return err == nil
	})
}

// api is the daemon's API, for stories that need more than the command says.
func (h *house) api() *api.Client { return api.NewClient(h.socket()) }

// inside runs the command and must succeed.
func (h *house) inside(args ...string) string {
	h.t.Helper()
	out, err := h.tryInside(args...)
	if err != nil {
		h.t.Fatalf("inside %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

func (h *house) tryInside(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return h.Gateway.Run(ctx, filepath.Join(binaries, "inside"), append([]string{"--socket", h.socket()}, args...)...)
}

// insideJSON runs a command with --json and decodes what it says.
func insideJSON[T any](h *house, args ...string) T {
	h.t.Helper()
	var v T
	out := h.inside(append(args, "--json")...)
	if err := json.Unmarshal([]byte(out), &v); err != nil {
		h.t.Fatalf("inside %s --json: %v\n%s", strings.Join(args, " "), err, out)
	}
	return v
}

// know registers the person at the client's address and the server.
func (h *house) know() {
	h.t.Helper()
	h.inside("person", "add", "p.mojski", "--ip", nettest.ClientIP4.String(), "--ip", nettest.ClientIP6.String())
	h.inside("server", "add", "test-ssh-server", "--ip", nettest.BackendIP4.String())
	h.inside("server", "add", "test-ssh-server-6", "--ip", nettest.BackendIP6.String())
}

// grant lets the person in and returns the id of the grant.
func (h *house) grant(args ...string) string {
	h.t.Helper()
	if len(args) == 0 {
		args = []string{"--duration", "1h"}
	}
	g := insideJSON[api.Grant](h, append([]string{"grant", "p.mojski", "--server", "test-ssh-server"}, args...)...)
	return g.ID
}

// A result is what became of a command on the client.
type result struct {
	stdout, stderr string
	exit           int
	asked          bool // somebody was asked for a password
}

// sshCommand prepares ssh on the client host. It never reads the terminal or
// the home of this machine; passwords are typed by the askpass script.
func (h *house) sshCommand(ctx context.Context, args ...string) *exec.Cmd {
	return h.clientCommand(ctx, "ssh", append([]string{"-F", filepath.Join(h.dir, "ssh_config")}, args...)...)
}

func (h *house) clientCommand(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := h.Client.Command(ctx, name, args...)
	cmd.Env = append(os.Environ(), "SSH_ASKPASS="+filepath.Join(h.dir, "askpass"), "SSH_ASKPASS_REQUIRE=force",
		"SSH_AUTH_SOCK=", "DISPLAY=:0")
	return cmd
}

func (h *house) ssh(args ...string) result { h.t.Helper(); return h.sshInput("", args...) }

func (h *house) sshInput(stdin string, args ...string) result {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := h.sshCommand(ctx, args...)
	cmd.Stdin = strings.NewReader(stdin)
	return h.finish(cmd)
}

// finish runs a prepared command to its end.
func (h *house) finish(cmd *exec.Cmd) result {
	h.t.Helper()
	asked := filepath.Join(h.dir, "asked")
	os.Remove(asked)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		h.t.Fatalf("%s: %v", cmd, err)
	}
	_, statErr := os.Stat(asked)
	return result{stdout: out.String(), stderr: errs.String(), exit: cmd.ProcessState.ExitCode(), asked: statErr == nil}
}

// connect logs in with the library's client, where a story needs so many
// sessions that starting real clients would measure nothing else.
func (h *house) connect(t testing.TB) *ssh.Client {
	t.Helper()
	client, err := h.logIn("ideo")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

// logIn is connect for a login of its own, and for any goroutine.
func (h *house) logIn(login string) (*ssh.Client, error) {
	addr := netip.AddrPortFrom(nettest.BackendIP4, 22).String()
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	conn, err := h.Client.Dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	c, chans, reqs, err := ssh.NewClientConn(conn, addr, &ssh.ClientConfig{
		User: login, Auth: []ssh.AuthMethod{ssh.Password(password)},
		HostKeyCallback: func(string, net.Addr, ssh.PublicKey) error { return nil },
	})
	if err != nil {
		return nil, err
	}
	return ssh.NewClient(c, chans, reqs), nil
}

// until waits for something that gives no signal of its own.
func (h *house) until(what string, ok func() bool) {
	h.t.Helper()
	deadline := time.Now().Add(patience)
	for !ok() {
		if time.Now().After(deadline) {
			h.t.Fatalf("still waiting after %s: %s", patience, what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// live waits until exactly n sessions are live.
func (h *house) live(n int) []api.Session {
	h.t.Helper()
	var live []api.Session
	h.until(fmt.Sprintf("%d live sessions", n), func() bool {
		all, err := h.api().Sessions(context.Background(), api.SessionFilter{Limit: 10_000})
		if err != nil {
			h.t.Fatal(err)
		}
		live = live[:0]
		for _, s := range all {
			if s.Live {
				live = append(live, s)
			}
		}
		return len(live) == n
	})
	return live
}

// ended waits until a session has its end and returns it.
func (h *house) ended(id string) api.Session {
	h.t.Helper()
	var s api.Session
	h.until("session "+id+" has ended", func() bool {
		var err error
		if s, err = h.api().Session(context.Background(), id); err != nil {
			h.t.Fatal(err)
		}
		return !s.End.IsZero()
	})
	return s
}

// lastEntry returns the newest entry, once there are n.
func (h *house) entries(n int) []api.Entry {
	h.t.Helper()
	var es []api.Entry
	h.until(fmt.Sprintf("%d entries", n), func() bool {
		var err error
		if es, err = h.api().Entries(context.Background(), api.EntryFilter{Limit: 10_000}); err != nil {
			h.t.Fatal(err)
		}
		return len(es) >= n
	})
	return es
}

// cpu is the processor time the daemon has used.
func (h *house) cpu() time.Duration { return processTime(h.t, h.daemon.PID()) }

func (h *house) write(name, text string) {
	h.t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		h.t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) stop() {
	h.t.Helper()
	h.daemon.Signal(syscall.SIGTERM)
	select {
	case <-h.daemon.Done():
	case <-time.After(patience):
		h.t.Fatalf("the daemon does not stop:\n%s", h.daemon.Output())
	}
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

func at(login string, server netip.Addr) string { return login + "@" + server.String() }
