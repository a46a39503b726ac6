package api

import "time"

// A Stay is the fact that a person is inside by a grant.
type Stay struct {
	ID         string    `json:"id"`
	Person     string    `json:"person"`
	PersonID   string    `json:"person_id"`
	Grant      string    `json:"grant"`
	Where      string    `json:"where"`   // the grant's server or group
	Servers    []string  `json:"servers"` // those that were entered
	Start      time.Time `json:"start"`
	End        time.Time `json:"end,omitzero"`   // none while it lasts
	Until      time.Time `json:"until,omitzero"` // when it will end by itself; none: not by itself
	Seconds    int64     `json:"seconds"`        // how long it lasted, or has lasted
	Present    bool      `json:"present"`        // a session is live right now
	Live       int       `json:"live"`           // how many are
	Sessions   int       `json:"sessions"`       // how many there were, live ones too
	Recordings int       `json:"recordings"`     // of all of them
	Cause      string    `json:"cause,omitempty"`
	Sentence   string    `json:"sentence,omitempty"` // the cause for humans
}

// StayFilter limits a list of stays, newest first; without a limit to the
// newest 100, but for those that last.
type StayFilter struct {
	All         bool      `query:"all"` // ended ones too
	Person      string    `query:"person"`
	PersonGroup string    `query:"person_group"`
	Server      string    `query:"server"` // entered during the stay
	Group       string    `query:"group"`  // one of its servers was
	Grant       string    `query:"grant"`
	From        time.Time `query:"from"`  // inside at any moment from then on; ended ones too
	To          time.Time `query:"to"`    // and before then
	After       string    `query:"after"` // the id of the last stay seen
	Limit       int       `query:"limit"`
}

// A Session is one connection within a stay.
type Session struct {
	ID       string    `json:"id"`
	Stay     string    `json:"stay"`
	Person   string    `json:"person"`
	PersonID string    `json:"person_id"`
	Server   string    `json:"server"`
	ServerID string    `json:"server_id"`
	Grant    string    `json:"grant"`
	Protocol string    `json:"protocol"`
	Login    string    `json:"login"`
	Client   string    `json:"client"`
	Dest     string    `json:"dest"`
	Gate     string    `json:"gate"`
	Start    time.Time `json:"start"`
	End      time.Time `json:"end,omitzero"`
	Until    time.Time `json:"until,omitzero"`
	Live     bool      `json:"live"` // carried right now by the gate that answers
	Carried
	Cause    string    `json:"cause,omitempty"`
	Sentence string    `json:"sentence,omitempty"`
	Moved    []Left    `json:"moved,omitempty"`  // from other grants, oldest first
	Removed  time.Time `json:"removed,omitzero"` // when its recording was; none: it was not

	Account string `json:"account,omitempty"` // how who came was known: as this account of the network, such as Tailscale's; none: by the address
	Node    string `json:"node,omitempty"`    // where they sat then
	Waived  string `json:"waived,omitempty"`  // why it would have been denied, if its network did not only warn
}

// Carried is what went through a session, so far or in all.
type Carried struct {
	In         int64 `json:"in"`         // bytes towards the server
	Out        int64 `json:"out"`        // bytes towards the client
	Recordings int   `json:"recordings"` // of its terminals
	Forwarding bool  `json:"forwarding"` // a port was forwarded
	Files      bool  `json:"files"`      // files were moved
}

// A Left is a stay a session rested on before it moved to another grant.
type Left struct {
	Stay  string    `json:"stay"`
	Grant string    `json:"grant"`
	Time  time.Time `json:"time"` // of the move
}

// SessionFilter limits a list of sessions, newest first.
type SessionFilter struct {
	All   bool   `query:"all"` // ended ones too
	Stay  string `query:"stay"`
	After string `query:"after"` // the id of the last session seen
	Limit int    `query:"limit"` // 0: 100
}
