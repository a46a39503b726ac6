package web

import (
	"errors"
	"net"
	"net/http"

	"github.com/pawelmojski/inside/appliance/api"
)

// A signInForm is what somebody typed, but for the password.
type signInForm struct {
	Name, Next string
	Problem    *api.Problem
	Ended      bool
}

func (p *Pages) showSignIn(v *visit) error {
	q := v.r.URL.Query()
	v.show(http.StatusOK, "signin", page{Title: "Sign in", Main: signInForm{Next: ours(q.Get("next")), Ended: q.Get("why") == "ended"}})
	return nil
}

func (p *Pages) signIn(v *visit) error {
	if err := v.readForm(); err != nil {
		return err
	}
	form := signInForm{Name: v.r.PostForm.Get("name"), Next: ours(v.r.PostForm.Get("next"))}
	host, _, err := net.SplitHostPort(v.r.RemoteAddr)
	if err != nil {
		host = v.r.RemoteAddr
	}
	password := api.Secret(v.r.PostForm.Get("password"))
	defer clear(password)
	secret, err := p.door.SignIn(v.ctx(), form.Name, password, host)
	if errors.As(err, &form.Problem) {
		v.show(form.Problem.Status, "signin", page{Title: "Sign in", Main: form})
		return nil
	}
	if err != nil {
		return err
	}
	api.SetSignin(v.w, v.r, secret)
	v.redirect(form.Next)
	return nil
}

// readForm reads what was typed into a form.
func (v *visit) readForm() error {
	err := v.r.ParseForm()
	var over *http.MaxBytesError
	switch {
	case errors.As(err, &over):
		return api.NewProblem(api.CodeTooLarge, "the form is larger than any of this gate", "")
	case err != nil:
		return api.NewProblem(api.CodeBadRequest, "the form cannot be read: "+err.Error(), "")
	}
	return nil
}

func (p *Pages) signOut(v *visit) error {
	if err := p.door.SignOut(v.ctx(), v.secret); err != nil {
		return err
	}
	api.SetSignin(v.w, v.r, "")
	v.redirect("/signin")
	return nil
}

// An accountForm is where an admin changes their own password.
type accountForm struct {
	Problem *api.Problem
	Changed bool
}

func (p *Pages) showAccount(v *visit) error {
	v.show(http.StatusOK, "account", page{Title: "Your account", Nav: "account", Main: accountForm{}})
	return nil
}

func (p *Pages) changePassword(v *visit) error {
	if err := v.readForm(); err != nil {
		return err
	}
	old, first, again := v.r.PostForm.Get("old"), v.r.PostForm.Get("password"), v.r.PostForm.Get("again")
	form, status := accountForm{Changed: true}, http.StatusOK
	var err error
	if first != again {
		err = api.NewProblem(api.CodeInvalid, "the two new passwords are not the same", "")
	} else {
		err = p.door.ChangePassword(v.ctx(), v.secret, api.Secret(old), api.Secret(first))
	}
	if errors.As(err, &form.Problem) {
		form.Changed, status = false, form.Problem.Status
	} else if err != nil {
		return err
	}
	v.show(status, "account", page{Title: "Your account", Nav: "account", Main: form})
	return nil
}
