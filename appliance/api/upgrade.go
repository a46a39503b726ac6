package api

import (
	"context"
	"net/http"
	"time"
)

// Upgrading has the program that is installed now take over from the one that
// serves.
type Upgrading interface {
	// Upgrade returns when the new one serves; where it does not, nothing
	// changes. Whoever is inside stays, in the process before.
	Upgrade(ctx context.Context) (Upgraded, error)
}

// Upgraded is what came of an upgrade.
type Upgraded struct {
	Sessions     int       `json:"sessions"`     // that go on in the process before
	Until        time.Time `json:"until"`        // the last of them ends then at the latest
	Milliseconds int64     `json:"milliseconds"` // it took
}

var upgradeRoutes = []route{
	{"POST", "/upgrade", toChange, tell(func(h House, r *http.Request, _ none) (Upgraded, error) {
		return h.Upgrade(r.Context())
	})},
}

func (c *Client) Upgrade(ctx context.Context) (Upgraded, error) {
	return send[Upgraded](ctx, c, "POST", path("upgrade"), nil)
}
