package api

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// open serves a house on a port of its own until the test ends.
func open(t *testing.T, h House, b Bearers, names ...string) (addr string) {
	t.Helper()
	l, err := ListenTCP(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- ServeTCP(ctx, l, h, b, names, nil) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return l.Addr().String()
}

// knock sends a request as it is written, but for PORT and TOKEN, and returns
// the status and the problem.
func knock(t *testing.T, addr, token, request string) (int, Problem, http.Header) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	_, port, _ := net.SplitHostPort(addr)
	request = strings.NewReplacer("PORT", port, "TOKEN", token, "\n", "\r\n").Replace(strings.TrimLeft(request, "\n"))
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: strings.Fields(request)[0]})
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var p Problem
	if kind := resp.Header.Get("Content-Type"); kind == mediaProblem {
		if err := json.NewDecoder(resp.Body).Decode(&p); err != nil {
			t.Errorf("no problem: %v", err)
		}
	} else if resp.StatusCode >= 300 {
		t.Errorf("%d of type %q", resp.StatusCode, kind)
	}
	return resp.StatusCode, p, resp.Header
}

// What a hostile page can make a browser send, and what a careless program
// sends. The token is good in each, so nothing but the door keeps them out.
func TestNoOtherSiteGetsIn(t *testing.T) {
	token := NewTokenText()
	h := new(stub)
	addr := open(t, h, keyring{token: Actor{"token:a", Admin}}, "inside.example.com")
	const ours = "Host: 127.0.0.1:PORT\nAuthorization: Bearer TOKEN\n"
	const form = "Content-Type: application/x-www-form-urlencoded\nContent-Length: 6\n\nname=x"
	const body = "Content-Type: application/json\nContent-Length: 12\n\n{\"name\":\"x\"}"
	for _, c := range []struct {
		sentence, request string
		want              int
	}{
		{"a rebound name", "GET /api/v1/persons HTTP/1.1\nHost: evil.test:PORT\nAuthorization: Bearer TOKEN\n\n", 421},
		{"a rebound name without a port", "GET /api/v1/persons HTTP/1.1\nHost: evil.test\nAuthorization: Bearer TOKEN\n\n", 421},
		{"a rebound name that looks like ours", "GET /api/v1/persons HTTP/1.1\nHost: 127.0.0.1.evil.test:PORT\nAuthorization: Bearer TOKEN\n\n", 421},
		{"a name that ends like the proxy's", "GET /api/v1/persons HTTP/1.1\nHost: evil-inside.example.com\nAuthorization: Bearer TOKEN\n\n", 421},
		{"a name that begins like the proxy's", "GET /api/v1/persons HTTP/1.1\nHost: inside.example.com.evil.test\nAuthorization: Bearer TOKEN\n\n", 421},
		{"our address with another port", "GET /api/v1/persons HTTP/1.1\nHost: 127.0.0.1:1\nAuthorization: Bearer TOKEN\n\n", 421},
		{"the address in another notation", "GET /api/v1/persons HTTP/1.1\nHost: 2130706433:PORT\nAuthorization: Bearer TOKEN\n\n", 421},
		{"no host", "GET /api/v1/persons HTTP/1.0\nAuthorization: Bearer TOKEN\n\n", 421},
		{"an absolute request to another host", "GET http://evil.test/api/v1/persons HTTP/1.1\nHost: 127.0.0.1:PORT\nAuthorization: Bearer TOKEN\n\n", 421},
		{"a rebound name at what everybody may ask", "GET /healthz HTTP/1.1\nHost: evil.test:PORT\n\n", 421},
		{"a rebound name at no route", "GET /x HTTP/1.1\nHost: evil.test:PORT\n\n", 421},

		{"a form of another site", "POST /api/v1/persons HTTP/1.1\n" + ours + "Origin: https://evil.test\nSec-Fetch-Site: cross-site\n" + form, 403},
		{"a form of another site, by an old browser", "POST /api/v1/persons HTTP/1.1\n" + ours + "Origin: https://evil.test\n" + form, 403},
		{"a form of a page in a sandbox", "POST /api/v1/persons HTTP/1.1\n" + ours + "Origin: null\n" + form, 403},
		{"a form of another port of ours", "POST /api/v1/persons HTTP/1.1\n" + ours + "Origin: http://127.0.0.1:1\n" + form, 403},
		{"a script of another site", "POST /api/v1/persons HTTP/1.1\n" + ours + "Origin: https://evil.test\nSec-Fetch-Site: cross-site\nSec-Fetch-Mode: cors\n" + body, 403},
		{"a script of a neighbour", "POST /api/v1/persons HTTP/1.1\n" + ours + "Sec-Fetch-Site: same-site\n" + body, 403},
		{"a change without a body from another site", "POST /api/v1/grants/1/revoke HTTP/1.1\n" + ours + "Sec-Fetch-Site: cross-site\nContent-Length: 0\n\n", 403},
		{"an image of another site", "GET /api/v1/persons HTTP/1.1\n" + ours + "Sec-Fetch-Site: cross-site\nSec-Fetch-Dest: image\nSec-Fetch-Mode: no-cors\n\n", 403},
		{"a link from another site", "GET /api/v1/persons HTTP/1.1\n" + ours + "Sec-Fetch-Site: cross-site\nSec-Fetch-Mode: navigate\n\n", 403},
		{"a preflight", "OPTIONS /api/v1/persons HTTP/1.1\nHost: 127.0.0.1:PORT\nOrigin: https://evil.test\nAccess-Control-Request-Method: POST\nSec-Fetch-Site: cross-site\n\n", 403},
		{"a preflight by an old browser", "OPTIONS /api/v1/persons HTTP/1.1\nHost: 127.0.0.1:PORT\nOrigin: https://evil.test\nAccess-Control-Request-Method: POST\n\n", 405},

		{"a form without an origin", "POST /api/v1/persons HTTP/1.1\n" + ours + form, 415},
		{"a form that says it is text", "POST /api/v1/persons HTTP/1.1\n" + ours + "Content-Type: text/plain\nContent-Length: 12\n\n{\"name\":\"x\"}", 415},
		{"another method by a header", "GET /api/v1/grants/1/revoke HTTP/1.1\n" + ours + "X-HTTP-Method-Override: POST\n\n", 405},
		{"another method by a parameter", "GET /api/v1/stays?_method=POST HTTP/1.1\n" + ours + "\n", 400},
		{"a token in the address", "GET /api/v1/persons?access_token=TOKEN HTTP/1.1\nHost: 127.0.0.1:PORT\n\n", 401},
		{"a token in a cookie", "GET /api/v1/persons HTTP/1.1\nHost: 127.0.0.1:PORT\nCookie: token=TOKEN\n\n", 401},
		{"a token as a password", "GET /api/v1/persons HTTP/1.1\nHost: 127.0.0.1:PORT\nAuthorization: Basic TOKEN\n\n", 401},
		{"two tokens", "GET /api/v1/persons HTTP/1.1\n" + ours + "Authorization: Bearer TOKEN\n\n", 401},
		{"a request to be a tunnel", "CONNECT 127.0.0.1:22 HTTP/1.1\n" + ours + "\n", 421},
	} {
		status, p, header := knock(t, addr, token, c.request)
		if status != c.want {
			t.Errorf("%s: %d %s, want %d", c.sentence, status, p.Detail, c.want)
		}
		if header.Get("Access-Control-Allow-Origin") != "" || header.Get("Set-Cookie") != "" {
			t.Errorf("%s: %v", c.sentence, header)
		}
	}
	if got := h.last(); got != "" {
		t.Errorf("the house was asked %s", got)
	}
	for _, request := range []string{
		"GET /api/v1/persons HTTP/1.1\nHost: LocalHost:PORT\nAuthorization: Bearer TOKEN\n\n",
		"GET /api/v1/persons HTTP/1.1\nHost: [::1]:PORT\nAuthorization: Bearer TOKEN\n\n",
		"GET /api/v1/persons HTTP/1.1\nHost: inside.example.com\nAuthorization: Bearer TOKEN\n\n",
		"GET /api/v1/persons HTTP/1.1\nHost: Inside.Example.com:8443\nAuthorization: Bearer TOKEN\nSec-Fetch-Site: same-origin\n\n",
		"POST /api/v1/persons HTTP/1.1\n" + ours + "Origin: http://127.0.0.1:PORT\nSec-Fetch-Site: same-origin\n" + body,
		"POST /api/v1/persons HTTP/1.1\n" + ours + strings.Replace(body, "json", "json; charset=utf-8", 1),
	} {
		if status, p, _ := knock(t, addr, token, request); status != 200 {
			t.Errorf("%q: %d %s", request, status, p.Detail)
		}
	}
}

