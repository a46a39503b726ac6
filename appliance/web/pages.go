package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"runtime/debug"
	"strings"
	"time"

	"github.com/pawelmojski/inside/appliance/api"
)

// A Door says who signs in. Its errors for people are a *api.Problem.
type Door interface {
	SignIn(ctx context.Context, name string, password api.Secret, client string) (secret string, err error)
	// Signed returns who is signed in by a secret.
	Signed(ctx context.Context, secret string) (api.Actor, error)
	// Seen says that they have asked for something.
	Seen(ctx context.Context, secret string)
	SignOut(ctx context.Context, secret string) error
	ChangePassword(ctx context.Context, secret string, old, password api.Secret) error
}

const (
	longestForm = 64 << 10

	// patience bounds a page: a database that is away is an answer too.
	patience = 20 * time.Second
)

// Pages implement api.Pages.
type Pages struct {
	house   *api.Client
	door    Door
	closing context.Context
	mux     *http.ServeMux
	signed  []string // the patterns of pages that are for who is signed in
	board   *board
	daybook daybook
}

var _ api.Pages = (*Pages)(nil)

// New makes the pages of a house. What they push ends with closing.
func New(closing context.Context, house *api.Client, door Door) *Pages {
	p := &Pages{house: house, door: door, closing: closing, mux: http.NewServeMux()}
	p.board = newBoard(p)
	p.mux.Handle("GET /static/", http.HandlerFunc(serveStatic))
	p.open("GET /signin", p.showSignIn)
	p.open("POST /signin", p.signIn)
	p.page("POST /signout", p.signOut)
	p.page("GET /account", p.showAccount)
	p.page("POST /account", p.changePassword)
	p.page("GET /{$}", p.showDashboard)
	p.page("GET /live", p.live)
	p.page("POST /stays/{id}/end", p.endStay)
	p.page("GET /grants", p.showGrants)
	p.page("GET /grants/new", p.showWizard)
	p.page("GET /names/{step}", p.suggest)
	p.page("POST /grants", p.createGrant)
	p.page("GET /grants/{id}", p.showGrant)
	p.page("POST /grants/{id}/end", p.changeGrant("changed", setGrantEnd))
	p.page("POST /grants/{id}/revoke", p.changeGrant("revoked", revokeGrant))
	p.page("POST /grants/{id}/approve", p.changeGrant("approved", approveGrant))
	p.page("GET /sessions/{id}", p.showSession)
	p.page("POST /sessions/{id}/kill", p.killSession)
	p.page("POST /sessions/{id}/video", p.askVideo)
	p.page("GET /search", p.showSearch)
	p.page("GET /persons", p.showPersons)
	p.page("POST /persons", p.changes(path("/persons"), refused, addPerson))
	p.page("GET /persons/{name}", p.showPerson)
	p.page("POST /persons/{name}", p.changes(personPath, p.personAt, setPerson))
	p.page("POST /persons/{name}/addresses", p.changes(personPath, p.personAt, addAddress))
	p.page("POST /persons/{name}/addresses/remove", p.changes(personPath, p.personAt, removeAddress))
	p.page("GET /servers", p.showServers)
	p.page("POST /servers", p.changes(path("/servers"), refused, addServer))
	p.page("GET /servers/{name}", p.showServer)
	p.page("POST /servers/{name}", p.changes(serverPath, p.serverAt, setServer))
	p.page("POST /servers/{name}/keys", p.changes(serverPath, p.serverAt, trustKeys))
	p.page("POST /servers/{name}/keys/forget", p.changes(serverPath, p.serverAt, forgetKeys))
	p.page("GET /groups", p.showGroups)
	p.page("POST /groups/{kind}", p.changes(path("/groups"), refused, createGroup))
	p.page("GET /groups/{kind}/{name}", p.showGroup)
	p.page("POST /groups/{kind}/{name}/members", p.changes(groupPath, p.groupAt, changeMember))
	p.page("GET /stays", p.showStays)
	p.page("GET /audit", p.showAudit)
	p.page("POST /audit/verify", p.verifyAudit)
	p.page("GET /gate", p.showGate)
	p.page("POST /gate/doctor", p.examineGate)
	p.page("/", p.nothingHere)
	return p
}

// Signed implements api.Pages.
func (p *Pages) Signed(ctx context.Context, secret string) (api.Actor, error) {
	return p.door.Signed(ctx, secret)
}

// Refuse implements api.Pages.
func (p *Pages) Refuse(w http.ResponseWriter, r *http.Request, problem *api.Problem) {
	setHeaders(w.Header())
	(&visit{pages: p, w: w, r: r}).problem(problem)
}

func (p *Pages) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	setHeaders(w.Header())
	v := &visit{pages: p, w: w, r: r}
	defer v.crashed()
	if !safe(r.Method) && !api.FromOwnPage(r) {
		v.problem(api.NewProblem(api.CodeForbidden, "this was not sent by a page of this gate", "open the page again and send it from there"))
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, longestForm)
	p.mux.ServeHTTP(w, r)
}

func safe(method string) bool { return method == http.MethodGet || method == http.MethodHead }

