package main

import (
	"context"
	"database/sql"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pawelmojski/inside/appliance/api"
	"github.com/pawelmojski/inside/policy"
)

var successorPID = regexp.MustCompile(`a successor has taken over.* successor=(\d+)`)

// upgrade has a new process take over, and returns it and the one before.
func (h *house) upgrade() (before <-chan struct{}, successor int) {
	h.t.Helper()
	out := h.inside("upgrade")
	if !strings.Contains(out, "the new insided serves, after ") {
		h.t.Error(out)
	}
	all := successorPID.FindAllStringSubmatch(h.daemon.Output(), -1)
	if len(all) == 0 {
		h.t.Fatalf("no successor:\n%s", h.daemon.Output())
	}
	pid, err := strconv.Atoi(all[len(all)-1][1])
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { h.gone(pid) })
	return h.daemon.Done(), pid
}

// gone ends a process and waits for it: its parent is the test.
func (h *house) gone(pid int) {
	syscall.Kill(pid, syscall.SIGTERM)
	stop := time.AfterFunc(patience, func() { syscall.Kill(pid, syscall.SIGKILL) })
	defer stop.Stop()
	var status syscall.WaitStatus
	for {
		if _, err := syscall.Wait4(pid, &status, 0, nil); err != syscall.EINTR {
			return
		}
	}
}

func (h *house) types(tm *terminal, text string) {
	h.t.Helper()
	if _, err := io.WriteString(tm.stdin, text+"\n"); err != nil {
		h.t.Fatal(err)
	}
	h.shows(tm, "seen: "+text)
}

const saysBack = "while read line; do echo seen: $line; done"

func TestAnUpgradeCutsNobodyAndRevocationReachesThem(t *testing.T) {
	h := newHouse(t, settings{})
	h.know()
	grant := h.grant()
	oldest := h.sit("root@10.30.0.140", saysBack)
	h.types(oldest, "before both upgrades")
	session := h.live(1)[0].ID
	first, _ := h.upgrade()
	h.types(oldest, "after one")
	if _, err := h.tryInsided(); err == nil || !strings.Contains(err.Error(), "another insided") {
		t.Errorf("a second daemon: %v", err)
	}

	// New ones go to the new process, and all are seen; also when it is upgraded
	// in its turn.
	young := h.sit("admin@10.30.0.140", saysBack)
	h.types(young, "in the second")
	h.upgrade()
	youngest := h.sit("ideo@10.30.0.140", saysBack)
	h.types(youngest, "in the third")
	h.types(young, "after the second upgrade")
	h.types(oldest, "after the second upgrade")
	for _, s := range h.live(3) {
		if s.In == 0 || s.Out == 0 {
			t.Errorf("what it carries is not seen: %+v", s)
		}
	}
	if s := insideJSON[api.Status](h, "status"); s.Sessions != 3 || s.Draining == nil || s.Draining.Sessions != 2 || time.Until(s.Draining.Until) < 11*time.Hour {
		t.Errorf("status: %+v", s)
	}

	// What is revoked ends in all.
	began := time.Now()
	h.inside("grant", "revoke", grant)
	for _, tm := range []*terminal{oldest, young, youngest} {
		h.shows(tm, "your grant has been revoked")
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("the revocation took %s", took)
	}
	if s := h.ended(session); s.Cause != string(policy.GrantRevoked) {
		t.Errorf("ended: %+v", s)
	}
	<-first
	h.settled(1)
	for _, s := range insideJSON[[]api.Session](h, "sessions") {
		if s.Cause != string(policy.GrantRevoked) {
			t.Errorf("%+v", s)
		}
	}
}

// tryInsided starts a daemon beside the one that runs.
func (h *house) tryInsided() (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return h.Gateway.Run(ctx, filepath.Join(binaries, "insided"), "--config", h.config)
}

// settled waits until nothing drains, and checks that nothing is left of it.
func (h *house) settled(spools int) {
	h.t.Helper()
	h.until("nothing drains", func() bool { return insideJSON[api.Status](h, "status").Draining == nil })
	h.until("spools are taken up", func() bool {
		left, _ := filepath.Glob(filepath.Join(h.state, "spool*"))
		return len(left) == spools
	})
	h.inside("audit", "verify", "--recordings")
}

