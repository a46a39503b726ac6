package tailscale

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pawelmojski/inside/policy"
)

// alice is what tailscaled v1.102.5 answers for a node of a person, with the
// fields that this package reads and some that it does not.
const alice = `{
	"Node": {
		"ID": 4, "StableID": "n4CNTRL", "Name": "alice-laptop.corp.ts.net.", "User": 5,
		"Key": "nodekey:0000000000000000000000000000000000000000000000000000000000000001",
		"Addresses": ["100.64.0.2/32", "fd7a:115c:a1e0::2/128"],
		"AllowedIPs": ["100.64.0.2/32", "fd7a:115c:a1e0::2/128", "10.9.0.0/24"],
		"Hostinfo": {"OS": "linux", "Hostname": "alice-laptop"}, "MachineAuthorized": true, "ComputedName": "alice-laptop"
	},
	"UserProfile": {"ID": 5, "LoginName": "alice@corp.test", "DisplayName": "Alice"},
	"CapMap": {"https://tailscale.com/cap/is-admin": null}
}
`

var client = netip.MustParseAddrPort("100.64.0.2:44336")

// daemon serves as tailscaled does, on a socket of its own.
func daemon(t testing.TB, h http.HandlerFunc) *Daemon {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "tailscaled.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: h}
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
	return NewDaemon(socket)
}

func says(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}
}

func TestTheDaemonIsAskedAsTheTailscaleCommandDoes(t *testing.T) {
	var asked atomic.Pointer[http.Request]
	d := daemon(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Store(r)
		fmt.Fprint(w, alice)
	})
	for _, from := range []string{"100.64.0.2:44336", "[::ffff:100.64.0.2]:44336"} {
		id, err := d.Whois(t.Context(), netip.MustParseAddrPort(from))
		if want := (policy.Identity{Account: "alice@corp.test", Node: "alice-laptop"}); err != nil || id != want {
			t.Errorf("%+v, %v", id, err)
		}
		r := asked.Load()
		if r.Method != "GET" || r.Host != "local-tailscaled.sock" || r.URL.Path != "/localapi/v0/whois" ||
			r.URL.Query().Get("addr") != "100.64.0.2:44336" || r.URL.Query().Get("proto") != "tcp" || r.Header.Get("Origin") != "" {
			t.Errorf("%s %s%s", r.Method, r.Host, r.URL)
		}
	}
	if id, err := d.Whois(t.Context(), netip.MustParseAddrPort("[fd7a:115c:a1e0::2]:5")); err != nil || id.Account != "alice@corp.test" {
		t.Errorf("%+v, %v", id, err)
	}
	if got := asked.Load().URL.Query().Get("addr"); got != "[fd7a:115c:a1e0::2]:5" {
		t.Error(got)
	}
}

func TestNothingIsKept(t *testing.T) {
	var login atomic.Pointer[string]
	d := daemon(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, strings.Replace(alice, "alice@corp.test", *login.Load(), 1))
	})
	for _, who := range []string{"alice@corp.test", "mallory@corp.test", "alice@corp.test"} {
		login.Store(&who)
		if id, err := d.Whois(t.Context(), client); err != nil || id.Account != who {
			t.Errorf("%+v, %v; %s is there", id, err, who)
		}
	}
}

// with is alice with something else in its place.
func with(old, new string) string {
	if !strings.Contains(alice, old) {
		panic(old)
	}
	return strings.Replace(alice, old, new, 1)
}

