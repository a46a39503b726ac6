package api

import "time"

// An Entry is one attempt to get in.
type Entry struct {
	ID       int64     `json:"id,omitempty"` // none in news: it is not written down yet
	Time     time.Time `json:"time"`
	Gate     string    `json:"gate"`
	Client   string    `json:"client"`
	Dest     string    `json:"dest"`
	Protocol string    `json:"protocol,omitempty"`
	Login    string    `json:"login,omitempty"`
	Person   string    `json:"person,omitempty"`
	PersonID string    `json:"person_id,omitempty"`
	Server   string    `json:"server,omitempty"`
	ServerID string    `json:"server_id,omitempty"`
	Grant    string    `json:"grant,omitempty"`
	Session  string    `json:"session,omitempty"`
	Allowed  bool      `json:"allowed"`
	Denial   string    `json:"denial,omitempty"`
	Sentence string    `json:"sentence,omitempty"`
	Detail   string    `json:"detail,omitempty"`

	Account string `json:"account,omitempty"` // how who came was known: as this account of the network, such as Tailscale's; none: by the address
	Node    string `json:"node,omitempty"`    // where they sat then
	Waived  string `json:"waived,omitempty"`  // why it would have been denied, if its network did not only warn
}

// EntryFilter limits a list of entries, newest first.
type EntryFilter struct {
	Answer string `query:"answer"` // "allowed", "denied", "warned": allowed, but would have been denied; "": all
	Person string `query:"person"`
	Server string `query:"server"`
	After  string `query:"after"` // the id of the last entry seen
	Limit  int    `query:"limit"` // 0: 100
}

// An Event is one thing that happened in a session.
type Event struct {
	Time    time.Time `json:"time"`
	Kind    string    `json:"kind"`
	Channel int       `json:"channel,omitempty"`
	Command string    `json:"command,omitempty"`
	Exit    *int      `json:"exit,omitempty"`
	Signal  string    `json:"signal,omitempty"`
	Op      string    `json:"op,omitempty"`
	Path    string    `json:"path,omitempty"`
	To      string    `json:"to,omitempty"`
	SHA256  string    `json:"sha256,omitempty"`
	In      int64     `json:"in,omitempty"`
	Out     int64     `json:"out,omitempty"`
	Detail  string    `json:"detail,omitempty"`
}

// A Recording is what was recorded of one terminal channel, or of a desktop,
// which has no channels.
type Recording struct {
	Channel int   `json:"channel"`
	Desktop bool  `json:"desktop,omitempty"`
	Size    int64 `json:"size"` // bytes of the file so far
	Live    bool  `json:"live"` // its session is
}

// Exported is session.json in an export: what the database says of a session.
type Exported struct {
	Session Session   `json:"session"`
	Stay    Stay      `json:"stay"`
	Grant   Grant     `json:"grant"`
	Gate    string    `json:"gate"` // that exported it
	Time    time.Time `json:"time"`
	By      string    `json:"by"`
}

// Following asks for a recording to go on live.
type Following struct {
	Follow bool `query:"follow"`
}
