package sshentry

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/proxy/recording"
)

// A tap keeps what went by: of a long stream the beginning and the end.
type tap struct {
	mu  sync.Mutex
	buf []byte
}

func (t *tap) Write(p []byte) (int, error) {
	const beginning, end = 1 << 20, 1 << 16
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p...)
	if over := len(t.buf) - beginning - end; over > beginning {
		t.buf = slices.Delete(t.buf, beginning, beginning+over)
	}
	return len(p), nil
}

func (t *tap) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.buf)
}

func (t *tap) await(tb testing.TB, text string) {
	tb.Helper()
	for deadline := time.Now().Add(20 * time.Second); !strings.Contains(t.String(), text); {
		if time.Now().After(deadline) {
			tb.Fatalf("no %q in %q", text, t.String())
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// How soon is BenchmarkRevoke's to say.
func TestARevokedSessionShowsItsCauseAndNothingAfterIt(t *testing.T) {
	for _, c := range []struct {
		what     string
		terminal bool
		shown    bool
		command  string
		flows    string
	}{
		{"idle terminal", true, true, "echo up; sleep 100", "up\r\n"},
		{"talking terminal", true, true, "while echo y; do sleep 0.02; done", "y\r\ny\r\ny\r\n"},
		// Whose client lags behind may miss the last line: the end does not wait.
		{"busy terminal", true, false, "yes", strings.Repeat("y\r\n", 100_000)},
		{"busy command", false, false, "yes", strings.Repeat("y\n", 100_000)},
	} {
		t.Run(c.what, func(t *testing.T) {
			g := newGate(t, 22)
			args := []string{g.host("ideo"), c.command}
			if c.terminal {
				args = append([]string{"-tt"}, args...)
			}
			cmd := g.command(byPassword, "ssh", args...)
			out := new(tap)
			cmd.Stdout, cmd.Stderr = out, out
			in, _ := cmd.StdinPipe()
			defer in.Close()
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			out.await(t, c.flows)
			g.visit(0).cancel(policy.GrantRevoked)
			if err := g.result(); err != policy.GrantRevoked {
				t.Errorf("Serve returned %v", err)
			}
			cmd.Wait()
			_, after, said := strings.Cut(out.String(), "*** "+policy.GrantRevoked.Error()+" ***\r\n")
			if c.shown && !said || said && !c.terminal {
				t.Errorf("the cause was shown: %v", said)
			}
			if strings.Contains(after, "y\r\n") {
				t.Errorf("what the server said is shown after the cause: %q", after)
			}
			if cmd.ProcessState.ExitCode() != 255 {
				t.Errorf("ssh exited %d", cmd.ProcessState.ExitCode())
			}
		})
	}
}

func TestAClientThatDoesNotReadCannotHoldUpTheEnd(t *testing.T) {
	g := newGate(t, 22)
	conn, err := lab.Client.Dial(soon(t), g.addr.String())
	if err != nil {
		t.Fatal(err)
	}
	conn.(*net.TCPConn).SetReadBuffer(4096) // or the kernel takes all that the window allows
	stuck := &stuckConn{Conn: conn}
	c, channels, requests, err := ssh.NewClientConn(stuck, g.addr.String(), &ssh.ClientConfig{
		User: "ideo", Auth: []ssh.AuthMethod{ssh.Password("sesame")}, HostKeyCallback: ssh.FixedHostKey(g.own.PublicKey()),
	})
	if err != nil {
		t.Fatal(err)
	}
	client := ssh.NewClient(c, channels, requests)
	defer client.Close()
	s, err := client.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	out, _ := s.StdoutPipe()
	if err := s.RequestPty("xterm", 24, 80, nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Start("yes"); err != nil {
		t.Fatal(err)
	}
	io.ReadFull(out, make([]byte, 64<<10))
	stuck.stop()
	// Until nothing moves any more: the gate is blocked in a write.
	h := g.visit(0)
	for last := int64(-1); ; {
		now := fileSize(h, "0.cast")
		if now == last {
			break
		}
		last = now
		time.Sleep(100 * time.Millisecond)
	}
	revoked := time.Now()
	h.cancel(policy.GrantRevoked)
	if err := g.result(); err != policy.GrantRevoked {
		t.Errorf("Serve returned %v", err)
	}
	// At once, but for a busy machine; waiting for the write would take for ever.
	if took := time.Since(revoked); took > 5*time.Second {
		t.Errorf("Serve took %v", took)
	}
	// What was under way must not come out of a kernel's queue now. Some of
	// it is on the client's side already; the gate's has been thrown away.
	time.Sleep(50 * time.Millisecond)
	if _, err := io.Copy(io.Discard, conn); err == nil {
		t.Error("the connection ended in an orderly way although the client had not read")
	}
}

func fileSize(h *house, name string) int64 {
	st, err := os.Stat(filepath.Join(h.dir, name))
	if err != nil {
		return 0
	}
	return st.Size()
}

// A stuckConn stops reading when it is told to.
type stuckConn struct {
	net.Conn
	mu sync.Mutex
}

func (c *stuckConn) Read(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.Conn.Read(p)
}

func (c *stuckConn) stop() { c.mu.Lock() }

func TestNoticesAreShownInTerminalsOnly(t *testing.T) {
	g := newGate(t, 22)
	client := g.dialClient(t)
	start := func(pty bool, command string) (*ssh.Session, *tap) {
		s, err := client.NewSession()
		if err != nil {
			t.Fatal(err)
		}
		out := new(tap)
		s.Stdout, s.Stderr = out, out
		if pty {
			if err := s.RequestPty("xterm", 24, 80, nil); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Start(command); err != nil {
			t.Fatal(err)
		}
		return s, out
	}
	term, termOut := start(true, "echo up; read x; exit 0")
	plain, plainOut := start(false, "echo up; read x; exit 0")
	_ = term
	termOut.await(t, "up")
	plainOut.await(t, "up")
	g.notices <- "your stay ends in 5 minutes\x1b[31m"
	termOut.await(t, "\r\n*** your stay ends in 5 minutes[31m ***\r\n")
	g.notices <- "your stay ends in 1 minute"
	termOut.await(t, "1 minute ***")
	_ = plain
	if got := plainOut.String(); got != "up\n" {
		t.Errorf("a command was shown %q", got)
	}
	client.Close()
	g.result()
	if shown := g.visit(0).shown(t, 0); shown != termOut.String() {
		t.Errorf("recorded %q, shown %q", shown, termOut.String())
	}
}

func TestASessionThatCannotBeRecordedEnds(t *testing.T) {
	boom := errors.New("no space left on device")
	for name, spoil := range map[string]func(*gate){
		"the recording cannot be opened": func(g *gate) {
			g.record = func(int, recording.Header) (*recording.Writer, error) { return nil, boom }
		},
		"a command cannot be noted": func(g *gate) {
			g.noteErr = func(e recording.Event) error {
				if e.Kind == "exec" {
					return boom
				}
				return nil
			}
		},
		"the login cannot be noted": func(g *gate) {
			g.noteErr = func(e recording.Event) error {
				if e.Kind == "login" {
					return boom
				}
				return nil
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			for _, tty := range []string{"-T", "-tt"} {
				g := newGate(t, 22)
				g.set(func() { spoil(g) })
				began := time.Now()
				o := g.ssh(byPassword, tty, g.host("ideo"), "echo secret; touch ran; sleep 30")
				if strings.Contains(o.stdout, "secret") || o.code != 255 {
					t.Errorf("%s: %v", tty, o)
				}
				if err := g.result(); err != policy.RecordingFailed {
					t.Errorf("%s: Serve returned %v", tty, err)
				}
				if took := time.Since(began); took > 10*time.Second {
					t.Errorf("%s: took %v", tty, took)
				}
			}
		})
	}
}

func TestARecordingThatFailsOnTheWayEndsTheSessionWithAWord(t *testing.T) {
	g := newGate(t, 22)
	client := g.dialClient(t)
	s, err := client.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	out := new(tap)
	s.Stdout = out
	if err := s.RequestPty("xterm", 24, 80, nil); err != nil {
		t.Fatal(err)
	}
	in, _ := s.StdinPipe()
	if err := s.Start("echo up; read x; echo secret; sleep 30"); err != nil {
		t.Fatal(err)
	}
	out.await(t, "up")
	h := g.visit(0)
	h.mu.Lock()
	h.casts[0].Close() // from here on every write fails
	h.casts = nil
	h.mu.Unlock()
	failed := time.Now()
	io.WriteString(in, "\n")
	if err := g.result(); err != policy.RecordingFailed {
		t.Errorf("Serve returned %v", err)
	}
	if took := time.Since(failed); took > time.Second {
		t.Errorf("took %v", took)
	}
	out.await(t, "*** the recording cannot be written, so the session ends ***")
	if strings.Contains(out.String(), "secret") {
		t.Errorf("unrecorded bytes were shown: %q", out.String())
	}
}

func TestWhoLeftIsTold(t *testing.T) {
	g := newGate(t, 22)
	cmd := g.command(byPassword, "ssh", g.host("ideo"), "echo $PPID; sleep 100")
	out := new(tap)
	cmd.Stdout = out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	out.await(t, "\n")
	cmd.Process.Kill()
	cmd.Wait()
	if err := g.result(); err != policy.ClientLeft {
		t.Errorf("Serve returned %v", err)
	}

	o := g.ssh(byPassword, g.host("ideo"), "echo before; sleep 0.5; kill -9 $PPID; sleep 5")
	if err := g.result(); err != policy.ServerLeft {
		t.Errorf("Serve returned %v", err)
	}
	if o.stdout != "before\n" || o.code != 255 || !strings.Contains(o.stderr, "closed by remote host") {
		t.Error(o)
	}
}

func TestASecondChannelAfterTheVerdictHasChangedIsRefused(t *testing.T) {
	g := newGate(t, 22)
	client := g.dialClient(t)
	s, err := client.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	v := *g.verdict.Load()
	v.Denial = policy.Revoked
	g.verdict.Store(&v)
	if _, err := client.NewSession(); err == nil || !strings.Contains(err.Error(), policy.Revoked.Sentence()) {
		t.Errorf("a channel was opened: %v", err)
	}
}

func TestGarbageLeavesNothingBehind(t *testing.T) {
	g := newGate(t, 22)
	g.set(func() { g.entry.LoginGrace = 700 * time.Millisecond })
	g.ssh(byPassword, g.host("ideo"), "true") // everything is warm
	g.result()
	goroutines, fds := runtime.NumGoroutine(), openFiles(t)
	const many = 500
	limit := make(chan struct{}, 50)
	var wg sync.WaitGroup
	for i := range many {
		limit <- struct{}{}
		wg.Go(func() {
			defer func() { <-limit }()
			conn, err := lab.Client.Dial(context.Background(), g.addr.String())
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			switch i % 5 {
			case 0: // silence
			case 1:
				conn.Write(bytes.Repeat([]byte{byte(i)}, 3000))
			case 2:
				io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
			case 3:
				io.WriteString(conn, "SSH-2.0-half\r\n\x00\x00\x01\x0c\x0a\x14")
			case 4:
				return
			}
			conn.SetDeadline(time.Now().Add(20 * time.Second))
			io.Copy(io.Discard, conn)
		})
	}
	wg.Wait()
	for range many {
		g.result()
	}
	awaitNoMore(t, goroutines, fds)
}

func openFiles(t testing.TB) int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// awaitNoMore waits until there are no more goroutines and files than before.
func awaitNoMore(t testing.TB, goroutines, fds int) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		g, f := runtime.NumGoroutine(), openFiles(t)
		if g <= goroutines && f <= fds {
			return
		}
		if time.Now().After(deadline) {
			buf := make([]byte, 1<<20)
			t.Fatalf("%d goroutines, were %d; %d files, were %d\n%s", g, goroutines, f, fds, buf[:runtime.Stack(buf, true)])
		}
		time.Sleep(20 * time.Millisecond)
	}
}
