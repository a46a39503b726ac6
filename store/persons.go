package store

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"net/netip"

	"github.com/pawelmojski/inside/policy"
)

const (
	personColumns  = "id, name, full_name, email, account, disabled, version"
	addressColumns = "id, person, prefix, label, disabled"
)

// AddPerson adds a person with their addresses and gives the ids. A name that
// is not one yet becomes one as policy.PersonName makes it, and is kept as the
// full name if there is no other.
func (s *Store) AddPerson(ctx context.Context, by string, p policy.Person) (policy.Person, error) {
	if err := checkPerson(&p); err != nil {
		return policy.Person{}, err
	}
	p.ID = policy.PersonID(newID())
	err := s.change(ctx, by, func(ctx context.Context, tx *sql.Tx) (deed, error) {
		taken, err := number(tx.QueryRowContext(ctx, "SELECT COUNT(*) FROM persons WHERE name = $1", p.Name))
		if err != nil {
			return deed{}, err
		}
		if taken > 0 {
			return deed{}, refuse(ErrConflict, "there is a person named %s already: choose another name", p.Name)
		}
		if err := accountFree(ctx, tx, p); err != nil {
			return deed{}, err
		}
		_, err = tx.ExecContext(ctx, "INSERT INTO persons ("+personColumns+") VALUES ($1, $2, $3, $4, $5, $6, 0)",
			p.ID, p.Name, p.FullName, p.Email, p.Account, p.Disabled)
		if err != nil {
			return deed{}, err
		}
		if p.Version, err = touched(ctx, tx, "persons", p.ID, by); err != nil {
			return deed{}, err
		}
		detail := "added"
		if p.Disabled {
			detail = "added disabled"
		}
		for i := range p.Addresses {
			a := &p.Addresses[i]
			if err := insertAddress(ctx, tx, p, a); err != nil {
				return deed{}, err
			}
			detail += ", address " + describeAddress(*a)
		}
		return deed{action: "person.add", object: "person " + p.Name, detail: detail, became: knownPerson(p)}, nil
	})
	if err != nil {
		return policy.Person{}, err
	}
	return p, nil
}

// checkPerson brings p into the form that is kept, on a copy of its addresses.
func checkPerson(p *policy.Person) error {
	name, err := policy.PersonName(p.Name)
	if err != nil {
		return refuse(ErrInvalid, "%v", err)
	}
	if p.FullName == "" && name != p.Name {
		p.FullName = p.Name
	}
	p.Name = name
	if err := cmp.Or(
		checkOptional("full name of "+name, p.FullName, maxName),
		checkOptional("email of "+name, p.Email, maxName),
		checkAccount(name, p.Account),
	); err != nil {
		return err
	}
	p.Addresses = append([]policy.Address(nil), p.Addresses...)
	for i, a := range p.Addresses {
		if err := checkAddress(name, a); err != nil {
			return err
		}
		for _, b := range p.Addresses[:i] {
			if a.Prefix == b.Prefix {
				return refuse(ErrConflict, "address %s is given twice for %s", a.Prefix, name)
			}
		}
	}
	return nil
}

func checkAddress(person string, a policy.Address) error {
	if err := checkPrefix("address of "+person, a.Prefix); err != nil {
		return err
	}
	return checkOptional("label of "+a.Prefix.String(), a.Label, maxName)
}

func describeAddress(a policy.Address) string {
	if a.Label == "" {
		return fmt.Sprintf("%s (%s)", a.ID, a.Prefix)
	}
	return fmt.Sprintf("%s (%s %q)", a.ID, a.Prefix, a.Label)
}

// DisablePerson disables or enables a person. One that has changed since the
// revision base is ErrConflict, and so is enabling one whose addresses overlap
// those of somebody else by now, or whose account is somebody else's.
func (s *Store) DisablePerson(ctx context.Context, by string, id policy.PersonID, base int64, disabled bool) error {
	return s.change(ctx, by, func(ctx context.Context, tx *sql.Tx) (deed, error) {
		p, err := person(ctx, tx, id)
		if err != nil {
			return deed{}, err
		}
		if err := upToDate(ctx, tx, "persons", id, "person "+p.Name, base); err != nil {
			return deed{}, err
		}
		if p.Disabled == disabled {
			return deed{}, errUnchanged
		}
		if !disabled {
			if err := addressesFree(ctx, tx, p); err != nil {
				return deed{}, err
			}
		}
		if _, err := tx.ExecContext(ctx, "UPDATE persons SET disabled = $2 WHERE id = $1", id, disabled); err != nil {
			return deed{}, err
		}
		was := knownPerson(p)
		p.Disabled = disabled
		if err := accountFree(ctx, tx, p); err != nil {
			return deed{}, err
		}
		return switched("person", "person "+p.Name, disabled, was, knownPerson(p)), touch(ctx, tx, "persons", id, by)
	})
}

