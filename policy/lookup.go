package policy

// Lookups by id and by name; nil when there is none. The results belong to
// the book and must not be changed.

func (b *Book) Person(id PersonID) *Person          { return nil }
func (b *Book) PersonNamed(name string) *Person     { return nil }
func (b *Book) Server(id ServerID) *Server          { return nil }
func (b *Book) ServerNamed(name string) *Server     { return nil }
func (b *Book) PersonGroup(id GroupID) *Group       { return nil }
func (b *Book) PersonGroupNamed(name string) *Group { return nil }
func (b *Book) ServerGroup(id GroupID) *Group       { return nil }
func (b *Book) ServerGroupNamed(name string) *Group { return nil }
func (b *Book) Grant(id GrantID) *Grant             { return nil }
