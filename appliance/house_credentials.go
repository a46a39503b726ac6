package appliance

import (
	"bytes"
	"context"
	"fmt"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/pawelmojski/inside/appliance/api"
	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/store"
)

func (h *House) Credentials(ctx context.Context, f api.CredentialFilter) ([]api.Credential, error) {
	person, err := h.personFilter(f.Person)
	if err != nil {
		return nil, err
	}
	rows, err := h.Store.Credentials(ctx, person)
	if err != nil {
		return nil, asProblem(err, "")
	}
	wire := []api.Credential{}
	for _, c := range rows {
		wire = append(wire, h.wireCredential(c))
	}
	return wire, nil
}

// personFilter is the id of a named person, "" of everybody.
func (h *House) personFilter(name string) (policy.PersonID, error) {
	if name == "" {
		return "", nil
	}
	p, err := h.personNamed(name)
	if err != nil {
		return "", err
	}
	return p.ID, nil
}

func (h *House) wireCredential(c store.Credential) api.Credential {
	n := namer{h.Book()}
	wire := api.Credential{ID: c.ID, Person: n.person(c.Person), Login: c.Login, Kind: string(c.Kind), WithoutProof: c.Unproven, Created: c.Created, By: c.By}
	if c.Server != "" {
		wire.Server = n.server(c.Server)
	}
	if key, err := ssh.ParsePublicKey(c.Public); err == nil {
		wire.Fingerprint = ssh.FingerprintSHA256(key)
	}
	return wire
}

func (h *House) AddCredential(ctx context.Context, asked api.NewCredential) (api.Credential, error) {
	c := store.Credential{Kind: store.CredentialKind(asked.Kind), Login: asked.Login, Unproven: asked.WithoutProof}
	p, err := h.personNamed(asked.Person)
	if err != nil {
		return api.Credential{}, err
	}
	c.Person = p.ID
	if asked.Server != "" {
		s, err := h.serverNamed(asked.Server)
		if err != nil {
			return api.Credential{}, err
		}
		c.Server = s.ID
	}
	switch c.Kind {
	case store.KeyCredential:
		if c.Public, err = publicHalf(asked.Secret); err != nil {
			return api.Credential{}, err
		}
	case store.PasswordCredential:
		if err := checkPassword(asked.Secret); err != nil {
			return api.Credential{}, err
		}
	default:
		return api.Credential{}, invalid("", "a credential is a %s or a %s, not %.40q", api.KeyCredential, api.PasswordCredential, asked.Kind)
	}
	switch {
	case c.Unproven && c.Kind != store.PasswordCredential:
		return api.Credential{}, invalid("", "only a password can serve without proof: a key of the person's own is what proves a key")
	case c.Unproven && c.Server == "":
		return api.Credential{}, invalid("name the server it is for", "a password that serves without proof is for one server")
	}
	seal, err := h.sealer(ctx, asked.Secret)
	if err != nil {
		return api.Credential{}, err
	}
	c, err = h.Store.AddCredential(ctx, api.By(ctx), c, func(c store.Credential) ([]byte, error) {
		return seal(purposeOf(c)...)
	})
	if err != nil {
		return api.Credential{}, asProblem(err, "inside credential list "+p.Name)
	}
	return h.wireCredential(c), h.acted(ctx)
}

// sealer seals a secret as soon as it has a number. A new data key in place of
// a lost one would hide that it was lost, so one is only made for the first
// secret of all.
func (h *House) sealer(ctx context.Context, secret []byte) (func(purpose ...string) ([]byte, error), error) {
	credentials, err := h.Store.Credentials(ctx, "")
	if err != nil {
		return nil, asProblem(err, "")
	}
	cas, err := h.Store.UserCAs(ctx)
	if err != nil {
		return nil, asProblem(err, "")
	}
	if len(credentials)+len(cas) > 0 {
		if err := h.Vault.Check(); err != nil {
			return nil, conflict("inside credential list", "%v", err)
		}
	}
	return func(purpose ...string) ([]byte, error) {
		sealed, err := h.Vault.Seal(secret, purpose...)
		if err != nil {
			return nil, conflict("", "%v", err)
		}
		return sealed, nil
	}, nil
}

