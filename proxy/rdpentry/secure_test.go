package rdpentry

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/proxy"
	"github.com/pawelmojski/inside/proxy/rdpentry/credssp"
	"github.com/pawelmojski/inside/proxy/rdpentry/wire"
)

// A storedPassword is one the played house holds.
type storedPassword struct {
	proxy.PasswordFor
	password string
}

// A ring is the played house's keyring for one login.
type ring struct {
	gate  *gate
	login string
}

func (r *ring) find(id string) *storedPassword {
	for i := range r.gate.stored {
		if s := &r.gate.stored[i]; s.Login == id && (s.Login == r.login || s.Login == "") {
			return s
		}
	}
	return nil
}

func (r *ring) Held() (held []proxy.Held) {
	for _, login := range []string{r.login, ""} {
		if s := r.find(login); s != nil {
			held = append(held, proxy.Held{ID: s.Login, Kind: proxy.HeldPassword})
		}
	}
	return held
}

func (r *ring) Prove(_ context.Context, h proxy.Held, proves func([]byte) bool) error {
	if r.gate.guessing {
		return proxy.ErrGuessing
	}
	if !proves([]byte(r.find(h.ID).password)) {
		return proxy.ErrNotProven
	}
	return nil
}

func (r *ring) Take(context.Context, proxy.Held) (*proxy.Secret, error) {
	return nil, errors.ErrUnsupported
}

func (r *ring) Refused(context.Context, proxy.Held) {}

func (r *ring) Owner(context.Context, []byte) (proxy.KeyOwner, error) {
	return 0, errors.ErrUnsupported
}

func (r *ring) Settle(context.Context, proxy.Login, bool, func(context.Context, string) (string, error)) (string, error) {
	return "", errors.ErrUnsupported
}

// byNLA is a client that logs in before anything else.
func byNLA(domain, user, password string) clientWishes {
	w := usual()
	w.nla = credssp.Credentials{Domain: domain, User: user, Password: password}
	w.info = wire.ClientInfo{User: "somebody", Domain: "else"}
	return w
}

func TestAClientThatProvesTheStoredPasswordIsLetIn(t *testing.T) {
	for name, c := range map[string]struct{ domain, stored, want string }{
		"as a local account":      {"", "ideo", "ideo"},
		"by the server's name":    {"DESK", "ideo", "ideo"},
		"as an account elsewhere": {"LAB", `LAB\ideo`, `LAB\ideo`},
		"with one for any login":  {"", "", "ideo"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGate(t)
			g.stored = []storedPassword{{proxy.PasswordFor{Login: c.stored}, "correct horse"}}
			p := g.enter(byNLA(c.domain, "ideo", "correct horse"))
			s := g.accept(certificate(t))
			s.begin(p)
			if s.info.User != "ideo" || s.info.Password != "correct horse" || !s.info.Autologon() {
				t.Errorf("the server is logged in to with %+v", s.info)
			}
			if len(g.admitted) != 1 || g.admitted[0] != c.want {
				t.Errorf("admitted %q, want %q", g.admitted, c.want)
			}
		})
	}
}

func TestWhoProvesNothingByNLADoesNotReachTheServer(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*gate)
		login  clientWishes
		want   policy.Denial
		reason string
		told   string
	}{
		"a wrong password":      {nil, byNLA("", "ideo", "x"), policy.NotAuthenticated, "does not know the password", "0xc000006d"},
		"another domain":        {nil, byNLA("LAB", "ideo", "correct horse"), policy.NotServed, "no password is stored", "0xc000015b"},
		"nothing stored":        {nil, byNLA("", "admin", "correct horse"), policy.NotServed, "no password is stored", "0xc000015b"},
		"guessing":              {func(g *gate) { g.guessing = true }, byNLA("", "ideo", "correct horse"), policy.NotAuthenticated, "too many", "0xc0000234"},
		"a login not granted":   {func(g *gate) { g.decide = loginOnly(g, "admin") }, byNLA("", "ideo", "correct horse"), policy.WrongLogin, "", "0xc000015b"},
		"a login to be misread": {nil, byNLA("", "ideo\u202e", "correct horse"), policy.WrongLogin, "not a login", "0xc000015b"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGate(t)
			g.stored = []storedPassword{{proxy.PasswordFor{Login: "ideo"}, "correct horse"}}
			if c.change != nil {
				c.change(g)
			}
			p := g.enter(c.login)
			if p.nla == nil || !errors.Is(p.nla, credssp.ErrRefused) || !strings.Contains(p.nla.Error(), c.told) {
				t.Errorf("the client was told %v, want %s", p.nla, c.told)
			}
			if r := g.refused(c.want); c.reason != "" && !strings.Contains(r.Err.Error(), c.reason) {
				t.Errorf("reason %v, want one about %s", r.Err, c.reason)
			}
			if g.dialled.Load() != 0 || len(g.admitted) != 0 {
				t.Error("the server was dialled, or somebody admitted")
			}
		})
	}
}

