package api

import (
	"crypto/rand"
	"encoding/base32"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
)

// Bearers tell who a token belongs to.
type Bearers interface {
	// Bearer returns whose the token is, or a problem that says why it is
	// nobody's.
	Bearer(token string) (Actor, error)
}

const (
	tokenPrefix = "ins_" // by which scanners of repositories and logs know a token
	tokenLength = len(tokenPrefix) + 52

	failedFree   = 10          // wrong tokens of one peer that are answered as such
	failedWindow = time.Minute // in this time
	failedPeers  = 4096        // that are remembered
)

var tokenText = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// NewTokenText makes a token of 256 random bits.
func NewTokenText() string {
	bits := make([]byte, 32)
	rand.Read(bits) // never fails: crypto/rand
	return tokenPrefix + tokenText.EncodeToString(bits)
}

// IsToken reports whether a text could be a token.
func IsToken(s string) bool {
	text, ok := strings.CutPrefix(s, tokenPrefix)
	return ok && len(s) == tokenLength && strings.Trim(text, "abcdefghijklmnopqrstuvwxyz234567") == ""
}

// tokenDoor is the port for tokens. names are hosts the gate is known by,
// besides the loopback address it listens on: those of a reverse proxy.
func tokenDoor(listen netip.AddrPort, names []string, b Bearers, pages Pages) door {
	hosts := loopbackHosts(listen)
	foreign := http.NewCrossOriginProtection()
	failed := &failures{since: time.Now()}
	return door{
		fades: true,
		calls: &underWay{of: map[string]int{}},
		pages: pages,
		turnAway: func(r *http.Request) *Problem {
			if !slices.Contains(hosts, strings.ToLower(r.Host)) && !named(names, r.Host) {
				return NewProblem(CodeMisdirected, fmt.Sprintf("this is not %.80q", r.Host), "a reverse proxy's name goes into [api] names of inside.toml")
			}
			// What CrossOriginProtection lets pass, since it changes nothing:
			// no page of another site has anything to read here either.
			// But for a link to a page, which shows itself and answers nobody.
			site := r.Header.Get("Sec-Fetch-Site")
			followed := pages != nil && isPage(r.URL.Path) && isSafe(r.Method) && r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.Header.Get("Sec-Fetch-Dest") == "document"
			if foreign.Check(r) != nil || (site == "cross-site" || site == "same-site") && !followed {
				return NewProblem(CodeForbidden, "requests made by pages of other sites are refused", "")
			}
			return nil
		},
		who: func(r *http.Request) (Actor, *Problem) {
			if secret := Signin(r); pages != nil && secret != "" && r.Header.Get("Authorization") == "" {
				return signed(r, pages, secret)
			}
			a, p := bearer(r, b)
			if p != nil && failed.tooMany(peerAddress(r)) {
				p = NewProblem(CodeTooMany, "too many requests with a wrong token", "a good token is still answered")
			}
			return a, p
		},
	}
}

// bearer takes the token out of a request and asks whose it is.
func bearer(r *http.Request, b Bearers) (Actor, *Problem) {
	const hint = "send Authorization: Bearer ins_…; inside token create makes a token"
	sent := r.Header.Values("Authorization")
	if len(sent) == 0 {
		return Actor{}, NewProblem(CodeUnknown, "this takes a token", hint)
	}
	scheme, token, _ := strings.Cut(sent[0], " ")
	if len(sent) > 1 || !strings.EqualFold(scheme, "Bearer") || !IsToken(token) {
		return Actor{}, NewProblem(CodeUnknown, "the request has no token in it that could be one of this gate", hint)
	}
	a, err := b.Bearer(token)
	if err != nil {
		return Actor{}, asProblem(err)
	}
	return a, nil
}

// signed asks who is signed in. What changes something must come from a page.
func signed(r *http.Request, pages Pages, secret string) (Actor, *Problem) {
	if !FromOwnPage(r) {
		return Actor{}, NewProblem(CodeForbidden, "only the pages of this gate change something for who is signed in on them", "a program sends Authorization: Bearer ins_…; inside token create makes a token")
	}
	a, err := pages.Signed(r.Context(), secret)
	if err != nil {
		return Actor{}, asProblem(err)
	}
	return a, nil
}

// loopbackHosts are the names by which a program on this machine reaches the
// port.
func loopbackHosts(listen netip.AddrPort) (hosts []string) {
	port := fmt.Sprint(listen.Port())
	for _, name := range []string{"127.0.0.1", "localhost", "::1", listen.Addr().String()} {
		host := net.JoinHostPort(name, port)
		hosts = append(hosts, host)
		if port == "80" { // programs leave it out then
			hosts = append(hosts, strings.TrimSuffix(host, ":80"))
		}
	}
	return hosts
}

// named reports whether a host is one of the names, at whatever port: the
// proxy's is not ours.
func named(names []string, host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return slices.ContainsFunc(names, func(name string) bool { return strings.EqualFold(name, host) })
}

func peerAddress(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// failures counts wrong tokens by where they come from. Who has a good one is
// never kept waiting, so nobody can lock anybody out; 256 bits are not
// guessed, and what is left to spare is the log and the processor.
type failures struct {
	mu    sync.Mutex
	since time.Time
	of    map[string]int
}

func (f *failures) tooMany(peer string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if now := time.Now(); f.of == nil || now.Sub(f.since) > failedWindow {
		f.since, f.of = now, map[string]int{}
	}
	if _, known := f.of[peer]; !known && len(f.of) >= failedPeers {
		return true
	}
	f.of[peer]++
	if f.of[peer] == failedFree {
		slog.Warn("many api requests without a good token", "client", peer, "within", failedWindow)
	}
	return f.of[peer] > failedFree
}
