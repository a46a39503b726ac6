package sshentry

import (
	"errors"
	"fmt"
	"slices"

	"golang.org/x/crypto/ssh"

	"github.com/pawelmojski/inside/proxy"
	"github.com/pawelmojski/inside/proxy/recording"
)

// maxHeld bounds how much of what is held is tried: sshd gives a login six
// tries in all (MaxAuthTries).
const maxHeld = 4

var errOthersKey = errors.New("the key is registered for somebody else")

// holds reports whether the house has something that may still be tried.
func (l *login) holds() bool {
	return l.f.keyring != nil && !l.spent && len(l.f.keyring.Held()) > 0
}

// owner tells whose a key is. Where that cannot be found out nothing is known
// of any key any more, and what is held stays where it is.
func (l *login) owner(key ssh.PublicKey) proxy.KeyOwner {
	if l.f.keyring == nil {
		return proxy.NobodysKey
	}
	owner, err := l.f.keyring.Owner(l.ctx, key.Marshal())
	if err != nil {
		l.f.log.Error("registered keys cannot be looked up", "error", err)
		l.f.keyring = nil
		return proxy.NobodysKey
	}
	return owner
}

// refuseOthersKey says, once, that a key proves nothing here. It is not said
// whose it is.
func (l *login) refuseOthersKey(key ssh.PublicKey) error {
	if !l.others {
		l.others = true
		l.say(fmt.Sprintf("Inside: the key %s is registered for somebody else and proves nothing here.\n"+
			"Inside: use a key of your own, or ask the administrator of this gateway.\n", ssh.FingerprintSHA256(key)))
	}
	return errOthersKey
}

// next offers the client what the server offers us, and public keys where the
// house can make something of one.
func (l *login) next(offered []string) ssh.ServerAuthCallbacks {
	c := l.callbacks(offered)
	if l.holds() {
		c.PublicKeyCallback = l.key
	}
	return c
}

// enterWithHeld logs in at the server with what the house holds for a person
// who has proven a registered key. It is only taken after the person was
// admitted and that was written down.
func (l *login) enterWithHeld(key ssh.PublicKey) (*ssh.Permissions, error) {
	permissions, err := l.admit("publickey " + ssh.FingerprintSHA256(key) + " proven to the gate")
	if err != nil {
		return nil, err
	}
	n := l.tryHeld()
	switch {
	case l.admitErr != nil:
		return nil, l.hopeless()
	case n.err != nil:
		return nil, l.lost(n.err)
	case n.in != nil:
		return permissions, nil
	case n.partial:
		return nil, &ssh.PartialSuccessError{Next: l.next(n.offered)}
	}
	// The person goes on as if nothing were held: the server may take the same
	// key, signed by an agent, or a password.
	if !l.offered("publickey") {
		return nil, errNotTaken
	}
	switch n := l.approach.key(l.ctx, key); {
	case n.err != nil:
		return nil, l.lost(n.err)
	case n.sign != nil:
		return permissions, nil
	}
	return nil, errNotTaken
}

// tryHeld tries what is held, in its order, until the server lets us in. What
// it returns is where that has led: in, nowhere, or halfway, where the server
// wants something more of the person.
func (l *login) tryHeld() news {
	l.spent = true
	tried := 0
	for _, h := range l.f.keyring.Held() {
		method := l.methodFor(h)
		if method == "" || tried == maxHeld {
			continue
		}
		n, err := l.tryOne(h, method)
		switch {
		case err != nil:
			l.f.log.Error("a stored credential cannot be used", "held", h.ID, "error", err)
			l.say(fmt.Sprintf("Inside: %s, which the gate holds for you, cannot be used: please tell its administrator.\n", h.ID))
			continue
		case n.err != nil || n.in != nil || l.admitErr != nil:
			return n
		case n.partial:
			l.halfway = true
		default:
			l.f.keyring.Refused(l.ctx, h)
			l.say(fmt.Sprintf("Inside: the server does not take %s, which the gate holds for you: please tell its administrator.\n", h.ID))
		}
		tried++
	}
	return news{partial: l.halfway, offered: l.approach.offered}
}

// methodFor is the method by which the server would take it, "" if none.
func (l *login) methodFor(h proxy.Held) string {
	if h.Kind != proxy.HeldPassword {
		if slices.Contains(l.approach.offered, "publickey") {
			return "publickey"
		}
		return ""
	}
	for _, method := range []string{"password", "keyboard-interactive"} {
		if slices.Contains(l.approach.offered, method) {
			return method
		}
	}
	return ""
}

// tryOne takes one secret and shows it to the server.
func (l *login) tryOne(h proxy.Held, method string) (n news, err error) {
	secret, err := l.f.keyring.Take(l.ctx, h)
	if err != nil {
		return news{}, err
	}
	defer func() {
		if l.ctx.Err() == nil {
			secret.Wipe() // otherwise the other side may still be signing with it
		}
	}()
	switch method {
	case "password":
		n = l.approach.password(l.ctx, string(secret.Password))
	case "keyboard-interactive":
		n = l.answerOnce(string(secret.Password))
	default:
		signer, err := heldSigner(secret)
		if err != nil {
			return news{}, err
		}
		n = l.approach.move(l.ctx, ssh.PublicKeys(signer))
	}
	if n.in != nil {
		l.admitErr = l.f.note(recording.Event{Kind: "login", Detail: method + " with " + h.ID})
	}
	return n, nil
}

func heldSigner(s *proxy.Secret) (ssh.Signer, error) {
	signer, err := ssh.NewSignerFromSigner(s.Key)
	if err != nil {
		return nil, err
	}
	if s.Certificate == nil {
		return withoutSHA1(signer)
	}
	public, err := ssh.ParsePublicKey(s.Certificate)
	if err != nil {
		return nil, err
	}
	cert, ok := public.(*ssh.Certificate)
	if !ok {
		return nil, errors.New("that is no certificate")
	}
	return ssh.NewCertSigner(cert, signer)
}

// answerOnce answers keyboard-interactive with a password where that is what is
// asked: one question whose answer is not shown. Anything else is a question to
// the person (RFC 4256 has no name for a password).
func (l *login) answerOnce(password string) news {
	n := l.approach.interactive(l.ctx)
	for rounds, answered := 0, false; n.asked != nil; rounds++ {
		var r answer
		switch {
		case rounds == maxRounds:
			r.err = errors.New("the server asks without end")
		case len(n.asked.prompts) == 0:
			r.answers = []string{}
		case !answered && len(n.asked.prompts) == 1 && !n.asked.echo[0]:
			answered, r.answers = true, []string{password}
		default:
			r.err = errors.New("the server asks for more than a password")
		}
		n = l.approach.reply(l.ctx, r)
	}
	return n
}
