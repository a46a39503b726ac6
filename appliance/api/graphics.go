package api

import (
	"context"
	"net/http"
)

// What a server draws with over RDP.
const (
	GraphicsBitmaps = "bitmaps" // updates that the gate decodes: everything can be watched live and filmed
	GraphicsNative  = "native"  // the server's graphics pipeline, as far as it can be recorded
)

// Graphics asks for what a server draws with over RDP. Version is that of the
// server, see Switch.
type Graphics struct {
	Version     int64  `json:"version"`
	RDPGraphics string `json:"rdp_graphics"`
}

// Displays is what servers draw with.
type Displays interface {
	// SetServerGraphics counts for sessions that begin from then on.
	SetServerGraphics(ctx context.Context, name string, g Graphics) (Server, error)
}

var graphicsRoutes = []route{
	{"PATCH", "/servers/{name}/graphics", toChange, tell(func(h House, r *http.Request, g Graphics) (Server, error) {
		return h.SetServerGraphics(r.Context(), r.PathValue("name"), g)
	})},
}

func (c *Client) SetServerGraphics(ctx context.Context, name string, g Graphics) (Server, error) {
	return send[Server](ctx, c, "PATCH", path("servers", name, "graphics"), g)
}