// publicHalf checks a private key and returns its public half.
func publicHalf(pem []byte) ([]byte, error) {
	const hint = "give a private key as ssh-keygen makes it, such as ~/.ssh/id_ed25519"
	key, err := parsePrivateKey(pem)
	if err != nil {
		return nil, invalid(hint, "this is not a private key the gate can use: %v", err)
	}
	public, err := ssh.NewPublicKey(key.Public())
	if err != nil {
		return nil, invalid(hint, "this is not a private key the gate can use: %v", err)
	}
	return public.Marshal(), nil
}

func checkPassword(secret []byte) error {
	const longest = 1024 // as OpenSSH asks for at most
	switch {
	case len(secret) == 0:
		return invalid("type it, or give it on standard input", "the password is empty")
	case len(secret) > longest:
		return invalid("", "the password is longer than %d bytes", longest)
	case bytes.ContainsAny(secret, "\x00\r\n"):
		return invalid("give one line", "the password has a line end or a NUL in it")
	}
	return nil
}

func (h *House) RemoveCredential(ctx context.Context, id string) (api.Credential, error) {
	c, err := h.Store.RemoveCredential(ctx, api.By(ctx), id)
	if err != nil {
		return api.Credential{}, asProblem(err, "inside credential list")
	}
	return h.wireCredential(c), h.acted(ctx)
}

func (h *House) PersonKeys(ctx context.Context, f api.CredentialFilter) ([]api.PersonKey, error) {
	person, err := h.personFilter(f.Person)
	if err != nil {
		return nil, err
	}
	rows, err := h.Store.PersonKeys(ctx, person)
	if err != nil {
		return nil, asProblem(err, "")
	}
	wire := []api.PersonKey{}
	for _, k := range rows {
		wire = append(wire, h.wirePersonKey(k))
	}
	return wire, nil
}

func (h *House) AddPersonKey(ctx context.Context, person string, asked api.NewPersonKey) (api.PersonKey, error) {
	p, err := h.personNamed(person)
	if err != nil {
		return api.PersonKey{}, err
	}
	k, err := personKey(asked.PublicKey)
	if err != nil {
		return api.PersonKey{}, err
	}
	k.Person = p.ID
	if k, err = h.Store.AddPersonKey(ctx, api.By(ctx), k); err != nil {
		return api.PersonKey{}, asProblem(err, "inside person key list")
	}
	return h.wirePersonKey(k), h.acted(ctx)
}

// personKey reads the one key of a .pub file. Options are refused: they would
// be dropped in silence.
func personKey(text string) (k store.PersonKey, err error) {
	const hint = "give a .pub file, such as ~/.ssh/id_ed25519.pub"
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		if strings.Contains(line, "PRIVATE KEY") {
			return k, invalid(hint, "this is a private key: the gate knows persons by public ones")
		}
		key, label, options, _, err := ssh.ParseAuthorizedKey([]byte(line))
		switch {
		case err != nil:
			return k, invalid(hint, "%.40q is not a public key", line)
		case len(options) > 0:
			return k, invalid(hint, "the line of %s has options, which the gate does not know", ssh.FingerprintSHA256(key))
		case k.Key != nil:
			return k, invalid("", "there are two keys: add one at a time")
		}
		if _, isCert := key.(*ssh.Certificate); isCert {
			return k, invalid(hint, "%.40q is a certificate: give the key it certifies", line)
		}
		k.Key, k.Label = key.Marshal(), label
	}
	if k.Key == nil {
		return k, invalid(hint, "there is no public key")
	}
	return k, nil
}

func (h *House) RemovePersonKey(ctx context.Context, id string) (api.PersonKey, error) {
	k, err := h.Store.RemovePersonKey(ctx, api.By(ctx), id)
	if err != nil {
		return api.PersonKey{}, asProblem(err, "inside person key list")
	}
	return h.wirePersonKey(k), h.acted(ctx)
}

func (h *House) wirePersonKey(k store.PersonKey) api.PersonKey {
	n := namer{h.Book()}
	wire := api.PersonKey{ID: k.ID, Person: n.person(k.Person), Login: k.Login, Label: k.Label, Added: k.Added, By: k.By}
	if k.Server != "" {
		wire.Server = n.server(k.Server)
	}
	if k.Dest.IsValid() {
		wire.Address = k.Dest.String()
	}
	key, err := ssh.ParsePublicKey(k.Key)
	if err != nil {
		wire.Type = fmt.Sprintf("unreadable: %v", err)
		return wire
	}
	wire.Type, wire.Fingerprint = key.Type(), ssh.FingerprintSHA256(key)
	return wire
}
