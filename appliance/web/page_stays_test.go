package web_test

import (
	"fmt"
	"html"
	"net/http"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/pawelmojski/inside/appliance/api"
	"github.com/pawelmojski/inside/policy"
)

func TestTheStaysPageSaysWhoWasInside(t *testing.T) {
	h := newHouse(t, api.Status{})
	ctx := api.WithActor(t.Context(), api.Actor{Name: "admin:root", Role: api.Admin})
	did := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	v := visitorOf(t, h, api.Viewer)
	v.sees("/stays", "Nobody was inside as asked.")
	for i, name := range []string{"alice", "bob"} {
		address := fmt.Sprint("10.0.0.", i+1)
		did(h.AddPerson(ctx, api.NewPerson{Name: name, Addresses: []api.NewAddress{{Address: address}}}))
		did(h.AddServer(ctx, api.NewServer{Name: "db-of-" + name, Address: fmt.Sprint("10.30.0.", i+1)}))
		did(h.CreateGrant(ctx, api.NewGrant{Person: name, Server: "db-of-" + name, Duration: "8h"}))
	}
	enter := func(name, grant string) policy.Session {
		t.Helper()
		se, _, err := h.Store.Enter(ctx, policy.Session{
			Person: h.Book().PersonNamed(name).ID, Server: h.Book().ServerNamed("db-of-" + name).ID, Grant: policy.GrantID(grant), Protocol: policy.SSH, Login: "root",
			Client: netip.MustParseAddrPort("10.0.0.1:5000"), Dest: netip.MustParseAddrPort("10.30.0.1:22"), Gate: "gate-1", Start: time.Now(),
		})
		if err != nil {
			t.Fatal(err)
		}
		return se
	}
	for range 101 {
		gone := enter("alice", "1")
		if err := h.Store.Leave(ctx, gone.ID, time.Now(), policy.ClientLeft, policy.Carried{}); err != nil {
			t.Fatal(err)
		}
		if err := h.Store.EndStay(ctx, gone.Stay, time.Now(), policy.ClientLeft); err != nil {
			t.Fatal(err)
		}
	}
	enter("bob", "2")

	body := v.sees("/stays", `/persons/bob"`, `<b class="live">inside</b>`, `/persons/alice"`, `/api/v1/stays?all=true&format=csv`)
	if n := strings.Count(body, `<tr id="stay-`); n != 100 {
		t.Errorf("%d stays on the first page", n)
	}
	next := regexp.MustCompile(`<a href="([^"]*)">Older`).FindStringSubmatch(body)
	if next == nil {
		t.Fatal("no older page")
	}
	if older := v.sees(html.UnescapeString(next[1])); strings.Count(older, `<tr id="stay-`) != 2 || strings.Contains(older, "Older</a>") {
		t.Error("the older page is not the rest")
	}
	v.sees("/stays?now=true", `/persons/bob"`)
	v.seesNot("/stays?now=true", `/persons/alice"`)
	v.seesNot("/stays?server=db-of-bob", `/persons/alice"`)
	v.seesNot("/stays?person=alice", `/persons/bob"`)
	v.seesNot("/stays?now=true&from=2020-01-01&to=2020-02-01", `/persons/`)
	v.sees("/stays?from=2020-01-01T00:00:00Z", "from=2020-01-01T00%3A00%3A00Z")
	if body := v.does("GET", "/stays?person=nobody", http.StatusNotFound); !strings.Contains(body, `"nobody"`) {
		t.Errorf("somebody unknown: %s", body)
	}
	v.does("GET", "/stays?from=never", http.StatusUnprocessableEntity)
}
