package api

import (
	"context"
	"io"
	"net/http"
)

// Backups are copies of what the gate knows.
type Backups interface {
	// Dump is the database as it is now, as lines of JSON, the last of which
	// says how many rows there were. Keys are not in it: no token gets them.
	Dump(ctx context.Context) (io.ReadCloser, error)
}

const mediaLines = "application/jsonl"

var backupRoutes = []route{
	{"GET", "/dump", toChange, stream(mediaLines, func(h House, r *http.Request, _ none) (io.ReadCloser, error) {
		return h.Dump(r.Context())
	})},
}

func (c *Client) Dump(ctx context.Context) (io.ReadCloser, error) {
	return c.do(ctx, "GET", path("dump"), nil)
}
