package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// raw sends a request as any program could and returns the answer.
func raw(t *testing.T, socket, method, target, body string, header http.Header) (int, Problem) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
	defer client.CloseIdleConnections()
	r, err := http.NewRequestWithContext(t.Context(), method, "http://inside"+target, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header = header.Clone()
	if r.Header == nil {
		r.Header = http.Header{}
	}
	if _, given := header["Content-Type"]; !given && body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if host := header.Get("Host"); host != "" {
		r.Host = host
	}
	resp, err := client.Do(r)
	if err != nil {
		t.Fatalf("%s %s: %v", method, target, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var p Problem
	if resp.StatusCode != http.StatusOK {
		if err := json.Unmarshal(text, &p); err != nil {
			t.Errorf("%s %s: %d is no problem body: %q", method, target, resp.StatusCode, text)
		}
		if p.Status != resp.StatusCode || p.Title == "" || p.Code == "" || p.Type == "" {
			t.Errorf("%s %s: an incomplete problem: %q", method, target, text)
		}
		if kind := resp.Header.Get("Content-Type"); kind != "application/problem+json" {
			t.Errorf("%s %s: a problem of type %q", method, target, kind)
		}
	}
	return resp.StatusCode, p
}

func TestWhatIsNotARequestOfOursIsRefused(t *testing.T) {
	h := new(stub)
	socket := serve(t, h)
	header := func(pairs ...string) http.Header {
		hd := http.Header{}
		for i := 0; i < len(pairs); i += 2 {
			hd.Set(pairs[i], pairs[i+1])
		}
		return hd
	}
	long := `{"name":"` + strings.Repeat("x", maxBody) + `"}`
	for _, c := range []struct {
		sentence, method, target, body string
		header                         http.Header
		want                           int
		detail                         string
	}{
		{"a page of another site", "POST", "/persons", `{"name":"x"}`, header("Origin", "https://evil.test"), 403, "web pages"},
		{"a link from a page", "GET", "/persons", "", header("Referer", "https://evil.test/x"), 403, "web pages"},
		{"any request of a browser", "GET", "/persons", "", header("Sec-Fetch-Site", "same-origin"), 403, "web pages"},
		{"a rebound name", "GET", "/persons", "", header("Host", "evil.test"), 421, `"evil.test"`},
		{"a rebound name with a port", "GET", "/persons", "", header("Host", "localhost:5000"), 421, "localhost:5000"},
		{"an unknown field", "POST", "/grants", `{"person":"x","permanant":true}`, nil, 400, "permanant"},
		{"no JSON", "POST", "/persons", `name=x`, nil, 400, "invalid character"},
		{"a field of the wrong type", "POST", "/persons", `{"name":7}`, nil, 400, "cannot unmarshal"},
		{"no body", "POST", "/persons", ``, nil, 400, "empty"},
		{"a second value", "POST", "/persons", `{"name":"x"}{"name":"y"}`, nil, 400, "more than one"},
		{"a body without end", "POST", "/persons", long, nil, 413, "too large"},
		{"a body where none belongs", "POST", "/grants/1/revoke", `{"all":true}`, nil, 400, "all"},
		{"an unknown parameter", "GET", "/stays?al=true", "", nil, 400, `"al"`},
		{"a parameter where none belongs", "GET", "/persons?x=1", "", nil, 400, `"x"`},
		{"a parameter of a change", "POST", "/persons?x=1", `{"name":"x"}`, nil, 400, "no query"},
		{"a parameter given twice", "GET", "/stays?limit=1&limit=2", "", nil, 400, "2 times"},
		{"a number that is none", "GET", "/stays?limit=many", "", nil, 400, "not a number"},
		{"a negative number", "GET", "/stays?limit=-1", "", nil, 400, "not a number"},
		{"a choice that is none", "GET", "/stays?all=perhaps", "", nil, 400, "neither true nor false"},
		{"a time that is none", "GET", "/explain?person=x&server=y&at=now", "", nil, 400, "not a time"},
		{"a channel that is none", "GET", "/sessions/abcd/recordings/x", "", nil, 422, "not a channel"},
		{"a negative channel", "GET", "/sessions/abcd/recordings/-1", "", nil, 422, "not a channel"},
		{"an unknown route", "GET", "/everything", "", nil, 404, "no route"},
		{"an unknown method", "DELETE", "/persons", "", nil, 405, "DELETE is not answered"},
		{"an unknown method where there are several", "GET", "/grants/1/revoke", "", nil, 405, "GET is not answered"},
		{"a method nobody has", "BREW", "/persons", "", nil, 405, "BREW is not answered"},
		{"a path that is not tidy", "GET", "/persons/../grants", "", nil, 404, "no route"},
		{"a path with an empty segment", "GET", "//persons", "", nil, 404, "no route"},
		{"a change that is no JSON", "POST", "/persons", `{"name":"x"}`, header("Content-Type", "text/plain"), 415, "text/plain"},
		{"a form", "POST", "/persons", `name=x`, header("Content-Type", "application/x-www-form-urlencoded"), 415, "form"},
		{"a body of no type", "POST", "/persons", `{"name":"x"}`, header("Content-Type", ""), 415, `""`},
	} {
		status, p := raw(t, socket, c.method, prefix+c.target, c.body, c.header)
		if status != c.want || !strings.Contains(p.Detail, c.detail) {
			t.Errorf("%s: %d %q, want %d %q", c.sentence, status, p.Detail, c.want, c.detail)
		}
	}
	if h.last() != "" {
		t.Errorf("the house was asked %s", h.last())
	}
	for _, host := range []string{"inside", "localhost"} {
		if status, p := raw(t, socket, "GET", prefix+"/persons", "", header("Host", host)); status != 200 {
			t.Errorf("host %s: %d %s", host, status, p.Detail)
		}
	}
}

func TestTheActorIsWhoTheKernelSays(t *testing.T) {
	h := new(stub)
	client := NewClient(serve(t, h))
	s, err := client.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if want := userName(uint32(os.Geteuid())); s.Gate != want || h.by != want {
		t.Errorf("the house was asked by %q and %q, want %q", s.Gate, h.by, want)
	}
}

func TestAConnectionThatIsNoSocketHasNobodyAtItsEnd(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := new(stub)
	t.Cleanup(serveOn(t, l, h))
	r, _ := http.NewRequestWithContext(t.Context(), "GET", "http://"+l.Addr().String()+prefix+"/persons", nil)
	r.Host = "inside"
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusForbidden || h.last() != "" {
		t.Errorf("got %d, and the house saw %q", resp.StatusCode, h.last())
	}
}

// A trickle is a stream that gives a piece whenever it is told to.
type trickle struct {
	*io.PipeReader
	closed chan struct{}
}

func (s *trickle) Close() error {
	close(s.closed)
	return s.PipeReader.Close()
}

func newTrickle() (*trickle, *io.PipeWriter) {
	r, w := io.Pipe()
	return &trickle{r, make(chan struct{})}, w
}

func TestAStreamComesBitByBitAndEndsWithItsReader(t *testing.T) {
	body, w := newTrickle()
	client := NewClient(serve(t, &stub{body: body}))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	got, err := client.Recording(ctx, "abcd", 0, Following{true})
	if err != nil {
		t.Fatal(err)
	}
	piece := make([]byte, 100)
	for i := range 3 {
		sent := fmt.Sprintf("piece %d\n", i)
		go io.WriteString(w, sent)
		n, err := got.Read(piece)
		if err != nil || string(piece[:n]) != sent {
			t.Fatalf("piece %d comes as %q, %v", i, piece[:n], err)
		}
	}
	cancel()
	got.Close()
	// The handler notices when it next has something to say.
	for {
		if _, err := io.WriteString(w, "more\n"); err != nil {
			break
		}
	}
	<-body.closed
}

func TestAStreamThatBreaksIsNotTakenForTheWhole(t *testing.T) {
	body, w := newTrickle()
	client := NewClient(serve(t, &stub{body: body}))
	got, err := client.Events(t.Context(), "abcd")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		io.WriteString(w, "half of ")
		w.CloseWithError(errors.New("the disk is gone"))
	}()
	if text, err := io.ReadAll(got); err == nil {
		t.Errorf("%q was taken for the whole", text)
	}
}

func TestServeEndsStreamsAndLetsChangesFinish(t *testing.T) {
	body, _ := newTrickle()
	h := &slow{stub: stub{body: body}, entered: make(chan struct{}), leave: make(chan struct{})}
	socket := filepath.Join(t.TempDir(), "run", "inside.sock")
	l, err := Listen(socket)
	if err != nil {
		t.Fatal(err)
	}
	stop := serveOn(t, l, h)
	client := NewClient(socket)
	stream, err := client.Recording(t.Context(), "abcd", 0, Following{true})
	if err != nil {
		t.Fatal(err)
	}
	changed := make(chan error, 1)
	go func() {
		_, err := client.RevokeGrant(t.Context(), "1")
		changed <- err
	}()
	<-h.entered
	context.AfterFunc(h.seen(), func() { body.PipeReader.CloseWithError(context.Canceled) })
	stopped := make(chan struct{})
	go func() { stop(); close(stopped) }()
	if _, err := io.ReadAll(stream); err == nil {
		t.Error("the stream ended as if it were whole")
	}
	close(h.leave)
	if err := <-changed; err != nil {
		t.Errorf("the change under way: %v", err)
	}
	<-stopped
}

// slow takes its time to revoke.
type slow struct {
	stub
	entered, leave chan struct{}
	streaming      context.Context
}

func (s *slow) Recording(ctx context.Context, id string, channel int, f Following) (io.ReadCloser, error) {
	s.mu.Lock()
	s.streaming = ctx
	s.mu.Unlock()
	return s.stub.Recording(ctx, id, channel, f)
}

func (s *slow) seen() context.Context {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.streaming
}

func (s *slow) RevokeGrant(ctx context.Context, id string) (Grant, error) {
	close(s.entered)
	<-s.leave
	return Grant{}, ctx.Err()
}

func TestAChangeGoesOnWhenItsCallerHangsUp(t *testing.T) {
	asked, hangUp := context.WithCancel(t.Context())
	ctx, cancel := route{call: call{kind: change}}.context(t.Context(), asked)
	defer cancel(nil)
	hangUp()
	if ctx.Err() != nil {
		t.Error("the change ended with its caller")
	}
	if deadline, ok := ctx.Deadline(); !ok || time.Until(deadline) > patience {
		t.Error("the change may take for ever")
	}
}

func FuzzQuery(f *testing.F) {
	f.Add("person=x&server=y&login=z&protocol=ssh&from=10.0.0.1&at=2026-12-24T10:00:00Z")
	f.Add("at=2026-12-24T10:00:00.000123%2B01:00")
	f.Add("person=%ff%00&&=&;")
	f.Fuzz(func(t *testing.T, text string) {
		values, err := url.ParseQuery(text)
		if err != nil {
			return
		}
		var q, back Question
		if decodeQuery(values, &q) != nil {
			return
		}
		if err := decodeQuery(encodeQuery(q), &back); err != nil {
			t.Fatalf("%+v cannot be read back: %v", q, err)
		}
		if !q.At.Equal(back.At) {
			t.Fatalf("%v came back as %v", q.At, back.At)
		}
		if q.At, back.At = (time.Time{}), (time.Time{}); q != back {
			t.Fatalf("%+v came back as %+v", q, back)
		}
	})
}

func FuzzBody(f *testing.F) {
	f.Add(`{"person":"x","server":"y","duration":"8h"}`)
	f.Add(`{"person":"x"} {"person":"y"}`)
	f.Add(`{"schedules":[{"windows":"Mon","zone":"UTC"}],"start":"2026-12-24T10:00:00Z"}`)
	f.Add(`[[[[[[`)
	f.Fuzz(func(t *testing.T, text string) {
		var g NewGrant
		if unmarshalStrict([]byte(text), &g) != nil {
			return
		}
		again, err := json.Marshal(g)
		if err != nil {
			t.Fatal(err)
		}
		var back NewGrant
		if err := unmarshalStrict(again, &back); err != nil {
			t.Fatalf("%s cannot be read back: %v", again, err)
		}
	})
}
