package api

import (
	"context"
	"io"
	"net/http"
)

// Vitals are what monitoring asks for.
type Vitals interface {
	// Metrics are the numbers of the gate in the text format of Prometheus.
	Metrics(ctx context.Context) (io.ReadCloser, error)
	// Ready is nil where people can get in and are recorded, else a problem
	// that lists the parts which keep them out, and nothing about them: anybody
	// may ask.
	Ready(ctx context.Context) error
	// Stats counts what happened in the last 24 hours.
	Stats(ctx context.Context) (Stats, error)
	// Alerts are those there are, the newest first.
	Alerts(ctx context.Context, f AlertFilter) ([]Alert, error)
}

// Health is the answer of a daemon that serves, or that is ready.
type Health struct {
	OK bool `json:"ok"`
}

// vitalRoutes lie outside /api/v1, where monitoring looks for them.
var vitalRoutes = []route{
	{"GET", "/metrics", toLook, stream("text/plain; version=0.0.4; charset=utf-8", func(h House, r *http.Request, _ none) (io.ReadCloser, error) {
		return h.Metrics(r.Context())
	})},
	{"GET", "/healthz", toKnock, ask(func(House, *http.Request, none) (Health, error) {
		return Health{OK: true}, nil
	})},
	{"GET", "/readyz", toKnock, ask(func(h House, r *http.Request, _ none) (Health, error) {
		err := h.Ready(r.Context())
		return Health{OK: err == nil}, err
	})},
}

var alertRoutes = []route{
	{"GET", "/alerts", toLook, ask(func(h House, r *http.Request, f AlertFilter) ([]Alert, error) {
		return h.Alerts(r.Context(), f)
	})},
	{"GET", "/stats", toLook, ask(func(h House, r *http.Request, _ none) (Stats, error) {
		return h.Stats(r.Context())
	})},
}

// Stats implements Vitals.
func (c *Client) Stats(ctx context.Context) (Stats, error) {
	return get[Stats](ctx, c, path("stats"), none{})
}

// Alerts implements Vitals.
func (c *Client) Alerts(ctx context.Context, f AlertFilter) ([]Alert, error) {
	return get[[]Alert](ctx, c, path("alerts"), f)
}

// Metrics implements Vitals.
func (c *Client) Metrics(ctx context.Context) (io.ReadCloser, error) {
	return c.do(ctx, "GET", "/metrics", nil)
}

// Ready implements Vitals.
func (c *Client) Ready(ctx context.Context) error {
	_, err := get[Health](ctx, c, "/readyz", none{})
	return err
}

// A counter is a house that counts its calls.
type counter interface {
	// Answered notes the status a route was answered with. route is as it
	// stands in the table, "GET /api/v1/persons/{name}", or "" for none.
	Answered(route string, status int)
}

// counted tells the house of every call, where it wants to know.
func counted(h House, next http.Handler) http.Handler {
	counts, ok := h.(counter)
	if !ok {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen := &statusSeen{ResponseWriter: w, status: http.StatusOK}
		defer func() {
			route := r.Pattern // set by the mux
			if route == "/" {
				route = ""
			}
			counts.Answered(route, seen.status)
		}()
		next.ServeHTTP(seen, r)
	})
}

// statusSeen remembers the status of an answer.
type statusSeen struct {
	http.ResponseWriter
	status int
}

func (s *statusSeen) WriteHeader(status int) {
	s.status = status
	s.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController reach what is behind.
func (s *statusSeen) Unwrap() http.ResponseWriter { return s.ResponseWriter }
