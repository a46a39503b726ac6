package api

import (
	"context"
	"net/http"
	"time"
)

// The modes of a network behind the gate.
const (
	ModeProtect = "protect" // who has no grant is denied
	ModeWarn    = "warn"    // carried and recorded, nobody denied for want of a grant
	ModeObserve = "observe" // passes untouched, looked at from aside
)

// Observed tells of networks on their way in.
type Observed interface {
	// Acquaintances are who was seen to talk to whom in observed networks, the
	// last first.
	Acquaintances(ctx context.Context) ([]Acquaintance, error)
	// Proposals are what would have to be known for people to go on as they do
	// when their networks are protected.
	Proposals(ctx context.Context) (Proposals, error)
}

// An Acquaintance is an address of a person and one of a server that were seen
// to talk.
type Acquaintance struct {
	Person   string    `json:"person,omitempty"` // who is known by the address now
	From     string    `json:"from"`
	Server   string    `json:"server,omitempty"`
	To       string    `json:"to"`
	Protocol string    `json:"protocol"`
	Login    string    `json:"login,omitempty"` // that an RDP client named in clear
	Client   string    `json:"client,omitempty"`
	Serves   string    `json:"serves,omitempty"` // the server's version
	Keys     []string  `json:"keys"`             // fingerprints of the host keys it showed
	First    time.Time `json:"first"`
	Last     time.Time `json:"last"`
	Times    int       `json:"times"`
}

// Proposals are drafts for an admin, in the order in which they are carried out.
type Proposals struct {
	Networks []Network  `json:"networks"`
	Commands []Proposal `json:"commands"`
	Notes    []string   `json:"notes"`             // what only a human can settle
	Trouble  string     `json:"trouble,omitempty"` // why nothing is learned now
}

// A Network is a prefix behind the gate and what the gate does there.
type Network struct {
	Prefix string `json:"prefix"`
	Mode   string `json:"mode"`
}

// A Proposal is a command and why it is proposed.
type Proposal struct {
	For     string   `json:"for"` // "server", "host-key", "person", "grant"
	Why     string   `json:"why"`
	Command []string `json:"command"`
	Input   string   `json:"input,omitempty"` // for its standard input
}

var observedRoutes = []route{
	{"GET", "/observed", toLook, ask(func(h House, r *http.Request, _ none) ([]Acquaintance, error) {
		return h.Acquaintances(r.Context())
	})},
	{"GET", "/observed/report", toLook, ask(func(h House, r *http.Request, _ none) (Proposals, error) {
		return h.Proposals(r.Context())
	})},
}

func (c *Client) Acquaintances(ctx context.Context) ([]Acquaintance, error) {
	return get[[]Acquaintance](ctx, c, path("observed"), none{})
}

func (c *Client) Proposals(ctx context.Context) (Proposals, error) {
	return get[Proposals](ctx, c, path("observed", "report"), none{})
}
