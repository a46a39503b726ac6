package api

import "time"

// A Stay is the fact that a person is inside by a grant.
type Stay struct {
	ID       string    `json:"id"`
	Person   string    `json:"person"`
	PersonID string    `json:"person_id"`
	Grant    string    `json:"grant"`
	Where    string    `json:"where"` // the grant's server or group
	Start    time.Time `json:"start"`
	End      time.Time `json:"end,omitzero"`   // none while it lasts
	Until    time.Time `json:"until,omitzero"` // when it will end by itself; none: not by itself
	Present  bool      `json:"present"`        // a session is live right now
	Sessions int       `json:"sessions"`       // how many are
	Cause    string    `json:"cause,omitempty"`
	Sentence string    `json:"sentence,omitempty"` // the cause for humans
}

// StayFilter limits a list of stays.
type StayFilter struct {
	All   bool `query:"all"`   // ended ones too
	Limit int  `query:"limit"` // 0: 100
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
	Live     bool      `json:"live"`          // carried right now by the gate that answers
	In       int64     `json:"in,omitempty"`  // bytes towards the server, while live
	Out      int64     `json:"out,omitempty"` // bytes towards the client
	Cause    string    `json:"cause,omitempty"`
	Sentence string    `json:"sentence,omitempty"`
}

// SessionFilter limits a list of sessions.
type SessionFilter struct {
	All   bool   `query:"all"` // ended ones too
	Stay  string `query:"stay"`
	Limit int    `query:"limit"`
}
