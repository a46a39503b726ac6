package api

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"regexp"
	"strings"
	"testing"
)

// keyring is a house's tokens, without a house.
type keyring map[string]any // an Actor, or an error

func (k keyring) Bearer(token string) (Actor, error) {
	switch who := k[token].(type) {
	case Actor:
		return who, nil
	case error:
		return Actor{}, who
	}
	return Actor{}, NewProblem(CodeUnknown, "unknown", "")
}

// enough is how far up a caller must be for a permission. It is written here
// again, so that a slip in role.go is seen.
var enough = map[permission]int{toKnock: 0, toLook: 1, toWatch: 2, toOperate: 2, toChange: 3}

// TestEveryRouteAnswersWhoMayAskAndNobodyElse walks every route as everybody
// there is.
func TestEveryRouteAnswersWhoMayAskAndNobodyElse(t *testing.T) {
	viewer, operator, admin, expired, revoked := NewTokenText(), NewTokenText(), NewTokenText(), NewTokenText(), NewTokenText()
	keys := keyring{
		viewer: Actor{"token:v", Viewer}, operator: Actor{"token:o", Operator}, admin: Actor{"token:a", Admin},
		expired: NewProblem(CodeUnknown, "expired", ""), revoked: NewProblem(CodeUnknown, "revoked", ""),
	}
	const port = "port"
	callers := []struct {
		name, authorization, by string
		level                   int // 3 is an admin, 0 somebody who may nothing, -1 nobody knows who
	}{
		{"nobody", "", port, -1},
		{"an unknown token", "Bearer " + NewTokenText(), port, -1},
		{"an expired token", "Bearer " + expired, port, -1},
		{"a revoked token", "Bearer " + revoked, port, -1},
		{"a token in another scheme", "Basic " + admin, port, -1},
		{"a token with something behind it", "Bearer " + admin + " x", port, -1},
		{"half a token", "Bearer " + admin[:len(admin)-1], port, -1},
		{"a viewer", "Bearer " + viewer, port, 1},
		{"an operator", "Bearer " + operator, port, 2},
		{"an admin", "bearer " + admin, port, 3},
		{"a peer who is nobody", "", "", 0},
		{"a peer who is nobody, with a token", "Bearer " + admin, "", 0},
		{"a peer who is an admin", "", string(Admin), 3},
	}
	house := new(stub)
	doors := map[bool]http.Handler{
		true:  newHandler(t.Context(), house, tokenDoor(netip.MustParseAddrPort("127.0.0.1:5000"), nil, keys, nil)),
		false: newHandler(t.Context(), house, socketDoor),
	}
	calls := 0
	for _, rt := range withHeads(everyRoute()) {
		need, declared := enough[rt.need]
		if !declared {
			t.Errorf("%s %s declares no permission", rt.method, rt.path)
			continue
		}
		for _, c := range callers {
			calls++
			want := http.StatusOK
			switch {
			case (need == 0 || c.level >= need) && rt.method == http.MethodHead && rt.kind == live:
				want = http.StatusMethodNotAllowed
			case need == 0 || c.level >= need:
			case c.level < 0:
				want = http.StatusUnauthorized
			default:
				want = http.StatusForbidden
			}
			w := httptest.NewRecorder()
			r := walkRequest(rt, calls)
			if c.by == port {
				r.Host = "127.0.0.1:5000"
			} else {
				r = r.WithContext(WithActor(r.Context(), Actor{"peer", Role(c.by)}))
			}
			if c.authorization != "" {
				r.Header.Set("Authorization", c.authorization)
			}
			house.seen = nil
			doors[c.by == port].ServeHTTP(w, r)
			if w.Code != want {
				t.Errorf("%s asks %s %s (%s): %d, want %d: %s", c.name, rt.method, rt.path, rt.need, w.Code, want, w.Body)
			}
			if want != http.StatusOK && len(house.seen) > 0 { // a look must not even be written down
				t.Errorf("%s asks %s %s: the house was asked %q", c.name, rt.method, rt.path, house.seen)
			}
			challenge := w.Header().Get("WWW-Authenticate")
			if challenged := strings.HasPrefix(challenge, "Bearer "); challenged != (c.by == port && (want == http.StatusUnauthorized || want == http.StatusForbidden)) {
				t.Errorf("%s asks %s %s: WWW-Authenticate %q", c.name, rt.method, rt.path, challenge)
			}
		}
	}
	t.Logf("%d calls", calls)
}

// withHeads adds what GET brings with it.
func withHeads(all []route) []route {
	for _, rt := range all {
		if rt.method == http.MethodGet {
			rt.method = http.MethodHead
			all = append(all, rt)
		}
	}
	return all
}

// walkRequest makes a request that the stub answers; each comes from somewhere
// else, since who sends wrong tokens again and again is told so.
func walkRequest(rt route, i int) *http.Request {
	path := regexp.MustCompile(`\{\w+\}`).ReplaceAllString(rt.path, "1")
	var r *http.Request
	if rt.kind == change {
		r = httptest.NewRequest(rt.method, "http://inside"+path, strings.NewReader("{}"))
		r.Header.Set("Content-Type", mediaJSON)
	} else {
		r = httptest.NewRequest(rt.method, "http://inside"+path, nil)
	}
	r.RemoteAddr = fmt.Sprintf("127.%d.%d.1:1000", i>>8, i&0xff)
	return r
}
