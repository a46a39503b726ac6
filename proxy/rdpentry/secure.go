package rdpentry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/proxy"
	"github.com/pawelmojski/inside/proxy/rdpentry/credssp"
	"github.com/pawelmojski/inside/proxy/rdpentry/wire"
)

// Clients that cannot be spoken to, in words for the person.
var (
	errPlain  = errors.New("the client offers standard RDP security only; it must be told to use TLS")
	errNoTLS  = errors.New("the client offers network level authentication (NLA) only, for which the gate needs a password that an administrator has stored (inside credential add --password); or let the client use TLS, such as /sec:tls of xfreerdp or enablecredsspsupport:i:0 in an .rdp file")
	errAAD    = errors.New("the client logs in by a token of Entra ID (RDSAAD), which cannot pass the gate")
	errRDSTLS = errors.New("the client offers RDSTLS only, which is for brokers and cannot pass the gate")

	errAdminMode   = errors.New("restricted admin mode sends no password that could pass the gate")
	errGuarded     = errors.New("remote credential guard sends no password that could pass the gate")
	errNotStored   = errors.New("no password is stored for this login, so the gate cannot check it by network level authentication (NLA); let the client use TLS, such as /sec:tls of xfreerdp or enablecredsspsupport:i:0 in an .rdp file")
	errNotSaid     = errors.New("the client sent no login name")
	errNotALogin   = errors.New("not a login name")
	errCannotCheck = errors.New("the stored password cannot be used: please tell the administrator")
)

// denialOfGreeting is the denial for what went wrong before there was a login.
func denialOfGreeting(err error) policy.Denial {
	for _, e := range []error{errPlain, errNoTLS, errAAD, errRDSTLS, errAdminMode, errGuarded,
		credssp.ErrOldClient, credssp.ErrNoNTLM, credssp.ErrNotPassword} {
		if errors.Is(err, e) {
			return policy.NotServed
		}
	}
	return policy.ProtocolError
}

// secure negotiates how the client is spoken to, and takes up TLS.
func (f *flow) secure(ctx context.Context) error {
	frame, err := f.client.frames.Next()
	if err != nil {
		return err
	}
	if frame.Fast {
		return errTooEarly
	}
	if f.request, err = wire.ParseConnectionRequest(frame.Body); err != nil {
		return err
	}
	f.login = plainLine(f.request.Cookie, maxName) // a hint, until the real one comes
	if f.client.frames.Buffered() > 0 {
		return fmt.Errorf("%w: something follows the connection request", wire.ErrMalformed)
	}
	certificate, imported, err := f.certificate(ctx)
	if err != nil {
		return fmt.Errorf("get the gate's certificate for %s: %w", f.dest, err)
	}
	if f.shown, err = x509.ParseCertificate(certificate.Certificate[0]); err != nil {
		return fmt.Errorf("the gate's certificate for %s: %w", f.dest, err)
	}
	if f.spoken, err = f.security(ctx, imported); err != nil {
		f.client.write(wire.ConnectionConfirm{Failure: wire.FailSSLRequired}.Frame())
		return err
	}
	confirm := wire.ConnectionConfirm{Negotiation: true, Flags: wire.ExtendedClientData, Protocol: f.spoken}
	if f.native {
		confirm.Flags |= wire.GraphicsPipeline
	}
	if err := f.client.write(confirm.Frame()); err != nil {
		return err
	}
	conn := tls.Server(f.client.raw, &tls.Config{Certificates: []tls.Certificate{*certificate}, MinVersion: tls.VersionTLS12})
	switch err := conn.HandshakeContext(ctx); {
	case err == nil:
	case f.spoken == wire.ProtocolSSL && f.request.Protocols&wire.ProtocolHybrid != 0 && gone(err, policy.ClientLeft) == policy.ClientLeft && ctx.Err() == nil:
		if f.unpassed != nil {
			return f.unpassed
		}
		return errNoTLS // there are clients that offer TLS beside NLA and do not mean it
	default:
		return fmt.Errorf("TLS with the client: %w", err)
	}
	f.client.secured(conn)
	return nil
}

