package store

import (
	"context"
	"database/sql"
	"encoding/base64"
	"time"
)

// A UserCA signs certificates for people's logins at servers that trust it.
type UserCA struct {
	ID      string
	Public  []byte // wire format
	Sealed  []byte
	Created time.Time
	By      string
}

const (
	userCAColumns = "id, public_key, sealed, created, created_by"

	// keptCAs is how many are kept: the one that signs, and the one before it
	// for servers that do not know the new one yet.
	keptCAs = 2
)

// UserCAs are the one that signs and the one before it.
func (s *Store) UserCAs(ctx context.Context) (cas []UserCA, err error) {
	err = s.reading(ctx, func(ctx context.Context, tx *sql.Tx) (err error) {
		cas, err = userCAs(ctx, tx)
		return err
	})
	return cas, err
}

func userCAs(ctx context.Context, tx *sql.Tx) ([]UserCA, error) {
	return all(ctx, tx, readUserCA, "SELECT "+userCAColumns+" FROM user_cas ORDER BY id DESC LIMIT $1", keptCAs)
}

type userCAFact struct {
	ID          string    `json:"id"`
	Fingerprint string    `json:"fingerprint"`
	Key         string    `json:"key"` // base64 of the wire format
	Created     time.Time `json:"created"`
	CreatedBy   string    `json:"created_by"`
}

func knownUserCA(ca UserCA) userCAFact {
	return userCAFact{ca.ID, fingerprint(ca.Public), base64Text(ca.Public), ca.Created, ca.By}
}

// AddUserCA keeps a new CA; unless it replaces one, an existing one stays.
// seal gets it with its id and returns the private half, sealed.
func (s *Store) AddUserCA(ctx context.Context, by string, replace bool, public []byte, seal func(UserCA) ([]byte, error)) error {
	return s.change(ctx, by, func(ctx context.Context, tx *sql.Tx) (deed, error) {
		had, err := userCAs(ctx, tx)
		if err != nil {
			return deed{}, err
		}
		if len(had) > 0 && !replace {
			return deed{}, errUnchanged
		}
		n, err := next(ctx, tx, "user_ca")
		if err != nil {
			return deed{}, err
		}
		ca := UserCA{ID: numberID(n), Public: public, Created: kept(time.Now()), By: by}
		if ca.Sealed, err = seal(ca); err != nil {
			return deed{}, err
		}
		_, err = tx.ExecContext(ctx, "INSERT INTO user_cas ("+userCAColumns+") VALUES ($1, $2, $3, $4, $5)",
			n, base64Text(ca.Public), base64Text(ca.Sealed), micros(ca.Created), by)
		if err != nil {
			return deed{}, err
		}
		d := deed{action: "user-ca.create", object: "user CA " + ca.ID, detail: "signs with " + fingerprint(public), became: knownUserCA(ca)}
		if len(had) > 0 {
			d.action, d.was = "user-ca.rotate", knownUserCA(had[0])
			_, err = tx.ExecContext(ctx, "DELETE FROM user_cas WHERE id <= $1", n-keptCAs)
		}
		return d, err
	})
}

func readUserCA(r row) (ca UserCA, err error) {
	var id, created int64
	var public, sealed string
	if err := r.Scan(&id, &public, &sealed, &created, &ca.By); err != nil {
		return ca, err
	}
	ca.ID, ca.Created = numberID(id), moment(created)
	if ca.Public, err = base64.StdEncoding.DecodeString(public); err != nil {
		return ca, err
	}
	ca.Sealed, err = base64.StdEncoding.DecodeString(sealed)
	return ca, err
}
