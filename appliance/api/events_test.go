package api

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// follow opens a stream of events by the port and returns what comes.
func follow(t *testing.T, addr, token, path string, header ...string) *bufio.Reader {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+addr+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != mediaEvents {
		t.Fatalf("%d %v", resp.StatusCode, resp.Header)
	}
	return bufio.NewReader(resp.Body)
}

// until reads events until one of a kind, and returns its data and the kinds
// before it.
func until(t *testing.T, r *bufio.Reader, kind string) (data string, before []string) {
	t.Helper()
	var ended error
	for k, d := range readEvents(r, &ended) {
		if k == kind {
			return string(d), before
		}
		before = append(before, k)
	}
	t.Fatalf("no event %s, after %v: %v", kind, before, ended)
	return "", nil
}

// fading is a keyring whose tokens can be taken away.
type fading struct {
	mu   sync.Mutex
	keys keyring
}

func (f *fading) Bearer(token string) (Actor, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.keys.Bearer(token)
}

func (f *fading) set(token string, who any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.keys[token] = who
}

func TestAStreamEndsWithItsTokenAndSaysWhy(t *testing.T) {
	token, other := NewTokenText(), NewTokenText()
	for _, c := range []struct {
		sentence, path string
		becomes        any
		code           string
	}{
		{"revoked", "/api/v1/sessions/abcd/recordings/0/live", NewProblem(CodeUnknown, "revoked", ""), CodeUnknown},
		{"of a lower role", "/api/v1/sessions/abcd/recordings/0/live", Actor{"token:t", Viewer}, CodeForbidden},
		{"revoked, of a plain stream", "/api/v1/sessions/abcd/recordings/0?follow=true", NewProblem(CodeUnknown, "revoked", ""), ""},
	} {
		keys := &fading{keys: keyring{token: Actor{"token:t", Operator}, other: Actor{"token:o", Operator}}}
		body, w := newTrickle()
		h := &slow{stub: stub{body: body}}
		addr := open(t, h, keys)
		go io.WriteString(w, "{\"version\":2}\n")
		r, _ := http.NewRequestWithContext(t.Context(), "GET", "http://"+addr+c.path, nil)
		r.Header.Set("Authorization", "Bearer "+token)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		got := bufio.NewReader(resp.Body)
		if c.code != "" {
			until(t, got, "header")
		} else if line, err := got.ReadString('\n'); err != nil || line != "{\"version\":2}\n" {
			t.Fatalf("%q, %v", line, err)
		}
		keys.set(token, c.becomes)
		start := time.Now()
		if c.code != "" {
			data, _ := until(t, got, eventEnd)
			var p Problem
			if err := json.Unmarshal([]byte(data), &p); err != nil || p.Code != c.code {
				t.Errorf("%s: ended with %s", c.sentence, data)
			}
		} else {
			// Nothing can be said in a recording; the house ends its reading.
			context.AfterFunc(h.seen(), func() { w.CloseWithError(context.Canceled) })
			if _, err := io.ReadAll(got); err == nil {
				t.Errorf("%s: a part was taken for the whole", c.sentence)
			}
		}
		if passed := time.Since(start); passed > 10*time.Second {
			t.Errorf("%s: ended after %s", c.sentence, passed)
		}
		resp.Body.Close()
		w.Close()
	}
}

func TestARecordingIsFollowedInEvents(t *testing.T) {
	token := NewTokenText()
	body, w := newTrickle()
	addr := open(t, &stub{body: body}, keyring{token: Actor{"token:t", Operator}})
	const cast = "{\"version\":2}\n[0.1,\"o\",\"a\"]\n[0.2,\"o\",\"b\"]\n"
	go io.WriteString(w, cast)
	r := follow(t, addr, token, "/api/v1/sessions/abcd/recordings/0/live")
	var text strings.Builder
	for !strings.Contains(text.String(), `"b"]`) {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		text.WriteString(line)
	}
	want := "retry: 2000\n\nid: 1\nevent: header\ndata: {\"version\":2}\n\nid: 2\nevent: frame\ndata: [0.1,\"o\",\"a\"]\n\nid: 3\nevent: frame\ndata: [0.2,\"o\",\"b\"]\n"
	if text.String() != want {
		t.Errorf("%q, want %q", text.String(), want)
	}
	w.Close()
	if data, _ := until(t, r, eventEnd); !strings.Contains(data, `"live":false`) {
		t.Errorf("ends with %s", data)
	}

	// Who comes back goes on where they were.
	again, w2 := newTrickle()
	addr = open(t, &stub{body: again}, keyring{token: Actor{"token:t", Operator}})
	go func() { io.WriteString(w2, cast); w2.Close() }()
	data, before := until(t, follow(t, addr, token, "/api/v1/sessions/abcd/recordings/0/live", "Last-Event-ID", "2"), "frame")
	if data != `[0.2,"o","b"]` || before != nil {
		t.Errorf("%s after %v", data, before)
	}

	// A recording that breaks is not said to have ended.
	broken, w3 := newTrickle()
	addr = open(t, &stub{body: broken}, keyring{token: Actor{"token:t", Operator}})
	go func() { io.WriteString(w3, cast); w3.CloseWithError(errors.New("the disk is gone")) }()
	text.Reset()
	if _, err := io.Copy(&text, follow(t, addr, token, "/api/v1/sessions/abcd/recordings/0/live")); err == nil || strings.Contains(text.String(), "event: end") {
		t.Errorf("%v: %s", err, text.String())
	}
}

