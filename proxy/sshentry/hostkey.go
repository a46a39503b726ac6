package sshentry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/crypto/ssh"

	"github.com/pawelmojski/inside/policy"
)

// A knownHost checks a server's key against what it is known by.
type knownHost struct {
	f    *flow
	pins []ssh.PublicKey
	seen ssh.PublicKey // this connection's key, once it was accepted
}

func (f *flow) knownHost(ctx context.Context) (*knownHost, error) {
	pins, err := f.entry.HostKeys.Pinned(ctx, f.dest)
	if err != nil {
		return nil, &keyStoreError{fmt.Errorf("look up the host keys of %s: %w", f.dest, err)}
	}
	return &knownHost{f: f, pins: pins}, nil
}

// check is called at every key exchange of a connection, not only the first.
func (k *knownHost) check(ctx context.Context, key ssh.PublicKey) error {
	if k.seen != nil {
		if !sameKey(k.seen, key) {
			return &hostKeyChanged{k.f, key}
		}
		return nil
	}
	switch {
	case len(k.pins) == 0:
		if err := k.f.entry.HostKeys.Pin(ctx, k.f.dest, key); err != nil {
			return &keyStoreError{fmt.Errorf("pin the host key of %s: %w", k.f.dest, err)}
		}
	case !slices.ContainsFunc(k.pins, func(p ssh.PublicKey) bool { return sameKey(p, key) }):
		return &hostKeyChanged{k.f, key}
	}
	k.seen = key
	return nil
}

func sameKey(a, b ssh.PublicKey) bool { return bytes.Equal(a.Marshal(), b.Marshal()) }

// hostKeyChanged refuses a server that shows another key than the pinned one.
type hostKeyChanged struct {
	f   *flow
	key ssh.PublicKey
}

func (e *hostKeyChanged) Error() string {
	where := e.f.dest.Addr().String()
	if s := e.f.visit.Verdict().Server; s != nil {
		where = fmt.Sprintf("%s (%s)", s.Name, where)
	}
	return fmt.Sprintf("the host key of %s has changed to %s %s; "+
		"nobody gets in until an administrator has found out why and trusts the new key",
		where, e.key.Type(), ssh.FingerprintSHA256(e.key))
}

// keyStoreError is a failure of ours, not of the server's.
type keyStoreError struct{ err error }

func (e *keyStoreError) Error() string { return e.err.Error() }
func (e *keyStoreError) Unwrap() error { return e.err }

// denialFor names the denial for an approach that failed.
func denialFor(err error, before bool) policy.Denial {
	var changed *hostKeyChanged
	var store *keyStoreError
	switch {
	case errors.As(err, &changed):
		return policy.HostKeyChanged
	case errors.As(err, &store):
		return policy.LedgerUnavailable
	case before:
		return policy.ServerUnreachable
	default:
		return policy.NotAuthenticated
	}
}