func TestThePortIsForThisMachineOnly(t *testing.T) {
	for _, address := range []string{"0.0.0.0:0", "[::]:0", "192.0.2.1:5000", "localhost:5000", ":5000", "5000", "", "[::ffff:192.0.2.1]:5000"} {
		if l, err := ListenTCP(t.Context(), address); err == nil {
			l.Close()
			t.Errorf("%q is listened on", address)
		} else if !strings.Contains(err.Error(), "reverse proxy with TLS") {
			t.Errorf("%q: %v", address, err)
		}
	}
	l, err := ListenTCP(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := ListenTCP(t.Context(), l.Addr().String()); err == nil || !strings.Contains(err.Error(), "another program listens on "+l.Addr().String()) {
		t.Errorf("a port that is taken: %v", err)
	}
	raw, err := l.(*crowd).Listener.(*net.TCPListener).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var protocol int
	raw.Control(func(fd uintptr) {
		protocol, err = syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_PROTOCOL)
	})
	if err != nil || protocol != syscall.IPPROTO_TCP {
		t.Errorf("the port speaks protocol %d, %v", protocol, err)
	}
}

func TestWrongTokensAreAnsweredLessAndGoodOnesAlways(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := new(failures)
		for i := range 100 {
			if f.tooMany("10.0.0.1") != (i >= failedFree) {
				t.Errorf("wrong token %d", i)
			}
		}
		if f.tooMany("10.0.0.2") {
			t.Error("one pays for another")
		}
		time.Sleep(failedWindow + time.Second)
		if f.tooMany("10.0.0.1") {
			t.Error("it is never forgotten")
		}
		for i := range 10 * failedPeers {
			f.tooMany(fmt.Sprint(i))
		}
		if len(f.of) > failedPeers {
			t.Errorf("%d peers are remembered", len(f.of))
		}
	})
	good := NewTokenText()
	addr := open(t, new(stub), keyring{good: Actor{"token:a", Viewer}})
	ask := func(token string) (int, http.Header) {
		status, _, header := knock(t, addr, token, "GET /api/v1/persons HTTP/1.1\nHost: 127.0.0.1:PORT\nAuthorization: Bearer TOKEN\n\n")
		return status, header
	}
	for i := range 20 {
		status, header := ask(NewTokenText())
		if want := 401; i < failedFree && (status != want || header.Get("WWW-Authenticate") != `Bearer realm="inside", error="invalid_token"`) {
			t.Errorf("%d %v", status, header)
		}
		if want := 429; i >= failedFree && (status != want || header.Get("Retry-After") != "60") {
			t.Errorf("%d %v", status, header)
		}
		if status, _ := ask(good); status != 200 {
			t.Errorf("a good token after %d wrong ones: %d", i+1, status)
		}
	}
}

func TestOnlySoManyConnectionsAtATime(t *testing.T) {
	l, err := ListenTCP(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c := l.(*crowd)
	accepted := make(chan net.Conn)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				close(accepted)
				return
			}
			accepted <- conn
		}
	}()
	dial := func() net.Conn {
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	dial()
	first := <-accepted
	c.mu.Lock() // as if there were many more
	for peer := range c.from {
		c.from[peer] = mostCallsPeer
	}
	c.all = mostCallsPeer
	c.mu.Unlock()
	turned := dial()
	if _, err := turned.Read(make([]byte, 1)); err == nil {
		t.Error("one too many is served")
	}
	first.Close()
	first.Close() // leaves once
	c.mu.Lock()
	if c.all != mostCallsPeer-1 {
		t.Errorf("%d are counted", c.all)
	}
	c.mu.Unlock()
	dial()
	(<-accepted).Close()
	if c.enter(first.RemoteAddr().(*net.TCPAddr).AddrPort().Addr()); c.all != mostCallsPeer {
		t.Errorf("%d are counted", c.all)
	}
}
