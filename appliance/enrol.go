package appliance

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/proxy"
	"github.com/pawelmojski/inside/proxy/sshentry"
	"github.com/pawelmojski/inside/store"
)

// enrollAgain is how long the gate leaves an account alone that it could not be
// enrolled in, or whose owner has taken the key out.
const enrollAgain = 24 * time.Hour

// takeOutPatience is how long a server may take; whoever asks has others, too.
const takeOutPatience = 8 * time.Second

// accounts lets one errand at a time into one account: two would write the same
// file.
type accounts struct {
	mu   sync.Mutex
	busy map[string]bool
}

// enter returns nil when somebody is at work there.
func (a *accounts) enter(dest netip.AddrPort, login string) (leave func()) {
	name := dest.String() + " " + login
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.busy[name] {
		return nil
	}
	if a.busy == nil {
		a.busy = map[string]bool{}
	}
	a.busy[name] = true
	return func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.busy, name)
	}
}

// Refused implements proxy.Keyring: the gate's own key that a server does not
// take any more was taken out there.
func (k *keyring) Refused(ctx context.Context, h proxy.Held) {
	e := k.rows.Enrolment
	if e == nil || e.State != store.Enrolled || h.ID != "credential "+e.Credential {
		return
	}
	lost := *e
	lost.State, lost.Since, lost.Detail = store.EnrolmentLost, time.Time{}, "the server does not take the key any more"
	k.setEnrolment(ctx, lost)
	k.rows.Enrolment = &lost
}

func (k *keyring) setEnrolment(ctx context.Context, e store.Enrolment) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeDown)
	defer cancel()
	err := k.visit.house.store.SetEnrolment(ctx, k.visit.house.itself(), e)
	if err != nil {
		k.visit.house.log.Error("enrolment not written down", "error", err)
	}
	return err
}

// Settle implements proxy.Keyring: it enrols the account the person has logged
// in to, or says once that it is.
func (k *keyring) Settle(ctx context.Context, how proxy.Login, terminal bool, run func(context.Context, string) (string, error)) (string, error) {
	if e := k.rows.Enrolment; !how.Own && (e == nil || e.Told) {
		return "", nil
	}
	// The first command may come long after the login, and an admin in between.
	if err := k.read(ctx); err != nil {
		return "", err
	}
	e := k.rows.Enrolment
	switch {
	case e != nil && e.State == store.Enrolled:
		return k.tell(ctx, *e, terminal)
	case !k.rows.Enrolling || !how.Own || len(k.rows.Keys) == 0 && how.Signed == nil:
		return "", nil // not allowed, not needed, or of no use: no key would be known
	case e != nil && e.State == store.EnrolmentEnded:
		return "", nil // an admin has taken it out
	case e != nil && (e.State != store.EnrolmentBegun || e.Detail != "") && time.Since(e.Since) < enrollAgain:
		return "", nil
	}
	leave := k.visit.house.accounts.enter(k.visit.flow.Dest, k.login)
	if leave == nil {
		return "", nil
	}
	defer leave()
	done, err := k.enrol(ctx, run)
	if err != nil || done.State != store.Enrolled {
		return "", err
	}
	if err := k.register(ctx, how.Signed); err != nil {
		return "", err
	}
	return k.tell(ctx, done, terminal)
}

// enrol adds the gate's own key for the person to the account.
func (k *keyring) enrol(ctx context.Context, run func(context.Context, string) (string, error)) (store.Enrolment, error) {
	a := k.visit.house
	_, verdict, err := k.session()
	if err != nil {
		return store.Enrolment{}, err
	}
	own, err := k.ownKey(ctx)
	if err != nil {
		return store.Enrolment{}, err
	}
	public, err := ssh.ParsePublicKey(own.Public)
	if err != nil {
		return store.Enrolment{}, err
	}
	from, err := k.visit.comesFrom(verdict.Person)
	if err != nil {
		return store.Enrolment{}, err
	}
	e := store.Enrolment{
		Gate: a.cfg.Gate.Name, Person: k.person, Server: k.server, Dest: k.visit.flow.Dest, Login: k.login, Credential: own.ID,
		State: store.EnrolmentBegun,
	}
	if err := k.setEnrolment(ctx, e); err != nil {
		return store.Enrolment{}, err
	}
	mark := "inside-" + strings.ToLower(rand.Text())
	said, err := run(ctx, enrollCommand(mark, enrollLine(from, public, verdict.Person.Name)))
	switch answer := enrollAnswer(mark, said); {
	case answer == "added" || answer == "already":
		e.State = store.Enrolled
	case errors.Is(err, proxy.ErrNotRun):
		e.State, e.Detail = store.EnrolmentFailed, err.Error()
	case ctx.Err() != nil:
		e.Detail = "the server did not answer in time"
	case err != nil: // it may have run: the next login looks
	default:
		e.State, e.Detail = store.EnrolmentFailed, enrollFailures[answer]
	}
	a.log.Info("enrolment", "person", verdict.Person.Name, "dest", e.Dest, "login", e.Login, "state", string(e.State), "detail", e.Detail)
	return e, k.setEnrolment(ctx, e)
}