func TestWhoIsNobody(t *testing.T) {
	for name, c := range map[string]struct {
		from   string
		answer http.HandlerFunc
		why    string
	}{
		"where no node is":                              {"100.64.0.99:1", says(404, "no match for IP:port\n"), "no node at 100.64.0.99"},
		"at a tagged node":                              {"100.64.0.2:1", says(200, with(`"User": 5`, `"Tags": ["tag:ci"]`)), "node alice-laptop is tagged"},
		"at a node that somebody shared with us":        {"100.64.0.2:1", says(200, with(`"User": 5`, `"User": 5, "Sharer": 9`)), "of another tailnet"},
		"at a node that ours is shared with":            {"100.64.0.2:1", says(200, with(`"OS": "linux"`, `"ShareeNode": true`)), "of another tailnet"},
		"elsewhere, and tailscaled is not even asked":   {"10.30.0.7:1", says(200, alice), "no address of Tailscale's"},
		"on the gate itself, behind a mapping of ports": {"127.0.0.1:1", says(200, alice), "no address of Tailscale's"},
	} {
		t.Run(name, func(t *testing.T) {
			id, err := daemon(t, c.answer).Whois(t.Context(), netip.MustParseAddrPort(c.from))
			if !errors.Is(err, ErrNobody) || !strings.Contains(err.Error(), c.why) || id.Account != "" {
				t.Errorf("%+v, %v", id, err)
			}
		})
	}
}

// Whatever is wrong with an answer, nobody is known by it, and it does not pass
// for the answer that nobody is there.
func TestAnAnswerThatMakesNoSenseIsNone(t *testing.T) {
	long := strings.Repeat("x", maxText+1)
	for name, answer := range map[string]http.HandlerFunc{
		"nothing":                   says(200, ""),
		"not JSON":                  says(200, "<html>"),
		"an empty object":           says(200, "{}"),
		"a list":                    says(200, "[]"),
		"null":                      says(200, "null"),
		"no node":                   says(200, `{"UserProfile": {"LoginName": "alice@corp.test"}}`),
		"no profile":                says(200, `{"Node": {"Name": "a", "Addresses": ["100.64.0.2/32"]}}`),
		"no login":                  says(200, with("alice@corp.test", "")),
		"half of it":                says(200, alice[:len(alice)/2]),
		"two of them":               says(200, alice+alice),
		"another node's":            says(200, with("100.64.0.2/32", "100.64.0.3/32")),
		"a node with the world":     says(200, with("100.64.0.2/32", "100.64.0.0/10")),
		"a node without addresses":  says(200, with(`["100.64.0.2/32", "fd7a:115c:a1e0::2/128"]`, `[]`)),
		"addresses that are none":   says(200, with("100.64.0.2/32", "somewhere")),
		"a login of two lines":      says(200, with("alice@corp.test", `alice@corp.test\nbob`)),
		"a login with a space":      says(200, with("alice@corp.test", "alice corp")),
		"a login with an escape":    says(200, with("alice@corp.test", `\u001b[2J`)),
		"a login that is no UTF-8":  says(200, with("alice@corp.test", "\xff")),
		"a login written backwards": says(200, with("alice@corp.test", `\u202etset.proc`)),
		"a long login":              says(200, with("alice@corp.test", long)),
		"a long node":               says(200, with("alice-laptop", long)),
		"a login that is a number":  says(200, with(`"alice@corp.test"`, "7")),
		"tags that are none":        says(200, with(`"User": 5`, `"Tags": "tag:ci"`)),
		"more than it may be":       says(200, with(`"DisplayName": "Alice"`, `"DisplayName": "`+strings.Repeat("x", maxAnswer)+`"`)),
		"no permission":             says(403, "whois access denied"),
		"an error":                  says(500, alice),
		"elsewhere": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://192.0.2.1/", http.StatusFound)
		},
		"headers without end": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X", strings.Repeat("x", 1<<20))
			fmt.Fprint(w, alice)
		},
		"a broken connection": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "4000")
			fmt.Fprint(w, alice)
			panic(http.ErrAbortHandler)
		},
		"no HTTP": func(w http.ResponseWriter, _ *http.Request) {
			c, _, _ := w.(http.Hijacker).Hijack()
			fmt.Fprint(c, "SSH-2.0-OpenSSH\r\n")
			c.Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			id, err := daemon(t, answer).Whois(t.Context(), client)
			if err == nil || errors.Is(err, ErrNobody) || id != (policy.Identity{}) || strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), "http://") {
				t.Errorf("%+v, %v", id, err)
			}
		})
	}
}

