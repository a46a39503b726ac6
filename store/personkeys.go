package store

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/base64"
	"fmt"
	"net/netip"
	"time"

	"github.com/pawelmojski/inside/policy"
)

// A PersonKey is a public key by which the gate knows a person.
type PersonKey struct {
	ID     string
	Person policy.PersonID
	Server policy.ServerID // "" is any
	Login  string          // "" is any
	Dest   netip.AddrPort  // of a server that is a whole prefix; the zero value is any
	Key    []byte          // wire format
	Label  string          // the comment of the .pub file
	Added  time.Time
	By     string
}

const personKeyColumns = "id, person, server, login, dest, public_key, label, added, added_by"

type personKeyFact struct {
	ID string `json:"id"`
	scope
	Address     string    `json:"address,omitempty"` // none: any of the server
	Fingerprint string    `json:"fingerprint"`
	Key         string    `json:"key"` // base64 of the wire format
	Label       string    `json:"label,omitempty"`
	Added       time.Time `json:"added"`
	AddedBy     string    `json:"added_by"`
}

func knownPersonKey(k PersonKey, at scope) personKeyFact {
	return personKeyFact{k.ID, at, addrPortText(k.Dest), fingerprint(k.Key), base64Text(k.Key), k.Label, k.Added, k.By}
}

// AddPersonKey registers a public key and gives it its id. The same key again
// is ErrConflict, one of another person too: it would prove nothing.
func (s *Store) AddPersonKey(ctx context.Context, by string, k PersonKey) (PersonKey, error) {
	if err := cmp.Or(checkOptional("login", k.Login, maxName), checkOptional("label of the key", k.Label, maxName)); err != nil {
		return PersonKey{}, err
	}
	if len(k.Key) == 0 || len(k.Key) > maxHostKey {
		return PersonKey{}, refuse(ErrInvalid, "the public key has %d bytes: 1 to %d are kept", len(k.Key), maxHostKey)
	}
	k.Added, k.By = kept(time.Now()), by
	err := s.change(ctx, by, func(ctx context.Context, tx *sql.Tx) (deed, error) {
		where, err := scopeOf(ctx, tx, k.Person, k.Server, k.Login)
		if err != nil {
			return deed{}, err
		}
		had, err := personKeysWhere(ctx, tx, "public_key = $1", base64Text(k.Key))
		if err != nil {
			return deed{}, err
		}
		for _, h := range had {
			if h.Person != k.Person {
				other, err := person(ctx, tx, h.Person)
				if err != nil {
					return deed{}, err
				}
				return deed{}, refuse(ErrConflict, "key %s is registered for %s (key %s): a key that two persons hold proves neither", fingerprint(k.Key), other.Name, h.ID)
			}
			if h.Server == k.Server && h.Login == k.Login && h.Dest == k.Dest {
				return deed{}, refuse(ErrConflict, "key %s is registered %s already (key %s)", fingerprint(k.Key), where, h.ID)
			}
		}
		n, err := next(ctx, tx, "person_key")
		if err != nil {
			return deed{}, err
		}
		k.ID = numberID(n)
		_, err = tx.ExecContext(ctx, "INSERT INTO person_keys ("+personKeyColumns+") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
			n, k.Person, k.Server, k.Login, addrPortText(k.Dest), base64Text(k.Key), k.Label, micros(k.Added), by)
		if err != nil {
			return deed{}, err
		}
		return deed{
			action: "person-key.add", object: "person key " + k.ID, detail: fmt.Sprintf("registered %s %s", fingerprint(k.Key), where),
			became: knownPersonKey(k, where),
		}, nil
	})
	if err != nil {
		return PersonKey{}, err
	}
	return k, nil
}

// RemovePersonKey lets a key prove nothing any more.
func (s *Store) RemovePersonKey(ctx context.Context, by, id string) (PersonKey, error) {
	var k PersonKey
	err := s.change(ctx, by, func(ctx context.Context, tx *sql.Tx) (deed, error) {
		missing := refuse(ErrNotFound, "there is no key %q", id)
		n, ok := idNumber(id)
		if !ok {
			return deed{}, missing
		}
		var err error
		k, err = one(ctx, tx, readPersonKey, missing, "SELECT "+personKeyColumns+" FROM person_keys WHERE id = $1", n)
		if err != nil {
			return deed{}, err
		}
		if _, err := tx.ExecContext(ctx, "DELETE FROM person_keys WHERE id = $1", n); err != nil {
			return deed{}, err
		}
		where, err := scopeOf(ctx, tx, k.Person, k.Server, k.Login)
		return deed{
			action: "person-key.remove", object: "person key " + id, detail: fmt.Sprintf("removed %s %s", fingerprint(k.Key), where),
			was: knownPersonKey(k, where),
		}, err
	})
	return k, err
}

// PersonKeys are those of one person, or with "" of everybody, by number.
func (s *Store) PersonKeys(ctx context.Context, of policy.PersonID) (ks []PersonKey, err error) {
	err = s.reading(ctx, func(ctx context.Context, tx *sql.Tx) (err error) {
		ks, err = personKeysWhere(ctx, tx, "person = $1 OR $1 = '' ORDER BY id", of)
		return err
	})
	return ks, err
}

// KeyHolder is the person a public key is registered for, "" if nobody.
func (s *Store) KeyHolder(ctx context.Context, key []byte) (p policy.PersonID, err error) {
	err = s.reading(ctx, func(ctx context.Context, tx *sql.Tx) error {
		ks, err := personKeysWhere(ctx, tx, "public_key = $1", base64Text(key))
		if len(ks) > 0 {
			p = ks[0].Person
		}
		return err
	})
	return p, err
}

func personKeysWhere(ctx context.Context, tx *sql.Tx, where string, args ...any) ([]PersonKey, error) {
	return all(ctx, tx, readPersonKey, "SELECT "+personKeyColumns+" FROM person_keys WHERE "+where, args...)
}

func readPersonKey(r row) (k PersonKey, err error) {
	var id, added int64
	var dest, key string
	if err := r.Scan(&id, &k.Person, &k.Server, &k.Login, &dest, &key, &k.Label, &added, &k.By); err != nil {
		return k, err
	}
	k.ID, k.Added = numberID(id), moment(added)
	if k.Dest, err = parseAddrPort(dest); err != nil {
		return k, err
	}
	k.Key, err = base64.StdEncoding.DecodeString(key)
	return k, err
}
