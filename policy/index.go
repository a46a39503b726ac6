package policy

import "fmt"

// An index finds the things of one kind by id and by name.
type index[ID ~string, T any] struct {
	kind   string // for errors
	things []T
	byID   map[ID]int32
	byName map[string]int32
}

func newIndex[ID ~string, T any](kind string, things []T, name func(*T) (ID, string)) (index[ID, T], error) {
	x := index[ID, T]{
		kind:   kind,
		things: things,
		byID:   make(map[ID]int32, len(things)),
		byName: make(map[string]int32, len(things)),
	}
	for i := range things {
		id, name := name(&things[i])
		if _, taken := x.byID[id]; taken || id == "" {
			return x, fmt.Errorf("%s id %q is empty or given twice (%s)", kind, id, name)
		}
		if _, taken := x.byName[name]; taken || name == "" {
			return x, fmt.Errorf("%s name %q is empty or given twice (id %s)", kind, name, id)
		}
		x.byID[id], x.byName[name] = int32(i), int32(i)
	}
	return x, nil
}

func (x *index[ID, T]) find(id ID) *T {
	if i, ok := x.byID[id]; ok {
		return &x.things[i]
	}
	return nil
}

func (x *index[ID, T]) named(name string) *T {
	if i, ok := x.byName[name]; ok {
		return &x.things[i]
	}
	return nil
}

// position returns the number of a member or of a group, whichever id is set:
// groups are numbered after the members.
func position[ID ~string, T any](members *index[ID, T], member ID, groups *index[GroupID, Group], group GroupID) (int32, error) {
	if group != "" {
		i, ok := groups.byID[group]
		if !ok {
			return 0, fmt.Errorf("unknown %s %q", groups.kind, group)
		}
		return int32(len(members.things)) + i, nil
	}
	i, ok := members.byID[member]
	if !ok {
		return 0, fmt.Errorf("unknown %s %q", members.kind, member)
	}
	return i, nil
}
