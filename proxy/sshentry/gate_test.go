package sshentry

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/pawelmojski/inside/netfilter/nettest"
	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/proxy"
	"github.com/pawelmojski/inside/proxy/recording"
	"github.com/pawelmojski/inside/proxy/recording/desktop"
)

// The lab of this package: real sshds in a namespace, shared by all tests.
var lab struct {
	once sync.Once
	err  error
	*nettest.Lab
	key     string // the private key that may log in, and its public half
	keyPub  string
	sshd    *nettest.SSHD // port 22: password and public key
	sshdPAM *nettest.SSHD // port 2222: keyboard-interactive and public key
}

func TestMain(m *testing.M) {
	code := m.Run()
	if lab.Lab != nil {
		lab.Close()
	}
	os.Exit(code)
}

func needLab(t testing.TB) {
	t.Helper()
	nettest.Need(t, "ip", "ssh", "sshd", "ssh-agent", "ssh-keygen", "unshare")
	lab.once.Do(func() { lab.err = layOut() })
	if lab.err != nil {
		t.Fatalf("lab: %v", lab.err)
	}
}

var users = []nettest.User{{Name: "ideo", Password: "sesame"}, {Name: "root", Password: "open"}}

func layOut() (err error) {
	if lab.Lab, err = nettest.New(nettest.Options{}); err != nil {
		return err
	}
	lab.key = filepath.Join(lab.Dir, "id")
	if lab.keyPub, err = nettest.NewKey(lab.key); err != nil {
		return err
	}
	for i := range users {
		users[i].AuthorizedKeys = []string{lab.keyPub}
	}
	lab.sshd, err = lab.StartSSHD(nettest.SSHDOptions{
		Listen: []netip.AddrPort{netip.AddrPortFrom(nettest.BackendIP4, 22)},
		Users:  users,
		Config: []string{"KbdInteractiveAuthentication no", "AllowTcpForwarding yes", "AcceptEnv LAB_*", "PermitUserEnvironment no"},
	})
	if err != nil {
		return err
	}
	lab.sshdPAM, err = lab.StartSSHD(nettest.SSHDOptions{
		Listen: []netip.AddrPort{netip.AddrPortFrom(nettest.BackendIP4, 2222)},
		Users:  users, PAM: true, Config: []string{"PasswordAuthentication no"},
	})
	return err
}

// soon is a context for what must happen while a test waits.
func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// A gate is an Entry that serves, with a house that a test can look into.
type gate struct {
	t     testing.TB
	entry *Entry
	addr  netip.AddrPort // where the client finds it
	known string         // a known_hosts file with its key

	// What the house says; change it with set.
	verdict atomic.Pointer[policy.Verdict]
	decide  func(login string) policy.Verdict
	admit   func(login string) error
	dial    func(ctx context.Context) (net.Conn, error)
	record  func(channel int, h recording.Header) (*recording.Writer, error)
	noteErr func(recording.Event) error
	notices chan string
	used    atomic.Int64 // how often somebody has used a session
	over    atomic.Bool  // the end has come, but nobody has said so
	keyring func(*house) (proxy.Keyring, error)

	mu      sync.Mutex
	pins    []ssh.PublicKey
	own     ssh.Signer
	visits  []*house
	results chan error // what Serve returned, in order
	wg      sync.WaitGroup
}

// A house is one visit.
type house struct {
	g      *gate
	flow   policy.Flow
	dir    string
	root   *os.Root
	log    *recording.Log
	cancel context.CancelCauseFunc
	done   chan struct{}

	mu       sync.Mutex
	admitted []string
	events   []recording.Event
	casts    []*recording.Writer
}

