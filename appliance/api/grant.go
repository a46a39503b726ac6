package api

import "time"

// A Grant is one permission. Either Person or PersonGroup is set, and either
// Server or Group.
type Grant struct {
	ID            string     `json:"id"`
	Person        string     `json:"person,omitempty"`
	PersonID      string     `json:"person_id,omitempty"`
	PersonGroup   string     `json:"person_group,omitempty"`
	PersonGroupID string     `json:"person_group_id,omitempty"`
	Server        string     `json:"server,omitempty"`
	ServerID      string     `json:"server_id,omitempty"`
	Group         string     `json:"group,omitempty"`
	GroupID       string     `json:"group_id,omitempty"`
	Protocols     []string   `json:"protocols"`              // none: all
	Logins        []string   `json:"logins"`                 // none: any
	SourceIP      string     `json:"source_ip,omitempty"`    // "": from every address of the person
	Forwarding    []string   `json:"forwarding"`             // none: nothing is forwarded
	Redirection   []string   `json:"redirection"`            // what RDP may reach of the person's machine: clipboard, drive, …
	Start         time.Time  `json:"start"`                  //
	End           time.Time  `json:"end,omitzero"`           // none: permanent
	Permanent     bool       `json:"permanent"`              //
	Schedules     []Schedule `json:"schedules"`              // none: always
	Idle          string     `json:"idle,omitempty"`         // "30m": a session nobody uses for so long ends
	MaxSessions   int        `json:"max_sessions,omitempty"` // of one person at a time; 0: any number
	MaxEntries    string     `json:"max_entries,omitempty"`  // "10/h": of one person an hour; "": any number
	Renew         string     `json:"renew,omitempty"`        // "30d": near its end it is extended by this if somebody entered under it meanwhile
	Reason        string     `json:"reason,omitempty"`       //
	Revoked       time.Time  `json:"revoked,omitzero"`       //
	Created       time.Time  `json:"created"`                //
	CreatedBy     string     `json:"created_by,omitempty"`   //
	Version       int64      `json:"version"`                // goes back with a change, see NewEnd

	// Whether the grant serves at this moment, whoever comes: a denial with its
	// sentence, or until when.
	Denial   string    `json:"denial,omitempty"`
	Sentence string    `json:"sentence,omitempty"`
	Until    time.Time `json:"until,omitzero"`

	// When somebody entered under it last: only where GrantFilter.Unused asks.
	LastUsed time.Time `json:"last_used,omitzero"`
	// Four eyes: a grant that waits does not serve for sensitive servers.
	Waits      bool      `json:"waits,omitempty"` // for approval: it reaches a sensitive server, and is not over
	Approved   time.Time `json:"approved,omitzero"`
	ApprovedBy string    `json:"approved_by,omitempty"`
	Authors    []string  `json:"authors,omitempty"` // who made it and extended it since it was approved: none of them approves it

	// What the admin should know about the change just made.
	DefaultLength bool     `json:"default_length,omitempty"` // no length was given
	Notes         []string `json:"notes,omitempty"`
}

// A Schedule is a set of weekly windows in a time zone.
type Schedule struct {
	Windows string `json:"windows"` // "Mon-Fri 09:00-17:00"
	Zone    string `json:"zone"`    // "Europe/Warsaw"
}

// NewGrant asks for a grant. Exactly one of Person and PersonGroup, exactly
// one of Server and Group. At most one of Duration, Permanent and Start/End;
// none of them is a grant of one hour. A template gives what is left out or
// empty here, and its length where there is none of the three; forwarding
// "none" takes its forwarding away, redirection "none" what RDP may reach.
type NewGrant struct {
	Person      string     `json:"person,omitempty"`
	PersonGroup string     `json:"person_group,omitempty"`
	Server      string     `json:"server,omitempty"`
	Group       string     `json:"group,omitempty"`
	Protocols   []string   `json:"protocols,omitempty"`
	Logins      []string   `json:"logins,omitempty"`
	SourceIP    string     `json:"source_ip,omitempty"`
	Forwarding  []string   `json:"forwarding,omitempty"`
	Redirection []string   `json:"redirection,omitempty"` // clipboard, drive, printer, port, smartcard, audio-input, camera, usb, location, webauthn
	Duration    string     `json:"duration,omitempty"`    // "8h", "14d"
	Permanent   bool       `json:"permanent,omitempty"`
	Start       time.Time  `json:"start,omitzero"` // zero: now
	End         time.Time  `json:"end,omitzero"`
	Schedules   []Schedule `json:"schedules,omitempty"`
	Idle        string     `json:"idle,omitempty"`         // "30m"
	MaxSessions int        `json:"max_sessions,omitempty"` // of one person at a time
	MaxEntries  string     `json:"max_entries,omitempty"`  // "10/h": of one person, in any minute (m), hour (h) or day (d)
	Renew       bool       `json:"renew,omitempty"`        // extended by Duration near its end, as long as it is used
	Reason      string     `json:"reason,omitempty"`
	Template    string     `json:"template,omitempty"` // gives what is not given here
}

// NewEnd asks for another end of a grant: exactly one of the five. Version is
// the grant's as it was when whoever asks looked at it: if somebody else has
// changed it since, this is a conflict, and says who and when.
type NewEnd struct {
	Version   int64     `json:"version"`
	Duration  string    `json:"duration,omitempty"` // from now on
	By        string    `json:"by,omitempty"`       // longer than it is, by this much
	Until     time.Time `json:"until,omitzero"`
	Permanent bool      `json:"permanent,omitempty"`
	NoRenew   bool      `json:"no_renew,omitempty"` // the end stays, and comes
}

// GrantFilter limits a list of grants.
type GrantFilter struct {
	Person string `query:"person"` // grants that reach this person, through groups too
	Active bool   `query:"active"` // neither ended nor revoked
	Unused string `query:"unused"` // "30d": active, older than that, and nobody has entered under them for so long

	Waiting bool `query:"waiting"` // for approval
}
