package api

import "time"

// A Server is a backend: one address, or a prefix full of them.
type Server struct {
	ID       string   `json:"id"`
	Name     string   `json:"name"`
	Address  string   `json:"address"`
	SSHPort  uint16   `json:"ssh_port,omitempty"` // 0: every intercepted one
	RDPPort  uint16   `json:"rdp_port,omitempty"`
	Disabled bool     `json:"disabled"`
	Groups   []string `json:"groups"`
	Version  int64    `json:"version"` // goes back with a change, see Switch

	Maintenance *Maintenance `json:"maintenance,omitempty"`

	Sensitive     bool `json:"sensitive,omitempty"`      // grants for it need approval
	NeedsApproval bool `json:"needs_approval,omitempty"` // as it is sensitive, or in a group or server that is

	RDPGraphics string `json:"rdp_graphics"` // GraphicsBitmaps or GraphicsNative

	Notes []string `json:"notes,omitempty"` // what the admin should know about the change
}

// NewServer asks for a server.
type NewServer struct {
	Name    string `json:"name"`
	Address string `json:"address"`
	SSHPort uint16 `json:"ssh_port,omitempty"`
	RDPPort uint16 `json:"rdp_port,omitempty"`

	RDPGraphics string `json:"rdp_graphics,omitempty"` // none: GraphicsBitmaps
}

// Maintenance of a server: nobody new enters from From on, and sessions end at
// Clear.
type Maintenance struct {
	From   time.Time `json:"from"`
	Clear  time.Time `json:"clear"`
	Until  time.Time `json:"until,omitzero"` // it is over then; none: when an admin says so
	Exempt []string  `json:"exempt"`         // names of persons it does not concern
	Reason string    `json:"reason,omitempty"`
	State  string    `json:"state"` // "announced", "clearing", "clear", "over"
}

// NewMaintenance asks for maintenance of a server, from now on. At most one of
// In and At; without them sessions have a quarter of an hour.
type NewMaintenance struct {
	Version int64     `json:"version"`      // of the server, see Switch
	In      string    `json:"in,omitempty"` // "30m": sessions end so much later; "0s": at once
	At      time.Time `json:"at,omitzero"`  // they end then
	Until   time.Time `json:"until,omitzero"`
	Exempt  []string  `json:"exempt,omitempty"` // names of persons
	Reason  string    `json:"reason,omitempty"`
	Off     bool      `json:"off,omitempty"` // end the maintenance; nothing else is given
}

// HostKeyFilter says which address of a server is meant: "10.0.0.7" or
// "10.0.0.7:22". It may be left out where the server is a single address.
type HostKeyFilter struct {
	Address string `json:"address,omitempty" query:"address"`
}

// A HostKeyList is the SSH identity of a server at one address.
type HostKeyList struct {
	Server  string      `json:"server"`
	Address string      `json:"address"` // with the port
	Gate    []PublicKey `json:"gate"`    // what the gate shows to clients
	Pinned  []PublicKey `json:"pinned"`  // what the server must show to the gate
	Removed int         `json:"removed,omitempty"`
}

// A PublicKey is one SSH host key.
type PublicKey struct {
	Type        string    `json:"type"`
	Fingerprint string    `json:"fingerprint"`
	Key         string    `json:"key"` // as in an authorized_keys file
	Pinned      time.Time `json:"pinned,omitzero"`
	By          string    `json:"by,omitempty"`
}

// An ImportedKey is a private host key in PEM, without a passphrase.
type ImportedKey struct {
	Address    string `json:"address,omitempty"`
	PrivateKey string `json:"private_key"`
}

// TrustedKeys are public keys as in a .pub file or as ssh-keyscan prints them.
type TrustedKeys struct {
	Address    string `json:"address,omitempty"`
	PublicKeys string `json:"public_keys"`
}