func TestAClientThatHangsUpOnTLSWantedNLA(t *testing.T) {
	g := newGate(t)
	conn := g.serve(Entry{})
	conn.Write(wire.ConnectionRequest{Negotiation: true, Protocols: wire.ProtocolSSL | wire.ProtocolHybrid}.Frame())
	if _, err := conn.Read(make([]byte, 64)); err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if r := g.refused(policy.NotServed); !errors.Is(r, errNoTLS) {
		t.Errorf("reason %v", r.Err)
	}
}

func TestNLAIsSpokenWhereAStoredPasswordCanBeProven(t *testing.T) {
	const tls, nla, both, windows = wire.ProtocolSSL, wire.ProtocolHybrid, 3, 0xb
	ideo, anybody := []proxy.PasswordFor{{Login: "ideo"}}, []proxy.PasswordFor{{}}
	for name, c := range map[string]struct {
		protocols uint32
		flags     byte
		cookie    string
		denied    bool
		held      []proxy.PasswordFor
		want      uint32
		err       error
	}{
		"nothing stored":                {windows, 0, "ideo", false, nil, tls, nil},
		"stored for the login":          {windows, 0, "ideo", false, ideo, nla, nil},
		"stored for any":                {both, 0, "admin", false, anybody, nla, nil},
		"stored, and no hint":           {both, 0, "", false, ideo, nla, nil},
		"stored, and half a hint":       {windows, 0, "Id", false, ideo, nla, nil},
		"stored, and a domain":          {windows, 0, `LAB\ideo`, false, ideo, nla, nil},
		"stored in a domain":            {windows, 0, "ideo", false, []proxy.PasswordFor{{Login: `LAB\ideo`}}, nla, nil},
		"stored for somebody else":      {windows, 0, "admin", false, ideo, tls, nil},
		"denied":                        {windows, 0, "ideo", true, ideo, tls, nil},
		"TLS only":                      {tls, 0, "ideo", false, ideo, tls, nil},
		"NLA only":                      {nla, 0, "ideo", false, ideo, nla, nil},
		"NLA only, for somebody else":   {nla, 0, "admin", false, ideo, nla, nil}, // the hint may be wrong
		"NLA only, nothing stored":      {nla, 0, "ideo", false, nil, 0, errNoTLS},
		"NLA only, denied":              {nla, 0, "ideo", true, ideo, 0, errNoTLS},
		"restricted admin":              {windows, wire.RestrictedAdmin, "ideo", false, ideo, tls, nil}, // to be told why
		"restricted admin without TLS":  {nla, wire.RestrictedAdmin, "ideo", false, ideo, 0, errAdminMode},
		"remote credential guard alone": {nla, wire.RemoteCredentialGuard, "ideo", false, ideo, 0, errGuarded},
		"Entra ID":                      {wire.ProtocolRDSAAD, 0, "ideo", false, ideo, 0, errAAD},
		"RDSTLS":                        {wire.ProtocolRDSTLS, 0, "ideo", false, ideo, 0, errRDSTLS},
		"early authorization only":      {wire.ProtocolHybridEx, 0, "ideo", false, ideo, 0, errNoTLS},
		"nothing":                       {0, 0, "ideo", false, ideo, 0, errPlain},
	} {
		t.Run(name, func(t *testing.T) {
			r := wire.ConnectionRequest{Cookie: c.cookie, Negotiation: true, Flags: c.flags, Protocols: c.protocols}
			if got, err := securityFor(r, !c.denied, c.held); got != c.want || !errors.Is(err, c.err) {
				t.Errorf("protocol %d, %v, want %d, %v", got, err, c.want, c.err)
			}
		})
	}
}
