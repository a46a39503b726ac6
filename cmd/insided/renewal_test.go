package main

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pawelmojski/inside/appliance/api"
	"github.com/pawelmojski/inside/netfilter/nettest"
)

// A grant made by a template that renews itself: who is inside when it would
// have ended stays, and hears nothing of it.
func TestASessionLivesOverTheEndOfAGrantThatRenewsItself(t *testing.T) {
	t.Parallel() // it waits most of its time
	h := newHouse(t, settings{})
	h.know()
	h.inside("template", "create", "shift", "--duration", "1h", "--renew", "--ssh-login", "ideo", "--max-entries", "2/h")
	grant := h.grant("--template", "shift")
	server := at("ideo", nettest.BackendIP4)
	tm := h.sit(server, "echo ready; cat")
	h.shows(tm, "ready")
	if r := h.ssh(at("admin", nettest.BackendIP4), "true"); r.exit != 255 || r.asked || h.entries(2)[0].Denial != "login" {
		t.Errorf("another login than the template's: exit %d, asked %v\n%s", r.exit, r.asked, r.stderr)
	}

	end := h.age(grant, 10*time.Second)
	h.inside("person", "add", "somebody") // with any change grants are looked at
	renewed := func() api.Grant { return insideJSON[api.Grant](h, "grant", "show", grant) }
	h.until("the grant is renewed", func() bool { return renewed().End.After(end) })
	if got, want := renewed().End, end.Add(time.Hour); !got.Equal(want) {
		t.Errorf("it ends at %s, want %s", got, want)
	}
	time.Sleep(time.Until(end.Add(time.Second)))
	fmt.Fprintln(tm.stdin, "still inside")
	h.shows(tm, "still inside")
	if s := h.live(1)[0]; s.Grant != grant {
		t.Errorf("the session is under %s", s.Grant)
	}
	if strings.Contains(tm.text(), "1 minute") {
		t.Errorf("somebody who stays was warned: %q", tail(tm.text()))
	}
	if r := h.ssh(server, "true"); r.exit != 0 {
		t.Errorf("after the renewal: exit %d\n%s", r.exit, r.stderr)
	}
	if r := h.ssh(server, "true"); r.exit != 255 || h.entries(4)[0].Denial != "too-many-entries" {
		t.Errorf("one more than the template allows: exit %d\n%s", r.exit, r.stderr)
	}
	if rows := h.audit("grant.renew"); len(rows) != 1 || rows[0].By != "gate:gate-1" {
		t.Errorf("audit says %+v", rows)
	}
}

// age moves a grant of an hour in time, so that so much is left, and returns its
// end. The gate sees it with the next change.
func (h *house) age(grant string, left time.Duration) (end time.Time) {
	h.t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(h.dir, "state", "inside.db")+"?_pragma=busy_timeout(10000)")
	if err != nil {
		h.t.Fatal(err)
	}
	defer db.Close()
	end = time.Now().Add(left).Truncate(time.Second)
	if _, err := db.ExecContext(context.Background(), "UPDATE grants SET starts = $1, ends = $2, version = (SELECT n + 1 FROM counters WHERE name = 'revision') WHERE id = $3",
		end.Add(-time.Hour).UnixMicro(), end.UnixMicro(), grant); err != nil {
		h.t.Fatal(err)
	}
	return end
}
