package appliance

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/pawelmojski/inside/appliance/api"
	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/store"
)

const (
	signinLasts = 12 * time.Hour   // a working day
	signinIdle  = 2 * time.Hour    // without a page that somebody asked for
	signinSeen  = time.Minute      // a use is written down so often
	signinSpare = 10 * time.Second // for the database, in a stream that asks again
)

// Signins let admins in on the pages and know who is.
type Signins struct {
	store  *store.Store
	now    func() time.Time
	log    *slog.Logger
	byName guesses // wrong passwords
	byPeer guesses
}

func NewSignins(s *store.Store, now func() time.Time, log *slog.Logger) *Signins {
	return &Signins{store: s, now: now, log: log,
		byName: guesses{most: guessesAtOnce, regained: guessRegained},
		// All browsers on one machine, or behind one proxy, are one peer.
		byPeer: guesses{most: 10 * guessesAtOnce, regained: guessRegained / 20},
	}
}

var errWrong = api.NewProblem(api.CodeUnknown, "the name or the password is wrong", "inside admin list shows who there is, inside admin password NAME sets another password")

// SignIn checks a password and gives the secret that says from now on who it
// was. It tells nobody whether there is an admin of that name.
func (g *Signins) SignIn(ctx context.Context, name string, password api.Secret, client string) (secret string, err error) {
	now := g.now()
	if !g.byPeer.guess(client, now) {
		return "", tooManyGuesses("from " + client)
	}
	if len(name) > 255 || policy.CheckName(name) != nil || len(password) > longestPassword {
		name = "" // nobody's; guesses at it count together
	}
	if !g.byName.guess(name, now) {
		return "", tooManyGuesses("for this name")
	}
	a, err := g.store.Admin(ctx, name)
	if isOutage(err) {
		return "", asProblem(err, "")
	}
	right, hashErr := isPassword(ctx, a.Password, password)
	if hashErr != nil {
		return "", hashErr
	}
	if !right || a.Disabled {
		return "", g.wrong(ctx, a, client)
	}
	secret = api.NewTokenText()
	in := store.Signin{Hash: sha256.Sum256([]byte(secret)), Client: client, Began: now, Ends: now.Add(signinLasts)}
	if err := g.store.SignIn(ctx, a, in, now.Add(-signinIdle)); errors.Is(err, store.ErrNotFound) {
		return "", errWrong
	} else if err != nil {
		return "", asProblem(err, "")
	}
	g.byName.right(name)
	g.byPeer.right(client)
	g.log.Info("admin signed in", "admin", a.Name, "role", a.Role, "client", client)
	return secret, nil
}

func tooManyGuesses(where string) error {
	return api.NewProblem(api.CodeTooMany, "too many wrong passwords "+where+": nobody is asked there for a while", "wait a minute; inside on the gate itself works meanwhile")
}

// wrong writes a wrong password down, and says no more than that. What was typed for a name that is
// nobody's may be a password, and is written nowhere.
func (g *Signins) wrong(ctx context.Context, a store.Admin, client string) error {
	object, why := "admin "+a.Name, "wrong password"
	switch {
	case a.Name == "":
		object, why = "admin unknown", "no such name"
	case a.Disabled:
		why = "disabled"
	}
	g.log.Warn("admin not signed in", "admin", a.Name, "why", why, "client", client)
	if err := g.store.Audit(ctx, "pages", "admin.refuse", object, why+", from "+client); err != nil {
		return asProblem(err, "")
	}
	return errWrong
}

// Signed is who is signed in by a secret.
func (g *Signins) Signed(ctx context.Context, secret string) (api.Actor, error) {
	a, _, err := g.signed(ctx, secret)
	if err != nil {
		return api.Actor{}, err
	}
	return api.Actor{Name: a.Actor(), Role: api.Role(a.Role)}, nil
}

func (g *Signins) signed(ctx context.Context, secret string) (store.Admin, store.Signin, error) {
	ended := func(why string) error { return api.NewProblem(api.CodeUnknown, why, "sign in again") }
	if !api.IsToken(secret) {
		return store.Admin{}, store.Signin{}, ended("nobody is signed in here")
	}
	ctx, cancel := context.WithTimeout(ctx, signinSpare)
	defer cancel()
	a, in, err := g.store.Signed(ctx, sha256.Sum256([]byte(secret)))
	now := g.now()
	switch {
	case errors.Is(err, store.ErrNotFound):
		return a, in, ended("you are no longer signed in")
	case err != nil:
		return a, in, asProblem(err, "")
	case !now.Before(in.Ends):
		return a, in, ended(fmt.Sprintf("you were signed in for %s, which is as long as it lasts", policy.FormatDuration(signinLasts)))
	case now.Sub(in.Seen) >= signinIdle:
		return a, in, ended(fmt.Sprintf("you were signed out, since you asked for nothing for %s", policy.FormatDuration(signinIdle)))
	}
	return a, in, nil
}

// Seen notes that somebody who is signed in has asked for something.
func (g *Signins) Seen(ctx context.Context, secret string) {
	_, in, err := g.signed(ctx, secret)
	if now := g.now(); err == nil && now.Sub(in.Seen) >= signinSeen {
		if err := g.store.SigninSeen(ctx, in.Hash, now); err != nil {
			g.log.Warn("use of a sign-in not written down", "error", err)
		}
	}
}

// SignOut ends a sign-in.
func (g *Signins) SignOut(ctx context.Context, secret string) error {
	a, in, err := g.signed(ctx, secret)
	if err != nil {
		return err
	}
	return asProblem(g.store.SignOut(ctx, a, in.Hash), "")
}

// ChangePassword gives an admin another password by their own will. All their
// other sign-ins end.
func (g *Signins) ChangePassword(ctx context.Context, secret string, old, password api.Secret) error {
	a, in, err := g.signed(ctx, secret)
	if err != nil {
		return err
	}
	if err := checkNewPassword(a.Name, password); err != nil {
		return err
	}
	if !g.byName.guess(a.Name, g.now()) {
		return tooManyGuesses("for this name")
	}
	right, err := isPassword(ctx, a.Password, old)
	if err != nil {
		return err
	}
	if !right {
		return invalid("", "the password you have now is another")
	}
	g.byName.right(a.Name)
	kept, err := hashPassword(ctx, password)
	if err != nil {
		return err
	}
	_, err = g.store.SetAdminPassword(ctx, a.Actor(), a.Name, kept, in.Hash)
	return asProblem(err, "")
}