func TestASuccessorThatDoesNotComeUpChangesNothing(t *testing.T) {
	h := newHouse(t, settings{})
	h.know()
	h.grant()
	tm := h.sit("root@10.30.0.140", saysBack)
	h.types(tm, "before")
	session := h.live(1)[0].ID
	good, err := os.ReadFile(h.config)
	if err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", filepath.Join(h.state, "inside.db")+"?_busy_timeout=10000")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	do := func(statement string) func() {
		return func() {
			if _, err := db.Exec(statement); err != nil {
				t.Fatal(err)
			}
		}
	}
	inTheWay := filepath.Join(h.state, "guard.json.new")
	for _, c := range []struct {
		what, says   string
		break_, mend func()
	}{
		{"a broken configuration", `unknown key "intercept.othre"`,
			func() { h.change("other = ", "othre = ") }, func() { h.write(h.config, string(good)) }},
		{"a database of a newer version", "the database was made by a newer version: it has schema 999999, this one knows schemas up to",
			do("INSERT INTO schema_version (version, name) VALUES (999999, 'tomorrow')"), do("DELETE FROM schema_version WHERE version = 999999")},
		{"a failure after the rules were put in place", "keep the rules for the next boot",
			func() { os.Mkdir(inTheWay, 0o700) }, func() { os.Remove(inTheWay) }},
	} {
		c.break_()
		out, err := h.tryInside("upgrade")
		c.mend()
		if err == nil || !strings.Contains(out, "nothing has changed, the program that is installed now does not serve") || !strings.Contains(out, c.says) {
			t.Errorf("%s: %v\n%s", c.what, err, out)
		}
		h.types(tm, "after "+c.what)
		if r := h.ssh("admin@10.30.0.140", "echo", "let in"); r.stdout != "let in\n" {
			t.Errorf("%s: %+v", c.what, r)
		}
		repaired := h.numbers()["inside_rules_repaired_total"]
		if _, err := h.Gateway.Run(t.Context(), "nft", "flush", "ruleset"); err != nil {
			t.Fatal(err)
		}
		h.until("the rules are repaired after "+c.what, func() bool { return h.numbers()["inside_rules_repaired_total"] > repaired })
	}
	if live := h.live(1); live[0].ID != session {
		t.Errorf("another session: %+v", live)
	}

	// The next one does come up.
	h.upgrade()
	h.types(tm, "after an upgrade")
}

func TestWhoIsInTheProcessBeforeIsEndedByAdminsAndInTime(t *testing.T) {
	t.Parallel() // it waits most of its time
	h := newHouse(t, settings{more: "[upgrade]\nmax_drain = \"8s\"\n"})
	h.know()
	h.grant()
	sit := func(login string) (*terminal, string) {
		tm := h.sit(login+"@10.30.0.140", saysBack)
		h.types(tm, login)
		for _, s := range insideJSON[[]api.Session](h, "sessions", "--live") {
			if s.Login == login {
				return tm, s.ID
			}
		}
		t.Fatal("no session of " + login)
		return nil, ""
	}
	killed, killedID := sit("root")
	stays, staysID := sit("ideo")
	ended, _ := h.upgrade()

	h.inside("session", "kill", killedID)
	h.shows(killed, "ended by an administrator")
	if s := h.ended(killedID); s.Cause != string(policy.AdminEnded) {
		t.Errorf("killed: %+v", s)
	}
	h.types(stays, "still here")

	// Its time is short: they are told at once.
	h.shows(stays, "your session now ends in ")
	h.shows(stays, "because the gate was upgraded: connect again")
	<-ended
	h.shows(stays, "the gate was upgraded: connect again")
	if s := h.ended(staysID); s.Cause != string(policy.GateUpgraded) {
		t.Errorf("in time: %+v", s)
	}

	// And once more for a stay.
	old, oldID := sit("p.mojski")
	h.upgrade()
	_, youngID := sit("admin")
	h.inside("stay", "end", insideJSON[[]api.Stay](h, "stays")[0].ID)
	h.shows(old, "ended by an administrator")
	for _, id := range []string{oldID, youngID} {
		if s := h.ended(id); s.Cause != string(policy.AdminEnded) {
			t.Errorf("of the stay: %+v", s)
		}
	}
	h.settled(1)
}

func TestTheProcessBeforeCrashesOrHangs(t *testing.T) {
	for name, signal := range map[string]syscall.Signal{"crashes": syscall.SIGKILL, "hangs": syscall.SIGSTOP} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t, settings{})
			h.know()
			h.grant()
			old := h.sit("root@10.30.0.140", saysBack)
			h.types(old, "before")
			session := h.live(1)[0].ID
			ended, _ := h.upgrade()
			young := h.sit("ideo@10.30.0.140", saysBack)
			h.types(young, "in the new one")
			if err := h.daemon.Signal(signal); err != nil {
				t.Fatal(err)
			}
			<-ended
			if s := h.ended(session); s.Cause != string(policy.GateCrashed) || s.Recordings != 1 {
				t.Errorf("%+v", s)
			}
			h.types(young, "still here")
			h.live(1)
			h.settled(1)
		})
	}
}

func TestASuccessorThatDiesTakesTheProcessBeforeWithIt(t *testing.T) {
	h := newHouse(t, settings{})
	h.know()
	h.grant()
	old := h.sit("root@10.30.0.140", saysBack)
	h.types(old, "before")
	session := h.live(1)[0].ID
	ended, successor := h.upgrade()
	if err := syscall.Kill(successor, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-ended
	h.shows(old, "the gate is shutting down")
	h.start()
	if s := h.ended(session); s.Cause != string(policy.GateShutdown) {
		t.Errorf("%+v", s)
	}
	h.settled(1)
}
