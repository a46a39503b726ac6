package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pawelmojski/inside/appliance/api"
	"github.com/pawelmojski/inside/netfilter/nettest"
)

// sealed waits until so many sessions are sealed and returns the seals.
func (h *house) sealed(n int) []api.Change {
	h.t.Helper()
	var seals []api.Change
	h.until("sessions are sealed", func() bool {
		var err error
		if seals, err = h.api().AuditRows(context.Background(), api.AuditFilter{Action: "recording.sealed"}); err != nil {
			h.t.Fatal(err)
		}
		return len(seals) >= n
	})
	return seals
}

// whole wants a record in which nothing is wrong.
func (h *house) whole(args ...string) {
	h.t.Helper()
	if out := h.inside(append([]string{"audit", "verify", "--recordings"}, args...)...); !strings.Contains(out, "the record is whole") {
		h.t.Errorf("inside audit verify says\n%s", out)
	}
}

func TestASessionIsSealedSoThatWhoeverTouchesItIsFoundOut(t *testing.T) {
	h := newHouse(t, settings{})
	h.know()
	h.grant()
	if r := h.ssh("-tt", at("root", nettest.BackendIP4), "echo said in confidence"); r.exit != 0 {
		t.Fatalf("%+v", r)
	}
	seal := h.sealed(1)[0]
	if seal.By != "gate:gate-1" || !strings.Contains(string(seal.After), `"name":"0.cast"`) || !strings.Contains(string(seal.After), `"name":"events.jsonl"`) {
		t.Errorf("sealed was %+v: %s", seal, seal.After)
	}
	h.whole()
	head := h.inside("audit", "head")
	kept := filepath.Join(h.dir, "kept.json")
	h.write(kept, head)
	h.stop()
	h.start() // what is written at the end and at the start is part of the record
	h.whole("--head", kept)
	casts, err := filepath.Glob(filepath.Join(h.dir, "state", "recordings", "*", "*", "*", "*", "0.cast"))
	if err != nil || len(casts) != 1 {
		t.Fatalf("%q, %v", casts, err)
	}
	text, err := os.ReadFile(casts[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(casts[0], []byte(strings.Replace(string(text), "confidence", "conference", 1)), 0o640); err != nil {
		t.Fatal(err)
	}
	out, err := h.tryInside("audit", "verify", "--recordings")
	if err == nil || !strings.Contains(out, "0.cast is damaged at byte 0") {
		t.Errorf("a changed recording: %v\n%s", err, out)
	}
}

// The daemon is killed while somebody is inside and rows are written all the
// time, so that some are not signed yet and none of the files is at its end.
func TestARecordIsWholeAndSealedAfterTheDaemonWasKilled(t *testing.T) {
	h := newHouse(t, settings{})
	h.know()
	h.grant("--max-sessions", "1") // whose place a crash must not keep
	for round := range 2 {
		tm := h.sit(at("root", nettest.BackendIP4), "while :; do echo still here; sleep 0.01; done")
		h.shows(tm, "still here")
		se := h.live(1)[0]
		h.inside("person", "disable", "p.mojski") // this ends the session
		h.inside("person", "enable", "p.mojski")
		h.daemon.Kill()
		<-tm.done
		h.start()
		if ended := h.ended(se.ID); ended.Cause == "" {
			t.Errorf("session %s has no cause of its end", se.ID)
		}
		h.sealed(round + 1)
		h.whole()
	}
	tm := h.sit(at("root", nettest.BackendIP4), "while :; do echo still here; sleep 0.01; done")
	h.shows(tm, "still here")
	se := h.live(1)[0]
	h.daemon.Kill()
	<-tm.done
	h.start()
	if ended := h.ended(se.ID); ended.Cause != "gate-crashed" {
		t.Errorf("the session ended by %q", ended.Cause)
	}
	if seal := h.sealed(3)[0]; !strings.Contains(string(seal.After), `"recovered":true`) {
		t.Errorf("sealed was %s", seal.After)
	}
	h.whole()
	if r := h.ssh(at("root", nettest.BackendIP4), "true"); r.exit != 0 {
		t.Errorf("the crash kept the place of its session: exit %d\n%s", r.exit, r.stderr)
	}
}

// What is live began longer ago than recordings are kept here, too.
func TestTheGateRemovesWhatIsOlderThanItIsKept(t *testing.T) {
	h := newHouse(t, settings{keep: "1s"})
	h.know()
	h.grant()
	tm := h.sit(at("root", nettest.BackendIP4), "echo still here; cat")
	h.shows(tm, "still here")
	live := h.live(1)[0]
	if r := h.ssh("-tt", at("root", nettest.BackendIP4), "echo soon forgotten"); r.exit != 0 {
		t.Fatalf("%+v", r)
	}
	var row api.Change
	h.until("a recording is removed", func() bool {
		rows, err := h.api().AuditRows(context.Background(), api.AuditFilter{Action: "recording.removed"})
		if err != nil {
			t.Fatal(err)
		}
		if len(rows) > 0 {
			row = rows[0]
		}
		return len(rows) > 0
	})
	id := strings.TrimPrefix(row.Object, "session ")
	if row.By != "gate:gate-1" || row.Detail != "because recordings.keep = 1s" || id == live.ID {
		t.Errorf("the row is %+v", row)
	}
	h.until("its folder is gone", func() bool {
		dirs, err := filepath.Glob(filepath.Join(h.dir, "state", "recordings", "*", "*", "*", "*"))
		if err != nil {
			t.Fatal(err)
		}
		return len(dirs) == 1 && filepath.Base(dirs[0]) == live.ID
	})
	if out, err := h.tryInside("play", id); err == nil || !strings.Contains(out+err.Error(), "was removed on") {
		t.Errorf("inside play says %q, %v", out, err)
	}
	h.whole()
}