// newGate serves in the lab's gateway and reaches the sshd at the given port.
func newGate(t testing.TB, port uint16) *gate {
	needLab(t)
	ln, err := lab.Gateway.Listen("10.50.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	backend := netip.AddrPortFrom(nettest.BackendIP4, port)
	return serveGate(t, ln, func(ctx context.Context) (net.Conn, error) {
		return lab.Gateway.Dial(ctx, backend.String())
	}, backend)
}

func serveGate(t testing.TB, ln net.Listener, dial func(context.Context) (net.Conn, error), dest netip.AddrPort) *gate {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	own, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{
		t:       t,
		addr:    ln.Addr().(*net.TCPAddr).AddrPort(),
		dial:    dial,
		own:     own,
		notices: make(chan string, 8),
		results: make(chan error, 10000),
	}
	g.entry = &Entry{HostKeys: g, Log: slog.New(slog.NewTextHandler(testWriter{t}, nil))}
	g.verdict.Store(&policy.Verdict{
		Person:   &policy.Person{Name: "p.mojski"},
		Server:   &policy.Server{Name: "test-ssh-server"},
		Grant:    &policy.Grant{ID: "7"},
		Protocol: policy.SSH,
	})
	g.known = filepath.Join(t.TempDir(), "known_hosts")
	line := fmt.Sprintf("[%s]:%d %s", g.addr.Addr(), g.addr.Port(), ssh.MarshalAuthorizedKey(own.PublicKey()))
	if err := os.WriteFile(g.known, []byte(line), 0o600); err != nil {
		t.Fatal(err)
	}
	g.wg.Go(func() { g.accept(ln, dest) })
	t.Cleanup(func() {
		ln.Close()
		for _, h := range g.all() {
			h.cancel(policy.GateShutdown)
		}
		g.wg.Wait()
	})
	return g
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Logf("%s", bytes.TrimSpace(p))
	return len(p), nil
}

func (g *gate) accept(ln net.Listener, dest netip.AddrPort) {
	for {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		ctx, cancel := context.WithCancelCause(context.Background())
		h := &house{g: g, cancel: cancel, done: make(chan struct{})}
		h.flow = policy.Flow{Client: conn.RemoteAddr().(*net.TCPAddr).AddrPort(), Dest: dest, Protocol: policy.SSH}
		h.dir = filepath.Join(g.tempDir())
		if h.root, err = os.OpenRoot(h.dir); err != nil {
			g.t.Error(err)
			return
		}
		if h.log, err = recording.CreateLog(h.root); err != nil {
			g.t.Error(err)
			return
		}
		g.mu.Lock()
		g.visits = append(g.visits, h)
		g.mu.Unlock()
		g.wg.Go(func() {
			err := g.entry.Serve(ctx, conn, h)
			for _, w := range h.casts {
				if w.Output([]byte("x")) == nil {
					g.t.Error("a recording was left open")
				}
			}
			h.log.Close()
			h.root.Close()
			close(h.done)
			g.results <- err
		})
	}
}

// set changes what the house says.
func (g *gate) set(change func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	change()
}

// hook reads one of the functions that say what the house says.
func hook[F any](g *gate, f *F) F {
	g.mu.Lock()
	defer g.mu.Unlock()
	return *f
}

func (g *gate) tempDir() string {
	dir, err := os.MkdirTemp(filepath.Dir(g.known), "visit-")
	if err != nil {
		g.t.Error(err)
	}
	return dir
}

func (g *gate) all() []*house {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]*house(nil), g.visits...)
}

// visit returns the nth visit, from 0.
func (g *gate) visit(n int) *house {
	g.t.Helper()
	all := g.all()
	if n >= len(all) {
		g.t.Fatalf("there were %d visits, want more than %d", len(all), n)
	}
	return all[n]
}

// result returns what the next Serve that ended has returned.
func (g *gate) result() error {
	g.t.Helper()
	select {
	case err := <-g.results:
		return err
	case <-time.After(30 * time.Second):
		buf := make([]byte, 1<<20)
		g.t.Fatalf("Serve does not return\n%s", buf[:runtime.Stack(buf, true)])
		return nil
	}
}

// denial is the denial of the next Serve that ended.
func (g *gate) denial() policy.Denial {
	g.t.Helper()
	var r *proxy.Refusal
	if err := g.result(); !errors.As(err, &r) {
		g.t.Fatalf("Serve returned %v, want a refusal", err)
	}
	return r.Verdict.Denial
}

func (g *gate) Own(context.Context, netip.AddrPort) ([]ssh.Signer, error) {
	return []ssh.Signer{g.own}, nil
}

func (g *gate) Pinned(context.Context, netip.AddrPort) ([]ssh.PublicKey, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]ssh.PublicKey(nil), g.pins...), nil
}

func (g *gate) Pin(_ context.Context, _ netip.AddrPort, key ssh.PublicKey) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.pins = append(g.pins, key)
	return nil
}

func (h *house) Flow() policy.Flow             { return h.flow }
func (h *house) Verdict() policy.Verdict       { return *h.g.verdict.Load() }
func (h *house) Notices() <-chan string        { return h.g.notices }
func (h *house) Used()                         { h.g.used.Add(1) }
func (h *house) Over(since time.Duration) bool { return since == 0 && h.g.over.Load() }

func (h *house) Decide(login string) policy.Verdict {
	if decide := hook(h.g, &h.g.decide); decide != nil {
		return decide(login)
	}
	return h.Verdict()
}

