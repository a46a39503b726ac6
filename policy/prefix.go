package policy

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
)

// A prefixMap finds what is kept for the longest prefix that holds an address.
type prefixMap[T any] struct {
	at      map[netip.Prefix]T
	lengths [2][]int // that occur, the longest first: IPv4, IPv6
}

func newPrefixMap[T any](size int) prefixMap[T] {
	return prefixMap[T]{at: make(map[netip.Prefix]T, size)}
}

func family(a netip.Addr) int {
	if a.Is4() {
		return 0
	}
	return 1
}

// merge keeps v for a prefix, joined with what was kept before.
func (m *prefixMap[T]) merge(p netip.Prefix, v T, join func(first, second T) T) {
	p = p.Masked()
	if before, ok := m.at[p]; ok {
		m.at[p] = join(before, v)
		return
	}
	m.at[p] = v
	lengths := &m.lengths[family(p.Addr())]
	if i, ok := slices.BinarySearchFunc(*lengths, p.Bits(), func(x, y int) int { return cmp.Compare(y, x) }); !ok {
		*lengths = slices.Insert(*lengths, i, p.Bits())
	}
}

// inherit joins to each prefix what is kept for the shorter ones around it.
func (m *prefixMap[T]) inherit(join func(first, second T) T) {
	prefixes := make([]netip.Prefix, 0, len(m.at))
	for p := range m.at {
		prefixes = append(prefixes, p)
	}
	slices.SortFunc(prefixes, func(x, y netip.Prefix) int { return cmp.Compare(x.Bits(), y.Bits()) })
	for _, p := range prefixes { // the shorter first, so that one step up is enough
		if outer, ok := m.lookup(p.Addr(), p.Bits()-1); ok {
			m.at[p] = join(m.at[p], outer)
		}
	}
}

// lookup returns what is kept for the longest prefix of at most limit bits that
// holds the address. An address with a zone (fe80::1%eth0) is in no prefix.
func (m *prefixMap[T]) lookup(a netip.Addr, limit int) (found T, ok bool) {
	if a.Zone() != "" {
		return found, false
	}
	for _, bits := range m.lengths[family(a)] {
		if bits > limit {
			continue
		}
		p, _ := a.Prefix(bits) // lengths of one family fit its addresses
		if found, ok = m.at[p]; ok {
			break
		}
	}
	return found, ok
}

// A holder says whom an address belongs to, as far as a decision asks: two
// persons who are not disabled cannot be told apart, however many they are.
type holder struct {
	enabled, disabled int32 // persons; nobody when there is none
	shared            bool  // by several enabled persons
}

const nobody = -1

func newHolder(person int32, disabled bool) holder {
	if disabled {
		return holder{enabled: nobody, disabled: person}
	}
	return holder{enabled: person, disabled: nobody}
}

func (h holder) and(other holder) holder {
	switch {
	case h.enabled == nobody:
		h.enabled = other.enabled
	case other.enabled != nobody && other.enabled != h.enabled:
		h.shared = true
	}
	h.shared = h.shared || other.shared
	// Of several disabled persons the first one is named.
	if h.disabled == nobody || other.disabled != nobody && other.disabled < h.disabled {
		h.disabled = other.disabled
	}
	return h
}

// checkPrefix refuses what Contains of a prefix would never match.
func checkPrefix(p netip.Prefix) error {
	switch {
	case !p.IsValid():
		return errors.New("the prefix is not valid")
	case p.Addr().Is4In6():
		return fmt.Errorf("%s is an IPv4 prefix in IPv6 notation", p)
	}
	return nil
}

// Overlaps returns an address of an enabled person other than except that has
// addresses in common with p; nil when there is none. A flow from such an
// address could not be told apart and would be denied.
func (b *Book) Overlaps(p netip.Prefix, except PersonID) (*Person, Address) {
	for i := range b.facts.Persons {
		person := &b.facts.Persons[i]
		if person.Disabled || person.ID == except {
			continue
		}
		for _, a := range person.Addresses {
			if !a.Disabled && a.Prefix.Overlaps(p) {
				return person, a
			}
		}
	}
	return nil, Address{}
}
