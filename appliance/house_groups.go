package appliance

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/pawelmojski/inside/appliance/api"
	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/store"
)

// A memberChange is what the store does to a group's members.
type memberChange func(ctx context.Context, by string, k store.Kind, group policy.GroupID, member string, inner policy.GroupID) error

func (h *House) Groups(ctx context.Context, k api.Kind) ([]api.Group, error) {
	b := h.Book()
	groups := b.Facts().ServerGroups
	if k == api.PersonGroup {
		groups = b.Facts().PersonGroups
	}
	wire := make([]api.Group, 0, len(groups))
	for i := range groups {
		wire = append(wire, wireGroup(b, k, &groups[i]))
	}
	return wire, nil
}

func (h *House) Group(ctx context.Context, k api.Kind, name string) (api.Group, error) {
	g, err := h.groupNamed(k, name)
	if err != nil {
		return api.Group{}, err
	}
	return wireGroup(h.Book(), k, g), nil
}

func (h *House) CreateGroup(ctx context.Context, k api.Kind, asked api.NewGroup) (api.Group, error) {
	if err := policy.CheckName(asked.Name); err != nil {
		return api.Group{}, invalid("", "%v", err)
	}
	_, err := h.Store.CreateGroup(ctx, api.By(ctx), storeKind(k), policy.Group{Name: asked.Name, Description: asked.Description})
	if err != nil {
		return api.Group{}, asProblem(err, "inside "+string(k)+" list")
	}
	if err := h.acted(ctx); err != nil {
		return api.Group{}, err
	}
	return h.Group(ctx, k, asked.Name)
}

func (h *House) AddMember(ctx context.Context, k api.Kind, group string, m api.Member) (api.Group, error) {
	return h.changeMember(ctx, k, group, m, h.Store.AddMember)
}

func (h *House) RemoveMember(ctx context.Context, k api.Kind, group string, m api.Member) (api.Group, error) {
	return h.changeMember(ctx, k, group, m, h.Store.RemoveMember)
}

// changeMember adds or removes a member, by the store's method for it.
func (h *House) changeMember(ctx context.Context, k api.Kind, group string, m api.Member, change memberChange) (api.Group, error) {
	g, err := h.groupNamed(k, group)
	if err != nil {
		return api.Group{}, err
	}
	member, inner, err := h.memberNamed(k, m.Member)
	if err != nil {
		return api.Group{}, err
	}
	if err := change(ctx, api.By(ctx), storeKind(k), g.ID, member, inner); err != nil {
		return api.Group{}, asProblem(err, fmt.Sprintf("inside %s show %s", k, g.Name))
	}
	if err := h.acted(ctx); err != nil {
		return api.Group{}, err
	}
	return h.Group(ctx, k, g.Name)
}

// memberNamed finds what goes into a group of a kind: a person or server, or
// a group of the same kind. No name can hold a colon, so that "group:web" is
// never a server.
func (h *House) memberNamed(k api.Kind, typed string) (member string, inner policy.GroupID, err error) {
	noun := "server"
	find := func(name string) (string, error) {
		s, err := h.serverNamed(name)
		if err != nil {
			return "", err
		}
		return string(s.ID), nil
	}
	if k == api.PersonGroup {
		noun = "person"
		find = func(name string) (string, error) {
			p, err := h.personNamed(name)
			if err != nil {
				return "", err
			}
			return string(p.ID), nil
		}
	}
	if name, ok := strings.CutPrefix(typed, "group:"); ok {
		g, err := h.groupNamed(k, name)
		if err != nil {
			return "", "", err
		}
		return "", g.ID, nil
	}
	if name, ok := strings.CutPrefix(typed, noun+":"); ok {
		member, err = find(name)
		return member, "", err
	}
	member, err = find(typed)
	g, groupErr := h.groupNamed(k, typed)
	switch {
	case err == nil && groupErr == nil:
		return "", "", conflict(fmt.Sprintf("say %s:%s or group:%s", noun, typed, typed), "there is a %s and a group named %s", noun, typed)
	case groupErr == nil:
		return "", g.ID, nil
	}
	return member, "", err
}

func wireGroup(b *policy.Book, k api.Kind, g *policy.Group) api.Group {
	names := namer{b}
	wire := api.Group{ID: string(g.ID), Name: g.Name, Description: g.Description, Members: []string{}, Groups: []string{}, Sensitive: g.Sensitive, Version: g.Version}
	for _, m := range g.Members {
		if k == api.PersonGroup {
			wire.Members = append(wire.Members, names.person(policy.PersonID(m)))
		} else {
			wire.Members = append(wire.Members, names.server(policy.ServerID(m)))
		}
	}
	for _, id := range g.Groups {
		if k == api.PersonGroup {
			wire.Groups = append(wire.Groups, names.personGroup(id))
		} else {
			wire.Groups = append(wire.Groups, names.serverGroup(id))
		}
	}
	slices.Sort(wire.Members)
	slices.Sort(wire.Groups)
	return wire
}
