package appliance

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/proxy"
	"github.com/pawelmojski/inside/store"
)

// A keyring is what the house knows and holds for one visit's login. It reads
// the store each time, so that what an admin adds or takes away counts from
// the next login on.
type keyring struct {
	visit  *visit
	person policy.PersonID
	server policy.ServerID
	login  string
	rows   store.Keyring

	mu     sync.Mutex
	owners map[string]proxy.KeyOwner
}

var _ proxy.Keyring = (*keyring)(nil)

// Keyring implements proxy.Visit.
func (v *visit) Keyring(ctx context.Context, login string) (proxy.Keyring, error) {
	verdict := v.Decide(login)
	if !verdict.Allowed() {
		return nil, errNotAdmitted
	}
	k := &keyring{
		visit: v, person: verdict.Person.ID, server: verdict.Server.ID, login: login,
		owners: map[string]proxy.KeyOwner{},
	}
	if verdict.Waived != "" {
		return k, nil // what the gate holds is used by a grant only
	}
	if err := k.read(ctx); err != nil {
		return nil, err
	}
	return k, nil
}

// read reads what the store has for this login now.
func (k *keyring) read(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, writeDown)
	defer cancel()
	a := k.visit.house
	k.rows, err = a.store.Keyring(ctx, a.cfg.Gate.Name, k.person, k.server, k.visit.flow.Dest, k.login)
	return err
}

// Owner implements proxy.Keyring. That the gate holds a key for a person does
// not make it one the person is known by: others may hold it, too.
func (k *keyring) Owner(ctx context.Context, key []byte) (proxy.KeyOwner, error) {
	if slices.ContainsFunc(k.rows.Keys, func(r store.PersonKey) bool { return bytes.Equal(r.Key, key) }) {
		return proxy.PersonsKey, nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if owner, known := k.owners[string(key)]; known {
		return owner, nil
	}
	ctx, cancel := context.WithTimeout(ctx, writeDown)
	defer cancel()
	holder, err := k.visit.house.store.KeyHolder(ctx, key)
	if err != nil {
		return proxy.NobodysKey, err
	}
	owner := proxy.NobodysKey
	if holder != "" && holder != k.person {
		owner = proxy.OthersKey
	}
	if len(k.owners) < maxOwners {
		k.owners[string(key)] = owner
	}
	return owner, nil
}

// maxOwners bounds what is remembered of a client's keys; an entry takes no
// more of them.
const maxOwners = 32

// Held implements proxy.Keyring: a certificate where the server trusts the
// gate's CA, then keys, then passwords, because neither of the first two tells
// the server anything that could be used again.
func (k *keyring) Held() []proxy.Held {
	var keys, passwords []proxy.Held
	for _, ca := range k.rows.UserCAs {
		keys = append(keys, proxy.Held{ID: "a certificate of user CA " + ca.ID, Kind: proxy.HeldCertificate})
	}
	for _, c := range k.rows.Credentials {
		if c.Kind == store.PasswordCredential {
			passwords = append(passwords, proxy.Held{ID: "credential " + c.ID, Kind: proxy.HeldPassword, Unproven: c.Unproven})
		} else {
			keys = append(keys, proxy.Held{ID: "credential " + c.ID, Kind: proxy.HeldKey})
		}
	}
	return append(keys, passwords...)
}

// Take implements proxy.Keyring.
func (k *keyring) Take(ctx context.Context, h proxy.Held) (*proxy.Secret, error) {
	for _, ca := range k.rows.UserCAs {
		if h.Kind == proxy.HeldCertificate && h.ID == "a certificate of user CA "+ca.ID {
			return k.certify(ctx, ca)
		}
	}
	for _, c := range k.rows.Credentials {
		if h.ID == "credential "+c.ID {
			if err := k.writeDown(ctx, "credential.use", h.ID); err != nil {
				return nil, err
			}
			return openCredential(k.visit.house.vault, c)
		}
	}
	return nil, fmt.Errorf("%s is not held for this login", h.ID)
}

// Prove implements proxy.Keyring. It is not a use of what is held: nobody is
// logged in by it, so it is possible before the person is admitted.
func (k *keyring) Prove(ctx context.Context, h proxy.Held, proves func(password []byte) bool) error {
	for _, c := range k.rows.Credentials {
		if h.ID != "credential "+c.ID || c.Kind != store.PasswordCredential {
			continue
		}
		if !k.visit.house.guesses.guess(c.ID, time.Now()) {
			return proxy.ErrGuessing
		}
		secret, err := openCredential(k.visit.house.vault, c)
		if err != nil {
			return err
		}
		defer secret.Wipe()
		if !proves(secret.Password) {
			return proxy.ErrNotProven
		}
		k.visit.house.guesses.right(c.ID)
		return nil
	}
	return fmt.Errorf("%s is not held for this login", h.ID)
}

// Passwords implements proxy.Visit.
func (v *visit) Passwords(ctx context.Context) ([]proxy.PasswordFor, error) {
	verdict := v.Verdict()
	if !verdict.Allowed() {
		return nil, errNotAdmitted
	}
	if verdict.Waived != "" {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, writeDown)
	defer cancel()
	rows, err := v.house.store.Passwords(ctx, verdict.Person.ID, verdict.Server.ID)
	var held []proxy.PasswordFor
	for _, c := range rows {
		held = append(held, proxy.PasswordFor{Login: c.Login, Unproven: c.Unproven})
	}
	return held, err
}

// session is the one this keyring serves: one that was let in, goes on, and
// may still be.
func (k *keyring) session() (policy.Session, policy.Verdict, error) {
	v := k.visit
	v.mu.Lock()
	se, verdict := v.session, v.verdict
	v.mu.Unlock()
	switch {
	case se.ID == "":
		return se, verdict, errNotAdmitted
	case v.ctx.Err() != nil:
		return se, verdict, context.Cause(v.ctx)
	case !verdict.Allowed() || verdict.Waived != "" || se.Person != k.person || se.Server != k.server || se.Login != k.login:
		return se, verdict, errors.New("the session is not the one this is held for")
	}
	return se, verdict, nil
}

// writeDown notes a use before it happens, and only where it may happen.
func (k *keyring) writeDown(ctx context.Context, action, object string) error {
	se, verdict, err := k.session()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, writeDown)
	defer cancel()
	return k.visit.house.store.Audit(ctx, k.visit.house.itself(), action, object, k.described(se, verdict))
}

