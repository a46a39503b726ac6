package main

import (
	"context"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pawelmojski/inside/appliance/api"
	"github.com/pawelmojski/inside/netfilter/nettest"
)

// In a network that only warns nobody is denied, everything is recorded, and
// the admin reads who would have been.
func TestANetworkThatWarnsDeniesNobodyAndSaysWhoWouldHaveBeen(t *testing.T) {
	h := emptyHouse(t, settings{})
	h.writeConfig(settings{})
	h.change("protect =", "warn =")
	h.before = "true"
	h.start()

	// A person whom nobody knows, on a server that nobody knows.
	stranger := h.sit("root@10.30.0.140", saysBack)
	h.types(stranger, "nobody knows me")
	first := h.live(1)[0]
	if first.Waived != "unknown-person" || first.Person != "" || first.Grant != "" || first.Stay != "" {
		t.Errorf("%+v", first)
	}
	if es := h.entries(1); !es[0].Allowed || es[0].Waived != "unknown-person" || es[0].Session != first.ID {
		t.Errorf("%+v", es)
	}
	for _, lists := range [][]string{{"entries"}, {"entries", "--warned"}, {"search", "10.30.0.140"}} {
		if out := h.inside(lists...); !strings.Contains(out, "warned: unknown-person") {
			t.Errorf("%v:\n%s", lists, out)
		}
	}
	if out := h.inside("entries", "--csv"); !strings.Contains(out, "unknown-person") {
		t.Error(out)
	}
	if out := h.inside("status"); !strings.Contains(out, "10.30.0.0/24: recorded, but nobody is denied") {
		t.Error(out)
	}
	if out, _ := h.tryInside("doctor"); !strings.Contains(out, "nobody is denied at 10.30.0.0/24, fd30::/64") {
		t.Error(out)
	}
	draft := h.inside("observe", "report")
	for _, want := range []string{"# warn 10.30.0.0/24\n", "denied now: unknown-person", "inside server add server-10.30.0.140", "inside person add person-10.50.0.2"} {
		if !strings.Contains(draft, want) {
			t.Errorf("no %q in\n%s", want, draft)
		}
	}

	// Somebody with a grant is inside by it as ever; when it ends, the session
	// does not.
	h.know()
	grant := h.grant()
	granted := h.sit("root@10.30.0.140", saysBack)
	h.types(granted, "by a grant")
	live := h.live(2)
	if live[0].Grant != grant || live[0].Waived != "" || live[0].Person != "p.mojski" {
		t.Errorf("%+v", live[0])
	}
	h.inside("grant", "revoke", grant)
	h.types(granted, "revoked, and here")
	h.types(stranger, "and so am I")
	h.until("the event is kept", func() bool {
		events, err := h.api().Events(context.Background(), live[0].ID)
		if err != nil {
			t.Fatal(err)
		}
		defer events.Close()
		text, err := io.ReadAll(events)
		return err == nil && strings.Contains(string(text), `"warned"`)
	})
	if out := h.inside("stays"); strings.Contains(out, "p.mojski") {
		t.Errorf("a stay outlives its grant:\n%s", out)
	}

	// Protected: whoever is there goes on, who comes is denied.
	h.change("warn =", "protect =")
	if out := h.inside("reload"); out != "in force: intercept.protect, intercept.warn\n" {
		t.Error(out)
	}
	h.types(granted, "protected now")
	h.types(stranger, "and I am here")
	if r := h.ssh("root@10.30.0.140", "true"); r.exit == 0 || r.asked || !strings.Contains(r.stderr, "revoked") {
		t.Errorf("somebody new: %+v", r)
	}
	// What is new speaks against them, too.
	h.inside("person", "disable", "p.mojski")
	h.closed(granted)
	h.closed(stranger)
	if s := h.ended(first.ID); s.Cause != "no-longer-allowed" || s.Waived != "unknown-person" {
		t.Errorf("%+v", s)
	}

	// It was all recorded, and the record is whole.
	out := filepath.Join(h.dir, "x.tar")
	h.inside("export", first.ID, out)
	if text := h.inside("play", first.ID, "--speed", "1000"); !strings.Contains(text, "seen: nobody knows me") {
		t.Errorf("the recording: %q", text)
	}
	if out := h.inside("audit", "verify"); !strings.Contains(out, "whole") && !strings.Contains(out, "ok") {
		t.Error(out)
	}
	if out := h.inside("person", "list"); strings.Count(out, "\n") != 2 {
		t.Errorf("persons:\n%s", out)
	}
	for _, noun := range []string{"server", "grant"} {
		all := insideJSON[[]map[string]any](h, noun, "list")
		if want := map[string]int{"server": 2, "grant": 1}[noun]; len(all) != want {
			t.Errorf("%d of %s: %v", len(all), noun, all)
		}
	}
}

// From the first look to the last, with a session that lives through each step.
func TestANetworkComesInStepByStep(t *testing.T) {
	h := emptyHouse(t, settings{})
	h.writeConfig(settings{})
	h.change("protect =", "observe =")
	h.before = "true"
	h.start()
	untouched := h.sit("root@10.30.0.140", saysBack)
	h.types(untouched, "observed")
	h.until("the key is learned", func() bool {
		seen := insideJSON[[]api.Acquaintance](h, "observe")
		return len(seen) == 1 && len(seen[0].Keys) == 1
	})
	h.runDraft(h.inside("observe", "report"))

	h.change("observe =", "warn =")
	h.inside("reload")
	h.types(untouched, "warned")
	h.write(filepath.Join(h.dir, "known_hosts"), "")
	known := h.sit("root@10.30.0.140", saysBack)
	h.types(known, "by the proposed grant")
	if live := h.live(1); live[0].Waived != "" || live[0].Person != "person-"+nettest.ClientIP4.String() {
		t.Errorf("%+v", live)
	}
	other := h.sit("root@"+nettest.BackendIP6.String(), saysBack)
	h.types(other, "nobody proposed me")
	h.live(2)

	h.change("warn =", "protect =")
	h.inside("reload")
	h.types(untouched, "protected")
	h.types(known, "protected, too")
	h.types(other, "and I am here")
	if r := h.ssh("root@"+nettest.BackendIP6.String(), "true"); r.exit == 0 || r.asked {
		t.Errorf("somebody new without a grant: %+v", r)
	}
	if r := h.ssh("root@10.30.0.140", "echo in"); r.stdout != "in\n" {
		t.Errorf("somebody new with the grant: %+v", r)
	}
}
