package policy

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

func (b *Book) Grant(id GrantID) *Grant {
	if g, ok := b.grantByID[id]; ok {
		return g.Grant
	}
	return nil
}
