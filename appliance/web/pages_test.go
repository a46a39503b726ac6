package web

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/pawelmojski/inside/appliance/api"
)

// A shutDoor lets nobody in.
type shutDoor struct{}

func (shutDoor) SignIn(context.Context, string, api.Secret, string) (string, error) {
	return "", api.NewProblem(api.CodeUnknown, "the name or the password is wrong", "")
}
func (shutDoor) Signed(context.Context, string) (api.Actor, error) {
	return api.Actor{}, api.NewProblem(api.CodeUnknown, "you are no longer signed in", "")
}
func (shutDoor) Seen(context.Context, string)          {}
func (shutDoor) SignOut(context.Context, string) error { return nil }
func (shutDoor) ChangePassword(context.Context, string, api.Secret, api.Secret) error {
	return api.NewProblem(api.CodeUnknown, "you are no longer signed in", "")
}

func ask(p *Pages, method, path string, headers ...string) *http.Response {
	r := httptest.NewRequest(method, "http://127.0.0.1:5000"+path, strings.NewReader("name=x"))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	p.ServeHTTP(w, r)
	return w.Result()
}

// No page is forgotten: whatever there is leads whoever is not signed in to the
// page where they sign in, and nothing is asked of the house.
func TestNoPageIsForWhoIsNotSignedIn(t *testing.T) {
	p := New(t.Context(), api.NoClient(api.NewProblem(api.CodeInternal, "the house was asked", "")), shutDoor{})
	if len(p.signed) < 30 {
		t.Errorf("only %d pages", len(p.signed))
	}
	for _, pattern := range p.signed {
		method, path, ok := strings.Cut(pattern, " ")
		if !ok {
			method, path = "GET", pattern
		}
		path = strings.NewReplacer("{$}", "", "{id}", "1", "{name}", "x", "{kind}", "group", "{step}", "who").Replace(path)
		for _, cookie := range []string{"", "inside_signin=ins_" + strings.Repeat("a", 52), "inside_signin=a; inside_signin=b"} {
			resp := ask(p, method, path, "Cookie", cookie, "Sec-Fetch-Site", "same-origin")
			if to := resp.Header.Get("Location"); resp.StatusCode != http.StatusSeeOther || !strings.HasPrefix(to, "/signin") {
				t.Errorf("%s %s with the cookie %q: %d, to %q", method, path, cookie, resp.StatusCode, to)
			}
		}
	}
}

// A form that is sent by a page of another site, or by who knows what, changes
// nothing and is answered with a sentence.
func TestOnlyOurOwnFormsAreTaken(t *testing.T) {
	p := New(t.Context(), api.NoClient(api.NewProblem(api.CodeInternal, "the house was asked", "")), shutDoor{})
	for _, c := range []struct {
		headers []string
		want    int
	}{
		{[]string{"Sec-Fetch-Site", "same-origin"}, http.StatusUnauthorized}, // taken, and the password is wrong
		{[]string{"Origin", "http://127.0.0.1:5000"}, http.StatusUnauthorized},
		{[]string{"Sec-Fetch-Site", "cross-site"}, http.StatusForbidden},
		{[]string{"Sec-Fetch-Site", "same-site"}, http.StatusForbidden},
		{[]string{"Sec-Fetch-Site", "none"}, http.StatusForbidden},
		{[]string{"Origin", "http://evil.test"}, http.StatusForbidden},
		{[]string{"Origin", "http://127.0.0.1:5001"}, http.StatusForbidden},
		{[]string{"Origin", "null"}, http.StatusForbidden},
		{nil, http.StatusForbidden},
	} {
		for _, path := range []string{"/signin"} {
			if resp := ask(p, "POST", path, c.headers...); resp.StatusCode != c.want {
				t.Errorf("POST %s with %q: %d, want %d", path, c.headers, resp.StatusCode, c.want)
			}
		}
		if resp := ask(p, "POST", "/grants/1/revoke", c.headers...); c.want == http.StatusForbidden && resp.StatusCode != http.StatusForbidden {
			t.Errorf("POST /grants/1/revoke with %q: %d", c.headers, resp.StatusCode)
		}
	}
}

// Every answer says what a browser may do with it.
func TestEveryPageHasItsHeaders(t *testing.T) {
	p := New(t.Context(), api.NoClient(api.NewProblem(api.CodeInternal, "the house was asked", "")), shutDoor{})
	for _, path := range []string{"/", "/signin", "/static/inside.css", "/static/none", "/nowhere"} {
		h := ask(p, "GET", path).Header
		for name, want := range map[string]string{
			"Content-Security-Policy":    "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'; object-src 'none'",
			"Referrer-Policy":            "same-origin",
			"Cross-Origin-Opener-Policy": "same-origin",
			"X-Frame-Options":            "DENY",
		} {
			if got := h.Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", path, name, got, want)
			}
		}
	}
}