func checkAccount(person, account string) error {
	return checkOptional("account of "+person, account, maxName)
}

// SetAccount says what account a person has elsewhere; "" is none. A person who
// has changed since the revision base is ErrConflict, and so is an account that
// somebody else has, since two persons with one account are nobody.
func (s *Store) SetAccount(ctx context.Context, by string, id policy.PersonID, base int64, account string) error {
	return s.change(ctx, by, func(ctx context.Context, tx *sql.Tx) (deed, error) {
		p, err := person(ctx, tx, id)
		if err != nil {
			return deed{}, err
		}
		if err := checkAccount(p.Name, account); err != nil {
			return deed{}, err
		}
		if err := upToDate(ctx, tx, "persons", id, "person "+p.Name, base); err != nil {
			return deed{}, err
		}
		if p.Account == account {
			return deed{}, errUnchanged
		}
		if _, err := tx.ExecContext(ctx, "UPDATE persons SET account = $2 WHERE id = $1", id, account); err != nil {
			return deed{}, err
		}
		d := deed{action: "person.account", object: "person " + p.Name, detail: fmt.Sprintf("account %q → %q", p.Account, account), was: knownPerson(p)}
		p.Account = account
		if err := accountFree(ctx, tx, p); err != nil {
			return deed{}, err
		}
		d.became = knownPerson(p)
		return d, touch(ctx, tx, "persons", id, by)
	})
}

// switched is the deed of disabling or enabling.
func switched(noun, object string, disabled bool, was, became any) deed {
	d := deed{action: noun + ".enable", object: object, detail: "disabled → enabled", was: was, became: became}
	if disabled {
		d.action, d.detail = noun+".disable", "enabled → disabled"
	}
	return d
}

// AddAddress gives a person an address more, and the address its id. One that
// overlaps an address of another person is ErrConflict, since two persons at
// one address are nobody.
func (s *Store) AddAddress(ctx context.Context, by string, id policy.PersonID, a policy.Address) (policy.Address, error) {
	err := s.change(ctx, by, func(ctx context.Context, tx *sql.Tx) (deed, error) {
		p, err := person(ctx, tx, id)
		if err != nil {
			return deed{}, err
		}
		if err := checkAddress(p.Name, a); err != nil {
			return deed{}, err
		}
		for _, had := range p.Addresses {
			if had.Prefix == a.Prefix && !had.Disabled {
				return deed{}, refuse(ErrConflict, "%s has the address %s already", p.Name, describeAddress(had))
			}
		}
		if err := insertAddress(ctx, tx, p, &a); err != nil {
			return deed{}, err
		}
		return deed{
			action: "address.add", object: "person " + p.Name, detail: "added address " + describeAddress(a),
			became: knownAddress(p.Name, a),
		}, touch(ctx, tx, "persons", id, by)
	})
	if err != nil {
		return policy.Address{}, err
	}
	return a, nil
}

// insertAddress gives the address its id and writes it.
func insertAddress(ctx context.Context, tx *sql.Tx, p policy.Person, a *policy.Address) error {
	if !p.Disabled && !a.Disabled {
		if err := prefixFree(ctx, tx, p, []netip.Prefix{a.Prefix}); err != nil {
			return err
		}
	}
	n, err := next(ctx, tx, "address")
	if err != nil {
		return err
	}
	a.ID = policy.AddressID(numberID(n))
	_, err = tx.ExecContext(ctx, "INSERT INTO addresses ("+addressColumns+") VALUES ($1, $2, $3, $4, $5)",
		n, p.ID, prefixText(a.Prefix), a.Label, a.Disabled)
	return err
}

