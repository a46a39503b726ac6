package api

import (
	"context"
	"log/slog"
	"net/http"
	"time"
)

// A Credential is something the gate logs in with in a person's name. What it
// is, is never shown again.
type Credential struct {
	ID          string `json:"id"`
	Person      string `json:"person"`
	Server      string `json:"server,omitempty"` // "": any
	Login       string `json:"login,omitempty"`  // "": any
	Kind        string `json:"kind"`             // "key", "password" or "own-key"
	Fingerprint string `json:"fingerprint,omitempty"`
	// WithoutProof says that a password logs in whoever comes by RDP from the
	// person's addresses, also if they have proven nothing.
	WithoutProof bool      `json:"without_proof,omitempty"`
	Created      time.Time `json:"created"`
	By           string    `json:"by"`
}

// Kinds of credentials an admin can store.
const (
	KeyCredential      = "key"
	PasswordCredential = "password"
)

// NewCredential asks for one. A key is a private key in PEM without a
// passphrase.
type NewCredential struct {
	Person string `json:"person"`
	Server string `json:"server,omitempty"`
	Login  string `json:"login,omitempty"`
	Kind   string `json:"kind"`
	Secret Secret `json:"secret"`
	// WithoutProof is for passwords of one server only.
	WithoutProof bool `json:"without_proof,omitempty"`
}

// A Secret travels and never shows itself: not in a log, not in an error.
type Secret []byte

func (Secret) String() string       { return "[redacted]" }
func (Secret) GoString() string     { return "[redacted]" }
func (Secret) LogValue() slog.Value { return slog.StringValue("[redacted]") }

// CredentialFilter limits a list to a person; "" is everybody.
type CredentialFilter struct {
	Person string `query:"person"`
}

// A PersonKey is a public key by which the gate knows a person.
type PersonKey struct {
	ID          string    `json:"id"`
	Person      string    `json:"person"`
	Server      string    `json:"server,omitempty"`  // "": any
	Address     string    `json:"address,omitempty"` // "": any of the server
	Login       string    `json:"login,omitempty"`   // "": any
	Type        string    `json:"type"`
	Fingerprint string    `json:"fingerprint"`
	Label       string    `json:"label,omitempty"`
	Added       time.Time `json:"added"`
	By          string    `json:"by"`
}

// NewPersonKey is a public key as a .pub file holds it.
type NewPersonKey struct {
	PublicKey string `json:"public_key"`
}

// A UserCA signs certificates of minutes for people's logins.
type UserCA struct {
	ID          string    `json:"id"`
	Fingerprint string    `json:"fingerprint"`
	Key         string    `json:"key"`   // for the server's TrustedUserCAKeys
	Signs       bool      `json:"signs"` // false: only for servers that do not know the newer one
	Created     time.Time `json:"created"`
	By          string    `json:"by"`
}

// NewUserCA asks for a user CA.
type NewUserCA struct {
	Rotate bool `json:"rotate,omitempty"` // a new one, also where there is one
}

// A ServerLogin says what the gate may do at a server.
type ServerLogin struct {
	Server    string `json:"server"`
	Enrolling bool   `json:"enrolling"` // add its keys to people's accounts
	UserCA    bool   `json:"user_ca"`   // log in with certificates
}

// An Enrolment is an account that the gate has added its own key for a person
// to, or has tried to.
type Enrolment struct {
	Gate    string    `json:"gate"`
	Person  string    `json:"person"`
	Server  string    `json:"server"`
	Address string    `json:"address"`
	Login   string    `json:"login"`
	State   string    `json:"state"` // "begun", "enrolled", "failed", "refused", "ended"; "forgotten"
	Detail  string    `json:"detail,omitempty"`
	Since   time.Time `json:"since"`
}

// An Unenrolment names accounts of one person on one server.
type Unenrolment struct {
	Person string `json:"person"`
	Server string `json:"server"`
	Login  string `json:"login,omitempty"`  // "": all
	Forget bool   `json:"forget,omitempty"` // do not go there; the account may be enrolled again
}

// An Allowance allows something or ends it.
type Allowance struct {
	Allowed bool `json:"allowed"`
}

// Credentials are what the gate logs in with in people's names, and the public
// keys it knows them by.
type Credentials interface {
	Credentials(ctx context.Context, f CredentialFilter) ([]Credential, error)
	AddCredential(ctx context.Context, c NewCredential) (Credential, error)
	RemoveCredential(ctx context.Context, id string) (Credential, error)

	PersonKeys(ctx context.Context, f CredentialFilter) ([]PersonKey, error)
	AddPersonKey(ctx context.Context, person string, k NewPersonKey) (PersonKey, error)
	RemovePersonKey(ctx context.Context, id string) (PersonKey, error)

	// UserCA are the CA that signs and the one before it; none before one is
	// made.
	UserCA(ctx context.Context) ([]UserCA, error)
	// MakeUserCA makes one, unless there is one that need not be replaced.
	MakeUserCA(ctx context.Context, n NewUserCA) ([]UserCA, error)

	// ServerLogins are the servers at which the gate may do more than pass
	// people's logins on.
	ServerLogins(ctx context.Context) ([]ServerLogin, error)
	SetTrustsUserCA(ctx context.Context, server string, a Allowance) (ServerLogin, error)
	SetEnrolling(ctx context.Context, server string, a Allowance) (ServerLogin, error)

	Enrolments(ctx context.Context, f CredentialFilter) ([]Enrolment, error)
	// Unenroll takes the gate's key out of accounts at once; those that were
	// not reached are still enrolled, and say why.
	Unenroll(ctx context.Context, u Unenrolment) ([]Enrolment, error)
}

