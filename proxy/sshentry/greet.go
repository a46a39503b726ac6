package sshentry

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/proxy"
)

// The caps on a login (OpenSSH's MaxAuthTries is 6, but counts no key that is
// only asked about; x/crypto/ssh does).
const (
	maxAuthTries  = 20
	maxBanner     = 64 << 10 // bytes of banners passed on
	versionOfGate = "SSH-2.0-Inside"
)

// serverConfig is what both kinds of greeting have in common.
func (f *flow) serverConfig(ctx context.Context) (*ssh.ServerConfig, error) {
	keys, err := f.entry.HostKeys.Own(ctx, f.dest)
	if err != nil {
		return nil, fmt.Errorf("get the gate's host keys for %s: %w", f.dest, err)
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("the gate has no host key for %s", f.dest)
	}
	c := &ssh.ServerConfig{
		Config:                  ssh.Config{KeyExchanges: keyExchanges, Ciphers: ciphers, MACs: macs},
		PublicKeyAuthAlgorithms: publicKeyAlgorithms,
		MaxAuthTries:            maxAuthTries,
		ServerVersion:           versionOfGate,
	}
	for _, key := range keys {
		key, err := withoutSHA1(key)
		if err != nil {
			return nil, err
		}
		c.AddHostKey(key)
	}
	return c, nil
}

// graced bounds a login: when it takes longer than the grace time, or the
// house ends the flow, the connections are closed, which ends the handshakes.
// done tells whether that has happened.
func (f *flow) graced(ctx context.Context) (login context.Context, done func() (cut bool)) {
	login, cancel := context.WithTimeoutCause(ctx, f.grace(), errGrace)
	stop := context.AfterFunc(login, func() {
		f.client.Close()
		if f.server != nil {
			f.server.Close()
		}
	})
	return login, func() bool {
		stopped := stop()
		cancel()
		return !stopped
	}
}

func (f *flow) grace() time.Duration {
	if f.entry.LoginGrace > 0 {
		return f.entry.LoginGrace
	}
	return defaultLoginGrace
}

var errGrace = errors.New("the login grace time is over")

// turnAway greets a person who is denied, says why before any prompt, and
// lets every key fail: offering nothing but public keys keeps the client from
// asking for a password in vain.
func (f *flow) turnAway(ctx context.Context, verdict policy.Verdict) error {
	refusal := &proxy.Refusal{Verdict: verdict}
	login, done := f.graced(ctx)
	defer done()
	config, err := f.serverConfig(login)
	if err != nil {
		refusal.Err = err
		return refusal
	}
	var user atomic.Value
	config.PreAuthConnCallback = func(c ssh.ServerPreAuthConn) {
		f.clientPeer = c
		f.client.release()
		c.SendAuthBanner(f.denialText(verdict, ""))
	}
	config.PublicKeyCallback = func(c ssh.ConnMetadata, _ ssh.PublicKey) (*ssh.Permissions, error) {
		user.Store(c.User())
		return nil, errDenied
	}
	_, _, _, err = ssh.NewServerConn(f.client, config)
	if err == nil {
		return policy.Failed // cannot be: every key was refused
	}
	if name, ok := user.Load().(string); ok {
		refusal.Login = plainLine(name, maxName)
	}
	return refusal
}

var errDenied = errors.New("denied")

// denialText says to a person, in a banner, who is refused, where, why, and
// whom to ask.
func (f *flow) denialText(v policy.Verdict, login string) string {
	who := f.visit.Flow().Client.Addr().String()
	if v.Person != nil {
		who = v.Person.Name
	}
	where := f.dest.Addr().String()
	if v.Server != nil {
		where = fmt.Sprintf("%s (%s)", v.Server.Name, where)
	}
	if login != "" {
		where = login + " on " + where
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\nInside: %s may not enter %s: %s.\n", who, where, v.Denial.Sentence())
	if v.Grant != nil && !v.Grant.End.IsZero() && v.Denial == policy.Expired {
		fmt.Fprintf(&b, "Inside: grant %s ended %s.\n", v.Grant.ID, v.Grant.End.Format(time.RFC1123))
	}
	fmt.Fprintf(&b, "Inside: please ask the administrator of this gateway.\n\n")
	return plain(b.String(), maxBanner)
}
