package appliance

import (
	"context"
	"time"

	"github.com/pawelmojski/inside/appliance/api"
	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/store"
)

func (h *House) Stays(ctx context.Context, f api.StayFilter) ([]api.Stay, error) {
	filter, err := h.stayFilter(f)
	if err != nil {
		return nil, err
	}
	stays, err := h.Store.Stays(ctx, filter)
	if err != nil {
		return nil, asProblem(err, "inside stays --all")
	}
	return h.wireStays(ctx, stays)
}

func (h *House) stayFilter(f api.StayFilter) (found store.StayFilter, err error) {
	ranged := !f.From.IsZero() || !f.To.IsZero()
	found = store.StayFilter{
		Open: !f.All && !ranged, Grant: policy.GrantID(f.Grant), From: f.From, To: f.To,
		After: policy.StayID(f.After), Limit: limitOf(f.Limit),
	}
	if found.Open && f.Limit == 0 {
		found.Limit = 0 // nobody inside is overlooked
	}
	if err := checkRange(f.From, f.To); err != nil {
		return found, err
	}
	if f.Grant != "" {
		if _, err := h.grantNumbered(f.Grant); err != nil {
			return found, err
		}
	}
	if found.Persons, err = h.personsMeant(f.Person, f.PersonGroup); err != nil {
		return found, err
	}
	found.Servers, err = h.serversMeant(f.Server, f.Group)
	return found, err
}

func checkRange(from, to time.Time) error {
	if !from.IsZero() && !to.IsZero() && !from.Before(to) {
		return invalid("", "nothing lies between %s and %s: from must be before to", from.Format(time.RFC3339), to.Format(time.RFC3339))
	}
	return nil
}

// Stay finds a stay by its number.
func (h *House) Stay(ctx context.Context, id string) (api.Stay, error) {
	st, err := h.Store.Stay(ctx, policy.StayID(id))
	if err != nil {
		return api.Stay{}, asProblem(err, "inside stays --all")
	}
	wire, err := h.wireStays(ctx, []policy.Stay{st})
	if err != nil {
		return api.Stay{}, err
	}
	return wire[0], nil
}

// wireStays adds who is present, which only the gates know.
func (h *House) wireStays(ctx context.Context, stays []policy.Stay) ([]api.Stay, error) {
	if len(stays) == 0 {
		return []api.Stay{}, nil // the last page of many
	}
	open, err := h.openSessions(ctx)
	if err != nil {
		return nil, err
	}
	present, running := map[policy.StayID]int{}, h.Live.Sessions()
	recordings := map[policy.StayID]int{}
	for _, se := range open {
		present[se.Stay]++
		recordings[se.Stay] += running[se.ID].Recordings
	}
	wire := make([]api.Stay, 0, len(stays))
	for _, st := range stays {
		st.Recordings += recordings[st.ID]
		wire = append(wire, h.wireStay(st, present[st.ID]))
	}
	return wire, nil
}

func (h *House) wireStay(st policy.Stay, live int) api.Stay {
	b, now := h.Book(), h.Now()
	names := namer{b}
	wire := api.Stay{
		ID: string(st.ID), Person: names.person(st.Person), PersonID: string(st.Person),
		Grant: string(st.Grant), Where: names.where(st.Grant), Servers: []string{},
		Start: st.Start, End: st.End, Seconds: seconds(st.Start, st.End, now),
		Present: live > 0, Live: live, Sessions: st.Sessions, Recordings: st.Recordings,
	}
	for _, id := range st.Servers {
		wire.Servers = append(wire.Servers, names.server(id))
	}
	if st.End.IsZero() {
		until, _ := b.Standing(st.Grant, now)
		wire.Until = until.UTC()
	} else {
		wire.Cause, wire.Sentence = string(st.Cause), st.Cause.Error()
	}
	return wire
}

// seconds is how long something took, or has taken by now.
func seconds(start, end, now time.Time) int64 {
	if end.IsZero() {
		end = now
	}
	return max(0, int64(end.Sub(start)/time.Second))
}

// personsMeant resolves the filters by person and by group of persons, in it
// however deep; nil is everybody, none nobody.
func (h *House) personsMeant(person, group string) (ids []policy.PersonID, err error) {
	if person != "" {
		p, err := h.personNamed(person)
		if err != nil {
			return nil, err
		}
		ids = []policy.PersonID{p.ID}
	}
	if group == "" {
		return ids, nil
	}
	g, err := h.groupNamed(api.PersonGroup, group)
	if err != nil {
		return nil, err
	}
	return both(ids, within[policy.PersonID](h.Book().Facts().PersonGroups, g)), nil
}

// serversMeant resolves the filters by server and by group of servers.
func (h *House) serversMeant(server, group string) (ids []policy.ServerID, err error) {
	if server != "" {
		s, err := h.serverNamed(server)
		if err != nil {
			return nil, err
		}
		ids = []policy.ServerID{s.ID}
	}
	if group == "" {
		return ids, nil
	}
	g, err := h.groupNamed(api.ServerGroup, group)
	if err != nil {
		return nil, err
	}
	return both(ids, within[policy.ServerID](h.Book().Facts().ServerGroups, g)), nil
}

// both are the ids in two sets; nil is the set of all.
func both[ID comparable](a, b []ID) []ID {
	if a == nil {
		return b
	}
	in := []ID{}
	for _, id := range a {
		for _, other := range b {
			if id == other {
				in = append(in, id)
			}
		}
	}
	return in
}

// within are the members of a group, however deep, each once.
func within[ID ~string](groups []policy.Group, of *policy.Group) []ID {
	byID := make(map[policy.GroupID]*policy.Group, len(groups))
	for i := range groups {
		byID[groups[i].ID] = &groups[i]
	}
	members, ids := map[string]bool{}, []ID{}
	seen := map[policy.GroupID]bool{of.ID: true}
	for open := []*policy.Group{of}; len(open) > 0; {
		g := open[0]
		open = open[1:]
		for _, m := range g.Members {
			if !members[m] {
				members[m] = true
				ids = append(ids, ID(m))
			}
		}
		for _, inner := range g.Groups {
			if next := byID[inner]; next != nil && !seen[inner] {
				seen[inner] = true
				open = append(open, next)
			}
		}
	}
	return ids
}