var credentialRoutes = []route{
	{"GET", "/credentials", toLook, ask(func(h House, r *http.Request, f CredentialFilter) ([]Credential, error) {
		return h.Credentials(r.Context(), f)
	})},
	{"POST", "/credentials", toChange, tell(func(h House, r *http.Request, c NewCredential) (Credential, error) {
		defer clear(c.Secret)
		return h.AddCredential(r.Context(), c)
	})},
	{"DELETE", "/credentials/{id}", toChange, tell(func(h House, r *http.Request, _ none) (Credential, error) {
		return h.RemoveCredential(r.Context(), r.PathValue("id"))
	})},
	{"GET", "/person-keys", toLook, ask(func(h House, r *http.Request, f CredentialFilter) ([]PersonKey, error) {
		return h.PersonKeys(r.Context(), f)
	})},
	{"POST", "/persons/{name}/keys", toChange, tell(func(h House, r *http.Request, k NewPersonKey) (PersonKey, error) {
		return h.AddPersonKey(r.Context(), r.PathValue("name"), k)
	})},
	{"DELETE", "/person-keys/{id}", toChange, tell(func(h House, r *http.Request, _ none) (PersonKey, error) {
		return h.RemovePersonKey(r.Context(), r.PathValue("id"))
	})},
	{"GET", "/ca/user", toLook, ask(func(h House, r *http.Request, _ none) ([]UserCA, error) {
		return h.UserCA(r.Context())
	})},
	{"POST", "/ca/user", toChange, tell(func(h House, r *http.Request, n NewUserCA) ([]UserCA, error) {
		return h.MakeUserCA(r.Context(), n)
	})},
	{"GET", "/server-logins", toLook, ask(func(h House, r *http.Request, _ none) ([]ServerLogin, error) {
		return h.ServerLogins(r.Context())
	})},
	{"POST", "/servers/{name}/user-ca", toChange, tell(func(h House, r *http.Request, a Allowance) (ServerLogin, error) {
		return h.SetTrustsUserCA(r.Context(), r.PathValue("name"), a)
	})},
	{"POST", "/servers/{name}/enrolling", toChange, tell(func(h House, r *http.Request, a Allowance) (ServerLogin, error) {
		return h.SetEnrolling(r.Context(), r.PathValue("name"), a)
	})},
	{"GET", "/enrolments", toLook, ask(func(h House, r *http.Request, f CredentialFilter) ([]Enrolment, error) {
		return h.Enrolments(r.Context(), f)
	})},
	{"POST", "/enrolments/remove", toChange, tell(func(h House, r *http.Request, u Unenrolment) ([]Enrolment, error) {
		return h.Unenroll(r.Context(), u)
	})},
}

func (c *Client) Credentials(ctx context.Context, f CredentialFilter) ([]Credential, error) {
	return get[[]Credential](ctx, c, path("credentials"), f)
}

func (c *Client) AddCredential(ctx context.Context, n NewCredential) (Credential, error) {
	return send[Credential](ctx, c, "POST", path("credentials"), n)
}

func (c *Client) RemoveCredential(ctx context.Context, id string) (Credential, error) {
	return send[Credential](ctx, c, "DELETE", path("credentials", id), nil)
}

func (c *Client) PersonKeys(ctx context.Context, f CredentialFilter) ([]PersonKey, error) {
	return get[[]PersonKey](ctx, c, path("person-keys"), f)
}

func (c *Client) AddPersonKey(ctx context.Context, person string, k NewPersonKey) (PersonKey, error) {
	return send[PersonKey](ctx, c, "POST", path("persons", person, "keys"), k)
}

func (c *Client) RemovePersonKey(ctx context.Context, id string) (PersonKey, error) {
	return send[PersonKey](ctx, c, "DELETE", path("person-keys", id), nil)
}

func (c *Client) UserCA(ctx context.Context) ([]UserCA, error) {
	return get[[]UserCA](ctx, c, path("ca", "user"), none{})
}

func (c *Client) MakeUserCA(ctx context.Context, n NewUserCA) ([]UserCA, error) {
	return send[[]UserCA](ctx, c, "POST", path("ca", "user"), n)
}

func (c *Client) ServerLogins(ctx context.Context) ([]ServerLogin, error) {
	return get[[]ServerLogin](ctx, c, path("server-logins"), none{})
}

func (c *Client) SetTrustsUserCA(ctx context.Context, server string, a Allowance) (ServerLogin, error) {
	return send[ServerLogin](ctx, c, "POST", path("servers", server, "user-ca"), a)
}

func (c *Client) SetEnrolling(ctx context.Context, server string, a Allowance) (ServerLogin, error) {
	return send[ServerLogin](ctx, c, "POST", path("servers", server, "enrolling"), a)
}

func (c *Client) Enrolments(ctx context.Context, f CredentialFilter) ([]Enrolment, error) {
	return get[[]Enrolment](ctx, c, path("enrolments"), f)
}

func (c *Client) Unenroll(ctx context.Context, u Unenrolment) ([]Enrolment, error) {
	return send[[]Enrolment](ctx, c, "POST", path("enrolments", "remove"), u)
}
