package sshentry

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/proxy"
	"github.com/pawelmojski/inside/proxy/recording"
)

// A login is the client's side of logging in: it turns the client's requests
// into moves of the approach and the server's answers into replies. Its
// methods are called by x/crypto/ssh, one at a time.
type login struct {
	f        *flow
	ctx      context.Context
	approach *approach
	refusal  *proxy.Refusal // said; whatever comes now fails
	admitErr error          // letting in failed for another reason
	admitted bool

	spent   bool // what is held was tried, and did not let us in
	halfway bool // it did, but the server wants something more
	others  bool // the client has shown somebody else's key
}

// letIn carries the client through its login. When it returns nil the person
// is admitted, and the server has either let us in or waits for a signature.
func (f *flow) letIn(ctx context.Context) error {
	ctx, done := f.graced(ctx)
	defer done()
	l := &login{f: f, ctx: ctx}
	config, err := f.serverConfig(ctx)
	if err != nil {
		return f.refusal(policy.LedgerUnavailable, err)
	}
	config.PreAuthConnCallback = func(c ssh.ServerPreAuthConn) {
		f.clientPeer = c
		f.client.release()
	}
	config.NoClientAuth = true
	config.NoClientAuthCallback = l.none
	every := l.callbacks([]string{"password", "publickey", "keyboard-interactive"})
	config.PasswordCallback = every.PasswordCallback
	config.PublicKeyCallback = every.PublicKeyCallback
	config.KeyboardInteractiveCallback = every.KeyboardInteractiveCallback
	config.VerifiedPublicKeyCallback = l.proven

	conn, channels, requests, err := ssh.NewServerConn(f.client, config)
	cut := done()
	if err == nil {
		f.clientSide = sshSide{conn, channels, requests}
		f.serve(&f.clientSide)
	}
	switch {
	case l.refusal != nil:
		return l.refusal
	case l.admitErr != nil:
		return l.admitErr
	case cut && context.Cause(ctx) != errGrace:
		return context.Cause(ctx)
	case err == nil && !cut:
		f.clientConn = conn
		return nil
	case l.admitted:
		return policy.ClientLeft
	case cut:
		err = errGrace
	}
	if l.approach == nil {
		return f.refusal(policy.ProtocolError, err)
	}
	return f.refusal(policy.NotAuthenticated, err)
}

// callbacks offers the client what the server offers us.
func (l *login) callbacks(methods []string) ssh.ServerAuthCallbacks {
	var c ssh.ServerAuthCallbacks
	if slices.Contains(methods, "password") {
		c.PasswordCallback = l.password
	}
	if slices.Contains(methods, "publickey") {
		c.PublicKeyCallback = l.key
	}
	if slices.Contains(methods, "keyboard-interactive") {
		c.KeyboardInteractiveCallback = l.interactive
	}
	return c
}

// hopeless offers only public keys, and no key is taken: a client that was
// refused gives up by itself and asks the person nothing.
func (l *login) hopeless() error {
	return &ssh.PartialSuccessError{Next: ssh.ServerAuthCallbacks{
		PublicKeyCallback: func(ssh.ConnMetadata, ssh.PublicKey) (*ssh.Permissions, error) { return nil, errDenied },
	}}
}

// begin runs before every attempt. At the first one the login name is known,
// so the second decision is made and the server is approached.
func (l *login) begin(c ssh.ConnMetadata) error {
	f := l.f
	if l.refusal != nil || l.admitErr != nil {
		return errDenied
	}
	if l.approach != nil {
		if c.User() != f.login {
			return l.refuse(f.refusal(policy.ProtocolError, errors.New("the client changed the login name")))
		}
		return nil
	}
	f.login = plainLine(c.User(), maxName)
	if !soundLogin(c.User()) {
		return l.refuse(f.refusal(policy.WrongLogin, errors.New("not a login name")))
	}
	if v := f.visit.Decide(c.User()); !v.Allowed() {
		return l.refuse(&proxy.Refusal{Verdict: v, Login: f.login})
	}
	keyring, err := f.visit.Keyring(l.ctx, c.User())
	if err != nil {
		f.log.Error("stored credentials cannot be used", "error", err)
	} else {
		f.keyring = keyring
	}
	l.approach = f.approachServer(l.ctx, c.User())
	f.approach = l.approach
	first, cancel := context.WithTimeoutCause(l.ctx, f.grace()/2, errSilent)
	defer cancel()
	if n := l.approach.next(first); n.err != nil {
		return l.lost(n.err)
	}
	return nil
}

var errSilent = errors.New("the server does not answer")

// refuse tells the person why, once, and lets the rest of the login fail.
func (l *login) refuse(r *proxy.Refusal) error {
	l.refusal = r
	l.say(l.f.denialText(r.Verdict, l.f.login))
	return l.hopeless()
}

// lost says that the server has ended the login, and ends the client's.
func (l *login) lost(err error) error {
	f := l.f
	if l.ctx.Err() != nil {
		return errDenied // the client is being closed already
	}
	denial := denialFor(err, len(l.approach.offered) == 0)
	l.refusal = f.refusal(denial, err)
	if denial != policy.NotAuthenticated {
		l.say(f.denialText(l.refusal.Verdict, f.login))
	}
	l.say(fmt.Sprintf("Inside: %s.\n", lostText(err)))
	f.client.Close()
	return errDenied
}

func (l *login) say(text string) {
	if c, ok := l.f.clientPeer.(ssh.ServerPreAuthConn); ok {
		c.SendAuthBanner(text)
	}
}

