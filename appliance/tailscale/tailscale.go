// Package tailscale asks the tailscaled that runs on this machine who is at an
// address of its network. It speaks to tailscaled's local socket by HTTP, as
// the tailscale command does (tailscale.com/ipn/localapi), and is not linked
// to Tailscale's code: two questions need no library of hundreds of packages.
// It keeps nothing, so that no answer is older than its question. Whose a login
// is, and what follows from that, the appliance asks package policy.
package tailscale

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/pawelmojski/inside/policy"
)

// Socket is where tailscaled listens, also when it has no interface.
const Socket = "/run/tailscale/tailscaled.sock"

const (
	patience  = 2 * time.Second // with one question; it takes a millisecond or two
	maxAnswer = 1 << 20
	maxHeader = 16 << 10
	maxAtOnce = 16
	maxText   = 255 // of a login, as the store keeps an account
)

// ErrNobody is that a node is at the address, or none, and no person: tailscaled
// knows, and it is not a failure.
var ErrNobody = errors.New("nobody")

// Networks are where Tailscale's nodes have their addresses
// (https://tailscale.com/kb/1015/100.x-addresses).
var Networks = []netip.Prefix{netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("fd7a:115c:a1e0::/48")}

// Has reports whether an address can be a node's.
func Has(a netip.Addr) bool {
	return slices.ContainsFunc(Networks, func(p netip.Prefix) bool { return p.Contains(a.Unmap()) })
}

// IsInterface tells Tailscale's interface. Its address is a single one: a
// network of 100.64.0.0/10 is that of a carrier's NAT.
func IsInterface(name string, addresses []netip.Prefix) bool {
	return name == "tailscale0" || slices.ContainsFunc(addresses, func(p netip.Prefix) bool {
		return Has(p.Addr()) && (p.IsSingleIP() || p.Addr().Is6())
	})
}

// A Daemon is the tailscaled behind a socket.
type Daemon struct {
	client http.Client
}

// NewDaemon makes no connection yet.
func NewDaemon(socket string) *Daemon {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}
	return &Daemon{http.Client{
		Timeout: patience,
		Transport: &http.Transport{
			DialContext:            dial,
			MaxConnsPerHost:        maxAtOnce,
			MaxIdleConnsPerHost:    maxAtOnce,
			IdleConnTimeout:        time.Minute,
			MaxResponseHeaderBytes: maxHeader,
			DisableCompression:     true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Whois asks who is at the other end of a connection. Where that is nobody, the
// error is ErrNobody and says why; the Identity then names what there is.
func (d *Daemon) Whois(ctx context.Context, client netip.AddrPort) (policy.Identity, error) {
	client = netip.AddrPortFrom(client.Addr().Unmap(), client.Port())
	if !Has(client.Addr()) {
		return policy.Identity{}, fmt.Errorf("%w: %s is no address of Tailscale's", ErrNobody, client.Addr())
	}
	status, body, err := d.get(ctx, "whois?proto=tcp&addr="+url.QueryEscape(client.String()))
	switch {
	case err != nil:
		return policy.Identity{}, err
	case status == http.StatusNotFound:
		return policy.Identity{}, fmt.Errorf("%w: tailscaled knows no node at %s", ErrNobody, client.Addr())
	case status != http.StatusOK:
		return policy.Identity{}, fmt.Errorf("tailscaled answers %d to whois", status)
	}
	return parseWhois(body, client.Addr())
}

// A Status is how tailscaled does.
type Status struct {
	State string // "Running", "NeedsLogin", "Stopped", …
	TUN   bool   // it has an interface: what comes passes the kernel
}

// Status asks how tailscaled does.
func (d *Daemon) Status(ctx context.Context) (Status, error) {
	status, body, err := d.get(ctx, "status?peers=false")
	if err != nil {
		return Status{}, err
	}
	if status != http.StatusOK {
		return Status{}, fmt.Errorf("tailscaled answers %d to status", status)
	}
	var answer struct {
		BackendState string
		TUN          bool
	}
	if err := json.Unmarshal(body, &answer); err != nil || !readable(answer.BackendState) {
		return Status{}, errors.New("what tailscaled says of its status makes no sense")
	}
	return Status{State: answer.BackendState, TUN: answer.TUN}, nil
}

// get asks for a path of the local API. tailscaled refuses another host, which
// a web page might name.
func (d *Daemon) get(ctx context.Context, path string) (status int, body []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://local-tailscaled.sock/localapi/v0/"+path, nil)
	if err != nil {
		return 0, nil, err
	}
	resp, err := d.client.Do(req)
	if err != nil {
		return 0, nil, fmt.Errorf("tailscaled does not answer: %w", reason(err))
	}
	defer resp.Body.Close()
	if body, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1)); err != nil {
		return 0, nil, fmt.Errorf("tailscaled does not finish its answer: %w", err)
	}
	if len(body) > maxAnswer {
		return 0, nil, fmt.Errorf("tailscaled answers with more than %d KiB", maxAnswer>>10)
	}
	return resp.StatusCode, body, nil
}

// reason is an error without the URL, which says nothing to anybody.
func reason(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// whois is what of an answer counts (tailscale.com/client/tailscale/apitype,
// WhoIsResponse).
type whois struct {
	Node *struct {
		Name      string
		Addresses []netip.Prefix
		Tags      []string
		Sharer    int64
		Hostinfo  struct{ ShareeNode bool }
	}
	UserProfile *struct{ LoginName string }
}

// parseWhois reads the answer for an address. A login is only unique within one
// tailnet, so a node of another, shared with this one, is nobody.
func parseWhois(body []byte, client netip.Addr) (policy.Identity, error) {
	var w whois
	if err := json.Unmarshal(body, &w); err != nil || w.Node == nil || w.UserProfile == nil {
		return policy.Identity{}, errors.New("what tailscaled says of the node makes no sense")
	}
	id := policy.Identity{Account: w.UserProfile.LoginName, Node: nodeName(w.Node.Name)}
	if !readable(id.Account) || !readable(id.Node) || id.Account == "" {
		return policy.Identity{}, errors.New("what tailscaled says of the login makes no sense")
	}
	if !slices.ContainsFunc(w.Node.Addresses, func(p netip.Prefix) bool { return p.IsSingleIP() && p.Addr() == client }) {
		return policy.Identity{}, fmt.Errorf("tailscaled speaks of a node that is not at %s", client)
	}
	switch {
	case len(w.Node.Tags) > 0:
		return policy.Identity{Node: id.Node}, fmt.Errorf("%w: node %s is tagged, so it is no person's", ErrNobody, id.Node)
	case w.Node.Sharer != 0 || w.Node.Hostinfo.ShareeNode:
		return policy.Identity{Node: id.Node}, fmt.Errorf("%w: node %s is of another tailnet", ErrNobody, id.Node)
	}
	return id, nil
}

// nodeName is the first part of "alice-laptop.tail-scale.ts.net.".
func nodeName(fqdn string) string {
	name, _, _ := strings.Cut(fqdn, ".")
	return name
}

// readable reports whether a text is short, and nothing but what can be seen.
func readable(s string) bool {
	return len(s) <= maxText && !strings.ContainsFunc(s, func(r rune) bool {
		return r == utf8.RuneError || !unicode.IsGraphic(r) || unicode.IsSpace(r) // what is no UTF-8 has become the error rune
	})
}
