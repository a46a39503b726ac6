package api

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"strings"
)

// Pages are what the port shows to browsers, beside the API.
type Pages interface {
	http.Handler
	// Signed returns who is signed in by a secret, or a problem that says why
	// nobody is.
	Signed(ctx context.Context, secret string) (Actor, error)
	// Refuse answers a request for a page that was turned away before.
	Refuse(w http.ResponseWriter, r *http.Request, p *Problem)
}

// Cookies know no ports, and no browser of today lets __Host- be set without
// TLS everywhere: on this machine's own name the cookie has a name of its own.
const (
	localCookie = "inside_signin"
	proxyCookie = "__Host-inside_signin"
)

func cookieName(r *http.Request) string {
	if isLocal(r.Host) {
		return localCookie
	}
	return proxyCookie
}

// isLocal reports whether a host is this machine, which is spoken to in the
// clear. Every other name is that of a reverse proxy with TLS.
func isLocal(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

// SetSignin gives the browser the secret of its sign-in; "" takes it away. No
// script can read it, no other site makes the browser send it, and it ends
// with the browser at the latest.
func SetSignin(w http.ResponseWriter, r *http.Request, secret string) {
	c := &http.Cookie{Name: cookieName(r), Value: secret, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: !isLocal(r.Host)}
	if secret == "" {
		c.MaxAge = -1
	}
	http.SetCookie(w, c)
}

// Signin is the secret a browser sent, "" where there is none, or more than
// one: then somebody else has put one there.
func Signin(r *http.Request) string {
	sent := r.CookiesNamed(cookieName(r))
	if len(sent) != 1 {
		return ""
	}
	return sent[0].Value
}

// FromOwnPage reports whether a browser says that one of the gate's own pages
// made it send a request, or for one that changes nothing, whoever uses it. A
// cookie alone is not enough for a change: it travels with whatever a browser
// is made to send.
func FromOwnPage(r *http.Request) bool {
	switch site := r.Header.Get("Sec-Fetch-Site"); site {
	case "same-origin":
		return true
	case "none":
		return isSafe(r.Method)
	case "":
		if isSafe(r.Method) {
			return true
		}
		u, err := url.Parse(r.Header.Get("Origin"))
		return err == nil && u.Host != "" && strings.EqualFold(u.Host, r.Host)
	}
	return false
}

func isSafe(method string) bool { return method == http.MethodGet || method == http.MethodHead }

// isPage reports whether a path is one of the pages', and not of the API.
func isPage(path string) bool {
	for _, rt := range vitalRoutes {
		if path == rt.path {
			return false
		}
	}
	return path != "/api" && !strings.HasPrefix(path, "/api/")
}
