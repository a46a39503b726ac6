// Package api is the house as its admins see it: wire types, the [House]
// interface a daemon must offer, the HTTP handler that serves one over a unix
// socket ([Listen], [Serve]) and, to whoever has a token, over a port
// ([ListenTCP], [ServeTCP]), and the [Client] that is the same house seen from
// afar. Requests and answers are JSON under /api/v1/, described by
// openapi.yaml; errors are problems (RFC 9457); what happens is told in
// server-sent events.
//
// It decides nothing and stores nothing: package appliance implements House
// over the store and the book. cmd/inside is the first user of the client.
package api

import (
	"context"
	"io"
	"iter"
)

// A House is what can be asked of the daemon. Changes have acted when the
// call returns: after a revoke nobody is inside by that grant any more. A
// name that is not known, a value that cannot be and a change that is not
// possible are a *Problem; every other error is answered as "internal".
//
// Who asks is in the context: see By.
type House interface {
	Persons
	Servers
	Tokens
	Admins
	HostKeys
	Groups
	Grants
	Templates
	Approvals
	Displays
	Inside
	Records
	Videos
	Audit
	Vitals
	Credentials
	RDPLooks
	Observed
	Certificates
	Doctor
	Reloading
	Backups
	Upgrading

	// Explain answers whether a person could enter a server, and why not.
	Explain(ctx context.Context, q Question) (Explanation, error)
	Status(ctx context.Context) (Status, error)
	// News are what happens on the gate from now on, until ctx ends.
	News(ctx context.Context, f NewsFilter) (iter.Seq2[News, error], error)
}

// Persons are real human beings, known by their addresses.
type Persons interface {
	Persons(ctx context.Context) ([]Person, error)
	Person(ctx context.Context, name string) (Person, error)
	AddPerson(ctx context.Context, p NewPerson) (Person, error)
	SetPerson(ctx context.Context, name string, s Switch) (Person, error)
	SetAccount(ctx context.Context, name string, a NewAccount) (Person, error)

	// Addresses are those of one person, or with "" of everybody.
	Addresses(ctx context.Context, f AddressFilter) ([]Address, error)
	AddAddress(ctx context.Context, person string, a NewAddress) (Address, error)
	// RemoveAddress deactivates: what was written down keeps its meaning.
	RemoveAddress(ctx context.Context, id string) (Address, error)
}

// Servers are the backends behind the gate.
type Servers interface {
	Servers(ctx context.Context) ([]Server, error)
	Server(ctx context.Context, name string) (Server, error)
	AddServer(ctx context.Context, s NewServer) (Server, error)
	SetServer(ctx context.Context, name string, s Switch) (Server, error)
	// Maintain keeps everybody but a few out for some time, or ends that.
	Maintain(ctx context.Context, name string, m NewMaintenance) (Server, error)
}

// HostKeys are both sides of a server's SSH identity: the keys the gate shows
// in its name, and the server's own keys, pinned.
type HostKeys interface {
	HostKeys(ctx context.Context, server string, q HostKeyFilter) (HostKeyList, error)
	// ImportHostKey makes a server's real private key the one the gate shows.
	ImportHostKey(ctx context.Context, server string, k ImportedKey) (HostKeyList, error)
	// TrustHostKeys pins these keys in place of all that were pinned.
	TrustHostKeys(ctx context.Context, server string, k TrustedKeys) (HostKeyList, error)
	// ForgetHostKeys unpins; the next key seen is pinned again.
	ForgetHostKeys(ctx context.Context, server string, q HostKeyFilter) (HostKeyList, error)
}

// Groups are sets of servers or of persons, by their kind.
type Groups interface {
	Groups(ctx context.Context, k Kind) ([]Group, error)
	Group(ctx context.Context, k Kind, name string) (Group, error)
	CreateGroup(ctx context.Context, k Kind, g NewGroup) (Group, error)
	AddMember(ctx context.Context, k Kind, group string, m Member) (Group, error)
	RemoveMember(ctx context.Context, k Kind, group string, m Member) (Group, error)
}

// Grants let somebody in somewhere for some time.
type Grants interface {
	Grants(ctx context.Context, f GrantFilter) ([]Grant, error)
	Grant(ctx context.Context, id string) (Grant, error)
	CreateGrant(ctx context.Context, g NewGrant) (Grant, error)
	// SetGrantEnd extends or shortens; running sessions follow.
	SetGrantEnd(ctx context.Context, id string, e NewEnd) (Grant, error)
	// RevokeGrant ends the sessions that run under the grant.
	RevokeGrant(ctx context.Context, id string) (Grant, error)
	GrantHistory(ctx context.Context, id string) ([]Change, error)
}

// Inside tells who is inside, and ends it.
type Inside interface {
	Stays(ctx context.Context, f StayFilter) ([]Stay, error)
	Stay(ctx context.Context, id string) (Stay, error)
	EndStay(ctx context.Context, id string) (Stay, error)
	// Sessions may be named by an unambiguous prefix of their id.
	Sessions(ctx context.Context, f SessionFilter) ([]Session, error)
	Session(ctx context.Context, id string) (Session, error)
	KillSession(ctx context.Context, id string) (Session, error)
}

// Records tell what happened.
type Records interface {
	Entries(ctx context.Context, f EntryFilter) ([]Entry, error)
	// Export is a tar of all that is kept of a session.
	Export(ctx context.Context, session string) (io.ReadCloser, error)
	// Search finds sessions and denied entries by what is known of them.
	Search(ctx context.Context, s Search) (Page, error)
	// Events is a session's event log, one JSON Event a line.
	Events(ctx context.Context, session string) (io.ReadCloser, error)
	Recordings(ctx context.Context, session string) ([]Recording, error)
	// Recording is an asciicast v2 file from its beginning; followed, it goes
	// on with what is appended until the recording ends.
	Recording(ctx context.Context, session string, channel int, f Following) (io.ReadCloser, error)
}
