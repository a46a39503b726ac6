package policy

// A Denial is why an entry was refused: a stable token for tables, metrics
// and problem bodies. The empty Denial means allowed.
type Denial string

// The closed set, in the order of the way: a later one is a nearer miss.
const (
	UnknownPerson       Denial = "unknown-person"
	Unidentified        Denial = "unidentified"     // the network that knows who comes did not say
	AmbiguousPerson     Denial = "ambiguous-person" // two persons have this address, or this account
	PersonDisabled      Denial = "person-disabled"
	ForbiddenDest       Denial = "forbidden-destination" // the gate itself, loopback, multicast, metadata
	UnknownServer       Denial = "unknown-server"
	ServerDisabled      Denial = "server-disabled"
	NoGrant             Denial = "no-grant"
	WrongProtocol       Denial = "protocol"
	WrongSource         Denial = "source-address"
	WrongLogin          Denial = "login"
	NotApproved         Denial = "not-approved" // the server is sensitive
	NotYet              Denial = "not-yet"
	OutsideSchedule     Denial = "outside-schedule"
	Expired             Denial = "expired"
	Revoked             Denial = "revoked"
	UnderMaintenance    Denial = "maintenance"
	TooManySessions     Denial = "too-many-sessions"
	TooManyEntries      Denial = "too-many-entries"
	NoForwarding        Denial = "forwarding"
	RecorderUnavailable Denial = "recorder-unavailable"
	LedgerUnavailable   Denial = "ledger-unavailable" // the entry could not be written down
	ServerUnreachable   Denial = "server-unreachable"
	HostKeyChanged      Denial = "host-key-changed"
	NotAuthenticated    Denial = "not-authenticated" // the server did not accept the person's credentials
	NotServed           Denial = "not-served"        // this gate cannot carry the protocol yet
	ProtocolError       Denial = "protocol-error"    // what the client or server said is not the protocol
)

// denials is the closed set in its order, each with its sentence.
var denials = [...]struct {
	denial   Denial
	sentence string
}{
	{UnknownPerson, "nobody is known by your address"},
	{Unidentified, "who you are cannot be found out now"},
	{AmbiguousPerson, "more than one person is known by your address"},
	{PersonDisabled, "your access is disabled"},
	{ForbiddenDest, "this address cannot be reached through the gate"},
	{UnknownServer, "no server is known by this address"},
	{ServerDisabled, "this server is disabled"},
	{NoGrant, "you have no grant for this server"},
	{WrongProtocol, "no grant of yours covers this protocol on this server"},
	{WrongSource, "your grant for this server does not hold from the address you come from"},
	{WrongLogin, "your grant for this server does not cover this login"},
	{NotApproved, "your grant for this server waits for approval"},
	{NotYet, "your grant for this server has not begun yet"},
	{OutsideSchedule, "your grant for this server does not hold at this hour"},
	{Expired, "your grant for this server has expired"},
	{Revoked, "your grant for this server has been revoked"},
	{UnderMaintenance, "this server is under maintenance"},
	{TooManySessions, "as many sessions are open as your grant for this server allows at a time"},
	{TooManyEntries, "your grant for this server allows no more entries for now"},
	{NoForwarding, "your grant for this server does not allow this port forwarding"},
	{RecorderUnavailable, "your session cannot be recorded, so nobody is let in now"},
	{LedgerUnavailable, "your entry cannot be written down, so nobody is let in now"},
	{ServerUnreachable, "the server cannot be reached"},
	{HostKeyChanged, "the server does not show the host key it is known by"},
	{NotAuthenticated, "the server did not accept your credentials"},
	{NotServed, "this gate does not carry the protocol"},
	{ProtocolError, "what was said on the connection is not the protocol"},
}

// Denials returns the closed set in its order.
func Denials() []Denial {
	all := make([]Denial, len(denials))
	for i, d := range denials {
		all[i] = d.denial
	}
	return all
}

// rank is the place of a denial in the order: the higher, the nearer a miss.
func (d Denial) rank() int {
	for i := range denials {
		if denials[i].denial == d {
			return i
		}
	}
	return -1
}

// Sentence says the denial to a human, lower case, without a full stop:
// "your grant for this server has expired". It is "" for no denial.
func (d Denial) Sentence() string {
	if i := d.rank(); i >= 0 {
		return denials[i].sentence
	}
	return string(d)
}
