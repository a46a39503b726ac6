package api

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
)

func TestMonitoringIsAnswered(t *testing.T) {
	h := new(stub)
	client := NewClient(serve(t, h))
	body, err := client.Metrics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	if text, err := io.ReadAll(body); err != nil || string(text) != "line\n" {
		t.Errorf("%q, %v", text, err)
	}
	if err := client.Ready(t.Context()); err != nil {
		t.Error(err)
	}
	h.fail = NewProblem(CodeUnavailable, "not ready: rules, doors", "")
	var p *Problem
	if err := client.Ready(t.Context()); !errors.As(err, &p) || p.Status != http.StatusServiceUnavailable || p.Detail != "not ready: rules, doors" {
		t.Errorf("a gate that is not ready answers %v", err)
	}
}

func TestWhetherTheGateServesIsNoSecretAndItsNumbersAre(t *testing.T) {
	for path, want := range map[string]int{"/healthz": 200, "/readyz": 200, "/metrics": 403, "/api/v1/status": 403} {
		w := httptest.NewRecorder()
		r := httptest.NewRequest("GET", "http://inside"+path, nil)
		NewHandler(t.Context(), new(stub)).ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("a stranger asks %s: %d, want %d", path, w.Code, want)
		}
	}
}

// A tally is a stub that counts.
type tally struct {
	stub
	mu    sync.Mutex
	calls []string
}

func (c *tally) Answered(route string, status int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls = append(c.calls, route+" "+http.StatusText(status))
}

func TestEveryCallIsCountedByItsRoute(t *testing.T) {
	h := new(tally)
	handler := NewHandler(t.Context(), h)
	for _, target := range []string{"http://inside/healthz", "http://inside/api/v1/persons/" + strings.Repeat("x", 100), "http://inside/nowhere", "http://evil/healthz"} {
		handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", target, nil))
	}
	want := []string{"GET /healthz OK", "GET /api/v1/persons/{name} Forbidden", " Not Found", " Misdirected Request"}
	if !slices.Equal(h.calls, want) {
		t.Errorf("%q, want %q", h.calls, want)
	}
}