func TestStreamsSayThatTheDaemonStops(t *testing.T) {
	token := NewTokenText()
	body, _ := newTrickle()
	l, err := ListenTCP(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() {
		served <- ServeTCP(ctx, l, &stub{body: body}, keyring{token: Actor{"token:t", Operator}}, nil, nil)
	}()
	r := follow(t, l.Addr().String(), token, "/api/v1/sessions/abcd/recordings/0/live")
	cancel()
	if data, _ := until(t, r, eventEnd); !strings.Contains(data, "the daemon stops") {
		t.Errorf("ends with %s", data)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}

func TestASilentStreamHasAHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		body, w := newTrickle()
		l := newPipes()
		server := newServer(context.Background(), &stub{body: body}, socketDoor, func(net.Conn) Actor { return Actor{"root", Admin} })
		go server.Serve(l)
		defer server.Close()
		transport := &http.Transport{DialContext: l.dial}
		defer transport.CloseIdleConnections()
		start := time.Now()
		r, _ := http.NewRequestWithContext(t.Context(), "GET", "http://inside/api/v1/sessions/abcd/recordings/0/live", nil)
		resp, err := transport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		lines := bufio.NewScanner(resp.Body)
		beats := 0
		for beats < 1000 && lines.Scan() {
			if lines.Text() == ": still here" {
				beats++
			}
		}
		if passed := time.Since(start); beats != 1000 || passed != 1000*heartbeat {
			t.Errorf("%d beats in %s", beats, passed)
		}
		w.Close()
	})
}

func FuzzEvents(f *testing.F) {
	f.Add("id: 1\nevent: entry\ndata: {}\n\n: still here\n\n")
	f.Add("data: a\ndata: b\n\nevent\n\ndata\n\n:\n")
	f.Add("retry: 2000\r\n\r\nevent: end\r\ndata: {\"code\":\"x\"}\r\n\r\n")
	f.Fuzz(func(t *testing.T, text string) {
		var ended error
		for kind, data := range readEvents(strings.NewReader(text), &ended) {
			if strings.ContainsAny(kind+string(data), "\n") {
				t.Fatalf("%q has the event %q %q", text, kind, data)
			}
		}
		if ended == nil {
			t.Fatal("it never ended")
		}
	})
}

func TestAListenerThatComesBackSaysWhatItSawLast(t *testing.T) {
	token := NewTokenText()
	h := new(stub)
	addr := open(t, h, keyring{token: Actor{"token:t", Viewer}})
	data, before := until(t, follow(t, addr, token, "/api/v1/events?kinds=facts&after=run-1", "Last-Event-ID", "run-7"), NewsFacts)
	if !strings.Contains(data, `{"revision":7}`) || before != nil {
		t.Errorf("%s after %v", data, before)
	}
	if want := "News[{Kinds:facts After:run-7}]"; h.last() != want {
		t.Errorf("the house was asked %s, want %s", h.last(), want)
	}
	r := follow(t, addr, token, "/api/v1/events")
	var lines []string
	for len(lines) < 9 {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, strings.TrimSpace(line))
	}
	if got := strings.Join(lines, "|"); !strings.HasPrefix(got, "retry: 2000||id: 1|: still here||id: 2|event: facts|data: {") {
		t.Errorf("%s", got)
	}
}

func TestAStreamEndsWithinASecondOfItsToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		token := NewTokenText()
		keys := &fading{keys: keyring{token: Actor{"token:t", Operator}}}
		body, w := newTrickle()
		defer w.Close()
		l := newPipes()
		d := tokenDoor(netip.MustParseAddrPort("127.0.0.1:5000"), nil, keys, nil)
		server := newServer(context.Background(), &stub{body: body}, d, func(net.Conn) Actor { return Actor{} })
		go server.Serve(l)
		defer server.Close()
		transport := &http.Transport{DialContext: l.dial}
		defer transport.CloseIdleConnections()
		r, _ := http.NewRequestWithContext(t.Context(), "GET", "http://127.0.0.1:5000/api/v1/sessions/abcd/recordings/0/live", nil)
		r.Header.Set("Authorization", "Bearer "+token)
		resp, err := transport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		time.Sleep(heartbeat/2 + askAgain/3) // nobody reads: a heartbeat would wait
		keys.set(token, NewProblem(CodeUnknown, "revoked", ""))
		start := time.Now()
		until(t, bufio.NewReader(resp.Body), eventEnd)
		if passed := time.Since(start); passed > time.Second {
			t.Errorf("ended after %s", passed)
		}
	})
}
