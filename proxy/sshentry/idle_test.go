package sshentry

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/pawelmojski/inside/policy"
)

func TestWhatATerminalAnswersByItselfIsNotTyped(t *testing.T) {
	for said, want := range map[string]bool{
		"":                                  false,
		"l":                                 true,
		"\r":                                true,
		"\x03":                              true,
		"żółw":                              true,
		"\x1b":                              true, // Escape
		"\x1b[A":                            true, // cursor keys
		"\x1bOA":                            true,
		"\x1b[15~":                          true, // F5
		"\x1b[<0;10;10M":                    true, // the mouse
		"\x1b[200~pasted\x1b[201~":          true,
		"\x1b[24;80R":                       false,
		"\x1b[?64;1;2c":                     false,
		"\x1b[>41;354;0c":                   false,
		"\x1b[0n":                           false,
		"\x1b[I":                            false,
		"\x1b[O":                            false,
		"\x1b[?2026;2$y":                    false,
		"\x1b]11;rgb:ffff/ffff/ffff\x07":    false,
		"\x1b]11;rgb:ffff/ffff/ffff\x1b\\":  false,
		"\x1bP>|XTerm(354)\x1b\\":           false,
		"\x1b[24;80R\x1b[?64;1c":            false,
		"\x1b[24;80Rl":                      true,
		"\x1b]11;rgb:ffff":                  true, // not whole: counted, not guessed
		"\x1b[;;;;;;;;;;;;;;;;;;;;;;;;;;;;": true,
	} {
		if got := typed([]byte(said)); got != want {
			t.Errorf("typed(%q) = %v, want %v", said, got, want)
		}
	}
}

func FuzzTyped(f *testing.F) {
	for _, s := range []string{"\x1b[24;80R", "\x1b]0;x\x07", "\x1bPx\x1b\\", "ls\r", "\x1b[", "\x1b[?"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		if n := report(p); n < 0 || n > len(p) {
			t.Fatalf("a report of %d bytes in %q", n, p)
		}
		if !typed(p) && len(p) > 0 && p[0] != 0x1b {
			t.Errorf("%q is not typed", p)
		}
		if !typed(p) && typed(bytes.Repeat(p, 2)) {
			t.Errorf("%q is not typed, twice it is", p)
		}
	})
}

// uses runs something and says whether the house was told that the session was
// used.
func (g *gate) uses(something func()) bool {
	before := g.used.Load()
	something()
	return g.used.Load() != before
}

func TestWhatCountsAsUsingASession(t *testing.T) {
	g := newGate(t, 22)
	g.grantForwarding(policy.Local)
	c := g.dialClient(t)
	keepalive := func() {
		for range 3 {
			if _, _, err := c.SendRequest("keepalive@openssh.com", true, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	if g.uses(keepalive) {
		t.Error("a keepalive of the connection counts")
	}
	var s *ssh.Session
	var in io.Writer
	out := new(tap)
	if !g.uses(func() {
		var err error
		if s, err = c.NewSession(); err != nil {
			t.Fatal(err)
		}
		in, _ = s.StdinPipe()
		s.Stdout = out
		if err := s.RequestPty("xterm", 24, 80, nil); err != nil {
			t.Fatal(err)
		}
		if err := s.Start("stty -echo; echo up; while read x; do echo got; (sleep 0.3; echo one; sleep 0.3; echo two); done"); err != nil {
			t.Fatal(err)
		}
	}) {
		t.Error("starting a command does not count")
	}
	out.await(t, "up")
	if !g.uses(func() { io.WriteString(in, "\r"); out.await(t, "got") }) {
		t.Error("typing does not count")
	}
	if g.uses(func() { out.await(t, "one") }) || g.uses(func() { out.await(t, "two") }) {
		t.Error("what a terminal shows by itself counts")
	}
	if g.uses(func() {
		if _, err := s.SendRequest("keepalive@openssh.com", true, nil); err != nil {
			t.Fatal(err)
		}
	}) {
		t.Error("a keepalive of the channel counts")
	}
	if g.uses(func() { io.WriteString(in, "\x1b[24;80R"); keepalive() }) {
		t.Error("what the terminal answers by itself counts")
	}
	if !g.uses(func() { s.WindowChange(30, 90); keepalive() }) {
		t.Error("a new window size does not count")
	}

	moving, err := c.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	bytes := new(tap)
	moving.Stdout = bytes
	if err := moving.Start("echo one; sleep 0.3; echo two; sleep 100"); err != nil {
		t.Fatal(err)
	}
	bytes.await(t, "one")
	if !g.uses(func() { bytes.await(t, "two") }) {
		t.Error("a command without a terminal that moves bytes is idle")
	}
}

// The house knows of the end before anybody says so: nothing more is relayed.
func TestNothingIsRelayedAfterTheEnd(t *testing.T) {
	g := newGate(t, 22)
	c := g.dialClient(t)
	for _, terminal := range []bool{false, true} {
		s, err := c.NewSession()
		if err != nil {
			t.Fatal(err)
		}
		out := new(tap)
		s.Stdout = out
		in, _ := s.StdinPipe()
		if terminal {
			if err := s.RequestPty("xterm", 24, 80, nil); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Start("echo up; read x; echo late"); err != nil {
			t.Fatal(err)
		}
		out.await(t, "up")
		g.over.Store(true)
		io.WriteString(in, "typed after the end\r\n")
		time.Sleep(200 * time.Millisecond) // nothing is to come, so there is nothing to wait for
		if got := out.String(); strings.Contains(got, "late") || strings.Contains(got, "typed") {
			t.Errorf("terminal %v: %q came after the end", terminal, got)
		}
		g.over.Store(false)
		s.Close()
	}
	g.grantForwarding(policy.Local | policy.Remote)
	forwarded, err := c.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", greeter(t)))
	if err != nil {
		t.Fatal(err)
	}
	listening, err := c.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	out := new(tap)
	go io.Copy(out, forwarded)
	out.await(t, "hello")
	g.over.Store(true)
	io.WriteString(forwarded, "sent after the end")
	came, err := lab.Backend.Dial(soon(t), listening.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer came.Close()
	came.SetReadDeadline(time.Now().Add(20 * time.Second))
	if _, err := came.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a connection came in after the end: %v", err)
	}
	if denied := g.visit(0).noted("denied"); len(denied) != 1 {
		t.Errorf("denials %+v", denied)
	}
	if got := out.String(); strings.Contains(got, "sent") {
		t.Errorf("forwarded: %q came after the end", got)
	}
	if _, err := c.NewSession(); err == nil {
		t.Error("a channel was opened after the end")
	}
}