// RemoveAddress deactivates an address and returns it with its person.
func (s *Store) RemoveAddress(ctx context.Context, by string, id policy.AddressID) (policy.PersonID, policy.Address, error) {
	var a owned
	err := s.change(ctx, by, func(ctx context.Context, tx *sql.Tx) (deed, error) {
		missing := refuse(ErrNotFound, "there is no address %s", id)
		n, ok := idNumber(string(id))
		if !ok {
			return deed{}, missing
		}
		var err error
		a, err = one(ctx, tx, readOwned, missing, "SELECT "+addressColumns+" FROM addresses WHERE id = $1", n)
		if err != nil {
			return deed{}, err
		}
		p, err := person(ctx, tx, a.person)
		if err != nil {
			return deed{}, err
		}
		if a.Disabled {
			return deed{}, refuse(ErrConflict, "address %s of %s is removed already", describeAddress(a.Address), p.Name)
		}
		was := knownAddress(p.Name, a.Address)
		a.Disabled = true
		if _, err := tx.ExecContext(ctx, "UPDATE addresses SET disabled = $2 WHERE id = $1", n, true); err != nil {
			return deed{}, err
		}
		return deed{
			action: "address.remove", object: "person " + p.Name, detail: "removed address " + describeAddress(a.Address),
			was: was, became: knownAddress(p.Name, a.Address),
		}, touch(ctx, tx, "persons", p.ID, by)
	})
	if err != nil {
		return "", policy.Address{}, err
	}
	return a.person, a.Address, nil
}

// person reads a person with all addresses.
func person(ctx context.Context, tx *sql.Tx, id policy.PersonID) (policy.Person, error) {
	p, err := one(ctx, tx, readPerson, refuse(ErrNotFound, "there is no person with the id %q", id),
		"SELECT "+personColumns+" FROM persons WHERE id = $1", id)
	if err != nil {
		return p, err
	}
	addresses, err := all(ctx, tx, readOwned, "SELECT "+addressColumns+" FROM addresses WHERE person = $1 ORDER BY id", id)
	for _, a := range addresses {
		p.Addresses = append(p.Addresses, a.Address)
	}
	return p, err
}

func readPerson(r row) (p policy.Person, err error) {
	return p, r.Scan(&p.ID, &p.Name, &p.FullName, &p.Email, &p.Account, &p.Disabled, &p.Version)
}

// owned is an address with its person.
type owned struct {
	policy.Address
	person policy.PersonID
}

func readOwned(r row) (a owned, err error) {
	var id int64
	var prefix string
	if err := r.Scan(&id, &a.person, &prefix, &a.Label, &a.Disabled); err != nil {
		return a, err
	}
	a.ID = policy.AddressID(numberID(id))
	a.Prefix, err = parsePrefix(prefix)
	return a, err
}

// addressesFree checks that nobody else is at p's addresses by now.
func addressesFree(ctx context.Context, tx *sql.Tx, p policy.Person) error {
	var prefixes []netip.Prefix
	for _, a := range p.Addresses {
		if !a.Disabled {
			prefixes = append(prefixes, a.Prefix)
		}
	}
	return prefixFree(ctx, tx, p, prefixes)
}

// accountFree compares p's account with that of every other enabled person.
func accountFree(ctx context.Context, tx *sql.Tx, p policy.Person) error {
	if p.Disabled || p.Account == "" {
		return nil
	}
	return each(ctx, tx, func(r row) error {
		var name, account string
		if err := r.Scan(&name, &account); err != nil {
			return err
		}
		if policy.SameAccount(account, p.Account) {
			return refuse(ErrConflict, "account %s of %s is that of %s: take it from %s first: inside person set-account %s ''", p.Account, p.Name, name, name, name)
		}
		return nil
	}, "SELECT name, account FROM persons WHERE account <> '' AND disabled = false AND id <> $1", p.ID)
}

// prefixFree compares the prefixes with every enabled address of every other
// enabled person. SQL that both engines understand cannot compare prefixes, so
// they are read.
func prefixFree(ctx context.Context, tx *sql.Tx, p policy.Person, prefixes []netip.Prefix) error {
	return each(ctx, tx, func(r row) error {
		var id int64
		var prefix, other string
		if err := r.Scan(&id, &prefix, &other); err != nil {
			return err
		}
		theirs, err := parsePrefix(prefix)
		if err != nil {
			return err
		}
		for _, mine := range prefixes {
			if mine.Overlaps(theirs) {
				return refuse(ErrConflict, "address %s of %s overlaps %s of %s (address %d): remove that address or disable %s first",
					mine, p.Name, theirs, other, id, other)
			}
		}
		return nil
	}, `SELECT a.id, a.prefix, p.name FROM addresses a JOIN persons p ON p.id = a.person
		WHERE a.disabled = false AND p.disabled = false AND p.id <> $1`, p.ID)
}