func (h *house) Admit(_ context.Context, login string) (policy.Session, error) {
	if admit := hook(h.g, &h.g.admit); admit != nil {
		if err := admit(login); err != nil {
			return policy.Session{}, err
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.admitted = append(h.admitted, login)
	return policy.Session{ID: "s"}, nil
}

func (h *house) Passwords(context.Context) ([]proxy.PasswordFor, error) { return nil, nil }

func (h *house) Keyring(context.Context, string) (proxy.Keyring, error) {
	if ring := hook(h.g, &h.g.keyring); ring != nil {
		return ring(h)
	}
	return nil, nil
}

func (h *house) Dial(ctx context.Context) (net.Conn, error) { return hook(h.g, &h.g.dial)(ctx) }

func (h *house) RecordDesktop(recording.Header) (*desktop.Writer, error) {
	return nil, errors.ErrUnsupported
}

func (h *house) Record(channel int, header recording.Header) (*recording.Writer, error) {
	if record := hook(h.g, &h.g.record); record != nil {
		return record(channel, header)
	}
	w, err := recording.Create(h.root, fmt.Sprintf("%d.cast", channel), header)
	if err == nil {
		h.mu.Lock()
		h.casts = append(h.casts, w)
		h.mu.Unlock()
	}
	return w, err
}

func (h *house) Note(e recording.Event) error {
	if noteErr := hook(h.g, &h.g.noteErr); noteErr != nil {
		if err := noteErr(e); err != nil {
			return err
		}
	}
	h.mu.Lock()
	h.events = append(h.events, e)
	h.mu.Unlock()
	return h.log.Append(e)
}

// noted returns the events of a kind.
func (h *house) noted(kind string) []recording.Event {
	h.mu.Lock()
	defer h.mu.Unlock()
	var found []recording.Event
	for _, e := range h.events {
		if e.Kind == kind {
			found = append(found, e)
		}
	}
	return found
}

// shown returns what the recording of a channel holds as output.
func (h *house) shown(t testing.TB, channel int) string {
	t.Helper()
	return strings.Join(h.frames(t, channel, 'o'), "")
}

func (h *house) open(channel int) (*os.File, error) {
	return os.Open(filepath.Join(h.dir, fmt.Sprintf("%d.cast", channel)))
}

// An outcome is what a program has said.
type outcome struct {
	stdout, stderr string
	code           int
}

func (o outcome) String() string {
	return fmt.Sprintf("exit %d\nstdout: %s\nstderr: %s", o.code, o.stdout, o.stderr)
}

// sshArgs are the arguments every ssh of these tests gets.
func (g *gate) sshArgs(more ...string) []string {
	return append([]string{"-F", "none", "-o", "UserKnownHostsFile=" + g.known, "-o", "StrictHostKeyChecking=yes",
		"-p", fmt.Sprint(g.addr.Port())}, more...)
}

// A client is how ssh is run.
type client struct {
	password string // typed at every prompt; "" is BatchMode
	key      string // an identity file
	agent    string // SSH_AUTH_SOCK
	prompts  int    // how often a password is typed; 0 is once
	stdin    io.Reader
	env      []string
}

func (g *gate) command(c client, name string, args ...string) *exec.Cmd {
	pre := g.sshArgs()
	if name != "ssh" {
		pre[len(pre)-2] = "-P"
	}
	pre = append(pre, "-o", fmt.Sprintf("NumberOfPasswordPrompts=%d", max(1, c.prompts)))
	if c.key != "" {
		pre = append(pre, "-i", c.key)
	} else if c.agent == "" {
		pre = append(pre, "-o", "PubkeyAuthentication=no")
	}
	if c.agent == "" {
		pre = append(pre, "-o", "IdentitiesOnly=yes")
	}
	if c.password == "" {
		pre = append(pre, "-o", "BatchMode=yes")
	}
	cmd := lab.Client.Command(soon(g.t), name, append(pre, args...)...)
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "SSH_AUTH_SOCK="+c.agent)
	if c.password != "" {
		ask := filepath.Join(filepath.Dir(g.known), "askpass")
		os.WriteFile(ask, []byte("#!/bin/sh\necho \"$1\" >>"+ask+".log\necho '"+c.password+"'\n"), 0o700)
		cmd.Env = append(cmd.Env, "SSH_ASKPASS="+ask, "SSH_ASKPASS_REQUIRE=force", "DISPLAY=:0")
	}
	cmd.Env = append(cmd.Env, c.env...)
	cmd.Stdin = c.stdin
	return cmd
}

// asked returns the prompts that ssh has shown.
func (g *gate) asked() string {
	text, _ := os.ReadFile(filepath.Join(filepath.Dir(g.known), "askpass.log"))
	return string(text)
}

func (g *gate) run(c client, name string, args ...string) outcome {
	g.t.Helper()
	cmd := g.command(c, name, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		g.t.Fatalf("%s: %v", name, err)
	}
	return outcome{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// ssh runs a command through the gate.
func (g *gate) ssh(c client, args ...string) outcome {
	g.t.Helper()
	return g.run(c, "ssh", args...)
}

func (g *gate) host(login string) string { return login + "@" + g.addr.Addr().String() }
