package api

import (
	"context"
	"net/http"
	"time"
)

// A NamedAdmin signs in on the pages. What they may do is their role's.
type NamedAdmin struct {
	Name     string    `json:"name"`
	Role     Role      `json:"role"`
	Disabled bool      `json:"disabled"`
	Created  time.Time `json:"created"`
	By       string    `json:"by"`
	Used     time.Time `json:"used,omitzero"` // signed in last
	// OwnPassword says that nobody else has set their password. Until they
	// have, who did counts as the same pair of eyes where four are needed.
	OwnPassword bool `json:"own_password"`
}

// NewNamedAdmin asks for an admin.
type NewNamedAdmin struct {
	Name     string `json:"name"`
	Role     Role   `json:"role"`
	Password Secret `json:"password"`
}

// NewPassword is another password of an admin.
type NewPassword struct {
	Password Secret `json:"password"`
}

// AdminChange is another role of an admin ("": the same), and whether they may
// sign in.
type AdminChange struct {
	Role     Role `json:"role,omitempty"`
	Disabled bool `json:"disabled"`
}

// Admins are the people who sign in on the pages.
type Admins interface {
	Admins(ctx context.Context) ([]NamedAdmin, error)
	AddAdmin(ctx context.Context, a NewNamedAdmin) (NamedAdmin, error)
	// SetAdmin counts at once, for who is signed in too.
	SetAdmin(ctx context.Context, name string, c AdminChange) (NamedAdmin, error)
	// SetAdminPassword signs out whoever is signed in with the old one.
	SetAdminPassword(ctx context.Context, name string, p NewPassword) (NamedAdmin, error)
	RemoveAdmin(ctx context.Context, name string) (NamedAdmin, error)
}

var adminRoutes = []route{
	{"GET", "/admins", toLook, ask(func(h House, r *http.Request, _ none) ([]NamedAdmin, error) {
		return h.Admins(r.Context())
	})},
	{"POST", "/admins", toChange, tell(func(h House, r *http.Request, a NewNamedAdmin) (NamedAdmin, error) {
		defer clear(a.Password)
		return h.AddAdmin(r.Context(), a)
	})},
	{"PATCH", "/admins/{name}", toChange, tell(func(h House, r *http.Request, c AdminChange) (NamedAdmin, error) {
		return h.SetAdmin(r.Context(), r.PathValue("name"), c)
	})},
	{"POST", "/admins/{name}/password", toChange, tell(func(h House, r *http.Request, p NewPassword) (NamedAdmin, error) {
		defer clear(p.Password)
		return h.SetAdminPassword(r.Context(), r.PathValue("name"), p)
	})},
	{"DELETE", "/admins/{name}", toChange, tell(func(h House, r *http.Request, _ none) (NamedAdmin, error) {
		return h.RemoveAdmin(r.Context(), r.PathValue("name"))
	})},
}

func (c *Client) Admins(ctx context.Context) ([]NamedAdmin, error) {
	return get[[]NamedAdmin](ctx, c, path("admins"), none{})
}

func (c *Client) AddAdmin(ctx context.Context, a NewNamedAdmin) (NamedAdmin, error) {
	return send[NamedAdmin](ctx, c, "POST", path("admins"), a)
}

func (c *Client) SetAdmin(ctx context.Context, name string, ch AdminChange) (NamedAdmin, error) {
	return send[NamedAdmin](ctx, c, "PATCH", path("admins", name), ch)
}

func (c *Client) SetAdminPassword(ctx context.Context, name string, p NewPassword) (NamedAdmin, error) {
	return send[NamedAdmin](ctx, c, "POST", path("admins", name, "password"), p)
}

func (c *Client) RemoveAdmin(ctx context.Context, name string) (NamedAdmin, error) {
	return send[NamedAdmin](ctx, c, "DELETE", path("admins", name), nil)
}
