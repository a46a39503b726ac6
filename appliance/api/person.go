package api

// A Person is a real human being.
type Person struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"`
	FullName  string    `json:"full_name,omitempty"`
	Email     string    `json:"email,omitempty"`
	Account   string    `json:"account,omitempty"` // elsewhere, such as in a directory
	Disabled  bool      `json:"disabled"`
	Addresses []Address `json:"addresses"`
	Groups    []string  `json:"groups"`  // those the person is a direct member of
	Version   int64     `json:"version"` // goes back with a change, see Switch
}

// An Address is a place a person comes from.
type Address struct {
	ID       string `json:"id"`
	Person   string `json:"person"`
	PersonID string `json:"person_id"`
	Address  string `json:"address"` // "10.0.0.7" or "10.0.0.0/24"
	Label    string `json:"label,omitempty"`
	Disabled bool   `json:"disabled"`
}

// NewPerson asks for a person. Name is as typed: "John Doe" becomes the name
// john.doe and, unless another is given, the full name John Doe.
type NewPerson struct {
	Name      string       `json:"name"`
	FullName  string       `json:"full_name,omitempty"`
	Email     string       `json:"email,omitempty"`
	Account   string       `json:"account,omitempty"`
	Addresses []NewAddress `json:"addresses,omitempty"`
}

// NewAddress asks for an address of a person.
type NewAddress struct {
	Address string `json:"address"`
	Label   string `json:"label,omitempty"`
}

// A Switch disables or enables a person or a server. Version is that of the
// person or server when whoever asks looked at it: if somebody else has changed
// it since, this is a conflict, and says who and when.
type Switch struct {
	Version  int64 `json:"version"`
	Disabled bool  `json:"disabled"`
}

// NewAccount says what account a person has elsewhere; "" is none. Version is
// that of the person, see Switch.
type NewAccount struct {
	Version int64  `json:"version"`
	Account string `json:"account"`
}

// AddressFilter limits a list of addresses; "" is everybody's.
type AddressFilter struct {
	Person string `query:"person"`
}
