package appliance

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pawelmojski/inside/appliance/api"
	pages "github.com/pawelmojski/inside/appliance/web"
	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/store"
)

// What is remembered of a day shows what a dashboard shows that looks at the
// day for the first time: whoever comes, leaves, is denied, and what was
// written down long after it happened.
func TestADashboardThatRemembersShowsTheDayAsItIs(t *testing.T) {
	h := newBusyHouse(t, 4, 12)
	signins := NewSignins(h.Store, time.Now, slog.New(slog.DiscardHandler))
	serve := func(p *pages.Pages) string {
		r := httptest.NewRequest(http.MethodGet, "http://127.0.0.1:5000/", nil)
		r.AddCookie(&http.Cookie{Name: "inside_signin", Value: h.secret})
		w := httptest.NewRecorder()
		p.ServeHTTP(w, r)
		if w.Code != http.StatusOK {
			t.Fatalf("%d: %s", w.Code, w.Body)
		}
		return w.Body.String()
	}
	fresh := func() *pages.Pages { return pages.New(t.Context(), api.NewLocalClient(t.Context(), h), signins) }
	remembers := fresh()
	before := serve(remembers)
	same := func(what string) {
		t.Helper()
		want := serve(fresh())
		got := serve(remembers)
		for again := serve(fresh()); again != want; again = serve(fresh()) { // a minute has passed
			want, got = again, serve(remembers)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", what, diff)
		}
		if got == before {
			t.Errorf("%s is not seen", what)
		}
		before = got
	}
	leave := func(se policy.Session, at time.Time) {
		t.Helper()
		if err := h.Store.Leave(t.Context(), se.ID, at, policy.ClientLeft, policy.Carried{}); err != nil {
			t.Fatal(err)
		}
		delete(h.gate.sessions, se.ID)
	}
	se := h.last[0]
	se.ID, se.Stay, se.Start = "", "", time.Now()
	if _, _, err := h.Store.Enter(t.Context(), se); err != nil {
		t.Fatal(err)
	}
	same("who comes")
	leave(h.last[1], time.Now())
	same("who leaves")
	if err := h.Store.Deny(t.Context(), store.Entry{Gate: "gate-1", Client: se.Client, Dest: se.Dest, Denial: policy.UnknownPerson}); err != nil {
		t.Fatal(err)
	}
	same("who is denied")
	if err := h.Store.EndStay(t.Context(), h.last[1].Stay, time.Now(), policy.ClientLeft); err != nil {
		t.Fatal(err)
	}
	same("a stay that ends")
	leave(h.last[2], h.last[2].Start.Add(time.Second))
	if err := h.Store.EndStay(t.Context(), h.last[2].Stay, h.last[2].Start.Add(time.Second), policy.ClientLeft); err != nil {
		t.Fatal(err)
	}
	same("an end that is written down late")
}

// Dashboards that are opened and pushed to at the same time share one memory.
func TestManyLookAtTheDashboardAtOnce(t *testing.T) {
	h := newBusyHouse(t, 4, 12)
	var looking sync.WaitGroup
	for range 8 {
		looking.Go(func() {
			for _, path := range []string{"/", "/live", "/"} {
				accept := "text/html"
				if path == "/live" {
					accept = "text/event-stream"
				}
				resp, err := h.ask(t.Context(), path, accept)
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := io.ReadFull(resp.Body, make([]byte, 500)); err != nil {
					t.Error(err)
				}
				resp.Body.Close()
			}
		})
	}
	looking.Wait()
}
