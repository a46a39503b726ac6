package policy

import "net/netip"

// PersonID identifies a person for as long as the database lives.
type PersonID string

// AddressID identifies one address of a person; people type it, so it is a
// short decimal number.
type AddressID string

// A Person is a real human being. Accounts on servers never identify one.
type Person struct {
	ID        PersonID
	Name      string // unique, lower case: "john.doe"
	FullName  string // as people write it: "John Doe"
	Email     string
	Account   string // what they are called elsewhere, such as in a directory; an Identity of that account is theirs
	Disabled  bool
	Addresses []Address
	Version   int64 // the revision of the facts that changed it last
}

// An Address is a place a person comes from: home, office, VPN.
type Address struct {
	ID       AddressID
	Prefix   netip.Prefix // a single address is a /32 or /128; never 4in6-mapped
	Label    string
	Disabled bool // deactivated: kept for the record, matches nothing
}
