package policy

import "net/netip"

// Lookups by id and by name; nil when there is none. The results belong to
// the book and must not be changed.

func (b *Book) Person(id PersonID) *Person          { return b.persons.find(id) }
func (b *Book) PersonNamed(name string) *Person     { return b.persons.named(name) }
func (b *Book) Server(id ServerID) *Server          { return b.servers.find(id) }
func (b *Book) ServerNamed(name string) *Server     { return b.servers.named(name) }
func (b *Book) PersonGroup(id GroupID) *Group       { return b.personGroups.find(id) }
func (b *Book) PersonGroupNamed(name string) *Group { return b.personGroups.named(name) }
func (b *Book) ServerGroup(id GroupID) *Group       { return b.serverGroups.find(id) }
func (b *Book) ServerGroupNamed(name string) *Group { return b.serverGroups.named(name) }

// PersonAt is who is known by an address; nil when nobody is, or more than one.
func (b *Book) PersonAt(a netip.Addr) *Person {
	h, known := b.personAt.lookup(a, a.BitLen())
	switch {
	case !known || h.shared:
		return nil
	case h.enabled == nobody:
		return &b.facts.Persons[h.disabled]
	}
	return &b.facts.Persons[h.enabled]
}

// ServerAt is the server of an address.
func (b *Book) ServerAt(a netip.Addr) *Server {
	if i, known := b.serverAt.lookup(a, a.BitLen()); known {
		return &b.facts.Servers[i]
	}
	return nil
}

func (b *Book) Grant(id GrantID) *Grant {
	if g, ok := b.grantByID[id]; ok {
		return g.Grant
	}
	return nil
}
