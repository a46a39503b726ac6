package appliance

import (
	"context"
	"net/netip"

	"github.com/pawelmojski/inside/appliance/api"
	"github.com/pawelmojski/inside/policy"
)

func (h *House) Persons(ctx context.Context) ([]api.Person, error) {
	facts := h.Book().Facts()
	groups := membersGroups(facts.PersonGroups)
	persons := make([]api.Person, 0, len(facts.Persons))
	for i := range facts.Persons {
		persons = append(persons, wirePerson(&facts.Persons[i], groups))
	}
	return persons, nil
}

func (h *House) Person(ctx context.Context, name string) (api.Person, error) {
	p, err := h.personNamed(name)
	if err != nil {
		return api.Person{}, err
	}
	return wirePerson(p, membersGroups(h.Book().Facts().PersonGroups)), nil
}

func (h *House) AddPerson(ctx context.Context, asked api.NewPerson) (api.Person, error) {
	name, err := policy.PersonName(asked.Name)
	if err != nil {
		return api.Person{}, invalid("", "%v", err)
	}
	p := policy.Person{Name: name, FullName: asked.FullName, Email: asked.Email, Account: asked.Account}
	if p.FullName == "" && asked.Name != name {
		p.FullName = asked.Name
	}
	for _, a := range asked.Addresses {
		address, err := newAddress(a)
		if err != nil {
			return api.Person{}, err
		}
		p.Addresses = append(p.Addresses, address)
	}
	if p, err = h.Store.AddPerson(ctx, api.By(ctx), p); err != nil {
		return api.Person{}, asProblem(err, "inside person list, inside person ip list")
	}
	if err := h.acted(ctx); err != nil {
		return api.Person{}, err
	}
	return wirePerson(&p, nil), nil
}

func newAddress(asked api.NewAddress) (policy.Address, error) {
	prefix, err := policy.ParsePrefix(asked.Address)
	if err != nil {
		return policy.Address{}, invalid("", "%v", err)
	}
	return policy.Address{Prefix: prefix, Label: asked.Label}, nil
}

func (h *House) SetPerson(ctx context.Context, name string, s api.Switch) (api.Person, error) {
	p, err := h.personNamed(name)
	if err != nil {
		return api.Person{}, err
	}
	if err := versionGiven(s.Version, "inside person show "+p.Name); err != nil {
		return api.Person{}, err
	}
	if err := h.Store.DisablePerson(ctx, api.By(ctx), p.ID, s.Version, s.Disabled); err != nil {
		return api.Person{}, asProblem(err, "inside person ip list "+p.Name)
	}
	if err := h.acted(ctx); err != nil {
		return api.Person{}, err
	}
	return h.Person(ctx, p.Name)
}

func (h *House) SetAccount(ctx context.Context, name string, a api.NewAccount) (api.Person, error) {
	p, err := h.personNamed(name)
	if err != nil {
		return api.Person{}, err
	}
	if err := versionGiven(a.Version, "inside person show "+p.Name); err != nil {
		return api.Person{}, err
	}
	if err := h.Store.SetAccount(ctx, api.By(ctx), p.ID, a.Version, a.Account); err != nil {
		return api.Person{}, asProblem(err, "inside person show "+p.Name)
	}
	if err := h.acted(ctx); err != nil {
		return api.Person{}, err
	}
	return h.Person(ctx, p.Name)
}

func (h *House) Addresses(ctx context.Context, f api.AddressFilter) ([]api.Address, error) {
	if f.Person != "" {
		p, err := h.Person(ctx, f.Person)
		return p.Addresses, err
	}
	persons, err := h.Persons(ctx)
	all := []api.Address{}
	for _, p := range persons {
		all = append(all, p.Addresses...)
	}
	return all, err
}

func (h *House) AddAddress(ctx context.Context, person string, asked api.NewAddress) (api.Address, error) {
	p, err := h.personNamed(person)
	if err != nil {
		return api.Address{}, err
	}
	a, err := newAddress(asked)
	if err != nil {
		return api.Address{}, err
	}
	if a, err = h.Store.AddAddress(ctx, api.By(ctx), p.ID, a); err != nil {
		return api.Address{}, asProblem(err, "inside person ip list")
	}
	if err := h.acted(ctx); err != nil {
		return api.Address{}, err
	}
	return wireAddress(p, a), nil
}

func (h *House) RemoveAddress(ctx context.Context, id string) (api.Address, error) {
	owner, a, err := h.Store.RemoveAddress(ctx, api.By(ctx), policy.AddressID(id))
	if err != nil {
		return api.Address{}, asProblem(err, "inside person ip list")
	}
	if err := h.acted(ctx); err != nil {
		return api.Address{}, err
	}
	return wireAddress(&policy.Person{ID: owner, Name: namer{h.Book()}.person(owner)}, a), nil
}

func wirePerson(p *policy.Person, groups map[string][]string) api.Person {
	wire := api.Person{
		ID: string(p.ID), Name: p.Name, FullName: p.FullName, Email: p.Email, Account: p.Account, Disabled: p.Disabled,
		Addresses: make([]api.Address, 0, len(p.Addresses)),
		Groups:    append([]string{}, groups[string(p.ID)]...),
		Version:   p.Version,
	}
	for _, a := range p.Addresses {
		wire.Addresses = append(wire.Addresses, wireAddress(p, a))
	}
	return wire
}

func wireAddress(p *policy.Person, a policy.Address) api.Address {
	return api.Address{
		ID: string(a.ID), Person: p.Name, PersonID: string(p.ID),
		Address: prefixText(a.Prefix), Label: a.Label, Disabled: a.Disabled,
	}
}

// prefixText writes a single address without its length.
func prefixText(p netip.Prefix) string {
	switch {
	case !p.IsValid():
		return ""
	case p.IsSingleIP():
		return p.Addr().String()
	}
	return p.String()
}
