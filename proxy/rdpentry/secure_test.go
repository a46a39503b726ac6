package rdpentry

import (
	"context"
	"crypto/x509"
	"errors"
	"strings"
	"testing"

	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/proxy"
	"github.com/pawelmojski/inside/proxy/rdpentry/credssp"
	"github.com/pawelmojski/inside/proxy/rdpentry/rdptest"
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
			held = append(held, proxy.Held{ID: s.Login, Kind: proxy.HeldPassword, Unproven: s.Unproven})
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

func (r *ring) Take(_ context.Context, h proxy.Held) (*proxy.Secret, error) {
	r.gate.mu.Lock()
	defer r.gate.mu.Unlock()
	if len(r.gate.admitted) != 1 || r.gate.admitted[0] != r.login {
		return nil, errors.New("it is taken before the person was admitted")
	}
	r.gate.taken++
	return &proxy.Secret{Password: []byte(r.find(h.ID).password)}, nil
}

func (r *ring) Refused(context.Context, proxy.Held) { r.gate.heldRefused.Store(true) }

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
			s := g.accept(rdptest.Certificate(t))
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

func TestAPasswordThatNeedsNoProofComesBeforeWhatTheClientSent(t *testing.T) {
	for name, c := range map[string]struct {
		sent     string
		unproven bool
		want     string
	}{
		"the client sent none":          {"", true, "battery staple"},
		"the client sent another":       {"the gate's own", true, "battery staple"},
		"the stored one must be proven": {"correct horse", false, "correct horse"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGate(t)
			g.stored = []storedPassword{{proxy.PasswordFor{Login: "ideo", Unproven: c.unproven}, "battery staple"}}
			w := usual()
			w.request.Protocols, w.info.Password = wire.ProtocolSSL, c.sent
			p := g.enter(w)
			s := g.accept(rdptest.Certificate(t))
			s.begin(p)
			if s.info.User != "ideo" || s.info.Password != c.want || c.unproven && !s.info.Autologon() {
				t.Errorf("the server is logged in to with %+v", s.info)
			}
			if len(g.admitted) != 1 || (g.taken == 1) != c.unproven {
				t.Errorf("admitted %q, taken %d times", g.admitted, g.taken)
			}
		})
	}
}

func TestAStoredPasswordThatTheServerRefusesEndsTheSession(t *testing.T) {
	g := newGate(t)
	g.stored = []storedPassword{{proxy.PasswordFor{Login: "ideo", Unproven: true}, "old"}}
	w := usual()
	w.info.Password = ""
	p := g.enter(w)
	s := g.acceptRaw(wire.ConnectionConfirm{Negotiation: true, Protocol: wire.ProtocolHybrid})
	cert := rdptest.Certificate(t)
	conn := serverTLS(s.side.raw, cert)
	own, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	_, err = credssp.Accept(conn, own, "DESK", func(_, _ string, proves func([]byte) bool) error {
		if proves(credssp.Hash("old")) {
			return errors.New("this one is not taken any more")
		}
		return nil
	})
	if err == nil || !strings.Contains(err.Error(), "not taken any more") {
		t.Fatalf("the server was asked with another password: %v", err)
	}
	p.openPage()
	p.side.close()
	end := g.end()
	if !errors.Is(end, policy.ServerLeft) || !strings.Contains(end.Error(), "which the gate holds for you, is not taken by the server") || !g.heldRefused.Load() {
		t.Errorf("the session ended with %v", end)
	}
	if len(g.admitted) != 1 || g.events[0].Kind != "login-refused" {
		t.Errorf("admitted %q, noted %+v", g.admitted, g.events)
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
		"stored, no proof needed":       {windows, 0, "ideo", false, []proxy.PasswordFor{{Login: "ideo", Unproven: true}}, tls, nil},
		"both ways, and no hint":        {windows, 0, "", false, []proxy.PasswordFor{{Login: "ideo"}, {Login: "admin", Unproven: true}}, tls, nil},
		"both ways, and a hint":         {windows, 0, "ideo", false, []proxy.PasswordFor{{Login: "admin", Unproven: true}, {Login: "ideo"}}, nla, nil},
		"NLA only, no proof needed":     {nla, 0, "ideo", false, []proxy.PasswordFor{{Login: "ideo", Unproven: true}}, nla, nil},
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
