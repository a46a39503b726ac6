package main

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pawelmojski/inside/appliance/api"
	"github.com/pawelmojski/inside/netfilter/nettest"
)

func TestAGrantLetsSoManySessionsInAtATime(t *testing.T) {
	h := newHouse(t, settings{})
	h.know()
	limited := h.grant("--max-sessions", "1", "--duration", "2h")
	server := at("ideo", nettest.BackendIP4)
	first := h.sit(server, "echo ready; cat")
	h.shows(first, "ready")
	if r := h.ssh(server, "true"); r.exit != 255 || !strings.Contains(r.stderr, "as many sessions are open as your grant for this server allows at a time") {
		t.Errorf("one too many: exit %d\n%s", r.exit, r.stderr)
	}
	if e := h.entries(2)[0]; e.Denial != "too-many-sessions" || e.Grant != limited {
		t.Errorf("the entry says %+v", e)
	}
	// Whoever leaves makes place at once, also for one who was waiting to.
	first.cmd.Process.Kill()
	h.closed(first)
	for range 5 {
		if r := h.ssh(server, "true"); r.exit != 0 {
			t.Fatalf("after the other left: exit %d\n%s", r.exit, r.stderr)
		}
	}
	// Another grant that has room lets a second one in, and a session whose
	// grant ends moves only where there is room.
	again := h.sit(server, "echo ready; cat")
	h.shows(again, "ready")
	other := h.grant("--duration", "1h")
	second := h.sit(server, "echo ready; cat")
	h.shows(second, "ready")
	both := map[string]bool{}
	for _, s := range h.live(2) {
		both[s.Grant] = true
	}
	if !both[limited] || !both[other] {
		t.Errorf("sessions under %v, want one under each of %s and %s", both, limited, other)
	}
	h.inside("grant", "revoke", other)
	h.closed(second)
	if left := h.live(1); left[0].Grant != limited {
		t.Errorf("left is %+v", left)
	}
}

func TestAGrantLetsSoManyEntriesInInATime(t *testing.T) {
	h := newHouse(t, settings{})
	h.know()
	limited := h.grant("--max-entries", "2/h", "--duration", "2h")
	server := at("ideo", nettest.BackendIP4)
	for range 2 {
		if r := h.ssh(server, "true"); r.exit != 0 {
			t.Fatalf("exit %d\n%s", r.exit, r.stderr)
		}
	}
	if r := h.ssh(server, "true"); r.exit != 255 || !strings.Contains(r.stderr, "your grant for this server allows no more entries for now") {
		t.Errorf("one too many: exit %d\n%s", r.exit, r.stderr)
	}
	if e := h.entries(3)[0]; e.Denial != "too-many-entries" || e.Grant != limited {
		t.Errorf("the entry says %+v", e)
	}
	other := h.grant("--duration", "1h")
	if r := h.ssh(server, "true"); r.exit != 0 {
		t.Errorf("with another grant: exit %d\n%s", r.exit, r.stderr)
	}
	if e := h.entries(4)[0]; e.Denial != "" || e.Grant != other {
		t.Errorf("the entry says %+v", e)
	}
}

func TestASessionNobodyUsesEnds(t *testing.T) {
	t.Parallel() // it waits most of its time
	h := newHouse(t, settings{})
	h.know()
	h.grant("--idle", "10s")
	server := at("ideo", nettest.BackendIP4)
	// A clock that shows itself, and a client that keeps its connection alive.
	printing := h.sit("-o", "ServerAliveInterval=1", server, "echo ready; while sleep 0.5; do echo tick; done")
	used := h.sit(server, "echo ready; cat")
	h.shows(printing, "ready")
	h.shows(used, "ready")
	s := h.live(2)
	busy := make(chan struct{})
	defer func() { used.stdin.Close(); <-busy }()
	go func() { // somebody types now and then
		defer close(busy)
		for {
			if _, err := fmt.Fprintln(used.stdin, "still here"); err != nil {
				return
			}
			time.Sleep(time.Second)
		}
	}()
	began := time.Now()
	h.closed(printing)
	if took := time.Since(began); took < 5*time.Second || took > 15*time.Second {
		t.Errorf("it ended after %s", took)
	}
	if !strings.Contains(printing.text(), "nobody has used the session for as long as your grant allows") {
		t.Errorf("the person is not told why: %q", tail(printing.text()))
	}
	if left := h.live(1); strings.Contains(used.text(), "nobody") {
		t.Errorf("the session that is used is gone too: %+v", left)
	} else {
		for _, was := range s {
			if was.ID != left[0].ID {
				if e := h.ended(was.ID); e.Cause != "idle" {
					t.Errorf("cause %q, want idle", e.Cause)
				}
			}
		}
	}
}

