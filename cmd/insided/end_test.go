package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pawelmojski/inside/netfilter/nettest"
)

// A terminal is an ssh session somebody sits in front of.
type terminal struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	mu     sync.Mutex
	screen bytes.Buffer
	done   chan struct{}
	ended  error // how ssh ended, after done
}

// sit opens a terminal session with a command in it.
func (h *house) sit(args ...string) *terminal {
	h.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	h.t.Cleanup(cancel)
	tm := &terminal{cmd: h.sshCommand(ctx, append([]string{"-tt"}, args...)...), done: make(chan struct{})}
	var err error
	if tm.stdin, err = tm.cmd.StdinPipe(); err != nil {
		h.t.Fatal(err)
	}
	out, in := io.Pipe()
	tm.cmd.Stdout, tm.cmd.Stderr = in, in
	if err := tm.cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	go func() {
		in.CloseWithError(tm.cmd.Wait())
	}()
	go func() {
		defer close(tm.done)
		buf := make([]byte, 32<<10)
		for {
			n, err := out.Read(buf)
			tm.mu.Lock()
			tm.screen.Write(buf[:n])
			tm.mu.Unlock()
			if err != nil {
				tm.ended = err
				return
			}
		}
	}()
	return tm
}

func (tm *terminal) text() string {
	tm.mu.Lock()
	defer tm.mu.Unlock()
	return tm.screen.String()
}

func (h *house) shows(tm *terminal, text string) {
	h.t.Helper()
	h.until(fmt.Sprintf("the terminal shows %q", text), func() bool {
		select {
		case <-tm.done:
			if !strings.Contains(tm.text(), text) {
				h.t.Fatalf("ssh ended (%v) without showing %q; the terminal shows %q", tm.ended, text, tail(tm.text()))
			}
		default:
		}
		return strings.Contains(tm.text(), text)
	})
}

func tail(s string) string { return s[max(0, len(s)-500):] }

func (h *house) closed(tm *terminal) {
	h.t.Helper()
	select {
	case <-tm.done:
	case <-time.After(patience):
		h.t.Fatalf("the session does not end; the terminal shows %q", tail(tm.text()))
	}
}

func TestTheSessionEndsWhenTheGrantEnds(t *testing.T) {
	h := newHouse(t, settings{})
	h.know()
	h.grant("--duration", "3s")
	began := time.Now()
	tm := h.sit(at("ideo", nettest.BackendIP4), "echo ready; cat")
	h.shows(tm, "ready")
	s := h.live(1)[0]
	h.closed(tm)
	over := time.Since(began)
	if over > 6*time.Second {
		t.Errorf("the session of a 3 s grant ended after %s", over)
	}
	if !strings.Contains(tm.text(), "expired") {
		t.Errorf("the person is not told why: %q", tail(tm.text()))
	}
	if e := h.ended(s.ID); e.Cause != "grant-expired" || e.End.Before(s.Until) || e.End.After(s.Until.Add(time.Second)) {
		t.Errorf("session ended %s by %q, want grant-expired at %s and never before", e.End, e.Cause, s.Until)
	}
	h.until("the stay has ended too", func() bool {
		stays, err := h.api().Stays(context.Background(), allStays)
		return err == nil && len(stays) == 1 && stays[0].Cause == "grant-expired"
	})
	if r := h.ssh(at("ideo", nettest.BackendIP4), "true"); r.exit != 255 || r.asked {
		t.Errorf("re-entry after the end: exit %d, asked %v", r.exit, r.asked)
	}
}

func TestRevokingEndsASessionUnderFullOutputAtOnce(t *testing.T) {
	h := newHouse(t, settings{})
	h.know()
	grant := h.grant()
	tm := h.sit(at("ideo", nettest.BackendIP4), "yes")
	h.until("output flows", func() bool { return len(tm.text()) > 1<<20 })
	s := h.live(1)[0]
	h.inside("grant", "revoke", grant)
	h.closed(tm) // how fast is BenchmarkRevoke's to say
	if e := h.ended(s.ID); e.Cause != "grant-revoked" {
		t.Errorf("cause %q, want grant-revoked", e.Cause)
	}
}

func TestExtendingAndShorteningActOnARunningSession(t *testing.T) {
	h := newHouse(t, settings{})
	h.know()
	grant := h.grant("--duration", "30s")
	tm := h.sit(at("ideo", nettest.BackendIP4), "echo ready; cat")
	h.shows(tm, "ready")
	s := h.live(1)[0]
	h.inside("grant", "extend", grant, "--duration", "2h")
	h.shows(tm, "your stay now ends in 1")
	if longer := h.live(1)[0]; !longer.Until.After(s.Until.Add(time.Hour)) {
		t.Errorf("until %s after the extension, was %s", longer.Until, s.Until)
	}
	h.inside("grant", "extend", grant, "--duration", "2s")
	h.closed(tm)
	if e := h.ended(s.ID); e.Cause != "grant-expired" {
		t.Errorf("cause %q, want grant-expired", e.Cause)
	}
}

