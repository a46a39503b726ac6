package policy

import (
	"fmt"
	"net/netip"
	"time"
)

// GrantID identifies a grant; people type it, so it is a short decimal
// number, given once and never again.
type GrantID string

// A Protocol is a way in.
type Protocol string

// The protocols a grant can name.
const (
	SSH  Protocol = "ssh"
	RDP  Protocol = "rdp"
	HTTP Protocol = "http"
)

// Forwarding is a set of port forwarding directions.
type Forwarding uint8

// Local is `ssh -L`, Remote is `ssh -R`, Dynamic is `ssh -D`. On the wire -L
// and -D are both direct-tcpip channels; see sshentry for how they are told
// apart.
const (
	Local Forwarding = 1 << iota
	Remote
	Dynamic
)

// AllForwarding is every direction.
const AllForwarding = Local | Remote | Dynamic

var forwardingNames = []string{"local", "remote", "dynamic"} // by bit

// String returns the directions as ParseForwarding reads them, "none" for the
// empty set.
func (f Forwarding) String() string { return namesIn(f, forwardingNames) }

// ParseForwarding reads "local,remote,dynamic", any of them, or "none".
func ParseForwarding(s string) (Forwarding, error) {
	f, bad, ok := setOf[Forwarding](s, forwardingNames)
	if !ok {
		return 0, fmt.Errorf("%.40q is no direction of port forwarding: use local, remote, dynamic or none", bad)
	}
	return f, nil
}

// A Grant is one permission: who, where, how, how long and when.
type Grant struct {
	ID GrantID

	// Who: exactly one of the two is set.
	Person      PersonID
	PersonGroup GroupID

	// Where: exactly one of the two is set.
	Server      ServerID
	ServerGroup GroupID

	// How. Empty slices and a zero prefix limit nothing.
	Protocols  []Protocol
	Logins     []string     // compared exactly
	From       netip.Prefix // only from here, among the person's addresses
	Forwarding Forwarding   // nothing is forwarded unless it is listed

	// What RDP may reach of the person's machine: nothing that is not listed.
	Redirection Redirection

	// How long: [Start, End); a zero End is a permanent grant.
	Start time.Time
	End   time.Time

	// When: inside any of the schedules; none means always.
	Schedules []Schedule

	Reason  string
	Revoked time.Time // zero: not revoked

	Created   time.Time
	CreatedBy string
	Version   int64 // the revision of the facts that changed it last

	// How much. The book does not judge by these, since it knows no sessions:
	// the gate measures the first, the store counts the others.
	Idle        time.Duration // a session nobody has used for so long ends; 0: never
	MaxSessions int           // open at a time for each person the grant is for; 0: any number
	MaxEntries  Rate          // of each such person, over all gates; zero: any number

	// How it goes on. The book does not judge by these either: the gate moves
	// End, in the facts, before it comes.
	Renew   time.Duration // by how much, near its end, as long as it is used; 0: it ends
	Renewed time.Time     // when that was done last; zero: never

	// Four eyes. A grant without approval does not serve for sensitive servers.
	Approved   time.Time // zero: by nobody since it was made or extended
	ApprovedBy string
	Authors    []string // who made it and extended it: none of them approves it
}