func TestMaintenanceOfAServer(t *testing.T) {
	h := newHouse(t, settings{})
	h.know()
	h.grant()
	server := at("ideo", nettest.BackendIP4)
	tm := h.sit(server, "echo ready; cat")
	h.shows(tm, "ready")
	s := h.live(1)[0]
	h.inside("server", "maintenance", "test-ssh-server", "--in", "4s")
	h.shows(tm, "when maintenance of the server begins")
	if r := h.ssh(server, "true"); r.exit != 255 || r.asked || !strings.Contains(r.stderr, "this server is under maintenance") {
		t.Errorf("a new entry: exit %d, asked %v\n%s", r.exit, r.asked, r.stderr)
	}
	until := h.live(1)[0].Until
	h.closed(tm)
	if e := h.ended(s.ID); e.Cause != "maintenance" || e.End.Before(until) {
		t.Errorf("ended %s by %q, want maintenance at %s", e.End, e.Cause, until)
	}
	if !strings.Contains(tm.text(), "the server is under maintenance") {
		t.Errorf("the person is not told why: %q", tail(tm.text()))
	}
	h.inside("server", "maintenance", "test-ssh-server", "--exempt", "p.mojski")
	if r := h.ssh(server, "true"); r.exit != 0 {
		t.Errorf("the exempt person: exit %d\n%s", r.exit, r.stderr)
	}
	h.inside("server", "maintenance", "test-ssh-server", "--off")
	if r := h.ssh(server, "true"); r.exit != 0 {
		t.Errorf("after it: exit %d\n%s", r.exit, r.stderr)
	}
}

// A gate that was stopped over the end of a grant relays nothing when it goes
// on: not what it held, not what waits in its sockets.
func TestAGateThatWasStoppedRelaysNothingAfterTheEnd(t *testing.T) {
	h := newHouse(t, settings{})
	h.know()
	end := time.Now().Add(6 * time.Second)
	if _, err := h.api().CreateGrant(context.Background(), api.NewGrant{Person: "p.mojski", Server: "test-ssh-server", End: end}); err != nil {
		t.Fatal(err)
	}
	s, err := h.connect(t).NewSession()
	if err != nil {
		t.Fatal(err)
	}
	out := &clocked{}
	s.Stdout = out
	if err := s.Start("yes"); err != nil {
		t.Fatal(err)
	}
	h.until("output flows", func() bool { return out.count.Load() > 1<<20 })
	time.Sleep(time.Until(end.Add(-500 * time.Millisecond)))
	h.daemon.Signal(syscall.SIGSTOP)
	go func() {
		time.Sleep(time.Until(end.Add(3 * time.Second)))
		h.daemon.Signal(syscall.SIGCONT)
	}()
	// What the kernel has taken before still comes, and then nothing.
	settle := func() int64 {
		var before int64 = -1
		h.until("nothing comes", func() bool {
			n := out.count.Load()
			still := n == before
			before = n
			time.Sleep(200 * time.Millisecond)
			return still
		})
		return before
	}
	stopped := settle()
	if time.Now().After(end.Add(2 * time.Second)) {
		t.Fatal("the machine is too busy to tell before from after")
	}
	s.Wait()
	if now := out.count.Load(); now != stopped {
		t.Errorf("%d bytes came after the end, when the gate went on", now-stopped)
	}
	h.until("the session has its end", func() bool {
		all, err := h.api().Sessions(context.Background(), api.SessionFilter{All: true})
		return err == nil && len(all) == 1 && all[0].Cause == "grant-expired"
	})
}
