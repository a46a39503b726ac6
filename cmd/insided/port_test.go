package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pawelmojski/inside/appliance/api"
	"github.com/pawelmojski/inside/netfilter/nettest"
)

const port = "127.0.0.1:5000"

// A programme listens to the news of a gate by its port, with a token.
type programme struct {
	*nettest.Daemon
	h    *house
	file string
}

func (h *house) programme(tokenFile string) *programme {
	h.t.Helper()
	p := &programme{h: h, file: filepath.Join(h.dir, "news")}
	var err error
	p.Daemon, err = h.Gateway.Start("sh", "-c", fmt.Sprintf("INSIDE_URL=http://%s INSIDE_TOKEN_FILE=%s exec %s events --after 0-0 --json >%s",
		port, tokenFile, filepath.Join(binaries, "inside"), p.file))
	if err != nil {
		h.t.Fatal(err)
	}
	p.hears(api.NewsReset, "")
	return p
}

// hears waits for a piece of news whose data holds all these texts.
func (p *programme) hears(kind string, texts ...string) {
	p.h.t.Helper()
	p.h.until(fmt.Sprintf("news of kind %s with %q", kind, texts), func() bool {
		for _, n := range p.news() {
			fits := func(text string) bool { return bytes.Contains(n.Data, []byte(text)) }
			if n.Kind == kind && !slices.ContainsFunc(texts, func(text string) bool { return !fits(text) }) {
				return true
			}
		}
		return false
	})
}

func (p *programme) news() (all []api.News) {
	text, _ := os.ReadFile(p.file)
	for line := range bytes.Lines(text) {
		var n api.News
		if json.Unmarshal(line, &n) == nil {
			all = append(all, n)
		}
	}
	return all
}

// send sends a request as it is written by the port, and returns the status.
func (h *house) send(request string) int {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := h.Gateway.Dial(ctx, port)
	if err != nil {
		h.t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	io.WriteString(c, strings.ReplaceAll(request, "\n", "\r\n"))
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		h.t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

func TestAProgramFollowsTheGateByATokenThatIsWrittenNowhere(t *testing.T) {
	h := newHouse(t, settings{listen: port})
	h.know()
	made := insideJSON[api.Token](h, "token", "create", "watcher", "--role", "operator")
	file := filepath.Join(h.dir, "token")
	h.write(file, made.Secret+"\n")
	if err := os.Chmod(file, 0o600); err != nil {
		t.Fatal(err)
	}
	p := h.programme(file)

	h.grant("--duration", "1h")
	tm := h.sit(at("ideo", nettest.BackendIP4), "echo ready; cat")
	h.shows(tm, "ready")
	s := h.live(1)[0]
	p.hears(api.NewsEntry, `"allowed":true`, `"person":"p.mojski"`, `"server":"test-ssh-server"`, s.ID)
	p.hears(api.NewsSession, s.ID, `"live":true`)
	p.hears(api.NewsStay, `"state":"began"`, `"person":"p.mojski"`)
	h.grant("--duration", "2h")
	h.inside("grant", "revoke", "1")
	p.hears(api.NewsSession, s.ID, `"grant":"2"`, `"live":true`)
	p.hears(api.NewsStay, `"state":"began"`, `"grant":"2"`)
	p.hears(api.NewsStay, `"state":"ended"`, `"grant":"1"`, `"cause":"grant-revoked"`)
	h.inside("session", "kill", s.ID)
	h.closed(tm)
	p.hears(api.NewsSession, s.ID, `"cause":"ended-by-admin"`)
	p.hears(api.NewsStay, `"state":"absent"`, `"grant":"2"`)
	h.ssh(at("ideo", nettest.BackendIP4), "true")
	p.hears(api.NewsStay, `"state":"present"`)
	h.inside("grant", "revoke", "2")
	p.hears(api.NewsStay, `"state":"ended"`, `"grant":"2"`, `"cause":"grant-revoked"`)
	p.hears(api.NewsFacts, `"revision"`)
	h.ssh(at("ideo", nettest.BackendIP4), "true")
	p.hears(api.NewsEntry, `"allowed":false`, `"denial":"revoked"`)

	// Nobody but this machine reaches the port.
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	for _, addr := range []netip.Addr{nettest.GatewayClient4, nettest.GatewayClient6, netip.MustParseAddr("127.0.0.1")} {
		if c, err := h.Client.Dial(ctx, netip.AddrPortFrom(addr, 5000).String()); err == nil {
			c.Close()
			t.Errorf("a person reaches the port of the API at %s", addr)
		}
	}

	// What a careless program does with a token.
	const end = "Host: 127.0.0.1:5000\nConnection: close\n"
	for request, want := range map[string]int{
		"GET /api/v1/persons?token=" + made.Secret + " HTTP/1.1\n" + end + "\n":                                              401,
		"GET /api/v1/persons/" + made.Secret + " HTTP/1.1\n" + end + "Authorization: Bearer " + made.Secret + "\n\n":         404,
		"GET /api/v1/persons HTTP/1.1\n" + end + "Authorization: Bearer " + made.Secret + "x\n\n":                            401,
		"GET /api/v1/persons HTTP/1.1\n" + end + "Authorization: " + made.Secret + "\n\n":                                    401,
		"GET /" + made.Secret + " HTTP/1.1\n" + end + "Cookie: " + made.Secret + "\n\n":                                      303, // to where one signs in
		"GET /api/v1/status HTTP/1.1\nHost: " + made.Secret + "\nAuthorization: Bearer " + made.Secret + "\n\n":              421,
		"GET /api/v1/status HTTP/1.1\n" + end + "Authorization: Bearer " + made.Secret + "\n" + made.Secret + "\n\n":         400,
		"POST /api/v1/grants/1/revoke HTTP/1.1\n" + end + "Authorization: Bearer " + made.Secret + "\nContent-Length: 0\n\n": 409,
	} {
		if got := h.send(request); got != want {
			t.Errorf("%.60q: %d, want %d", request, got, want)
		}
	}
	if out, err := h.tryInside("token", "revoke", made.Secret); err == nil || !strings.Contains(out, "there is no token") {
		t.Errorf("%v: %s", err, out)
	}
	h.inside("token", "revoke", "watcher")
	select {
	case <-p.Done():
	case <-time.After(patience):
		t.Error("the program still listens")
	}
	for _, name := range []string{"cmdline", "environ"} {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", h.daemon.PID(), name))
		if err != nil || bytes.Contains(text, []byte(made.Secret[8:])) {
			t.Errorf("/proc/PID/%s of the daemon: %v %q", name, err, text)
		}
	}
	h.stop()
	if strings.Contains(h.daemon.Output(), made.Secret[8:]) {
		t.Errorf("the token is in the log:\n%s", h.daemon.Output())
	}
	h.nowhere(made.Secret, file)
}

// nowhere looks for a secret in every file of the house but one.
func (h *house) nowhere(secret, but string) {
	h.t.Helper()
	forms := []string{secret[8:], base64.StdEncoding.EncodeToString([]byte(secret))[8:40]}
	looked := 0
	err := filepath.WalkDir(h.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == but || !d.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		for _, form := range forms {
			if bytes.Contains(text, []byte(form)) {
				h.t.Errorf("the token is in %s", path)
			}
		}
		looked++
		return err
	})
	if err != nil || looked < 5 {
		h.t.Errorf("looked at %d files: %v", looked, err)
	}
}
