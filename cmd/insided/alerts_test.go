package main

import (
	"context"
	"encoding/json"
	"iter"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/pawelmojski/inside/appliance/api"
	"github.com/pawelmojski/inside/netfilter/nettest"
)

// A pager is what an admin's webhook leads to, on the gateway.
type pager struct {
	mu     sync.Mutex
	alerts []api.Alert
}

func (p *pager) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var a api.Alert
	if err := json.NewDecoder(r.Body).Decode(&a); err != nil || r.Header.Get("Authorization") != "Bearer pager-token" {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.alerts = append(p.alerts, a)
}

// rang reports whether the pager was told that an alert began or ended.
func (p *pager) rang(kind string, ended bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.ContainsFunc(p.alerts, func(a api.Alert) bool { return a.Kind == kind && a.Gate == "gate-1" && a.End.IsZero() != ended })
}

func TestAlertsAreOnTheAPIInTheLogAndAtTheWebhook(t *testing.T) {
	t.Parallel() // it waits most of its time
	h := emptyHouse(t, settings{})
	l, err := h.Gateway.Listen("127.0.0.1:5999")
	if err != nil {
		t.Fatal(err)
	}
	pager := new(pager)
	server := &http.Server{Handler: pager}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	token := h.dir + "/pager-token"
	h.write(token, "pager-token\n")
	h.before = "true"
	h.writeConfig(settings{more: "[alerts]\nwebhook = \"http://127.0.0.1:5999/secret-path\"\nwebhook_token_file = \"" + token + "\"\n"})
	h.start()
	h.know()
	heard := h.hearAlerts()

	id := h.grant("--duration", "30m")
	h.until("the end of the grant is told", func() bool { return pager.rang(api.AlertGrantEnding, false) })
	if out := h.inside("alerts"); !strings.Contains(out, "grant-ending  grant "+id) || !strings.Contains(out, "p.mojski on test-ssh-server") {
		t.Errorf("inside alerts:\n%s", out)
	}
	h.inside("grant", "extend", id, "--by", "8h")
	h.until("the extension is told", func() bool { return pager.rang(api.AlertGrantEnding, true) })

	h.sshd.Stop()
	for range 3 {
		if r := h.ssh(at("ideo", nettest.BackendIP4), "true"); r.exit != 255 {
			t.Errorf("exit %d", r.exit)
		}
	}
	h.until("the server is told to be unreachable", func() bool { return pager.rang(api.AlertServerUnreachable, false) })
	if h.sshd, err = h.StartSSHD(nettest.SSHDOptions{Users: accounts("ideo")}); err != nil {
		t.Fatal(err)
	}
	h.ssh(at("ideo", nettest.BackendIP4), "true")
	h.until("the server is told to be reachable", func() bool { return pager.rang(api.AlertServerUnreachable, true) })

	if out, err := h.Gateway.Run(t.Context(), "nft", "flush", "ruleset"); err != nil {
		t.Fatal(err, out)
	}
	h.until("the repair is told", func() bool { return pager.rang(api.AlertRulesRepaired, false) })
	if out := h.inside("alerts", "--all"); !strings.Contains(out, "server-unreachable") || !strings.Contains(out, "rules-repaired") {
		t.Errorf("inside alerts --all:\n%s", out)
	}
	for _, word := range []string{"alert=grant-ending", "alert=server-unreachable", "alert=rules-repaired"} {
		if !strings.Contains(h.daemon.Output(), word) {
			t.Errorf("the log has no %s", word)
		}
	}
	for _, secret := range []string{"secret-path", "pager-token"} {
		if strings.Contains(strings.ReplaceAll(h.daemon.Output(), token, ""), secret) {
			t.Errorf("the log has the %s", secret)
		}
	}
	for _, kind := range []string{api.AlertGrantEnding, api.AlertGrantEnding, api.AlertServerUnreachable, api.AlertServerUnreachable, api.AlertRulesRepaired} {
		if got := heard(); got.Kind != kind {
			t.Errorf("the news tell of %+v, want %s", got, kind)
		}
	}
	if numbers := h.numbers(); numbers[`inside_alerts{kind="rules-repaired"}`] != 1 || numbers["inside_rules_repaired_total"] < 1 ||
		numbers[`inside_dial_seconds_count{result="failed"}`] < 3 {
		t.Errorf("the numbers say %v", numbers)
	}
}

// hearAlerts listens to the news and returns what gives the next alert.
func (h *house) hearAlerts() func() api.Alert {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 4*patience)
	h.t.Cleanup(cancel)
	news, err := h.api().News(ctx, api.NewsFilter{Kinds: api.NewsAlert})
	if err != nil {
		h.t.Fatal(err)
	}
	next, stop := iter.Pull2(news)
	h.t.Cleanup(stop)
	return func() (a api.Alert) {
		n, err, ok := next()
		if !ok || err != nil {
			h.t.Fatalf("the news end: %v", err)
		}
		if err := json.Unmarshal(n.Data, &a); err != nil {
			h.t.Fatal(err)
		}
		return a
	}
}
