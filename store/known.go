package store

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/pawelmojski/inside/policy"
)

// What the audit trail keeps of a thing before and after a change: the thing
// as people know it, with names beside ids, since an id means nothing to who
// reads it and a name may one day mean another. The order of the fields is
// that of the text, which is hashed: new ones go to the end.

type personFact struct {
	ID        policy.PersonID `json:"id"`
	Name      string          `json:"name"`
	FullName  string          `json:"full_name,omitempty"`
	Email     string          `json:"email,omitempty"`
	Disabled  bool            `json:"disabled"`
	Addresses []addressFact   `json:"addresses,omitempty"`
	Account   string          `json:"account,omitempty"`
}

type addressFact struct {
	ID       policy.AddressID `json:"id"`
	Person   string           `json:"person,omitempty"`
	Address  string           `json:"address"`
	Label    string           `json:"label,omitempty"`
	Disabled bool             `json:"disabled"`
}

type serverFact struct {
	ID       policy.ServerID `json:"id"`
	Name     string          `json:"name"`
	Address  string          `json:"address"`
	SSHPort  uint16          `json:"ssh_port,omitempty"`
	RDPPort  uint16          `json:"rdp_port,omitempty"`
	Disabled bool            `json:"disabled"`

	Maintenance *maintenanceFact `json:"maintenance,omitempty"`
	Sensitive   bool             `json:"sensitive,omitempty"`

	RDPGraphics string `json:"rdp_graphics,omitempty"` // none: bitmaps
}

type maintenanceFact struct {
	From   time.Time         `json:"from"`
	Clear  time.Time         `json:"clear"`
	Until  time.Time         `json:"until,omitzero"`
	Exempt []policy.PersonID `json:"exempt,omitempty"`
	Reason string            `json:"reason,omitempty"`
}

type groupFact struct {
	ID          policy.GroupID `json:"id"`
	Kind        Kind           `json:"kind"`
	Name        string         `json:"name"`
	Description string         `json:"description,omitempty"`
	Sensitive   bool           `json:"sensitive,omitempty"`
}

// A memberFact is one membership, not a whole group: of a group with thousands
// of members only one comes or goes.
type memberFact struct {
	Group  string `json:"group"`
	Member string `json:"member"` // "person alice", "group prod"
}

type grantFact struct {
	ID         policy.GrantID    `json:"id"`
	Who        string            `json:"who"`   // "person alice"
	Where      string            `json:"where"` // "server group prod"
	Protocols  []policy.Protocol `json:"protocols,omitempty"`
	Logins     []string          `json:"logins,omitempty"`
	From       string            `json:"from,omitempty"`
	Forwarding string            `json:"forwarding,omitempty"`
	RDP        string            `json:"redirection,omitempty"`
	Start      time.Time         `json:"start"`
	End        time.Time         `json:"end,omitzero"` // none: permanent
	Schedules  []string          `json:"schedules,omitempty"`
	Reason     string            `json:"reason,omitempty"`
	Revoked    time.Time         `json:"revoked,omitzero"`
	CreatedBy  string            `json:"created_by"`
	Idle       string            `json:"idle,omitempty"`
	Sessions   int               `json:"max_sessions,omitempty"`
	Entries    string            `json:"max_entries,omitempty"`
	Renew      string            `json:"renew,omitempty"`
	Approved   time.Time         `json:"approved,omitzero"`
	ApprovedBy string            `json:"approved_by,omitempty"`
}

// A hostKeyFact is a public key.
type hostKeyFact struct {
	Address string    `json:"address"`
	Type    string    `json:"type"`
	Key     string    `json:"key"` // base64 of the wire format
	Pinned  time.Time `json:"pinned"`
	By      string    `json:"by"`
}

// canonical is a thing as the audit trail keeps it; "" of nil.
func canonical(thing any) (string, error) {
	if thing == nil {
		return "", nil
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(thing); err != nil {
		return "", fmt.Errorf("audit trail: %w", err)
	}
	return strings.TrimSuffix(b.String(), "\n"), nil
}

func knownPerson(p policy.Person) personFact {
	fact := personFact{ID: p.ID, Name: p.Name, FullName: p.FullName, Email: p.Email, Disabled: p.Disabled, Account: p.Account}
	for _, a := range p.Addresses {
		fact.Addresses = append(fact.Addresses, knownAddress("", a))
	}
	return fact
}

func knownAddress(person string, a policy.Address) addressFact {
	return addressFact{ID: a.ID, Person: person, Address: prefixText(a.Prefix), Label: a.Label, Disabled: a.Disabled}
}

func knownServer(v policy.Server) serverFact {
	fact := serverFact{ID: v.ID, Name: v.Name, Address: prefixText(v.Prefix), SSHPort: v.SSHPort, RDPPort: v.RDPPort, Disabled: v.Disabled, Sensitive: v.Sensitive}
	if v.NativeGraphics {
		fact.RDPGraphics = graphics(true)
	}
	if m := v.Maintenance; m != nil {
		fact.Maintenance = &maintenanceFact{m.From, m.Clear, m.Until, m.Exempt, m.Reason}
	}
	return fact
}

func knownGroup(k Kind, g policy.Group) groupFact {
	return groupFact{ID: g.ID, Kind: k, Name: g.Name, Description: g.Description, Sensitive: g.Sensitive}
}

// knownGrant looks the names up of who and where.
func knownGrant(ctx context.Context, tx *sql.Tx, g policy.Grant) (grantFact, error) {
	who, where, err := parties(ctx, tx, g)
	fact := grantFact{
		ID: g.ID, Who: who, Where: where, Protocols: g.Protocols, Logins: g.Logins, From: prefixText(g.From),
		Start: g.Start, End: g.End, Reason: g.Reason, Revoked: g.Revoked, CreatedBy: g.CreatedBy,
		Idle: durationText(g.Idle), Sessions: g.MaxSessions, Entries: g.MaxEntries.String(), Renew: durationText(g.Renew),
		Approved: g.Approved, ApprovedBy: g.ApprovedBy, RDP: redirectionText(g.Redirection),
	}
	if g.Forwarding != 0 {
		fact.Forwarding = g.Forwarding.String()
	}
	fact.Schedules = knownSchedules(g.Schedules)
	return fact, err
}

func knownSchedules(schedules []policy.Schedule) (texts []string) {
	for _, s := range schedules {
		texts = append(texts, s.String()+" "+s.Zone())
	}
	return texts
}

func knownHostKeys(keys []HostKey) []hostKeyFact {
	var facts []hostKeyFact
	for _, k := range keys {
		facts = append(facts, hostKeyFact{Address: addrPortText(k.Addr), Type: k.Type, Key: keyText(k.Key), Pinned: kept(k.Pinned), By: k.By})
	}
	return facts
}
