package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/proxy/recording"
	"github.com/pawelmojski/inside/store/storetest"
)

// openTerminal makes a pseudo terminal.
func openTerminal(t *testing.T) (screen, tty *os.File) {
	t.Helper()
	screen, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { screen.Close() })
	if err := unix.IoctlSetPointerInt(int(screen.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(screen.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tty.Close() })
	if err := unix.IoctlSetWinsize(int(tty.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 10, Col: 40}); err != nil {
		t.Fatal(err)
	}
	return screen, tty
}

// inside prepares a run of the command; TestMain knows it by its name.
func inside(g *standIn, args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Args[0] = "inside"
	cmd.Env = append(os.Environ(), "INSIDE_SOCKET="+g.socket)
	return cmd
}

// readUntil reads a terminal until text has come by.
func readUntil(t *testing.T, r io.Reader, text string) string {
	t.Helper()
	var seen []byte
	piece := make([]byte, 1)
	for !bytes.Contains(seen, []byte(text)) {
		if _, err := r.Read(piece); err != nil {
			t.Fatalf("waiting for %q: %v after %q", text, err, seen)
		}
		seen = append(seen, piece...)
	}
	return string(seen)
}

// newSession lets alice in and gives her session.
func newSession(t *testing.T, g *standIn) string {
	t.Helper()
	for _, args := range []string{"person add alice --ip 100.64.0.20", "server add web --ip 10.30.0.7", "grant alice --server web"} {
		if out, err := inside(g, strings.Fields(args)...).CombinedOutput(); err != nil {
			t.Fatalf("inside %s: %v\n%s", args, err, out)
		}
	}
	id, err := g.enter(context.Background(), "alice", "web", "root")
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestAReplayLeavesTheTerminalAsItWas(t *testing.T) {
	g := openGate(t, storetest.SQLite(t), shortDir(t))
	t.Cleanup(g.close)
	id := newSession(t, g)
	// The person is in an editor: another screen, no cursor, red.
	if err := g.show(id, "\x1b[?1049h\x1b[?25l\x1b[31mediting"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		sentence string
		args     []string
		end      func(*exec.Cmd)
	}{
		{"Ctrl-C while watching", []string{"watch", id}, func(cmd *exec.Cmd) { cmd.Process.Signal(syscall.SIGINT) }},
		{"terminated while watching", []string{"watch", id}, func(cmd *exec.Cmd) { cmd.Process.Signal(syscall.SIGTERM) }},
		{"the session ends while it is watched", []string{"watch", id}, func(*exec.Cmd) { g.EndSession(policy.SessionID(id), policy.ClientLeft) }},
		{"played to its end", []string{"play", id, "--speed", "0"}, func(*exec.Cmd) {}},
	} {
		t.Run(c.sentence, func(t *testing.T) {
			screen, tty := openTerminal(t)
			cmd := inside(g, c.args...)
			var notes bytes.Buffer
			cmd.Stdin, cmd.Stdout, cmd.Stderr = tty, tty, &notes
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			readUntil(t, screen, "editing")
			c.end(cmd)
			readUntil(t, screen, recording.Reset+"\r")
			if err := cmd.Wait(); err != nil {
				t.Errorf("%v\n%s", err, &notes)
			}
			if want := "inside: note: the recorded terminal has 80 columns and 24 lines, this one 40 and 10\n"; !strings.Contains(notes.String(), want) {
				t.Errorf("it says %q, not %q", &notes, want)
			}
		})
	}
}

// shortDir is a temporary folder with a path that leaves room for a socket's.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "inside")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func TestThePassphraseOfAKeyIsAskedForOnTheTerminalAndNotShown(t *testing.T) {
	g := openGate(t, storetest.SQLite(t), t.TempDir())
	defer g.close()
	if out, err := inside(g, "person", "add", "alice").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	key := filepath.Join(t.TempDir(), "key")
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "open sesame", "-f", key).CombinedOutput(); err != nil {
		t.Fatalf("ssh-keygen: %v\n%s", err, out)
	}
	for typed, want := range map[string]string{"wrong": "unlock the private key", "open sesame": "credential 1 stored"} {
		screen, tty := openTerminal(t)
		in, err := os.Open(key)
		if err != nil {
			t.Fatal(err)
		}
		defer in.Close()
		cmd := inside(g, "credential", "add", "alice")
		cmd.Stdin, cmd.Stdout, cmd.Stderr = in, tty, tty
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 1}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		readUntil(t, screen, "Passphrase of the key: ")
		awaitSilence(t, tty)
		fmt.Fprintf(screen, "%s\n", typed)
		if shown := readUntil(t, screen, want); strings.Contains(shown, typed) {
			t.Errorf("the passphrase is shown: %q", shown)
		}
		if err := cmd.Wait(); (err == nil) != (typed == "open sesame") {
			t.Errorf("%q: %v", typed, err)
		}
	}
}

// awaitSilence waits until a terminal shows nothing of what is typed; nothing
// tells when it does.
func awaitSilence(t *testing.T, tty *os.File) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if state, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS); err == nil && state.Lflag&unix.ECHO == 0 {
			return
		}
	}
	t.Fatal("what is typed is shown")
}
