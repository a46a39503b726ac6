package api

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
)

// A Client is the house at the other end of a socket, or of the port for
// tokens. Its errors are a *Problem, an *Unreachable, or the context's.
type Client struct {
	http *http.Client
	base string // "" for a socket
}

var _ House = (*Client)(nil)

// An Unreachable daemon did not answer.
type Unreachable struct {
	Socket string
	Err    error
}

func (u *Unreachable) Error() string {
	return fmt.Sprintf("cannot reach the daemon on %s: %v", u.Socket, u.Err)
}

func (u *Unreachable) Unwrap() error { return u.Err }

// NewClient talks to the daemon at a socket. Nothing is dialled before the
// first call.
func NewClient(socket string) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		c, err := d.DialContext(ctx, "unix", socket)
		if err != nil {
			return nil, unreachable(ctx, socket, err)
		}
		return c, nil
	}
	return newClient("", &reachable{socket, &http.Transport{DialContext: dial, ResponseHeaderTimeout: 2 * patience}})
}

// NewTokenClient talks to the daemon at a URL, as whoever the token belongs
// to. Nothing is dialled before the first call. In the clear a token goes to
// this machine only, and through no proxy.
func NewTokenClient(at, token string) (*Client, error) {
	u, err := url.Parse(at)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return nil, NewProblem(CodeInvalid, fmt.Sprintf("%.200q is not the URL of a gate", at), "write http://127.0.0.1:5000, or https:// and the name of its reverse proxy")
	case u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "":
		return nil, NewProblem(CodeInvalid, fmt.Sprintf("the URL of a gate has a scheme and a host, and nothing more: %.200q", u.Redacted()), "write "+u.Scheme+"://"+u.Host)
	case u.Scheme == "http" && !onThisMachine(u.Hostname()):
		return nil, NewProblem(CodeInvalid, fmt.Sprintf("a token would travel to %.200q in the clear", u.Host), "use https://, with a reverse proxy in front of the gate")
	case !IsToken(token):
		return nil, NewProblem(CodeInvalid, "what is given as a token is none", "inside token create NAME --role viewer makes one; it begins with "+tokenPrefix)
	}
	base := u.Scheme + "://" + u.Host
	transport := &http.Transport{ResponseHeaderTimeout: 2 * patience, TLSHandshakeTimeout: patience, DialContext: (&net.Dialer{Timeout: patience}).DialContext}
	return newClient(base, &reachable{base, &bearing{token, transport}}), nil
}

func onThisMachine(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.Unmap().IsLoopback()
}

// NoClient is a client all of whose calls fail.
func NoClient(err error) *Client { return newClient("", failing{err}) }

type failing struct{ err error }

func (f failing) RoundTrip(*http.Request) (*http.Response, error) { return nil, f.err }

func newClient(base string, t http.RoundTripper) *Client {
	return &Client{base: base, http: &http.Client{
		Transport: t,
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse
		},
	}}
}

// bearing sends the token with each request.
type bearing struct {
	token string
	next  http.RoundTripper
}

func (t *bearing) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+t.token)
	return t.next.RoundTrip(r)
}

// reachable names the socket, or the URL, in errors of transport.
type reachable struct {
	socket string
	next   http.RoundTripper
}

func (t *reachable) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := t.next.RoundTrip(r)
	if err != nil {
		return nil, unreachable(r.Context(), t.socket, err)
	}
	return resp, nil
}

func unreachable(ctx context.Context, socket string, err error) error {
	var already *Unreachable
	if errors.As(err, &already) || ctx.Err() != nil {
		return err
	}
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err // "connect: no such file or directory", without the socket's name again
	}
	return &Unreachable{socket, err}
}

// path joins segments that may hold anything. Dots are escaped too: "." and
// ".." would be taken for the folder's.
func path(segments ...string) string {
	var b strings.Builder
	b.WriteString(prefix)
	for _, s := range segments {
		b.WriteByte('/')
		b.WriteString(strings.ReplaceAll(url.PathEscape(s), ".", "%2E"))
	}
	return b.String()
}

// get asks a question; its filter travels in the query.
func get[Out any](ctx context.Context, c *Client, path string, filter any) (out Out, err error) {
	err = c.call(ctx, "GET", withQuery(path, filter), nil, &out)
	return out, err
}

// send makes a change; what it asks for travels in the body.
func send[Out any](ctx context.Context, c *Client, method, path string, in any) (out Out, err error) {
	var body []byte
	if in != nil {
		if body, err = json.Marshal(in); err != nil {
			return out, err
		}
	}
	err = c.call(ctx, method, path, body, &out)
	return out, err
}

func withQuery(path string, filter any) string {
	if query := encodeQuery(filter).Encode(); query != "" {
		return path + "?" + query
	}
	return path
}

func (c *Client) call(ctx context.Context, method, path string, body []byte, out any) error {
	ctx, cancel := context.WithTimeout(ctx, 2*patience)
	defer cancel()
	answer, err := c.do(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer answer.Close()
	if err := json.NewDecoder(answer).Decode(out); err != nil {
		return fmt.Errorf("answer to %s %s: %w", method, path, err)
	}
	return nil
}

func (c *Client) do(ctx context.Context, method, path string, body []byte) (io.ReadCloser, error) {
	if strings.Contains(path, "//") || strings.HasSuffix(path, "/") {
		return nil, NewProblem(CodeInvalid, "a name or id is empty", "")
	}
	r, err := http.NewRequestWithContext(ctx, method, cmp.Or(c.base, "http://inside")+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if len(body) > 0 {
		r.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(r)
	if err != nil {
		var ours *url.Error
		if errors.As(err, &ours) {
			err = ours.Err // without the path, which says nothing to who typed a command
		}
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		return nil, problemOf(resp)
	}
	return resp.Body, nil
}

func problemOf(resp *http.Response) *Problem {
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	p := new(Problem)
	if kind != mediaProblem || json.NewDecoder(io.LimitReader(resp.Body, maxBody)).Decode(p) != nil {
		return &Problem{Type: typePrefix + CodeInternal, Title: resp.Status, Status: resp.StatusCode, Detail: "the daemon answered " + resp.Status, Code: CodeInternal}
	}
	return p
}
