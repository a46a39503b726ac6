package sshentry

import (
	"context"
	"errors"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/crypto/ssh"

	"github.com/pawelmojski/inside/policy"
)

// An approach is the login at the server, a conversation of its own that runs
// beside the client's login and is driven by it: the client's every attempt
// becomes one move, and what the server says to it comes back as news.
//
//	client's login          approach             server
//	──────────────          ────────             ──────
//	none               ──▶  (starts)        ──▶  none
//	methods to offer   ◀──  news{methods}   ◀──  failure: publickey,password
//	key A?             ──▶  move            ──▶  publickey A?
//	no                 ◀──  news{methods}   ◀──  failure
//	password           ──▶  move            ──▶  password
//	admitted           ◀──  news{in}        ◀──  success
//
// It stands still between moves. After the client has proven a key, it stands
// in the middle of one: the server is waiting for a signature only the
// client's agent can make.
type approach struct {
	moves      chan ssh.AuthMethod
	answers    chan answer
	signatures chan signature
	news       chan news

	quit     chan struct{} // closed when nobody listens any more
	quitOnce sync.Once

	// Touched only by the side that listens.
	open    *signing // the server waits for this signature
	offered []string // what the server would take next
	last    news     // the final one

	partials int // touched only by the side that speaks to the server
}

// news is what came of a move. Exactly one of the pointers, err, or none of
// them is set; none of them means that the move was not enough.
type news struct {
	offered []string   // the methods the server would take next
	partial bool       // the move was good, but the server wants more
	asked   *questions // the server asks something (keyboard-interactive)
	sign    *signing   // the server would take the key
	in      *sshSide   // the server has let us in
	err     error      // it is over
}

// questions is one round of keyboard-interactive.
type questions struct {
	name, instruction string
	prompts           []string
	echo              []bool
}

type answer struct {
	answers []string
	err     error
}

// A signing is what the server wants signed.
type signing struct {
	key  ssh.PublicKey
	data []byte
	algo string
}

type signature struct {
	sig *ssh.Signature
	err error
}

var (
	errGivenUp  = errors.New("the login was given up")
	errOtherWay = errors.New("another method was tried instead")
)

// approachServer begins the login as the given user.
func (f *flow) approachServer(ctx context.Context, user string) *approach {
	a := &approach{
		moves:      make(chan ssh.AuthMethod),
		answers:    make(chan answer),
		signatures: make(chan signature),
		news:       make(chan news, 1),
		quit:       make(chan struct{}),
	}
	f.spawn(func() { f.runApproach(ctx, a, user) })
	return a
}

// runApproach speaks to the server until it has let us in or it is over. ctx
// covers the key exchange; the login itself ends with the connection.
func (f *flow) runApproach(ctx context.Context, a *approach, user string) {
	a.tell(f.enterServer(ctx, a, user))
}

func (f *flow) enterServer(ctx context.Context, a *approach, user string) (last news) {
	defer func() {
		if r := recover(); r != nil {
			f.logPanic(r)
			last = news{err: policy.Failed}
		}
	}()
	known, err := f.knownHost(ctx)
	if err != nil {
		return news{err: err}
	}
	config := &ssh.ClientConfig{
		Config:            ssh.Config{KeyExchanges: serverKeyExchanges, Ciphers: ciphers, MACs: serverMACs},
		User:              user,
		ClientVersion:     versionOfGate,
		HostKeyAlgorithms: pinnedFirst(known.pins),
		HostKeyCallback: func(_ string, _ net.Addr, key ssh.PublicKey) error {
			return known.check(ctx, key)
		},
		BannerCallback: f.relayBanner(),
		AuthCallback: func(c *ssh.ClientAuthContext) (ssh.AuthMethod, error) {
			f.setServerPeer(c.Metadata)
			return a.choose(c)
		},
	}
	conn, channels, requests, err := ssh.NewClientConn(f.server, f.dest.String(), config)
	if err != nil {
		return news{err: err}
	}
	side := &sshSide{conn, channels, requests}
	f.serve(side)
	return news{in: side}
}

// choose reports what the server said to the last move and waits for the
// next one.
func (a *approach) choose(c *ssh.ClientAuthContext) (ssh.AuthMethod, error) {
	partial := len(c.PartialSuccessMethods) > a.partials
	a.partials = len(c.PartialSuccessMethods)
	a.tell(news{offered: c.AllowedMethods, partial: partial})
	select {
	case m := <-a.moves:
		return m, nil
	case <-a.quit:
		return nil, errGivenUp
	}
}

func (a *approach) tell(n news) {
	select {
	case a.news <- n:
	case <-a.quit:
		// Somebody who never listened may still have to close what came in.
		select {
		case a.news <- n:
		default:
		}
	}
}

// giveUp ends the approach; the connection must be closed as well.
func (a *approach) giveUp() {
	a.quitOnce.Do(func() { close(a.quit) })
}