// none is what a client asks first, to learn the methods. The server has been
// asked the same by now.
func (l *login) none(c ssh.ConnMetadata) (*ssh.Permissions, error) {
	if err := l.begin(c); err != nil {
		return nil, err
	}
	if n := l.approach.last; n.in != nil {
		return l.admit("none")
	}
	next := l.next(l.approach.offered)
	if next.PasswordCallback == nil && next.PublicKeyCallback == nil && next.KeyboardInteractiveCallback == nil {
		l.refusal = l.f.refusal(policy.NotAuthenticated,
			fmt.Errorf("the server offers only %s", plainLine(fmt.Sprint(l.approach.offered), maxName)))
		l.say(fmt.Sprintf("Inside: %s, which cannot pass the gate.\n", l.refusal.Err))
		return nil, l.hopeless()
	}
	// Nothing has succeeded, but this is the only way the library has to
	// change what is offered. OpenSSH says so only with -v. PuTTY would say
	// "Further authentication required" to everybody; it is offered all three
	// and learns by itself what the server does not take.
	if strings.HasPrefix(string(c.ClientVersion()), "SSH-2.0-PuTTY") && (next.PasswordCallback != nil || next.KeyboardInteractiveCallback != nil) {
		return nil, ssh.ErrNoAuth
	}
	return nil, &ssh.PartialSuccessError{Next: next}
}

// offered reports whether the server would take a method at all now. A client
// may try one that it was not told about.
func (l *login) offered(method string) bool {
	return slices.Contains(l.approach.offered, method) || l.approach.last.in != nil
}

func (l *login) password(c ssh.ConnMetadata, secret []byte) (*ssh.Permissions, error) {
	if err := l.begin(c); err != nil {
		return nil, err
	}
	if !l.offered("password") {
		return nil, errNotTaken
	}
	return l.outcome("password", l.approach.password(l.ctx, string(secret)))
}

func (l *login) interactive(c ssh.ConnMetadata, ask ssh.KeyboardInteractiveChallenge) (*ssh.Permissions, error) {
	if err := l.begin(c); err != nil {
		return nil, err
	}
	if !l.offered("keyboard-interactive") {
		return nil, errNotTaken
	}
	n := l.approach.interactive(l.ctx)
	for rounds := 0; n.asked != nil; rounds++ {
		var r answer
		if rounds == maxRounds {
			r.err = errors.New("the server asks without end")
		} else {
			r.answers, r.err = ask(plain(n.asked.name, maxPrompt), plain(n.asked.instruction, maxPrompt), plainAll(n.asked.prompts), n.asked.echo)
		}
		n = l.approach.reply(l.ctx, r)
	}
	return l.outcome("keyboard-interactive", n)
}

// The caps on what a server may ask in one login.
const (
	maxRounds = 32
	maxPrompt = 4 << 10
)

func plainAll(prompts []string) []string {
	sane := make([]string, len(prompts))
	for i, p := range prompts {
		sane[i] = plain(p, maxPrompt)
	}
	return sane
}

// key answers whether the server would take a key. The client has not proven
// anything yet.
func (l *login) key(c ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
	if err := l.begin(c); err != nil {
		return nil, errDenied // partial success is not for this callback
	}
	switch l.owner(key) {
	case proxy.OthersKey:
		return nil, l.refuseOthersKey(key)
	case proxy.PersonsKey:
		if l.holds() {
			return &ssh.Permissions{}, nil
		}
	}
	if open := l.approach.open; open != nil && sameKey(open.key, key) {
		return &ssh.Permissions{}, nil
	}
	if !l.offered("publickey") {
		return nil, errNotTaken
	}
	n := l.approach.key(l.ctx, key)
	switch {
	case n.err != nil:
		l.lost(n.err)
		return nil, errDenied
	case n.sign != nil:
		return &ssh.Permissions{}, nil
	default:
		return nil, errNotTaken
	}
}

var errNotTaken = errors.New("the server does not take it")

// proven is called when the client has signed with a key that was not refused:
// the one moment at which the person is known to hold it. What was offered
// before counts for nothing.
func (l *login) proven(_ ssh.ConnMetadata, key ssh.PublicKey, _ *ssh.Permissions, _ string) (*ssh.Permissions, error) {
	if l.refusal != nil || l.admitErr != nil {
		return nil, errDenied
	}
	if l.holds() && l.owner(key) == proxy.PersonsKey {
		return l.enterWithHeld(key)
	}
	if open := l.approach.open; open == nil || !sameKey(open.key, key) {
		return nil, errNotTaken
	}
	return l.admit("publickey " + ssh.FingerprintSHA256(key))
}

// outcome tells the client what the server said.
func (l *login) outcome(method string, n news) (*ssh.Permissions, error) {
	switch {
	case n.err != nil:
		return nil, l.lost(n.err)
	case n.in != nil:
		l.f.loggedIn(proxy.Login{Own: !l.halfway})
		return l.admit(method)
	case n.partial:
		return nil, &ssh.PartialSuccessError{Next: l.next(n.offered)}
	default:
		return nil, errNotTaken
	}
}

// admit lets the person in before the client hears that it is logged in, or
// before what the house holds is used.
func (l *login) admit(method string) (*ssh.Permissions, error) {
	var err error
	if !l.admitted {
		_, err = l.f.visit.Admit(l.ctx, l.f.login)
	}
	if refusal := (*proxy.Refusal)(nil); errors.As(err, &refusal) {
		return nil, l.refuse(refusal)
	}
	if err != nil {
		l.admitErr = err
		l.say("Inside: nobody can be let in right now.\n")
		return nil, l.hopeless()
	}
	l.admitted = true
	// How the person proved themselves: to the server, or to the gate when the
	// server still waits for its signature.
	if l.admitErr = l.f.note(recording.Event{Kind: "login", Detail: method}); l.admitErr != nil {
		l.say("Inside: the session cannot be recorded.\n")
		return nil, l.hopeless()
	}
	return &ssh.Permissions{}, nil
}