func TestATailscaledThatIsNotThereIsNamed(t *testing.T) {
	gone := NewDaemon(filepath.Join(t.TempDir(), "tailscaled.sock"))
	if _, err := gone.Whois(t.Context(), client); err == nil || !errors.Is(err, os.ErrNotExist) || !strings.HasPrefix(err.Error(), "tailscaled does not answer: dial unix ") {
		t.Error(err)
	}
	if _, err := gone.Status(t.Context()); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

func TestATailscaledThatHangsIsNotWaitedFor(t *testing.T) {
	for name, hang := range map[string]func(http.ResponseWriter){
		"before it answers": func(http.ResponseWriter) {},
		"in the middle":     func(w http.ResponseWriter) { fmt.Fprint(w, alice[:100]); w.(http.Flusher).Flush() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := daemon(t, func(w http.ResponseWriter, r *http.Request) {
				hang(w)
				<-r.Context().Done()
			})
			began := time.Now()
			_, err := d.Whois(t.Context(), client)
			if took := time.Since(began); err == nil || errors.Is(err, ErrNobody) || took > 2*patience {
				t.Errorf("after %s: %v", took, err)
			}
		})
	}
}

func TestWhoAsksMayGoAway(t *testing.T) {
	asked := make(chan struct{})
	d := daemon(t, func(_ http.ResponseWriter, r *http.Request) {
		close(asked)
		<-r.Context().Done()
	})
	ctx, leave := context.WithCancel(t.Context())
	go func() {
		<-asked
		leave()
	}()
	if _, err := d.Whois(ctx, client); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestStatus(t *testing.T) {
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		want   Status
		fails  bool
	}{
		"kernel mode":    {answer: says(200, `{"Version":"1.102.5","TUN":true,"BackendState":"Running","Health":[]}`), want: Status{"Running", true}},
		"userspace mode": {answer: says(200, `{"TUN":false,"BackendState":"Running"}`), want: Status{"Running", false}},
		"logged out":     {answer: says(200, `{"TUN":true,"BackendState":"NeedsLogin"}`), want: Status{"NeedsLogin", true}},
		"nonsense":       {answer: says(200, `{"BackendState":"\u001b[2J"}`), fails: true},
		"no JSON":        {answer: says(200, "x"), fails: true},
		"an error":       {answer: says(500, `{}`), fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := daemon(t, c.answer).Status(t.Context())
			if s != c.want || (err != nil) != c.fails {
				t.Errorf("%+v, %v", s, err)
			}
		})
	}
}

func TestWhatIsTailscales(t *testing.T) {
	for addr, want := range map[string]bool{
		"100.64.0.1": true, "100.127.255.254": true, "::ffff:100.64.0.1": true, "fd7a:115c:a1e0:ab12::1": true,
		"100.63.255.255": false, "100.128.0.0": false, "10.0.0.1": false, "fd7a:115c:a1e1::1": false, "::1": false,
	} {
		if got := Has(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: %v", addr, got)
		}
	}
}

// No answer makes somebody known who could not be shown, compared and written
// down, or who is not at the address.
func FuzzWhois(f *testing.F) {
	f.Add([]byte(alice))
	f.Add([]byte(`{"Node":{"Name":"","Addresses":["100.64.0.2/32"],"Tags":[]},"UserProfile":{"LoginName":"a"}}`))
	f.Add([]byte(`{"node":{"addresses":["100.64.0.2/32"]},"userprofile":{"loginname":"A"}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		id, err := parseWhois(body, client.Addr())
		if (id.Account != "") != (err == nil) {
			t.Errorf("%+v, %v", id, err)
		}
		if err != nil {
			return
		}
		if !readable(id.Account) || !readable(id.Node) || !json.Valid(body) || !strings.Contains(string(body), "100.64.0.2") && !strings.Contains(string(body), `\u`) {
			t.Errorf("%+v of %q", id, body)
		}
	})
}
