package appliance

import (
	"context"
	"crypto/sha256"
	"slices"
	"strings"
	"time"

	"github.com/pawelmojski/inside/appliance/api"
	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/store"
)

const (
	tokenLasts   = 90 * 24 * time.Hour  // where no length is given
	tokenLongest = 366 * 24 * time.Hour // nobody remembers it afterwards
)

func (h *House) Tokens(ctx context.Context, f api.TokenFilter) ([]api.Token, error) {
	since := h.Now()
	if f.All {
		since = time.Time{}
	}
	tokens, err := h.Store.Tokens(ctx, since)
	if err != nil {
		return nil, asProblem(err, "")
	}
	wire := make([]api.Token, 0, len(tokens))
	for _, t := range tokens {
		wire = append(wire, wireToken(t, h.Now()))
	}
	return wire, nil
}

// CreateToken is the only moment at which the token exists outside of its
// holder's hands.
func (h *House) CreateToken(ctx context.Context, asked api.NewToken) (api.Token, error) {
	if asked.Role == "" {
		return api.Token{}, invalid("inside token --help says what each may do", "a token needs a role: %s", rolesInWords())
	}
	if !slices.Contains(api.Roles, asked.Role) {
		return api.Token{}, invalid("", "role %.40q: roles are %s", asked.Role, rolesInWords())
	}
	length := tokenLasts
	if asked.Expires != "" {
		var err error
		if length, err = policy.ParseDuration(asked.Expires); err != nil {
			return api.Token{}, invalid("", "expires: %v", err)
		}
	}
	if length > tokenLongest {
		return api.Token{}, invalid("make another one in time: inside token list shows when", "expires: a token lasts at most %s", policy.FormatDuration(tokenLongest))
	}
	secret, now := api.NewTokenText(), h.Now()
	t, err := h.Store.AddToken(ctx, api.By(ctx), store.Token{
		Name: asked.Name, Role: string(asked.Role), Hash: sha256.Sum256([]byte(secret)), Created: now, Expires: now.Add(length),
	})
	if err != nil {
		return api.Token{}, asProblem(err, "inside token list --all")
	}
	wire := wireToken(t, now)
	wire.Secret, wire.DefaultLength = secret, asked.Expires == ""
	return wire, h.acted(ctx)
}

func (h *House) RevokeToken(ctx context.Context, name string) (api.Token, error) {
	t, err := h.Store.RevokeToken(ctx, api.By(ctx), name, h.Now())
	if err != nil {
		return api.Token{}, asProblem(err, "inside token list")
	}
	return wireToken(t, h.Now()), h.acted(ctx)
}

func wireToken(t store.Token, now time.Time) api.Token {
	wire := api.Token{
		Name: t.Name, Role: api.Role(t.Role), Created: t.Created, By: t.By, Expires: t.Expires, Used: t.Used, Revoked: t.Revoked, State: api.TokenGood,
	}
	switch {
	case !t.Revoked.IsZero():
		wire.State = api.TokenRevoked
	case !now.Before(t.Expires):
		wire.State = api.TokenExpired
	}
	return wire
}

func rolesInWords() string {
	var words []string
	for _, r := range api.Roles {
		words = append(words, string(r))
	}
	return strings.Join(words, ", ")
}
