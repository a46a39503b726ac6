package api

// Kind tells the two kinds of groups apart.
type Kind string

// Groups of servers, and groups of persons.
const (
	ServerGroup Kind = "group"
	PersonGroup Kind = "person-group"
)

// A Group is a set of servers or of persons, with other groups inside.
type Group struct {
	ID          string   `json:"id"`
	Name        string   `json:"name"`
	Description string   `json:"description,omitempty"`
	Members     []string `json:"members"` // persons or servers
	Groups      []string `json:"groups"`  // groups inside this one

	Sensitive bool  `json:"sensitive,omitempty"` // grants for its servers need approval
	Version   int64 `json:"version"`             // goes back with a change, see Sensitivity
}

// NewGroup asks for a group.
type NewGroup struct {
	Name        string `json:"name"`
	Description string `json:"description,omitempty"`
}

// A Member goes into a group or out of it. Where a server (or person) and a
// group have the same name, "server:web", "person:web" or "group:web" says
// which is meant.
type Member struct {
	Member string `json:"member"`
}