// tell says once that the account is enrolled, where somebody sees it.
func (k *keyring) tell(ctx context.Context, e store.Enrolment, terminal bool) (string, error) {
	if e.Told || !terminal {
		return "", nil
	}
	ctx, cancel := context.WithTimeout(ctx, writeDown)
	defer cancel()
	if err := k.visit.house.store.TellEnrolment(ctx, e); err != nil {
		return "", err
	}
	return fmt.Sprintf("the gate has added a key of its own to the authorized_keys of %s here; from now on your key file is enough, without a password or an agent", e.Login), nil
}

// comesFrom is where the gate's key may be used from: the address the server
// sees. With source = "client" that is the person's.
func (v *visit) comesFrom(p *policy.Person) ([]netip.Prefix, error) {
	seen, err := v.seenFrom()
	if err != nil {
		return nil, err
	}
	if seen != v.flow.Client.Addr().Unmap() {
		return []netip.Prefix{netip.PrefixFrom(seen, seen.BitLen())}, nil
	}
	var from []netip.Prefix
	for _, a := range p.Addresses {
		if !a.Disabled {
			from = append(from, a.Prefix)
		}
	}
	return from, nil
}

// ownKey is the gate's own key for the person, made when it is first needed.
func (k *keyring) ownKey(ctx context.Context) (store.Credential, error) {
	a := k.visit.house
	ctx, cancel := context.WithTimeout(ctx, writeDown)
	defer cancel()
	find := func() (store.Credential, bool, error) {
		all, err := a.store.Credentials(ctx, k.person)
		for _, c := range all {
			if c.Kind == store.OwnKey {
				return c, true, err
			}
		}
		return store.Credential{}, false, err
	}
	if own, ok, err := find(); ok || err != nil {
		return own, err
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return store.Credential{}, err
	}
	defer clear(key)
	public, private, err := marshalPair(key, "inside")
	if err != nil {
		return store.Credential{}, err
	}
	defer clear(private)
	seal, err := (&House{Store: a.store, Vault: a.vault}).sealer(ctx, private)
	if err != nil {
		return store.Credential{}, err
	}
	own, err := a.store.AddCredential(ctx, a.itself(), store.Credential{Person: k.person, Kind: store.OwnKey, Public: public},
		func(c store.Credential) ([]byte, error) { return seal(purposeOf(c)...) })
	if errors.Is(err, store.ErrConflict) { // another session was faster
		own, _, err = find()
	}
	return own, err
}

// register makes the key the person's agent has signed with one the person is
// known by, for this login at this address and nothing else: that is where they
// have shown that they may use it.
func (k *keyring) register(ctx context.Context, signed []byte) error {
	if signed == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, writeDown)
	defer cancel()
	_, err := k.visit.house.store.AddPersonKey(ctx, k.visit.house.itself(), store.PersonKey{
		Person: k.person, Server: k.server, Dest: k.visit.flow.Dest, Login: k.login, Key: signed, Label: "shown when the account was enrolled",
	})
	if errors.Is(err, store.ErrConflict) {
		return nil // known already, or somebody else's, which it stays
	}
	return err
}

// TakeOut removes the gate's own key from an account, by logging in with it.
// gone is what has become of the line; an error leaves everything as it was.
func (a *Appliance) TakeOut(ctx context.Context, e store.Enrolment, own store.Credential, client netip.AddrPort) (gone string, err error) {
	if a.gate == nil {
		return "", errors.New("this box is a tower and reaches no server: ask the gate")
	}
	ctx, cancel := context.WithTimeout(ctx, takeOutPatience)
	defer cancel()
	leave := a.accounts.enter(e.Dest, e.Login)
	if leave == nil {
		return "", errors.New("the gate is at work in that account right now: try again")
	}
	defer leave()
	public, err := ssh.ParsePublicKey(own.Public)
	if err != nil {
		return "", err
	}
	if err := a.store.Audit(ctx, a.itself(), "credential.use", "credential "+own.ID, fmt.Sprintf("to take itself out at %s, login %s", e.Dest, e.Login)); err != nil {
		return "", err
	}
	secret, err := openCredential(a.vault, own)
	if err != nil {
		return "", err
	}
	conn, err := a.gate.Dial(ctx, e.Dest, client)
	if err != nil {
		return "", err
	}
	mark := "inside-" + strings.ToLower(rand.Text())
	said, err := a.ssh.Errand(ctx, conn, e.Dest, e.Login, secret, unenrollCommand(mark, keyBlob(public)))
	switch answer := enrollAnswer(mark, said); {
	case answer == "removed":
		return "the line was taken out", nil
	case answer == "absent":
		return "the line was not there any more", nil
	case errors.Is(err, sshentry.ErrNotTaken):
		return "the server does not take the key any more", nil
	case err != nil:
		return "", err
	default:
		return "", errors.New(enrollFailures[answer])
	}
}
