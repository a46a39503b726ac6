package store

import (
	"context"
	"database/sql"
	"encoding/base64"
	"fmt"
	"strings"
	"time"

	"github.com/pawelmojski/inside/policy"
)

// A Token lets whoever holds it use the API until it expires or is revoked.
// The token itself is not kept, only its hash.
type Token struct {
	ID      string
	Name    string
	Role    string
	Hash    [32]byte // SHA-256
	Created time.Time
	By      string
	Expires time.Time
	Revoked time.Time // zero: not
	Used    time.Time // last, to the minute; zero: never
}

// tokenActor stands before the name of a token that did something. No account
// of a machine has a colon in its name (passwd(5)).
const tokenActor = "token:"

// Actor is who does what is asked with the token.
func (t Token) Actor() string { return tokenActor + t.Name }

// maker is the admin who is behind a name. A token counts as who made it, also
// where that was a token, and an admin of the pages as who set their password,
// until they have chosen one themselves: whoever holds several names is one
// pair of eyes.
func maker(ctx context.Context, tx *sql.Tx, by string) (string, error) {
	for {
		if name, is := strings.CutPrefix(by, adminActor); is {
			set, err := one(ctx, tx, text, refuse(ErrNotFound, "there is no admin %.80q", name), "SELECT password_by FROM admins WHERE name = $1", name)
			if err != nil || set == by {
				return by, err
			}
			by = set
			continue
		}
		name, is := strings.CutPrefix(by, tokenActor)
		if !is {
			return by, nil
		}
		var err error
		if by, err = one(ctx, tx, text, refuse(ErrNotFound, "there is no token %.80q", name), "SELECT created_by FROM tokens WHERE name = $1", name); err != nil {
			return "", err
		}
	}
}

// tokenFact is what the audit trail keeps of a token.
type tokenFact struct {
	ID      string    `json:"id"`
	Name    string    `json:"name"`
	Role    string    `json:"role"`
	Expires time.Time `json:"expires"`
	Revoked time.Time `json:"revoked,omitzero"`
}

func knownToken(t Token) tokenFact { return tokenFact{t.ID, t.Name, t.Role, t.Expires, t.Revoked} }

const tokenColumns = "id, name, role, hash, created, created_by, expires, revoked, used"

// AddToken keeps a token and gives its id. Name, Role, Hash, Created and
// Expires are set.
func (s *Store) AddToken(ctx context.Context, by string, t Token) (Token, error) {
	if err := policy.CheckName(t.Name); err != nil {
		return Token{}, refuse(ErrInvalid, "%v", err)
	}
	if err := checkText("role of the token "+t.Name, t.Role, maxName); err != nil {
		return Token{}, err
	}
	if err := checkMoment("end of the token "+t.Name, t.Expires); err != nil {
		return Token{}, err
	}
	t.Created, t.Expires, t.By = kept(t.Created), kept(t.Expires), by
	t.Revoked, t.Used = time.Time{}, time.Time{}
	err := s.change(ctx, by, func(ctx context.Context, tx *sql.Tx) (deed, error) {
		taken, err := number(tx.QueryRowContext(ctx, "SELECT COUNT(*) FROM tokens WHERE name = $1", t.Name))
		if err != nil {
			return deed{}, err
		}
		if taken > 0 {
			return deed{}, refuse(ErrConflict, "there is or was a token named %s already, and the audit trail speaks of it: choose another name", t.Name)
		}
		id, err := next(ctx, tx, "token")
		if err != nil {
			return deed{}, err
		}
		t.ID = numberID(id)
		_, err = tx.ExecContext(ctx, "INSERT INTO tokens ("+tokenColumns+") VALUES ($1, $2, $3, $4, $5, $6, $7, 0, 0)",
			id, t.Name, t.Role, base64.StdEncoding.EncodeToString(t.Hash[:]), micros(t.Created), by, micros(t.Expires))
		detail := fmt.Sprintf("role %s, expires %s", t.Role, t.Expires.UTC().Format(time.RFC3339))
		return deed{action: "token.create", object: "token " + t.Name, detail: detail, became: knownToken(t)}, err
	})
	if err != nil {
		return Token{}, err
	}
	return t, nil
}

// RevokeToken makes a token useless, for ever.
func (s *Store) RevokeToken(ctx context.Context, by, name string, now time.Time) (t Token, err error) {
	missing := refuse(ErrNotFound, "there is no token %.80q", name)
	if policy.CheckName(name) != nil {
		return Token{}, missing
	}
	err = s.change(ctx, by, func(ctx context.Context, tx *sql.Tx) (deed, error) {
		t, err = one(ctx, tx, readToken, missing, "SELECT "+tokenColumns+" FROM tokens WHERE name = $1", name)
		if err != nil {
			return deed{}, err
		}
		if !t.Revoked.IsZero() {
			return deed{}, refuse(ErrConflict, "the token %s was revoked already, at %s", t.Name, t.Revoked.UTC().Format(time.RFC3339))
		}
		was := knownToken(t)
		t.Revoked = kept(now)
		_, err = tx.ExecContext(ctx, "UPDATE tokens SET revoked = $1 WHERE name = $2", micros(t.Revoked), name)
		return deed{"token.revoke", "token " + t.Name, "of role " + t.Role, was, knownToken(t)}, err
	})
	if err != nil {
		return Token{}, err
	}
	return t, nil
}

// Tokens are those that are not revoked, or were since a moment, the oldest
// first.
func (s *Store) Tokens(ctx context.Context, revokedSince time.Time) ([]Token, error) {
	var tokens []Token
	err := s.reading(ctx, func(ctx context.Context, tx *sql.Tx) (err error) {
		tokens, err = all(ctx, tx, readToken, "SELECT "+tokenColumns+" FROM tokens WHERE revoked = 0 OR revoked >= $1 ORDER BY id", micros(revokedSince))
		return err
	})
	return tokens, err
}

// TokenUsed notes when a token was used last. That is no change of the facts.
func (s *Store) TokenUsed(ctx context.Context, id string, at time.Time) error {
	n, _ := idNumber(id)
	return s.writing(ctx, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "UPDATE tokens SET used = $1 WHERE id = $2 AND used < $1", micros(at), n)
		return err
	})
}

func readToken(r row) (t Token, err error) {
	var id, created, expires, revoked, used int64
	var hash string
	if err := r.Scan(&id, &t.Name, &t.Role, &hash, &created, &t.By, &expires, &revoked, &used); err != nil {
		return Token{}, err
	}
	// A damaged hash is left empty: it fits no token, and spoils no other.
	if sum, err := base64.StdEncoding.DecodeString(hash); err == nil && len(sum) == len(t.Hash) {
		t.Hash = [32]byte(sum)
	}
	t.ID = numberID(id)
	t.Created, t.Expires, t.Revoked, t.Used = moment(created), moment(expires), moment(revoked), moment(used)
	return t, nil
}