// move makes the next attempt and returns what came of it.
func (a *approach) move(ctx context.Context, m ssh.AuthMethod) news {
	if n := a.decline(ctx, errOtherWay); n.err != nil {
		return n
	}
	if a.last.err != nil || a.last.in != nil {
		return a.last
	}
	select {
	case a.moves <- m:
	case n := <-a.news: // the server went away in between
		return a.heard(n)
	case <-a.quit:
		return news{err: errGivenUp}
	case <-ctx.Done():
		return news{err: context.Cause(ctx)}
	}
	return a.next(ctx)
}

// next waits for news.
func (a *approach) next(ctx context.Context) news {
	if a.last.err != nil || a.last.in != nil {
		return a.last
	}
	select {
	case n := <-a.news:
		return a.heard(n)
	case <-ctx.Done():
		return news{err: context.Cause(ctx)}
	}
}

func (a *approach) heard(n news) news {
	switch {
	case n.sign != nil:
		a.open = n.sign
	case n.err != nil || n.in != nil:
		a.last = n
	case n.asked == nil && n.offered != nil:
		a.offered = n.offered
	}
	return n
}

// decline tells the server's side, if it waits for a signature, that there
// will be none; the approach then waits for another move.
func (a *approach) decline(ctx context.Context, why error) news {
	if a.open == nil {
		return news{}
	}
	return a.sign(ctx, signature{err: why})
}

// sign hands over the signature the server waits for.
func (a *approach) sign(ctx context.Context, s signature) news {
	a.open = nil
	select {
	case a.signatures <- s:
	case n := <-a.news:
		return a.heard(n)
	case <-a.quit:
		return news{err: errGivenUp}
	case <-ctx.Done():
		return news{err: context.Cause(ctx)}
	}
	return a.next(ctx)
}

// reply hands over the answers to a round of questions.
func (a *approach) reply(ctx context.Context, r answer) news {
	select {
	case a.answers <- r:
	case n := <-a.news:
		return a.heard(n)
	case <-a.quit:
		return news{err: errGivenUp}
	case <-ctx.Done():
		return news{err: context.Cause(ctx)}
	}
	return a.next(ctx)
}

// password is a move.
func (a *approach) password(ctx context.Context, secret string) news {
	return a.move(ctx, ssh.Password(secret))
}

// key asks whether the server would take a key: news{sign} is yes.
func (a *approach) key(ctx context.Context, key ssh.PublicKey) news {
	return a.move(ctx, ssh.PublicKeysCallback(func() ([]ssh.Signer, error) {
		return []ssh.Signer{&borrowedKey{a, key}}, nil
	}))
}

// interactive begins keyboard-interactive; every round comes as news{asked}.
func (a *approach) interactive(ctx context.Context) news {
	return a.move(ctx, ssh.KeyboardInteractive(func(name, instruction string, prompts []string, echo []bool) ([]string, error) {
		a.tell(news{asked: &questions{name, instruction, prompts, echo}})
		select {
		case r := <-a.answers:
			return r.answers, r.err
		case <-a.quit:
			return nil, errGivenUp
		}
	}))
}

// A borrowedKey is a key of the client's. Being asked to sign with it means
// that the server would take it.
type borrowedKey struct {
	a   *approach
	key ssh.PublicKey
}

var _ ssh.MultiAlgorithmSigner = (*borrowedKey)(nil)

func (k *borrowedKey) PublicKey() ssh.PublicKey { return k.key }
func (k *borrowedKey) Algorithms() []string     { return signatureAlgorithms(k.key) }

func (k *borrowedKey) Sign(rand io.Reader, data []byte) (*ssh.Signature, error) {
	return k.SignWithAlgorithm(rand, data, k.Algorithms()[0])
}

func (k *borrowedKey) SignWithAlgorithm(_ io.Reader, data []byte, algo string) (*ssh.Signature, error) {
	k.a.tell(news{sign: &signing{k.key, data, algo}})
	select {
	case s := <-k.a.signatures:
		return s.sig, s.err
	case <-k.a.quit:
		return nil, errGivenUp
	}
}

// relayBanner passes the server's banners on to the client, up to a limit: a
// server may send them without end.
func (f *flow) relayBanner() ssh.BannerCallback {
	left := maxBanner
	return func(message string) error {
		text := plain(message, left)
		left -= len(text)
		if c, ok := f.clientPeer.(ssh.ServerPreAuthConn); ok && text != "" {
			c.SendAuthBanner(text) // fails once the client is let in; then nobody is there to read it
		}
		return nil
	}
}

// lostText says to a person why the server let the login go.
func lostText(err error) string {
	var changed *hostKeyChanged
	if errors.As(err, &changed) {
		return changed.Error()
	}
	if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) {
		return "the server closed the connection"
	}
	// The library keeps its disconnect message to itself; its text is
	// `ssh: disconnect, reason 2: "Too many authentication failures"`.
	if _, after, ok := strings.Cut(err.Error(), "ssh: disconnect, reason "); ok {
		if _, quoted, ok := strings.Cut(after, ": "); ok {
			if reason, err := strconv.Unquote(quoted); err == nil {
				return "the server ended the login: " + plainLine(reason, maxName)
			}
		}
	}
	return plainLine(err.Error(), 2*maxName)
}
