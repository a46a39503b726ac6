package api

import (
	"context"
	"net/http"
	"time"
)

// NewTemplate asks for a template. Its fields are those of NewGrant, and what
// cannot be in a grant cannot be in a template. At most one of Duration and
// Permanent.
type NewTemplate struct {
	Name        string     `json:"name"`
	Protocols   []string   `json:"protocols,omitempty"`
	Logins      []string   `json:"logins,omitempty"`
	Forwarding  []string   `json:"forwarding,omitempty"`
	Redirection []string   `json:"redirection,omitempty"` // as in NewGrant
	Duration    string     `json:"duration,omitempty"`    // "8h", "14d"
	Permanent   bool       `json:"permanent,omitempty"`
	Schedules   []Schedule `json:"schedules,omitempty"`
	Idle        string     `json:"idle,omitempty"`         // "30m"
	MaxSessions int        `json:"max_sessions,omitempty"` // of one person at a time
	MaxEntries  string     `json:"max_entries,omitempty"`  // "10/h": of one person, in any minute (m), hour (h) or day (d)
	Renew       bool       `json:"renew,omitempty"`        // by Duration, of grants that take it from here
	Reason      string     `json:"reason,omitempty"`
}

// A Template is a named set of options of grants. A grant gets a copy when it
// is created: what becomes of the template later changes no grant.
type Template struct {
	NewTemplate
	Created   time.Time `json:"created"`
	CreatedBy string    `json:"created_by"`
}

// Templates are what grants are made by again and again; see NewGrant.
type Templates interface {
	Templates(ctx context.Context) ([]Template, error)
	Template(ctx context.Context, name string) (Template, error)
	CreateTemplate(ctx context.Context, t NewTemplate) (Template, error)
	RemoveTemplate(ctx context.Context, name string) (Template, error)
}

var templateRoutes = []route{
	{"GET", "/templates", toLook, ask(func(h House, r *http.Request, _ none) ([]Template, error) {
		return h.Templates(r.Context())
	})},
	{"POST", "/templates", toChange, tell(func(h House, r *http.Request, t NewTemplate) (Template, error) {
		return h.CreateTemplate(r.Context(), t)
	})},
	{"GET", "/templates/{name}", toLook, ask(func(h House, r *http.Request, _ none) (Template, error) {
		return h.Template(r.Context(), r.PathValue("name"))
	})},
	{"DELETE", "/templates/{name}", toChange, tell(func(h House, r *http.Request, _ none) (Template, error) {
		return h.RemoveTemplate(r.Context(), r.PathValue("name"))
	})},
}

func (c *Client) Templates(ctx context.Context) ([]Template, error) {
	return get[[]Template](ctx, c, path("templates"), none{})
}

func (c *Client) Template(ctx context.Context, name string) (Template, error) {
	return get[Template](ctx, c, path("templates", name), none{})
}

func (c *Client) CreateTemplate(ctx context.Context, t NewTemplate) (Template, error) {
	return send[Template](ctx, c, "POST", path("templates"), t)
}

func (c *Client) RemoveTemplate(ctx context.Context, name string) (Template, error) {
	return send[Template](ctx, c, "DELETE", path("templates", name), nil)
}
