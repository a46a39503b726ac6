package api

import (
	"context"
	"net/http"
)

// Reloading has the daemon read its configuration again.
type Reloading interface {
	// Reload checks the file first: where it has a mistake nothing changes.
	Reload(ctx context.Context) (Reloaded, error)
}

// Reloaded is what came of reading the configuration again.
type Reloaded struct {
	Changed []string `json:"changed"` // keys that count now
	Restart []string `json:"restart"` // keys that are others now and count after a restart only
}

var reloadRoutes = []route{
	{"POST", "/reload", toChange, tell(func(h House, r *http.Request, _ none) (Reloaded, error) {
		return h.Reload(r.Context())
	})},
}

func (c *Client) Reload(ctx context.Context) (Reloaded, error) {
	return send[Reloaded](ctx, c, "POST", path("reload"), nil)
}
