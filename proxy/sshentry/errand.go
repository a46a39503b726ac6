package sshentry

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/pawelmojski/inside/proxy"
	"github.com/pawelmojski/inside/proxy/recording"
)

// An errand is something the gate does on the server by itself, over a channel
// of its own in the person's connection. The person does not see it; the event
// log does.
const (
	errandPatience  = 30 * time.Second
	maxErrandOutput = 64 << 10 // what a login shell may say around it included
)

// settle does what the house has to do after a login, once, when the person's
// first command runs: a server that takes only one session on a connection
// (MaxSessions 1) must give it to the person.
func (f *flow) settle(s *session) {
	f.settleOnce.Do(func() {
		if f.keyring == nil {
			return
		}
		f.change(func(l *load) { l.errands++ })
		f.spawn(func() {
			defer f.change(func(l *load) { l.errands-- })
			f.mu.Lock()
			how := f.how
			f.mu.Unlock()
			ctx, cancel := context.WithTimeout(context.Background(), errandPatience)
			defer cancel()
			line, err := f.keyring.Settle(ctx, how, s.terminal, f.runErrand)
			if err != nil {
				f.log.Warn("what follows a login was not done", "error", err)
			}
			if line != "" && s.terminal {
				s.notice(line)
			}
		})
	})
}

// loggedIn remembers how the server let us in.
func (f *flow) loggedIn(how proxy.Login) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.how = how
}

// runErrand runs one command on the server as the login and returns what it
// printed.
func (f *flow) runErrand(ctx context.Context, command string) (string, error) {
	if err := f.note(recording.Event{Kind: "errand", Command: command, Detail: "run by the gate itself"}); err != nil {
		return "", err
	}
	ch, requests, err := f.serverConn.OpenChannel("session", nil)
	if err != nil {
		return "", fmt.Errorf("%w: open a session for the gate itself: %w", proxy.ErrNotRun, err)
	}
	f.serveChannel(ch, requests)
	defer f.drained(ch)
	said, exit, err := runOn(ctx, ch, requests, command, f.spawn)
	e := recording.Event{Kind: "errand", Exit: exit, Detail: "done"}
	if err != nil {
		e.Detail = err.Error()
	}
	return said, errors.Join(err, f.note(e))
}

// runOn runs a command on a fresh session channel and closes it.
func runOn(ctx context.Context, ch ssh.Channel, requests <-chan *ssh.Request, command string, spawn func(func())) (said string, exit *int, err error) {
	stop := context.AfterFunc(ctx, func() { ch.Close() })
	defer stop()
	defer ch.Close()
	ended := make(chan *int, 1)
	spawn(func() {
		var exit *int
		for r := range requests {
			if r.Type == "exit-status" && len(r.Payload) == 4 {
				code := int(binary.BigEndian.Uint32(r.Payload))
				exit = &code
			}
			if r.WantReply {
				r.Reply(false, nil)
			}
		}
		ended <- exit
	})
	spawn(func() { io.Copy(io.Discard, ch.Stderr()) }) // ends with the channel
	ok, err := ch.SendRequest("exec", true, ssh.Marshal(struct{ Command string }{command}))
	if err == nil && !ok {
		return "", nil, fmt.Errorf("%w: the server runs none", proxy.ErrNotRun)
	}
	if err != nil {
		return "", nil, fmt.Errorf("run the gate's command: %w", err)
	}
	ch.CloseWrite()
	output, err := io.ReadAll(io.LimitReader(ch, maxErrandOutput))
	if err == nil && len(output) < maxErrandOutput {
		select {
		case exit = <-ended:
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
	}
	return string(output), exit, err
}

// Errand logs in to a server as the gate itself, with a key it holds, and runs
// one command. The server must be one whose key is pinned.
func (e *Entry) Errand(ctx context.Context, conn net.Conn, dest netip.AddrPort, login string, secret *proxy.Secret, command string) (said string, err error) {
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	pins, err := e.HostKeys.Pinned(ctx, dest)
	if err != nil {
		return "", err
	}
	signer, err := heldSigner(secret)
	if err != nil {
		return "", err
	}
	c, channels, requests, err := ssh.NewClientConn(conn, dest.String(), &ssh.ClientConfig{
		Config:            ssh.Config{KeyExchanges: serverKeyExchanges, Ciphers: ciphers, MACs: serverMACs},
		User:              login,
		ClientVersion:     versionOfGate,
		HostKeyAlgorithms: pinnedFirst(pins),
		HostKeyCallback: func(_ string, _ net.Addr, key ssh.PublicKey) error {
			if !slices.ContainsFunc(pins, func(p ssh.PublicKey) bool { return sameKey(p, key) }) {
				return fmt.Errorf("the host key %s of %s is not the pinned one", ssh.FingerprintSHA256(key), dest)
			}
			return nil
		},
		Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)},
	})
	if err != nil {
		if strings.Contains(err.Error(), "unable to authenticate") {
			return "", fmt.Errorf("%w: %w", ErrNotTaken, err)
		}
		return "", err
	}
	var others sync.WaitGroup
	defer others.Wait()
	defer c.Close()
	spawn := func(fn func()) {
		others.Go(func() {
			defer func() {
				if r := recover(); r != nil {
					conn.Close()
				}
			}()
			fn()
		})
	}
	spawn(func() { ssh.DiscardRequests(requests) })
	spawn(func() {
		for nc := range channels {
			nc.Reject(ssh.Prohibited, "not asked for")
		}
	})
	ch, chRequests, err := c.OpenChannel("session", nil)
	if err != nil {
		return "", fmt.Errorf("open a session: %w", err)
	}
	said, _, err = runOn(ctx, ch, chRequests, command, spawn)
	return said, err
}

// ErrNotTaken is a server that does not take the gate's key.
var ErrNotTaken = errors.New("the server does not take the key")