// certificate is what the gate shows in the server's name.
func (f *flow) certificate(ctx context.Context) (cert *tls.Certificate, imported bool, err error) {
	v := f.visit.Verdict()
	if v.Person == nil || v.Server == nil {
		return f.entry.Certificates.Own(ctx, netip.AddrPort{}, "") // a flood of strangers makes no keys
	}
	name := ""
	if v.Server.Prefix.IsSingleIP() {
		name = v.Server.Name
	}
	return f.entry.Certificates.Own(ctx, f.dest, name)
}

// security chooses the protocol for the client. Where nothing is stored for
// whom the person may mean, and the server's own certificate was imported,
// their login may pass through.
func (f *flow) security(ctx context.Context, imported bool) (uint32, error) {
	var held []proxy.PasswordFor
	allowed := f.visit.Verdict().Allowed()
	if f.request.Protocols&wire.ProtocolHybrid != 0 && allowed {
		var err error
		if held, err = f.visit.Passwords(ctx); err != nil {
			f.log.Error("stored passwords cannot be looked up", "error", err)
		}
	}
	spoken, err := securityFor(f.request, allowed, held)
	if !imported || !allowed || f.request.Protocols&wire.ProtocolHybrid == 0 || !sendsPassword(f.request) || anyFits(held, f.request.Cookie) {
		return spoken, err
	}
	switch why := f.passable(ctx, f.shown); {
	case why == nil:
		f.relayed = true
		return wire.ProtocolHybrid, nil
	case spoken == 0:
		return 0, why
	default:
		f.unpassed = why
		return spoken, nil
	}
}

// sendsPassword reports whether a client would log in by a password.
func sendsPassword(r wire.ConnectionRequest) bool {
	return r.Flags&(wire.RestrictedAdmin|wire.RemoteCredentialGuard) == 0
}

func anyFits(held []proxy.PasswordFor, cookie string) bool {
	return slices.ContainsFunc(held, func(p proxy.PasswordFor) bool { return fitsHint(p.Login, cookie) })
}

// securityFor is NLA for a client that offers it where the gate can check a
// password the person knows, because that is what the client is used to, and
// TLS for every other: there the server, or a form of the gate's own, asks for
// the password. So has a client whose person need not know the password: by NLA
// they would be asked for it. Whoever is denied has TLS, because there is a
// window to say why.
//
// The name in the connection request is a hint only: it may be cut off or left
// out. Where it names somebody for whom nothing is stored, NLA would only end
// in a refusal.
func securityFor(r wire.ConnectionRequest, allowed bool, held []proxy.PasswordFor) (uint32, error) {
	tls, nla := r.Protocols&wire.ProtocolSSL != 0, r.Protocols&wire.ProtocolHybrid != 0
	likely := false // that there is a password to be proven
	for _, p := range held {
		if !fitsHint(p.Login, r.Cookie) {
			continue
		}
		if likely = !p.Unproven; p.Unproven {
			break
		}
	}
	switch {
	case nla && sendsPassword(r) && allowed && (likely || !tls && len(held) > 0):
		return wire.ProtocolHybrid, nil
	case tls:
		return wire.ProtocolSSL, nil
	case r.Flags&wire.RestrictedAdmin != 0:
		return 0, errAdminMode
	case r.Flags&wire.RemoteCredentialGuard != 0:
		return 0, errGuarded
	case nla || r.Protocols&wire.ProtocolHybridEx != 0:
		return 0, errNoTLS
	case r.Protocols&wire.ProtocolRDSAAD != 0:
		return 0, errAAD
	case r.Protocols&wire.ProtocolRDSTLS != 0:
		return 0, errRDSTLS
	}
	return 0, errPlain
}