func TestAnAdminEndsASessionAndAStay(t *testing.T) {
	h := newHouse(t, settings{})
	h.know()
	h.grant()
	tm := h.sit(at("ideo", nettest.BackendIP4), "echo ready; cat")
	h.shows(tm, "ready")
	s := h.live(1)[0]
	h.inside("session", "kill", s.ID[:8])
	h.closed(tm)
	if e := h.ended(s.ID); e.Cause != "ended-by-admin" {
		t.Errorf("cause %q, want ended-by-admin", e.Cause)
	}
	again := h.sit(at("ideo", nettest.BackendIP4), "echo ready; cat")
	h.shows(again, "ready")
	h.inside("stay", "end", h.live(1)[0].Stay)
	h.closed(again)
}

func TestTheWindowOfAScheduleClosesOnRunningSessions(t *testing.T) {
	t.Parallel() // it waits most of its time
	h := newHouse(t, settings{})
	h.know()
	// A window that closes with the running minute.
	now := time.Now().UTC()
	if now.Second() > 50 {
		h.until("the next minute begins", func() bool { return time.Now().UTC().Minute() != now.Minute() })
		now = time.Now().UTC()
	}
	closes := now.Truncate(time.Minute).Add(time.Minute)
	if closes.Hour() == 0 && closes.Minute() == 0 {
		t.Log("the window ends at midnight, as 24:00")
	}
	end := closes.Format("15:04")
	if end == "00:00" {
		end = "24:00"
	}
	h.grant("--duration", "8h", "--schedule", fmt.Sprintf("Mon-Sun 00:00-%s", end), "--timezone", "UTC")
	tm := h.sit(at("ideo", nettest.BackendIP4), "echo ready; cat")
	h.shows(tm, "ready")
	s := h.live(1)[0]
	if !s.Until.Equal(closes) {
		t.Errorf("until %s, want the window's end %s", s.Until, closes)
	}
	select {
	case <-tm.done:
	case <-time.After(time.Until(closes) + patience):
		t.Fatal("the session outlives its window")
	}
	if e := h.ended(s.ID); e.Cause != "schedule-closed" {
		t.Errorf("cause %q, want schedule-closed", e.Cause)
	}
	r := h.ssh(at("ideo", nettest.BackendIP4), "true")
	if r.exit != 255 || h.entries(2)[0].Denial != "outside-schedule" {
		t.Errorf("entry after the window: exit %d, %+v", r.exit, h.entries(2)[0])
	}
}

func TestPlayAndWatchShowWhatThePersonSaw(t *testing.T) {
	h := newHouse(t, settings{})
	h.know()
	h.grant()
	tm := h.sit(at("ideo", nettest.BackendIP4), "echo 'zażółć gęślą jaźń'; cat")
	h.shows(tm, "jaźń")
	id := h.live(1)[0].ID
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	watch := h.Gateway.Command(ctx, binaries+"/inside", "--socket", h.socket(), "watch", id)
	out, err := watch.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := watch.Start(); err != nil {
		t.Fatal(err)
	}
	seen := bufio.NewReader(out)
	awaitText(t, seen, "zażółć gęślą jaźń")
	fmt.Fprintln(tm.stdin, "typed while watched")
	awaitText(t, seen, "typed while watched")
	tm.stdin.Close()
	tm.cmd.Process.Kill()
	h.closed(tm)
	rest, _ := io.ReadAll(seen)
	if err := watch.Wait(); err != nil {
		t.Errorf("watch: %v after %q", err, rest)
	}
	played := h.inside("play", id, "--speed", "1000")
	if !strings.Contains(played, "zażółć gęślą jaźń") || !strings.Contains(played, "typed while watched") {
		t.Errorf("play shows %q", played)
	}
}

// awaitText reads until text has come by.
func awaitText(t *testing.T, r io.ByteReader, text string) {
	t.Helper()
	var seen []byte
	for !bytes.Contains(seen, []byte(text)) {
		b, err := r.ReadByte()
		if err != nil {
			t.Fatalf("waiting for %q: %v after %q", text, err, seen)
		}
		seen = append(seen, b)
	}
}

func TestASessionGoesOnUnderAnotherGrantThatStillServes(t *testing.T) {
	h := newHouse(t, settings{})
	h.know()
	longer := h.grant("--duration", "8h")
	shorter := h.grant("--duration", "2h")
	tm := h.sit(at("ideo", nettest.BackendIP4), "echo ready; cat")
	h.shows(tm, "ready")
	if s := h.live(1)[0]; s.Grant != longer {
		t.Errorf("the session runs under grant %s, want %s, which lets the person stay longest", s.Grant, longer)
	}
	h.inside("grant", "revoke", longer)
	h.shows(tm, "your stay now ends in 1")
	fmt.Fprintln(tm.stdin, "still inside")
	h.shows(tm, "still inside")
	moved := h.live(1)[0]
	stays, err := h.api().Stays(context.Background(), allStays)
	if err != nil {
		t.Fatal(err)
	}
	if len(stays) != 2 || moved.Grant != shorter {
		t.Fatalf("session %+v, stays %+v; want it under grant %s, and two stays", moved, stays, shorter)
	}
	for _, st := range stays {
		if ended := st.Cause == "grant-revoked"; ended != (st.Grant == longer) {
			t.Errorf("stay %+v: want the one under grant %s ended and the other open", st, longer)
		}
	}
	h.inside("grant", "revoke", shorter)
	h.closed(tm)
	if e := h.ended(moved.ID); e.Cause != "grant-revoked" {
		t.Errorf("cause %q, want grant-revoked", e.Cause)
	}
}
