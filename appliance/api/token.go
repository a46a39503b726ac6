package api

import (
	"context"
	"net/http"
	"time"
)

// A Token lets a program use the API on the port. Secret is in the answer to
// its making and nowhere else: the gate keeps a hash.
type Token struct {
	Name    string    `json:"name"`
	Role    Role      `json:"role"`
	Created time.Time `json:"created"`
	By      string    `json:"by"`
	Expires time.Time `json:"expires"`
	Used    time.Time `json:"used,omitzero"` // last, to the minute
	Revoked time.Time `json:"revoked,omitzero"`
	State   string    `json:"state"` // good, expired or revoked

	Secret        string `json:"secret,omitempty"`
	DefaultLength bool   `json:"default_length,omitempty"` // no length was given
}

// States of a token.
const (
	TokenGood    = "good"
	TokenExpired = "expired"
	TokenRevoked = "revoked"
)

// NewToken asks for a token.
type NewToken struct {
	Name    string `json:"name"`
	Role    Role   `json:"role"`
	Expires string `json:"expires,omitempty"` // a duration, "30d"; "": 90d
}

// TokenFilter limits a list of tokens.
type TokenFilter struct {
	All bool `query:"all"` // revoked ones too
}

// Tokens let programs use the API.
type Tokens interface {
	Tokens(ctx context.Context, f TokenFilter) ([]Token, error)
	CreateToken(ctx context.Context, t NewToken) (Token, error)
	// RevokeToken makes a token useless; what it streams ends at once.
	RevokeToken(ctx context.Context, name string) (Token, error)
}

var tokenRoutes = []route{
	{"GET", "/tokens", toLook, ask(func(h House, r *http.Request, f TokenFilter) ([]Token, error) {
		return h.Tokens(r.Context(), f)
	})},
	{"POST", "/tokens", toChange, tell(func(h House, r *http.Request, t NewToken) (Token, error) {
		return h.CreateToken(r.Context(), t)
	})},
	{"POST", "/tokens/{name}/revoke", toChange, tell(func(h House, r *http.Request, _ none) (Token, error) {
		return h.RevokeToken(r.Context(), r.PathValue("name"))
	})},
}

func (c *Client) Tokens(ctx context.Context, f TokenFilter) ([]Token, error) {
	return get[[]Token](ctx, c, path("tokens"), f)
}

func (c *Client) CreateToken(ctx context.Context, t NewToken) (Token, error) {
	return send[Token](ctx, c, "POST", path("tokens"), t)
}

func (c *Client) RevokeToken(ctx context.Context, name string) (Token, error) {
	return send[Token](ctx, c, "POST", path("tokens", name, "revoke"), nil)
}
