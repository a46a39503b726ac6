package store

import (
	"cmp"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/pawelmojski/inside/policy"
)

// A Credential is something the gate can log in with in a person's name. What
// it is lies sealed: the store never has the key that opens it.
type Credential struct {
	ID     string
	Person policy.PersonID
	Server policy.ServerID // "" is any
	Login  string          // "" is any
	Kind   CredentialKind
	Public []byte // a key's public half in wire format; none of a password
	Sealed []byte

	// Unproven says that a password serves whoever comes from the person's
	// addresses, also if they have proven nothing.
	Unproven bool

	Created time.Time
	By      string
}

// A CredentialKind says what a credential is.
type CredentialKind string

const (
	KeyCredential      CredentialKind = "key"      // a private key an admin has stored
	PasswordCredential CredentialKind = "password" // a password an admin has stored
	OwnKey             CredentialKind = "own-key"  // the gate's own key for a person, for the accounts it is enrolled in
)

const (
	credentialColumns = "id, person, server, login, kind, public_key, sealed, created, created_by, unproven"

	// maxSealed is far beyond any private key: RSA of 16384 bits takes 13 KiB.
	maxSealed = 64 << 10
)

// AddCredential keeps a credential and gives it its id. seal gets it with the
// id and returns the secret, sealed for exactly this one. There is one of a
// kind for the same person, server and login.
func (s *Store) AddCredential(ctx context.Context, by string, c Credential, seal func(Credential) ([]byte, error)) (Credential, error) {
	if err := checkOptional("login", c.Login, maxName); err != nil {
		return Credential{}, err
	}
	if len(c.Public) > maxHostKey {
		return Credential{}, refuse(ErrInvalid, "the public key has %d bytes: at most %d are kept", len(c.Public), maxHostKey)
	}
	c.Created, c.By = kept(time.Now()), by
	err := s.change(ctx, by, func(ctx context.Context, tx *sql.Tx) (deed, error) {
		where, err := scopeOf(ctx, tx, c.Person, c.Server, c.Login)
		if err != nil {
			return deed{}, err
		}
		had, err := credentialsWhere(ctx, tx, "person = $1 AND server = $2 AND login = $3 AND kind = $4", c.Person, c.Server, c.Login, c.Kind)
		if err != nil {
			return deed{}, err
		}
		if len(had) > 0 {
			return deed{}, refuse(ErrConflict, "there is a %s %s already, credential %s: remove it first", c.Kind, where, had[0].ID)
		}
		n, err := next(ctx, tx, "credential")
		if err != nil {
			return deed{}, err
		}
		c.ID = numberID(n)
		if c.Sealed, err = seal(c); err != nil {
			return deed{}, err
		}
		if len(c.Sealed) == 0 || len(c.Sealed) > maxSealed {
			return deed{}, refuse(ErrInvalid, "the sealed secret has %d bytes: 1 to %d are kept", len(c.Sealed), maxSealed)
		}
		_, err = tx.ExecContext(ctx, "INSERT INTO credentials ("+credentialColumns+") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
			n, c.Person, c.Server, c.Login, c.Kind, base64Text(c.Public), base64Text(c.Sealed), micros(c.Created), by, c.Unproven)
		if err != nil {
			return deed{}, err
		}
		return deed{
			action: "credential.add", object: "credential " + c.ID, detail: fmt.Sprintf("stored a %s %s", describe(c), where),
			became: knownCredential(c, where),
		}, nil
	})
	if err != nil {
		return Credential{}, err
	}
	return c, nil
}

// A scope is for whom and where something serves, in names.
type scope struct {
	Person string `json:"person"`
	Login  string `json:"login,omitempty"`  // none: any
	Server string `json:"server,omitempty"` // none: any
}

// scopeOf checks that person and server are known.
func scopeOf(ctx context.Context, tx *sql.Tx, p policy.PersonID, v policy.ServerID, login string) (scope, error) {
	owner, err := person(ctx, tx, p)
	if err != nil || v == "" {
		return scope{Person: owner.Name, Login: login}, err
	}
	name, err := serverName(ctx, tx, v)
	return scope{owner.Name, login, name}, err
}

func (p scope) String() string {
	where := "for " + p.Person
	if p.Login != "" {
		where += " as " + p.Login
	}
	if p.Server == "" {
		return where + " on any server"
	}
	return where + " on " + p.Server
}

// A credentialFact is what the audit trail keeps of a credential; a
// personKeyFact of a key.
type credentialFact struct {
	ID   string         `json:"id"`
	Kind CredentialKind `json:"kind"`
	scope
	Fingerprint string    `json:"fingerprint,omitempty"`
	Unproven    bool      `json:"without_proof,omitempty"`
	Created     time.Time `json:"created"`
	CreatedBy   string    `json:"created_by"`
}

func knownCredential(c Credential, at scope) credentialFact {
	fact := credentialFact{ID: c.ID, Kind: c.Kind, scope: at, Unproven: c.Unproven, Created: c.Created, CreatedBy: c.By}
	if len(c.Public) > 0 {
		fact.Fingerprint = fingerprint(c.Public)
	}
	return fact
}

// describe names a credential without a word of its secret.
func describe(c Credential) string {
	if c.Unproven {
		return string(c.Kind) + " that needs no proof,"
	}
	if len(c.Public) == 0 {
		return string(c.Kind)
	}
	return string(c.Kind) + " " + fingerprint(c.Public)
}

// fingerprint is what ssh-keygen -l prints.
func fingerprint(key []byte) string {
	sum := sha256.Sum256(key)
	return "SHA256:" + base64.RawStdEncoding.EncodeToString(sum[:])
}

