package api

import "time"

// A Question is an attempt that was not made: may this person enter there?
type Question struct {
	Person   string    `query:"person"`
	Server   string    `query:"server"`
	Login    string    `query:"login"`    // "": any
	Protocol string    `query:"protocol"` // "": any; with a login ssh
	From     string    `query:"from"`     // "": from any of the person's addresses
	At       time.Time `query:"at"`       // zero: now
}

// An Explanation is the answer: the best of the person's ways in.
type Explanation struct {
	Person   string    `json:"person"`
	Server   string    `json:"server"`
	Login    string    `json:"login,omitempty"`
	At       time.Time `json:"at"`
	Allowed  bool      `json:"allowed"`
	Grant    string    `json:"grant,omitempty"` // that serves, or the nearest miss
	Protocol string    `json:"protocol,omitempty"`
	From     string    `json:"from,omitempty"`
	Denial   string    `json:"denial,omitempty"`
	Sentence string    `json:"sentence,omitempty"`
	Until    time.Time `json:"until,omitzero"`
	Ends     string    `json:"ends,omitempty"` // what comes to its end then
	Hint     string    `json:"hint,omitempty"`

	Maintenance *Maintenance `json:"maintenance,omitempty"` // of the server, also where it does not concern the person

	Ways   []Way     `json:"ways"`   // every address by every protocol
	Grants []Weighed `json:"grants"` // every grant for this person and server
}

// A Way is one address of the person by one protocol. With the label Tailscale
// it may be their account there.
type Way struct {
	From     string    `json:"from"`
	Label    string    `json:"label,omitempty"`
	Protocol string    `json:"protocol"`
	Allowed  bool      `json:"allowed"`
	Grant    string    `json:"grant,omitempty"`
	Denial   string    `json:"denial,omitempty"`
	Sentence string    `json:"sentence,omitempty"`
	Until    time.Time `json:"until,omitzero"`
}

// Weighed is a grant as if it were the only one, by the best way.
type Weighed struct {
	Grant    string    `json:"grant"`
	Who      string    `json:"who"`   // the person, or the groups it reaches them by: "staff > dba"
	Where    string    `json:"where"` // likewise
	Allowed  bool      `json:"allowed"`
	Denial   string    `json:"denial,omitempty"`
	Sentence string    `json:"sentence,omitempty"`
	Until    time.Time `json:"until,omitzero"`
	Ends     string    `json:"ends,omitempty"` // what comes to its end then

	Idle        string   `json:"idle,omitempty"`
	MaxSessions int      `json:"max_sessions,omitempty"`
	Renew       string   `json:"renew,omitempty"`
	Open        int      `json:"open,omitempty"` // sessions of the person under it, where there is a limit and now is asked about
	MaxEntries  string   `json:"max_entries,omitempty"`
	Redirection []string `json:"redirection,omitempty"` // what RDP may reach of the person's machine
	Entries     int      `json:"entries,omitempty"`     // of the person under it that count by this limit now
}
