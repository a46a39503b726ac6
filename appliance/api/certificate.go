package api

import (
	"context"
	"net/http"
	"time"
)

// A ServerCertificate is the RDP identity of a server at one address.
type ServerCertificate struct {
	Server  string           `json:"server"`
	Address string           `json:"address"` // with the port
	Gate    ShownCertificate `json:"gate"`    // what the gate shows to clients
	Pinned  []PublicKey      `json:"pinned"`  // what the server must show to the gate
	Removed int              `json:"removed,omitempty"`
}

// A ShownCertificate is one the gate shows, or signs with.
type ShownCertificate struct {
	Subject     string    `json:"subject"`
	Issuer      string    `json:"issuer"`
	Names       []string  `json:"names,omitempty"` // addresses and host names it is for
	Fingerprint string    `json:"fingerprint"`     // of its public key, as a pinned one has it
	SHA256      string    `json:"sha256"`          // of all of it, as RDP clients show it
	NotAfter    time.Time `json:"not_after"`
	Imported    bool      `json:"imported,omitempty"` // an admin gave it to the gate
	PEM         string    `json:"pem"`
}

// An ImportedCertificate is a server's own certificate, perhaps with those that
// signed it, and its private key without a passphrase, all in PEM.
type ImportedCertificate struct {
	Address     string `json:"address,omitempty"`
	Certificate string `json:"certificate"`
	PrivateKey  Secret `json:"private_key"`
}

// A TrustedCertificate is one whose key the server must show, in PEM.
type TrustedCertificate struct {
	Address     string `json:"address,omitempty"`
	Certificate string `json:"certificate"`
}

// A ForgottenCertificate says what is forgotten: what the server must show, or
// what the gate shows because it was imported.
type ForgottenCertificate struct {
	Address  string `json:"address,omitempty"`
	Imported bool   `json:"imported,omitempty"`
}

// Certificates are both sides of a server's RDP identity, and the authority
// that signs for the gate.
type Certificates interface {
	ServerCertificate(ctx context.Context, server string, q HostKeyFilter) (ServerCertificate, error)
	// ImportCertificate makes a server's own certificate the one the gate shows.
	ImportCertificate(ctx context.Context, server string, c ImportedCertificate) (ServerCertificate, error)
	// TrustCertificate pins the key of a certificate in place of the one that
	// was pinned.
	TrustCertificate(ctx context.Context, server string, c TrustedCertificate) (ServerCertificate, error)
	// ForgetCertificate unpins; the next key seen is pinned again. Or it undoes
	// ImportCertificate.
	ForgetCertificate(ctx context.Context, server string, c ForgottenCertificate) (ServerCertificate, error)

	// RDPAuthority signs the certificates the gate makes for servers.
	RDPAuthority(ctx context.Context) (ShownCertificate, error)
}

var certificateRoutes = []route{
	{"GET", "/servers/{name}/certificate", toLook, ask(func(h House, r *http.Request, f HostKeyFilter) (ServerCertificate, error) {
		return h.ServerCertificate(r.Context(), r.PathValue("name"), f)
	})},
	{"POST", "/servers/{name}/certificate/import", toChange, tell(func(h House, r *http.Request, c ImportedCertificate) (ServerCertificate, error) {
		defer clear(c.PrivateKey)
		return h.ImportCertificate(r.Context(), r.PathValue("name"), c)
	})},
	{"POST", "/servers/{name}/certificate/trust", toChange, tell(func(h House, r *http.Request, c TrustedCertificate) (ServerCertificate, error) {
		return h.TrustCertificate(r.Context(), r.PathValue("name"), c)
	})},
	{"POST", "/servers/{name}/certificate/forget", toChange, tell(func(h House, r *http.Request, c ForgottenCertificate) (ServerCertificate, error) {
		return h.ForgetCertificate(r.Context(), r.PathValue("name"), c)
	})},
	{"GET", "/ca/rdp", toLook, ask(func(h House, r *http.Request, _ none) (ShownCertificate, error) {
		return h.RDPAuthority(r.Context())
	})},
}

func (c *Client) ServerCertificate(ctx context.Context, server string, q HostKeyFilter) (ServerCertificate, error) {
	return get[ServerCertificate](ctx, c, path("servers", server, "certificate"), q)
}

func (c *Client) ImportCertificate(ctx context.Context, server string, i ImportedCertificate) (ServerCertificate, error) {
	return send[ServerCertificate](ctx, c, "POST", path("servers", server, "certificate", "import"), i)
}

func (c *Client) TrustCertificate(ctx context.Context, server string, t TrustedCertificate) (ServerCertificate, error) {
	return send[ServerCertificate](ctx, c, "POST", path("servers", server, "certificate", "trust"), t)
}

func (c *Client) ForgetCertificate(ctx context.Context, server string, f ForgottenCertificate) (ServerCertificate, error) {
	return send[ServerCertificate](ctx, c, "POST", path("servers", server, "certificate", "forget"), f)
}

func (c *Client) RDPAuthority(ctx context.Context) (ShownCertificate, error) {
	return get[ShownCertificate](ctx, c, path("ca", "rdp"), none{})
}
