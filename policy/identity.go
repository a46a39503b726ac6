package policy

import "net/netip"

// An Identity is who a network that people come through says is at an address:
// the account that is logged in there, and on which of its nodes. The network
// is asked before the decision; the zero Identity says nothing.
type Identity struct {
	Account string // "alice@corp.example"
	Node    string // "alice-laptop", for people
}

func (i Identity) String() string {
	if i.Node == "" {
		return i.Account
	}
	return i.Account + " on " + i.Node
}

// SameAccount reports whether two accounts are one. Case is that of ASCII, by
// which nobody gets a letter that only looks like another's.
func SameAccount(a, b string) bool { return foldAccount(a) == foldAccount(b) }

func foldAccount(account string) string {
	for i := range len(account) {
		if c := account[i]; 'A' <= c && c <= 'Z' {
			folded := []byte(account)
			for j := i; j < len(folded); j++ {
				if c := folded[j]; 'A' <= c && c <= 'Z' {
					folded[j] = c + ('a' - 'A')
				}
			}
			return string(folded)
		}
	}
	return account
}

// indexAccounts finds persons by the accounts they have elsewhere.
func (b *Book) indexAccounts() error {
	b.personBy = map[string]holder{}
	for i := range b.facts.Persons {
		p := &b.facts.Persons[i]
		if p.Account == "" {
			continue
		}
		h, account := newHolder(int32(i), p.Disabled), foldAccount(p.Account)
		if before, taken := b.personBy[account]; taken {
			h = before.and(h)
		}
		b.personBy[account] = h
	}
	return nil
}

// who is found by a flow: by its address or, where the address is nobody's, by
// its identity.
func (b *Book) who(client netip.Addr, id Identity) (h holder, known bool) {
	if h, known = b.personAt.lookup(client, client.BitLen()); !known && id.Account != "" {
		h, known = b.personBy[foldAccount(id.Account)]
	}
	return h, known
}

// KnownAt reports whether the address itself says who comes, so that no network
// need be asked.
func (b *Book) KnownAt(client netip.Addr) bool {
	client = client.Unmap()
	_, known := b.personAt.lookup(client, client.BitLen())
	return known
}
