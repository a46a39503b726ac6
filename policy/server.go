package policy

import (
	"net/netip"
	"slices"
	"time"
)

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

	// Sensitive servers are entered by approved grants only. A server in a
	// sensitive group is sensitive too.
	Sensitive bool

	// NativeGraphics lets the graphics pipeline of RDP (MS-RDPEGFX) pass. A
	// server without it draws with bitmaps.
	NativeGraphics bool

	Maintenance *Maintenance // nil: none
	Version     int64        // the revision of the facts that changed it last
}

// Maintenance keeps everybody but a few out of a server for some time. Whoever
// is inside when it begins has until Clear to finish.
//
//	       From                    Clear                    Until
//	────────┼────────────────────────┼────────────────────────┼────────▶
//	entries │ refused                │ refused                │
//	sessions│ end at Clear           │ none                   │
type Maintenance struct {
	From   time.Time  // nobody new enters from then on
	Clear  time.Time  // sessions end then; not before From
	Until  time.Time  // it is over; zero: when an admin says so
	Exempt []PersonID // whom it does not concern
	Reason string
}

// bars tells what maintenance means for a person at a moment: that it keeps
// them out, or else when it will; zero is never.
func (m *Maintenance) bars(p PersonID, inside bool, now time.Time) (out bool, from time.Time) {
	switch {
	case m == nil, m.Over(now), slices.Contains(m.Exempt, p):
		return false, time.Time{}
	case !now.Before(m.Clear), !inside && !now.Before(m.From):
		return true, time.Time{}
	}
	return false, m.Clear
}

// Over reports whether maintenance has come to the end that was set for it.
func (m *Maintenance) Over(now time.Time) bool {
	return !m.Until.IsZero() && !now.Before(m.Until)
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
	Sensitive   bool      // of servers: each of them, however deep, needs approved grants
	Version     int64     // the revision of the facts that changed it last
}
