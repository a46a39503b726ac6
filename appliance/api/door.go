package api

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"
)

// A door is a way in to the API: the socket, or the port for tokens. It turns
// away what no program of ours sends, and says who asks.
type door struct {
	// turnAway refuses a request by its headers, whoever asks; nil lets it pass.
	turnAway func(r *http.Request) *Problem
	// who says who asks, or why that cannot be said.
	who func(r *http.Request) (Actor, *Problem)
	// pages are shown to browsers; nil where there are none.
	pages Pages
	// fades is set where who somebody is can end: then streams ask again.
	fades bool
	// calls are those under way, of each who asks; nil where nobody counts.
	calls *underWay
}

// askAgain is how often a stream makes sure that its reader still may see it.
const askAgain = 400 * time.Millisecond

// guard stands before everything, routes that do not exist included.
func (d door) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		w.Header().Set("Cross-Origin-Resource-Policy", "same-origin")
		if p := d.turnAway(r); p != nil {
			if d.pages != nil && isPage(r.URL.Path) {
				d.pages.Refuse(w, r, p)
				return
			}
			p.write(w, r)
			return
		}
		if !tidy(r.URL.EscapedPath()) { // the mux would answer with a redirection
			NewProblem(CodeNotFound, fmt.Sprintf("no route %s %s", r.Method, r.URL.Path), "").write(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// tidy reports whether a path has no empty segment, "." or ".." in it.
func tidy(path string) bool {
	rest, absolute := strings.CutPrefix(path, "/")
	for s := range strings.SplitSeq(strings.TrimSuffix(rest, "/"), "/") {
		if s == "." || s == ".." || s == "" && rest != "" {
			return false
		}
	}
	return absolute
}

// admit says who asks, if they have the permission.
func (d door) admit(r *http.Request, need permission) (Actor, *Problem) {
	if need == toKnock {
		return Actor{}, nil
	}
	a, p := d.who(r)
	if p == nil && !a.may(need) {
		p = a.refused(need)
	}
	return a, p
}

// refuse writes why somebody was not admitted (RFC 9110, 11.6.1 and RFC 6750,
// 3: what was wrong is told where a token was sent).
func (d door) refuse(p *Problem, w http.ResponseWriter, r *http.Request) {
	challenge := `Bearer realm="inside"`
	switch sent := r.Header.Get("Authorization") != ""; {
	case p.Code == CodeUnknown && sent:
		challenge += `, error="invalid_token"`
	case p.Code == CodeForbidden && d.fades:
		challenge += `, error="insufficient_scope"`
	}
	if d.fades && p.Code != CodeTooMany {
		w.Header().Set("WWW-Authenticate", challenge)
	}
	if p.Code == CodeTooMany {
		w.Header().Set("Retry-After", fmt.Sprint(int(failedWindow/time.Second)))
	}
	p.write(w, r)
}

// watch ends a stream when its reader no longer may see it.
func (d door) watch(ctx context.Context, cancel context.CancelCauseFunc, r *http.Request, need permission) {
	if !d.fades {
		return
	}
	defer func() {
		if r := recover(); r != nil { // a stream that nobody watches over must not go on
			slog.Error("api stream ended: its reader could not be checked", "panic", r)
			cancel(http.ErrAbortHandler)
		}
	}()
	again := time.NewTicker(askAgain)
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-again.C:
			if _, p := d.admit(r, need); p != nil {
				cancel(p)
				return
			}
		}
	}
}

// socketDoor is the socket: the kernel has said who is at its other end. No
// web page comes in by it. The browser of an admin could be made to send
// requests here through any proxy that speaks to unix sockets: it would name
// its page in Origin or Referer, or, rebinding DNS, a foreign host (as in
// CVE-2022-41924).
var socketDoor = door{
	turnAway: func(r *http.Request) *Problem {
		switch {
		case r.Host != "inside" && r.Host != "localhost":
			return NewProblem(CodeMisdirected, fmt.Sprintf("this is not %.80q", r.Host), "the host of a request on this socket is inside")
		case r.Header.Get("Origin") != "" || r.Header.Get("Referer") != "" || r.Header.Get("Sec-Fetch-Site") != "":
			return NewProblem(CodeForbidden, "requests made by web pages are refused", "")
		}
		return nil
	},
	who: func(r *http.Request) (Actor, *Problem) { return actor(r.Context()), nil },
}