func (k *keyring) described(se policy.Session, v policy.Verdict) string {
	return fmt.Sprintf("person %s, server %s (%s), login %s, grant %s, session %s", v.Person.Name, v.Server.Name, se.Dest, se.Login, se.Grant, se.ID)
}

// itself is who did what the gate does by itself.
func (a *Appliance) itself() string { return "gate:" + a.cfg.Gate.Name }

// purposeOf is what a credential's seal says: opened for another person,
// place or kind it stays shut.
func purposeOf(c store.Credential) []string {
	purpose := []string{"credential", c.ID, string(c.Person), string(c.Server), c.Login, string(c.Kind), string(c.Public)}
	if c.Unproven {
		purpose = append(purpose, "without proof")
	}
	return purpose
}

// openCredential takes the secret out of its seal.
func openCredential(v *Vault, c store.Credential) (*proxy.Secret, error) {
	plain, err := v.Open(c.Sealed, purposeOf(c)...)
	if err != nil {
		return nil, err
	}
	if c.Kind == store.PasswordCredential {
		return &proxy.Secret{Password: plain}, nil
	}
	defer clear(plain)
	key, err := parsePrivateKey(plain)
	if err != nil {
		return nil, err
	}
	return &proxy.Secret{Key: key}, nil
}

// parsePrivateKey reads a private key in PEM, without a passphrase.
func parsePrivateKey(pem []byte) (crypto.Signer, error) {
	raw, err := ssh.ParseRawPrivateKey(pem)
	if err != nil {
		return nil, err
	}
	if p, ok := raw.(*ed25519.PrivateKey); ok {
		return *p, nil
	}
	key, ok := raw.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("a %T cannot sign", raw)
	}
	return key, nil
}
