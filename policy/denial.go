package policy

// A Denial is why an entry was refused: a stable token for tables, metrics
// and problem bodies. The empty Denial means allowed.
type Denial string

// The closed set, in the order of the way: a later one is a nearer miss.
const (
	UnknownPerson       Denial = "unknown-person"
	AmbiguousPerson     Denial = "ambiguous-person" // two persons have this address
	PersonDisabled      Denial = "person-disabled"
	ForbiddenDest       Denial = "forbidden-destination" // the gate itself, loopback, multicast, metadata
	UnknownServer       Denial = "unknown-server"
	ServerDisabled      Denial = "server-disabled"
	NoGrant             Denial = "no-grant"
	WrongProtocol       Denial = "protocol"
	WrongSource         Denial = "source-address"
	WrongLogin          Denial = "login"
	NotYet              Denial = "not-yet"
	OutsideSchedule     Denial = "outside-schedule"
	Expired             Denial = "expired"
	Revoked             Denial = "revoked"
	NoForwarding        Denial = "forwarding"
	RecorderUnavailable Denial = "recorder-unavailable"
	LedgerUnavailable   Denial = "ledger-unavailable" // the entry could not be written down
	ServerUnreachable   Denial = "server-unreachable"
	HostKeyChanged      Denial = "host-key-changed"
	NotAuthenticated    Denial = "not-authenticated" // the server did not accept the person's credentials
	NotServed           Denial = "not-served"        // this gate cannot carry the protocol yet
	ProtocolError       Denial = "protocol-error"    // what the client or server said is not the protocol
)

// Sentence says the denial to a human, lower case, without a full stop:
// "your grant for this server has expired".
func (d Denial) Sentence() string { return string(d) }
