package api

import "time"

// A Search looks for sessions and denied entries. What is set must hold; zero
// fields limit nothing. Names are exact, the terms of Query are not.
type Search struct {
	// Query is words that must all fit: an address or a prefix of them (the
	// client's or the one dialled), "#42" (grant, stay or entry 42), a
	// protocol, "active", "ended" or "denied", a denial, the beginning of a
	// session's id, else a part of the name of a person, a server, a group, or
	// the beginning of a login.
	Query string `query:"q"`

	Person      string    `query:"person"`
	PersonGroup string    `query:"person_group"`
	Server      string    `query:"server"`
	Group       string    `query:"group"` // of servers
	Login       string    `query:"login"`
	Address     string    `query:"address"` // client's or dialled, may be a prefix
	Protocol    string    `query:"protocol"`
	Status      string    `query:"status"` // "active", "ended", "denied"
	Denial      string    `query:"denial"`
	Grant       string    `query:"grant"`
	Stay        string    `query:"stay"`
	Session     string    `query:"session"` // its id or the beginning of it
	From        time.Time `query:"from"`    // at any moment from then on
	To          time.Time `query:"to"`      // and before then
	Longer      string    `query:"longer"`  // "1h30m": lasted at least as long
	Shorter     string    `query:"shorter"` // lasted at most as long
	Forwarding  bool      `query:"forwarding"`
	Files       bool      `query:"files"`

	After string `query:"after"` // Next of the page before
	Limit int    `query:"limit"` // 0: 100
}

// Statuses of what a search finds.
const (
	StatusActive = "active"
	StatusEnded  = "ended"
	StatusDenied = "denied"
)

// A Found is a session or a denied entry.
type Found struct {
	Status   string    `json:"status"`
	Start    time.Time `json:"start"`
	End      time.Time `json:"end,omitzero"`
	Seconds  int64     `json:"seconds"`
	Person   string    `json:"person,omitempty"`
	PersonID string    `json:"person_id,omitempty"`
	Server   string    `json:"server,omitempty"`
	ServerID string    `json:"server_id,omitempty"`
	Login    string    `json:"login,omitempty"`
	Protocol string    `json:"protocol,omitempty"`
	Client   string    `json:"client"`
	Dest     string    `json:"dest"`
	Gate     string    `json:"gate"`
	Grant    string    `json:"grant,omitempty"`
	Stay     string    `json:"stay,omitempty"`
	Session  string    `json:"session,omitempty"`
	Entry    string    `json:"entry,omitempty"` // of what was denied
	Cause    string    `json:"cause,omitempty"`
	Denial   string    `json:"denial,omitempty"`
	Sentence string    `json:"sentence,omitempty"` // of the cause or the denial
	Detail   string    `json:"detail,omitempty"`
	Carried

	Account string `json:"account,omitempty"` // how who came was known: as this account of the network, such as Tailscale's; none: by the address
	Node    string `json:"node,omitempty"`    // where they sat then
	Waived  string `json:"waived,omitempty"`  // why it would have been denied, if its network did not only warn
}

// A Page is what a search found, newest first. Next continues it, "" when
// there is no more. A page may hold less than was asked for, or nothing, and
// still have a next: a search does so much at a time.
type Page struct {
	Results []Found   `json:"results"`
	Next    string    `json:"next,omitempty"`
	Reached time.Time `json:"reached,omitzero"` // with Next: everything after it was looked at
}
