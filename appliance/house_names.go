package appliance

import (
	"fmt"
	"slices"

	"github.com/pawelmojski/inside/appliance/api"
	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/store"
)

// Admins name things; facts hold ids. A name nobody has is answered with the
// nearest one that somebody has.

func (h *House) personNamed(typed string) (*policy.Person, error) {
	b := h.Book()
	if p := b.PersonNamed(typed); p != nil {
		return p, nil
	}
	if name, err := policy.PersonName(typed); err == nil { // "John Doe"
		if p := b.PersonNamed(name); p != nil {
			return p, nil
		}
	}
	return nil, unknown("person", typed, nameOf(b.Facts().Persons, func(p policy.Person) string { return p.Name }))
}

func (h *House) serverNamed(name string) (*policy.Server, error) {
	b := h.Book()
	if s := b.ServerNamed(name); s != nil {
		return s, nil
	}
	return nil, unknown("server", name, nameOf(b.Facts().Servers, func(s policy.Server) string { return s.Name }))
}

func (h *House) groupNamed(k api.Kind, name string) (*policy.Group, error) {
	b := h.Book()
	find, all := b.ServerGroupNamed, b.Facts().ServerGroups
	if k == api.PersonGroup {
		find, all = b.PersonGroupNamed, b.Facts().PersonGroups
	}
	if g := find(name); g != nil {
		return g, nil
	}
	return nil, unknown(string(k), name, nameOf(all, func(g policy.Group) string { return g.Name }))
}

func (h *House) grantNumbered(id string) (*policy.Grant, error) {
	if g := h.Book().Grant(policy.GrantID(id)); g != nil {
		return g, nil
	}
	return nil, api.NewProblem(api.CodeNotFound, fmt.Sprintf("there is no grant %.40q", id), "inside grant list")
}

func nameOf[T any](all []T, name func(T) string) []string {
	names := make([]string, len(all))
	for i, one := range all {
		names[i] = name(one)
	}
	return names
}

// unknown names what is not known, and what was perhaps meant.
func unknown(noun, name string, names []string) error {
	hint := "inside " + noun + " list"
	if near := nearest(name, names); near != "" {
		hint = fmt.Sprintf("did you mean %s? inside %s list shows all", near, noun)
	}
	return api.NewProblem(api.CodeNotFound, fmt.Sprintf("unknown %s %.80q", noun, name), hint)
}

// nearest returns the name fewest changes away from the one typed, "" when
// none is near: one change in three letters.
func nearest(typed string, names []string) string {
	if len(typed) > 80 {
		return ""
	}
	best, least := "", max(1, len(typed)/3)+1
	for _, name := range names {
		if d := distance(typed, name); d < least {
			best, least = name, d
		}
	}
	return best
}

// distance counts the letters to insert, remove, replace or swap with the next
// to make b of a.
func distance(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			replaced := rows[i-1][j-1]
			if a[i-1] != b[j-1] {
				replaced++
			}
			rows[i][j] = min(replaced, rows[i-1][j]+1, rows[i][j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}

// namer turns ids of one book into names; an id the book does not have is
// shown as it is.
type namer struct{ *policy.Book }

func (n namer) person(id policy.PersonID) string {
	if p := n.Person(id); p != nil {
		return p.Name
	}
	return string(id)
}

func (n namer) server(id policy.ServerID) string {
	if s := n.Server(id); s != nil {
		return s.Name
	}
	return string(id)
}

func (n namer) personGroup(id policy.GroupID) string {
	if g := n.PersonGroup(id); g != nil {
		return g.Name
	}
	return string(id)
}

func (n namer) serverGroup(id policy.GroupID) string {
	if g := n.ServerGroup(id); g != nil {
		return g.Name
	}
	return string(id)
}

// who names whom a grant is for.
func (n namer) who(id policy.GrantID) string {
	g := n.Grant(id)
	switch {
	case g == nil:
		return ""
	case g.Person != "":
		return n.person(g.Person)
	}
	return n.personGroup(g.PersonGroup)
}

// where names what a grant is for.
func (n namer) where(id policy.GrantID) string {
	g := n.Grant(id)
	switch {
	case g == nil:
		return ""
	case g.Server != "":
		return n.server(g.Server)
	}
	return n.serverGroup(g.ServerGroup)
}

// membersGroups names, for each member, the groups it is in by itself.
func membersGroups(groups []policy.Group) map[string][]string {
	names := map[string][]string{}
	for _, g := range groups {
		for _, m := range g.Members {
			names[m] = append(names[m], g.Name)
		}
	}
	for _, in := range names {
		slices.Sort(in)
	}
	return names
}

// around returns the groups a member is in, however deep.
func around(groups []policy.Group, member string) map[policy.GroupID]bool {
	in := map[policy.GroupID]bool{}
	for grown := true; grown; {
		grown = false
		for _, g := range groups {
			holds := slices.Contains(g.Members, member) || slices.ContainsFunc(g.Groups, func(id policy.GroupID) bool { return in[id] })
			if holds && !in[g.ID] {
				in[g.ID], grown = true, true
			}
		}
	}
	return in
}

func storeKind(k api.Kind) store.Kind {
	if k == api.PersonGroup {
		return store.PersonGroup
	}
	return store.ServerGroup
}
