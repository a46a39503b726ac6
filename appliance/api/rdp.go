package api

import (
	"context"
	"net/http"
	"time"
)

// RDPLooks look at servers of RDP.
type RDPLooks interface {
	// LookAtRDP has the gate ask a server which security it takes.
	LookAtRDP(ctx context.Context, server string, f HostKeyFilter) (RDPLook, error)
}

// An RDPLook is what a server of RDP says to somebody who only looks, and what
// the gate can do with it.
type RDPLook struct {
	Server      string       `json:"server"`
	Address     string       `json:"address"`
	Usable      bool         `json:"usable"`         // somebody can get in
	Takes       []string     `json:"takes"`          // "tls", "nla", "nla-ex", "rdstls", "standard"
	Insists     bool         `json:"insists_on_nla"` // it takes nobody without
	TLS         string       `json:"tls,omitempty"`  // the version
	CredSSP     int          `json:"credssp,omitempty"`
	Certificate *Certificate `json:"certificate,omitempty"`
	Advice      []string     `json:"advice"`
	Trouble     []string     `json:"trouble,omitempty"` // what did not work
}

// A Certificate is what a server showed.
type Certificate struct {
	Subject     string    `json:"subject"`
	Until       time.Time `json:"until"`
	Fingerprint string    `json:"fingerprint"` // of all of it, as Windows tells it
	Key         string    `json:"key"`         // of its public key, which is what is pinned
	Pinned      string    `json:"pinned"`      // "yes", "no": the next session pins it, "changed": nobody gets in
}

var rdpRoutes = []route{
	{"GET", "/servers/{name}/rdp", toWatch, ask(func(h House, r *http.Request, f HostKeyFilter) (RDPLook, error) {
		return h.LookAtRDP(r.Context(), r.PathValue("name"), f)
	})},
}

func (c *Client) LookAtRDP(ctx context.Context, server string, f HostKeyFilter) (RDPLook, error) {
	return get[RDPLook](ctx, c, path("servers", server, "rdp"), f)
}
