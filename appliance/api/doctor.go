package api

import (
	"context"
	"io"
	"net/http"
)

// A Doctor examines the gate and what stands around it.
type Doctor interface {
	// Examine says of each thing that people getting in depends on whether it
	// is well, and what would make it so.
	Examine(ctx context.Context, q Examination) ([]Check, error)
	// Goroutines are what the daemon does at this moment, for whoever looks for
	// why it hangs.
	Goroutines(ctx context.Context) (io.ReadCloser, error)
}

// An Examination says how thorough to be.
type Examination struct {
	Servers bool `query:"servers"` // dial the servers, too
}

// A Check is one thing that was looked at.
type Check struct {
	Name  string `json:"name"` // "forwarding"
	State string `json:"state"`
	Text  string `json:"text"`
	Hint  string `json:"hint"` // the command that makes it well, as far as there is one
}

// The states of a Check.
const (
	CheckOK      = "ok"
	CheckWarning = "warning"
	CheckFailed  = "failed"
)

var doctorRoutes = []route{
	{"GET", "/doctor", toWatch, ask(func(h House, r *http.Request, q Examination) ([]Check, error) {
		return h.Examine(r.Context(), q)
	})},
	{"GET", "/goroutines", toWatch, stream("text/plain", func(h House, r *http.Request, _ none) (io.ReadCloser, error) {
		return h.Goroutines(r.Context())
	})},
}

func (c *Client) Examine(ctx context.Context, q Examination) ([]Check, error) {
	return get[[]Check](ctx, c, path("doctor"), q)
}

func (c *Client) Goroutines(ctx context.Context) (io.ReadCloser, error) {
	return c.do(ctx, "GET", path("goroutines"), nil)
}