// setHeaders says what a browser may do with a page. The player of recordings
// compiles WebAssembly; nothing else is made from text.
func setHeaders(h http.Header) {
	h.Set("Content-Security-Policy", "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'; object-src 'none'")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), microphone=(), geolocation=(), usb=(), clipboard-read=()")
}

// A visit is one request for a page.
type visit struct {
	pages  *Pages
	w      http.ResponseWriter
	r      *http.Request
	secret string
	actor  api.Actor
}

// open is a page for everybody.
func (p *Pages) open(pattern string, f func(v *visit) error) {
	p.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		p.answer(&visit{pages: p, w: w, r: r}, f)
	})
}

// page is for whoever is signed in; what they may see and do on it the API
// says.
func (p *Pages) page(pattern string, f func(v *visit) error) {
	p.signed = append(p.signed, pattern)
	p.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		v := &visit{pages: p, w: w, r: r, secret: api.Signin(r)}
		if v.secret == "" {
			v.signInFirst("")
			return
		}
		var err error
		v.actor, err = p.door.Signed(r.Context(), v.secret)
		var problem *api.Problem
		switch {
		case errors.As(err, &problem) && problem.Code == api.CodeUnknown:
			api.SetSignin(w, r, "")
			v.signInFirst(problem.Detail)
			return
		case err != nil:
			v.fail(err)
			return
		}
		if r.Header.Get("HX-Request") == "" && r.Header.Get("Accept") != "text/event-stream" { // a page that refreshes itself is nobody's asking
			p.door.Seen(r.Context(), v.secret)
		}
		v.r = r.WithContext(api.WithActor(r.Context(), v.actor))
		p.answer(v, f)
	})
}

func (p *Pages) answer(v *visit, f func(v *visit) error) {
	if v.r.Header.Get("Accept") != "text/event-stream" {
		ctx, cancel := context.WithTimeout(v.r.Context(), patience)
		defer cancel()
		v.r = v.r.WithContext(ctx)
	}
	if err := f(v); err != nil {
		v.fail(err)
	}
}

// signInFirst sends somebody to the page where they sign in, and back to where
// they wanted to go. A link on another site does not bring the cookie along:
// whoever follows one is sent on from here, once, by a page of our own.
func (v *visit) signInFirst(why string) {
	if v.r.Header.Get("Sec-Fetch-Site") == "cross-site" && v.r.Method == http.MethodGet {
		v.show(http.StatusOK, "onward", page{Title: "Inside", Main: v.r.URL.RequestURI()})
		return
	}
	if v.r.Header.Get("HX-Request") != "" { // the whole page goes there, not a part of it
		v.w.Header().Set("HX-Redirect", "/signin")
		v.w.WriteHeader(http.StatusUnauthorized)
		return
	}
	q := url.Values{}
	if safe(v.r.Method) && v.r.URL.Path != "/" && v.r.URL.Path != "/live" {
		q.Set("next", v.r.URL.RequestURI())
	}
	if why != "" {
		q.Set("why", "ended")
	}
	target := "/signin"
	if len(q) > 0 {
		target += "?" + q.Encode()
	}
	v.redirect(target)
}

// redirect sends the browser to another page of ours.
func (v *visit) redirect(to string) { http.Redirect(v.w, v.r, to, http.StatusSeeOther) }

// ours is a path of this gate, or "/" where it is something else.
func ours(to string) string {
	u, err := url.Parse(to)
	if err != nil || u.Host != "" || u.Scheme != "" || u.User != nil || !strings.HasPrefix(to, "/") || strings.HasPrefix(to, "//") || strings.ContainsAny(to, "\\\t\r\n") {
		return "/"
	}
	return to
}

// fail shows why a page could not be made.
func (v *visit) fail(err error) {
	var p *api.Problem
	switch {
	case errors.As(err, &p):
	case errors.Is(err, context.DeadlineExceeded):
		p = api.NewProblem(api.CodeUnavailable, fmt.Sprintf("no answer within %s", patience), "inside status")
	case v.r.Context().Err() != nil:
		return // nobody waits for it
	default:
		slog.Error("page failed", "path", v.r.URL.Path, "error", err)
		p = api.NewProblem(api.CodeInternal, err.Error(), "inside status")
	}
	v.problem(p)
}

// crashed answers for a page that panicked.
func (v *visit) crashed() {
	caught := recover()
	if caught == nil {
		return
	}
	if caught == http.ErrAbortHandler {
		panic(caught)
	}
	slog.Error("page crashed", "path", v.r.URL.Path, "panic", caught, "stack", string(debug.Stack()))
	if v.w.Header().Get("Content-Type") != "" {
		panic(http.ErrAbortHandler)
	}
	v.problem(api.NewProblem(api.CodeInternal, "the page crashed; the log of the gate says where", "journalctl -u inside"))
}

func (p *Pages) nothingHere(v *visit) error {
	return api.NewProblem(api.CodeNotFound, fmt.Sprintf("there is no page %.80s", v.r.URL.Path), "")
}

// house is what the visitor may ask.
func (v *visit) house() *api.Client { return v.pages.house }

func (v *visit) ctx() context.Context { return v.r.Context() }
