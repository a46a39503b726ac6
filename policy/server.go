package policy

import "net/netip"

// ServerID identifies a server for as long as the database lives.
type ServerID string

// A Server is a backend people want to reach. Its prefix may hold many
// hosts, so that a machine cloned tomorrow is covered today; where prefixes
// of servers overlap, the longest one that holds the destination is meant.
type Server struct {
	ID       ServerID
	Name     string
	Prefix   netip.Prefix
	SSHPort  uint16 // 0: every intercepted SSH port is this server's SSH
	RDPPort  uint16 // 0: every intercepted RDP port is this server's RDP
	Disabled bool
}

// GroupID identifies a group of persons or of servers.
type GroupID string

// A Group is a set of servers or a set of persons, never both: Facts keeps
// the two kinds apart. Groups nest; a member may be in many groups.
type Group struct {
	ID          GroupID
	Name        string
	Description string
	Members     []string  // PersonIDs or ServerIDs, by the kind of the group
	Groups      []GroupID // groups of the same kind inside this one
}
