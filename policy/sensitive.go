package policy

import "time"

// Four eyes: a server that is sensitive, by itself, by a group that holds it or
// by a server around it, is entered by grants that somebody else has approved.

// indexSensitive finds out which servers and server groups are sensitive. It
// comes after indexGroups, which refuses cycles and members nobody knows.
func (b *Book) indexSensitive() error {
	servers, groups := b.servers.things, b.serverGroups.things
	first := len(servers)
	b.sensitive = make([]bool, first+len(groups))
	for i := range servers {
		b.sensitive[i] = servers[i].Sensitive
	}
	var mark func(g int32) // a group and all it holds
	mark = func(g int32) {
		if b.sensitive[first+int(g)] {
			return
		}
		b.sensitive[first+int(g)] = true
		for _, member := range groups[g].Members {
			b.sensitive[b.servers.byID[ServerID(member)]] = true
		}
		for _, inner := range groups[g].Groups {
			mark(b.serverGroups.byID[inner])
		}
	}
	for i := range groups {
		if groups[i].Sensitive {
			mark(int32(i))
		}
	}
	b.markWithin()

	b.touchy = append([]bool(nil), b.sensitive...)
	looked := make([]bool, len(groups))
	var look func(g int32) bool // whether a group holds something sensitive
	look = func(g int32) bool {
		if looked[g] {
			return b.touchy[first+int(g)]
		}
		looked[g] = true
		touchy := b.touchy[first+int(g)]
		for _, member := range groups[g].Members {
			touchy = touchy || b.sensitive[b.servers.byID[ServerID(member)]]
		}
		for _, inner := range groups[g].Groups {
			touchy = look(b.serverGroups.byID[inner]) || touchy
		}
		b.touchy[first+int(g)] = touchy
		return touchy
	}
	for i := range groups {
		look(int32(i))
	}
	return nil
}

// markWithin marks the servers whose addresses belong to sensitive ones too:
// whoever gives one machine of a sensitive prefix a name, or replaces a server
// by another at its address, must not open it by that.
func (b *Book) markWithin() {
	around := newPrefixMap[bool](0)
	for i, s := range b.facts.Servers {
		if b.sensitive[i] {
			around.merge(s.Prefix, true, func(bool, bool) bool { return true })
		}
	}
	for i, s := range b.facts.Servers {
		if _, within := around.lookup(s.Prefix.Addr(), s.Prefix.Bits()); within {
			b.sensitive[i] = true
		}
	}
}

// NeedsApproval reports whether a server is sensitive, by itself, by a group
// that holds it or by a server around it.
func (b *Book) NeedsApproval(id ServerID) bool {
	i, known := b.servers.byID[id]
	return known && b.sensitive[i]
}

// Waits reports whether a grant waits for approval: it reaches a sensitive
// server, nobody has approved it, and it is not over. A grant for a group may
// serve for the other servers of it meanwhile.
func (b *Book) Waits(id GrantID, now time.Time) bool {
	g, known := b.grantByID[id]
	return known && b.touchy[g.where] && g.Approved.IsZero() && g.over(now) == ""
}