// fitsHint reports whether the cookie of a connection request may mean a login.
// It is without the domain at times, and Windows cuts it off.
func fitsHint(login, cookie string) bool {
	if login == "" || cookie == "" {
		return true
	}
	login, cookie = strings.ToLower(login), strings.ToLower(cookie)
	if strings.HasPrefix(login, cookie) {
		return true
	}
	if _, user, found := strings.Cut(login, `\`); found {
		login = user
	}
	if _, user, found := strings.Cut(cookie, `\`); found {
		cookie = user
	}
	return strings.HasPrefix(login, cookie)
}

// proveClient is network level authentication with the client, where that was
// chosen: the client proves that it knows the password that is stored for the
// login it names. The server has not heard of it yet.
func (f *flow) proveClient(ctx context.Context) error {
	switch {
	case f.relayed:
		return f.passLogin(ctx)
	case f.spoken != wire.ProtocolHybrid:
		return nil
	}
	login, err := credssp.Accept(f.client.conn, f.shown, f.targetName(), func(domain, user string, proves func([]byte) bool) error {
		return f.checkClaim(ctx, domain, user, proves)
	})
	if err != nil {
		return err
	}
	login.Domain, login.User = f.claimed.Domain, f.claimed.User // whoever it delegates, this is who was decided about
	f.claimed = login
	return nil
}

// checkClaim decides about somebody who says who they are, by their login and
// by what is stored for it.
func (f *flow) checkClaim(ctx context.Context, domain, user string, proves func(hash []byte) bool) error {
	f.claimed = credssp.Credentials{Domain: f.realDomain(domain), User: user}
	login := loginName(f.claimed.Domain, user)
	if err := f.decideClaim(login); err != nil {
		return err
	}
	keyring, err := f.visit.Keyring(ctx, login)
	if err != nil {
		f.log.Error("stored passwords cannot be looked up", "error", err)
		return denied(credssp.StatusNotSupported, f.refusal(policy.LedgerUnavailable, errCannotCheck))
	}
	held := keyring.Held()
	best := slices.IndexFunc(held, func(h proxy.Held) bool { return h.Kind == proxy.HeldPassword })
	if best < 0 {
		return denied(credssp.StatusNotGranted, f.refusal(policy.NotServed, errNotStored))
	}
	err = keyring.Prove(ctx, held[best], func(password []byte) bool {
		hash := credssp.Hash(string(password))
		defer clear(hash)
		return proves(hash)
	})
	switch {
	case err == nil:
		return nil
	case errors.Is(err, proxy.ErrNotProven):
		return denied(credssp.StatusLogonFailure, f.refusal(policy.NotAuthenticated, err))
	case errors.Is(err, proxy.ErrGuessing):
		return denied(credssp.StatusLockedOut, f.refusal(policy.NotAuthenticated, err))
	}
	f.log.Error("a stored password cannot be used", "held", held[best].ID, "error", err)
	return denied(credssp.StatusNotSupported, f.refusal(policy.NotServed, errCannotCheck))
}

// decideClaim decides about the login that somebody names by NLA.
func (f *flow) decideClaim(login string) error {
	f.login = plainLine(login, maxName)
	switch {
	case f.claimed.User == "":
		return denied(credssp.StatusLogonFailure, f.refusal(policy.NotAuthenticated, errNotSaid))
	case !soundLogin(login):
		return denied(credssp.StatusNotGranted, f.refusal(policy.WrongLogin, errNotALogin))
	}
	if v := f.visit.Decide(login); !v.Allowed() {
		return denied(credssp.StatusNotGranted, &proxy.Refusal{Verdict: v, Login: login})
	}
	return nil
}

func denied(status uint32, r *proxy.Refusal) error { return &credssp.Denied{Status: status, Err: r} }

// targetName is how the gate calls itself to a client: as the server, of which
// Windows shows 15 characters.
func (f *flow) targetName() string {
	name := "SERVER"
	if s := f.visit.Verdict().Server; s != nil {
		name = strings.ToUpper(s.Name)
	}
	if r := []rune(name); len(r) > 15 {
		name = string(r[:15])
	}
	return name
}

// realDomain is "" for a domain that means the server itself: an account of
// its own, as if none were named.
func (f *flow) realDomain(domain string) string {
	if domain == "." || strings.EqualFold(domain, f.targetName()) || domain == f.dest.Addr().String() {
		return ""
	}
	return domain
}

// loginName is a login as grants name it.
func loginName(domain, user string) string {
	if domain == "" {
		return user
	}
	return domain + `\` + user
}

// takeLogin makes the login of what the Client Info PDU says, or of what was
// proven before: then what the PDU says of it counts for nothing.
func (f *flow) takeLogin() {
	if f.relayed { // the password is between the client and the server
		f.info.Domain, f.info.User = f.claimed.Domain, f.claimed.User
		f.login = loginName(f.realDomain(f.claimed.Domain), f.claimed.User)
		return
	}
	if f.claimed.User != "" {
		f.info.Login(f.claimed.Domain, f.claimed.User, f.claimed.Password)
		f.claimed.Password = ""
	}
	f.login = loginName(f.info.Domain, f.info.User)
}
