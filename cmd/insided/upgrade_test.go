package main

import (
	"io"
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
	old := h.sit("root@10.30.0.140", saysBack)
	h.types(old, "before the upgrade")
	session := h.live(1)[0].ID
	ended, _ := h.upgrade()
	h.types(old, "after the upgrade")

	// New ones go to the new process, and both are seen.
	young := h.sit("admin@10.30.0.140", saysBack)
	h.types(young, "in the new one")
	for _, s := range h.live(2) {
		if s.In == 0 || s.Out == 0 {
			t.Errorf("what it carries is not seen: %+v", s)
		}
	}
	if s := insideJSON[api.Status](h, "status"); s.Sessions != 2 || s.Draining == nil || s.Draining.Sessions != 1 || time.Until(s.Draining.Until) < 11*time.Hour {
		t.Errorf("status: %+v", s)
	}
	select {
	case <-ended:
		t.Fatalf("the process before has ended:\n%s", h.daemon.Output())
	default:
	}

	// What is revoked ends in both, and is known to have when the command says so.
	began := time.Now()
	h.inside("grant", "revoke", grant)
	h.shows(old, "your grant has been revoked")
	h.shows(young, "your grant has been revoked")
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("the revocation took %s", took)
	}
	if s := h.ended(session); s.Cause != string(policy.GrantRevoked) {
		t.Errorf("ended: %+v", s)
	}
	<-ended
	h.until("nothing drains", func() bool { return insideJSON[api.Status](h, "status").Draining == nil })
	h.until("its spool is taken up", func() bool {
		left, _ := filepath.Glob(filepath.Join(h.state, "spool*"))
		return len(left) == 1
	})
	for _, s := range insideJSON[[]api.Session](h, "sessions") {
		if s.Cause != string(policy.GrantRevoked) {
			t.Errorf("%+v", s)
		}
	}
	h.inside("audit", "verify", "--recordings")
}
