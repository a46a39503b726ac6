package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/pawelmojski/inside/appliance/api"
)

// change edits the configuration.
func (h *house) change(pairs ...string) {
	h.t.Helper()
	text, err := os.ReadFile(h.config)
	if err != nil {
		h.t.Fatal(err)
	}
	changed := strings.NewReplacer(pairs...).Replace(string(text))
	if changed == string(text) {
		h.t.Fatalf("nothing of %q is in\n%s", pairs, text)
	}
	h.write(h.config, changed)
}

func (h *house) rules() string {
	h.t.Helper()
	out, err := h.Gateway.Run(h.t.Context(), "nft", "--stateless", "list", "table", "inet", "inside")
	if err != nil {
		h.t.Fatal(err)
	}
	return out
}

func TestTheConfigurationIsReadAgainAndWhoIsInsideStays(t *testing.T) {
	h := newHouse(t, settings{})
	h.know()
	h.grant()
	tm := h.sit("root@10.30.0.140", "while read line; do echo seen: $line; done")
	session := h.live(1)[0].ID

	h.change(`other = "forward"`, `other = "drop"`+"\nssh_ports = [22, 2222]", `listen = ""`, `listen = "127.0.0.1:5990"`)
	if out := h.inside("reload"); out != "in force: api.listen, intercept.other, intercept.ssh_ports\n" {
		t.Error(out)
	}
	if rules := h.rules(); !strings.Contains(rules, "2222") || !strings.Contains(rules, "other TCP ports are refused") {
		t.Errorf("the rules are not those of the file:\n%s", rules)
	}
	guard, err := os.ReadFile(filepath.Join(h.dir, "state", "guard.json"))
	if err != nil || !strings.Contains(string(guard), "2222") {
		t.Errorf("the guard of the next boot: %v\n%s", err, guard)
	}
	h.until("the port serves", func() bool {
		conn, err := h.Gateway.Dial(t.Context(), "127.0.0.1:5990")
		if err == nil {
			conn.Close()
		}
		return err == nil
	})

	// A mistake changes nothing.
	before := h.rules()
	good, err := os.ReadFile(h.config)
	if err != nil {
		t.Fatal(err)
	}
	h.change(`other = "drop"`, `othre = "drop"`)
	out, err := h.tryInside("reload")
	if err == nil || !strings.Contains(out, `unknown key "intercept.othre": did you mean intercept.other?`) || !strings.Contains(out, "hint: insided --check-config") {
		t.Errorf("%v\n%s", err, out)
	}
	if h.rules() != before {
		t.Error("the rules have changed")
	}

	// What needs a restart is named and does not count.
	h.write(h.config, string(good))
	h.change(`name = "gate-1"`, `name = "gate-2"`)
	if out := h.inside("reload"); !strings.Contains(out, "nothing changed that can change now\n") || !strings.Contains(out, "note: this counts after a restart only: gate.name; systemctl restart inside") {
		t.Error(out)
	}
	if s := insideJSON[api.Status](h, "status"); s.Gate != "gate-1" {
		t.Errorf("the gate is called %s", s.Gate)
	}

	// By the signal, too.
	h.change(`keep = "forever"`, `keep = "30d"`)
	if err := h.daemon.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	h.until("the change is in the record", func() bool {
		return strings.Contains(h.inside("audit", "list", "--action", "settings.change", "--json"), `30d`)
	})
	changes := h.inside("audit", "list", "--action", "settings.change", "--json")
	if !strings.Contains(changes, "as read again") || !strings.Contains(changes, "as read at the start") {
		t.Errorf("the record:\n%s", changes)
	}

	// Nobody has noticed.
	if live := h.live(1); live[0].ID != session {
		t.Errorf("another session: %+v", live)
	}
	if _, err := io.WriteString(tm.stdin, "still here\n"); err != nil {
		t.Fatal(err)
	}
	h.shows(tm, "seen: still here")
}
