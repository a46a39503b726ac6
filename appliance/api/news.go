package api

import (
	"encoding/json"
	"time"
)

// News is one thing that happened on the gate that answers. Data is an Entry,
// a Session, a StayNews, an Alert, a Facts or a Lost, by the kind.
type News struct {
	ID   string          `json:"id"` // what a listener that comes back has seen last
	Time time.Time       `json:"time"`
	Kind string          `json:"kind"`
	Data json.RawMessage `json:"data"`
}

// Kinds of news.
const (
	NewsEntry   = "entry"   // an Entry, allowed or denied; it has no number yet
	NewsSession = "session" // a Session began, moved to another grant, or ended
	NewsStay    = "stay"    // a StayNews
	NewsAlert   = "alert"   // something an admin should look at
	NewsFacts   = "facts"   // a Facts: persons, servers, groups, grants or tokens changed

	NewsReset = "reset" // a Lost: pieces were lost, look at everything again
	NewsPulse = "pulse" // nothing happened for a while; never leaves the daemon
)

// NewsKinds are those that can be asked for. A reset comes unasked.
var NewsKinds = []string{NewsEntry, NewsSession, NewsStay, NewsAlert, NewsFacts}

// NewsFilter says which news are wanted.
type NewsFilter struct {
	Kinds string `query:"kinds"` // "entry,session"; "": all
	After string `query:"after"` // the id of the piece that was seen last; "": from now on
}

// StayNews is what became of a stay.
type StayNews struct {
	ID       string `json:"id"`
	State    string `json:"state"` // began, present, absent (its last session has ended, the stay goes on), ended
	Person   string `json:"person"`
	PersonID string `json:"person_id"`
	Grant    string `json:"grant"`
	Where    string `json:"where"`
	Cause    string `json:"cause,omitempty"`
	Sentence string `json:"sentence,omitempty"`
}

// States of a stay.
const (
	StayBegan   = "began"
	StayPresent = "present"
	StayAbsent  = "absent"
	StayEnded   = "ended"
)

// Facts says which revision of the facts the gate acts on.
type Facts struct {
	Revision int64 `json:"revision"`
}

// Lost says how many pieces of news were missed; 0 is not known.
type Lost struct {
	Lost uint64 `json:"lost"`
}
