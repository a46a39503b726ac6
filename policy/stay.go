package policy

import (
	"net/netip"
	"time"
)

// StayID identifies a stay; people type it, so it is a short decimal number.
type StayID string

// SessionID identifies a session: 128 random bits or more, lower-case base32.
type SessionID string

// A Stay is the fact that a person is inside by a grant. It begins with the
// first entry and ends when the grant ends, is revoked, its window closes or
// an admin ends it:
//
//	            Enter (first)             Leave (last)
//	(nothing) ───────────────▶ present ───────────────▶ absent
//	                              ▲         Enter          │
//	                              └────────────────────────┘
//	present, absent ── expired · revoked · outside-schedule · admin ──▶ ended
//
// Whoever reads a stay without an end may conclude that the person is allowed
// inside, not that a session is live; Sessions says that.
type Stay struct {
	ID     StayID
	Person PersonID
	Grant  GrantID
	Start  time.Time
	End    time.Time // zero while it lasts
	Cause  EndCause

	Servers    []ServerID // that were entered, the first one first
	Sessions   int        // that rested on it, at some time
	Recordings int        // of those that have ended
}

// A Session is one connection within a stay; one that was let in though it
// would have been denied rests on none, and its Person and Server may be "".
type Session struct {
	ID       SessionID
	Stay     StayID
	Person   PersonID
	Server   ServerID
	Grant    GrantID
	Protocol Protocol
	Login    string
	Client   netip.AddrPort
	Identity Identity // how the person was known; zero: by the address of the client
	Dest     netip.AddrPort
	Gate     string // the gate that carries it
	Start    time.Time
	End      time.Time // zero while it lasts
	Cause    EndCause
	Waived   Denial    // why it would have been denied when it began, where nobody is yet
	Carried            // known when it has ended
	Removed  time.Time // when its recording was, because it was old; zero if it was not
}

// Carried is what went through a session.
type Carried struct {
	In, Out    int64 // bytes towards the server, towards the client
	Recordings int   // of its terminals
	Forwarding bool  // a port was forwarded
	Files      bool  // files were moved
}

// EndCause says why a session or a stay ended. It is an error so that a
// context can be cancelled with it.
type EndCause string

// The causes, each with a sentence for humans in its Error method.
const (
	ClientLeft       EndCause = "client-left"
	ServerLeft       EndCause = "server-left"
	GrantExpired     EndCause = "grant-expired"
	GrantRevoked     EndCause = "grant-revoked"
	ScheduleClosed   EndCause = "schedule-closed"
	ServerMaintained EndCause = "maintenance"
	Idle             EndCause = "idle" // nobody has used the session for the grant's idle time
	AdminEnded       EndCause = "ended-by-admin"
	NoLongerAllowed  EndCause = "no-longer-allowed" // person or server disabled, address removed, …
	RecordingFailed  EndCause = "recording-failed"
	GateShutdown     EndCause = "gate-shutdown"
	GateCrashed      EndCause = "gate-crashed"  // found open when the gate started again
	GateUpgraded     EndCause = "gate-upgraded" // as long as upgrade.max_drain allows
	Failed           EndCause = "failed"        // a protocol error on either side
)

// Error says the cause to the person, lower case, without a full stop. The
// stable token for tables is string(c).
func (c EndCause) Error() string {
	switch c {
	case ClientLeft:
		return "the client closed the connection"
	case ServerLeft:
		return "the server closed the connection"
	case GrantExpired:
		return "your grant has expired"
	case GrantRevoked:
		return "your grant has been revoked"
	case ScheduleClosed:
		return "the hours of your grant are over"
	case ServerMaintained:
		return "the server is under maintenance"
	case Idle:
		return "nobody has used the session for as long as your grant allows"
	case AdminEnded:
		return "ended by an administrator"
	case NoLongerAllowed:
		return "you are no longer allowed in"
	case RecordingFailed:
		return "the session can no longer be recorded"
	case GateShutdown:
		return "the gate is shutting down"
	case GateCrashed:
		return "the gate stopped without warning"
	case GateUpgraded:
		return "the gate was upgraded: connect again"
	case Failed:
		return "the connection failed"
	}
	return string(c)
}
