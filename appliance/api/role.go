package api

import "fmt"

// A Role is how much of the API is for an actor. The zero Role is nobody's:
// it may nothing.
type Role string

const (
	Viewer   Role = "viewer"   // may look
	Operator Role = "operator" // may also watch, and let people in and send them out
	Admin    Role = "admin"    // may also change everything else
)

// Roles are all there are, the one that may least first.
var Roles = []Role{Viewer, Operator, Admin}

// A permission is what a route needs; roles have them or not.
type permission int

const (
	toKnock   permission = iota + 1 // ask whether the gate serves; open to everybody
	toLook                          // read names, grants, stays, entries
	toWatch                         // see what a person saw and did: recordings, events, exports
	toOperate                       // make, extend and revoke grants, end stays and sessions, maintain servers
	toChange                        // everything else that changes the facts
)

// needs is the least role that has a permission, "" where nobody is enough.
func (p permission) needs() Role {
	switch p {
	case toKnock:
		return ""
	case toLook:
		return Viewer
	case toWatch, toOperate:
		return Operator
	}
	return Admin
}

// may reports whether the actor has a permission. A route that declares none
// is for nobody.
func (a Actor) may(p permission) bool {
	if p == toKnock {
		return true
	}
	switch a.Role {
	case Viewer:
		return p == toLook
	case Operator:
		return p == toLook || p == toWatch || p == toOperate
	case Admin:
		return p >= toLook && p <= toChange
	}
	return false
}

// refused says why the actor may not, and who may.
func (a Actor) refused(p permission) *Problem {
	if a.Role == "" {
		return NewProblem(CodeForbidden, fmt.Sprintf("%q is not an admin of this gate", a.Name), "admins are root and the members of group "+adminGroup)
	}
	return NewProblem(CodeForbidden, fmt.Sprintf("%q has the role %s, and this takes the role %s", a.Name, a.Role, p.needs()),
		"an admin makes a token of another role: inside token create NAME --role "+string(p.needs()))
}

// String is the permission as openapi.yaml has it.
func (p permission) String() string {
	switch p {
	case toKnock:
		return "knock"
	case toLook:
		return "look"
	case toWatch:
		return "watch"
	case toOperate:
		return "operate"
	case toChange:
		return "change"
	}
	return "none"
}