// RemoveCredential deletes a credential, its secret with it. One that is
// enrolled in accounts is ErrConflict.
func (s *Store) RemoveCredential(ctx context.Context, by, id string) (Credential, error) {
	var c Credential
	err := s.change(ctx, by, func(ctx context.Context, tx *sql.Tx) (deed, error) {
		missing := refuse(ErrNotFound, "there is no credential %q", id)
		n, ok := idNumber(id)
		if !ok {
			return deed{}, missing
		}
		var err error
		c, err = one(ctx, tx, readCredential, missing, "SELECT "+credentialColumns+" FROM credentials WHERE id = $1", n)
		if err != nil {
			return deed{}, err
		}
		enrolled, err := number(tx.QueryRowContext(ctx, "SELECT COUNT(*) FROM enrolments WHERE credential = $1 AND state IN ($2, $3)", n, Enrolled, EnrolmentBegun))
		if err != nil {
			return deed{}, err
		}
		if enrolled > 0 {
			return deed{}, refuse(ErrConflict, "credential %s is enrolled in %d accounts: unenroll them first", id, enrolled)
		}
		if _, err := tx.ExecContext(ctx, "DELETE FROM credentials WHERE id = $1", n); err != nil {
			return deed{}, err
		}
		where, err := scopeOf(ctx, tx, c.Person, c.Server, c.Login)
		return deed{
			action: "credential.remove", object: "credential " + id, detail: fmt.Sprintf("removed the %s %s", describe(c), where),
			was: knownCredential(c, where),
		}, err
	})
	return c, err
}

// Credentials are those of one person, or with "" of everybody, by number.
func (s *Store) Credentials(ctx context.Context, of policy.PersonID) (cs []Credential, err error) {
	err = s.reading(ctx, func(ctx context.Context, tx *sql.Tx) (err error) {
		cs, err = credentialsWhere(ctx, tx, "person = $1 OR $1 = '' ORDER BY id", of)
		return err
	})
	return cs, err
}

// Passwords are those that serve a person at a server, whatever the login.
func (s *Store) Passwords(ctx context.Context, p policy.PersonID, v policy.ServerID) (cs []Credential, err error) {
	err = s.reading(ctx, func(ctx context.Context, tx *sql.Tx) (err error) {
		cs, err = credentialsWhere(ctx, tx, "person = $1 AND (server = $2 OR server = '') AND kind = $3 ORDER BY id", p, v, PasswordCredential)
		return err
	})
	return cs, err
}

func credentialsWhere(ctx context.Context, tx *sql.Tx, where string, args ...any) ([]Credential, error) {
	return all(ctx, tx, readCredential, "SELECT "+credentialColumns+" FROM credentials WHERE "+where, args...)
}

func readCredential(r row) (c Credential, err error) {
	var id, created int64
	var public, sealed string
	if err := r.Scan(&id, &c.Person, &c.Server, &c.Login, &c.Kind, &public, &sealed, &created, &c.By, &c.Unproven); err != nil {
		return c, err
	}
	c.ID, c.Created = numberID(id), moment(created)
	if c.Public, err = base64.StdEncoding.DecodeString(public); err != nil {
		return c, err
	}
	c.Sealed, err = base64.StdEncoding.DecodeString(sealed)
	return c, err
}

func base64Text(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

// A Keyring is what the gate knows and holds for a person's login at a server.
type Keyring struct {
	Keys        []PersonKey  // what the person may prove there
	UserCAs     []UserCA     // that may sign for the server, the newest first
	Credentials []Credential // the most specific first
	Enrolling   bool         // the gate may add its own key to the account
	Enrolment   *Enrolment   // how far that went; nil: it was never tried
}

// Keyring reads what serves for a login: what was stored for it, for its
// server, for the login anywhere, or for anything, and the gate's own key
// where this gate is enrolled.
func (s *Store) Keyring(ctx context.Context, gate string, p policy.PersonID, v policy.ServerID, dest netip.AddrPort, login string) (k Keyring, err error) {
	const here = "person = $1 AND (server = $2 OR server = '') AND (login = $3 OR login = '')"
	var own []Credential
	var enrolled []Enrolment
	err = s.reading(ctx, func(ctx context.Context, tx *sql.Tx) (err error) {
		if k.Keys, err = personKeysWhere(ctx, tx, here+" AND (dest = $4 OR dest = '')", p, v, login, addrPortText(dest)); err != nil {
			return err
		}
		if k.Credentials, err = credentialsWhere(ctx, tx, here+" AND kind <> $4", p, v, login, OwnKey); err != nil {
			return err
		}
		enrolled, err = enrolmentsWhere(ctx, tx, "gate = $1 AND person = $2 AND dest = $3 AND login = $4", gate, p, addrPortText(dest), login)
		if err != nil {
			return err
		}
		if len(enrolled) > 0 && enrolled[0].State == Enrolled {
			n, _ := idNumber(enrolled[0].Credential)
			if own, err = credentialsWhere(ctx, tx, "id = $1", n); err != nil {
				return err
			}
		}
		allows, err := serverLogin(ctx, tx, v)
		if err != nil {
			return err
		}
		k.Enrolling = allows.Enrolling
		if allows.UserCA {
			k.UserCAs, err = userCAs(ctx, tx)
		}
		return err
	})
	slices.SortFunc(k.Credentials, func(a, b Credential) int {
		return cmp.Or(specific(b)-specific(a), strings.Compare(string(a.Kind), string(b.Kind)))
	})
	k.Credentials = append(own, k.Credentials...)
	if len(enrolled) > 0 {
		k.Enrolment = &enrolled[0]
	}
	return k, err
}

// specific orders: both, the server, the login, any.
func specific(c Credential) (n int) {
	if c.Server != "" {
		n += 2
	}
	if c.Login != "" {
		n++
	}
	return n
}
