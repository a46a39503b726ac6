package sshentry

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/pawelmojski/inside/proxy"
)

// pins are the keys a server is known by, whichever it is.
type pins []ssh.PublicKey

func (pins) Own(context.Context, netip.AddrPort) ([]ssh.Signer, error) { return nil, nil }
func (p pins) Pinned(context.Context, netip.AddrPort) ([]ssh.PublicKey, error) {
	return p, nil
}
func (pins) Pin(context.Context, netip.AddrPort, ssh.PublicKey) error {
	return errors.New("an errand pins nothing")
}

// connected are the two ends of a connection.
func connected(t *testing.T) (near, far net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if near, err = net.Dial("tcp", l.Addr().String()); err == nil {
		far, err = l.Accept()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { near.Close(); far.Close() })
	return near, far
}

func TestAnErrandGoesToThePinnedServerOnly(t *testing.T) {
	host, other := newSigner(t), newSigner(t)
	held := newPair(t)
	for what, c := range map[string]struct {
		known pins
		takes []pair
		want  string // of the error
	}{
		"the pinned one":               {pins{other.PublicKey(), host.PublicKey()}, []pair{held}, ""},
		"one with another key":         {pins{other.PublicKey()}, []pair{held}, "is not the pinned one"},
		"one nobody has seen":          {nil, []pair{held}, "is not the pinned one"},
		"one that does not take a key": {pins{host.PublicKey()}, nil, ErrNotTaken.Error()},
	} {
		var asked atomic.Int32
		config := takesKeys(c.takes...)
		takes := config.PublicKeyCallback
		config.PublicKeyCallback = func(m ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
			asked.Add(1)
			return takes(m, key)
		}
		config.AddHostKey(host)
		near, far := connected(t)
		go func() {
			if c, channels, requests, err := ssh.NewServerConn(far, config); err == nil {
				serveEcho(c, channels, requests)
			}
		}()
		e := &Entry{HostKeys: c.known}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		said, err := e.Errand(ctx, near, netip.MustParseAddrPort("10.30.0.7:22"), "ideo", &proxy.Secret{Key: held.copied()}, "take it out")
		cancel()
		switch {
		case c.want == "" && (err != nil || !strings.HasSuffix(said, "take it out")):
			t.Errorf("%s: %q, %v", what, said, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v", what, err)
		}
		if shown := asked.Load() > 0; shown != (c.want != "is not the pinned one") {
			t.Errorf("%s: the key was shown: %v", what, shown)
		}
	}
}

func TestAnErrandToASilentServerEnds(t *testing.T) {
	near, far := connected(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := (&Entry{HostKeys: pins{}}).Errand(ctx, near, netip.MustParseAddrPort("10.30.0.7:22"), "ideo", &proxy.Secret{Key: newPair(t).copied()}, "x")
		ended <- err
	}()
	if _, err := far.Read(make([]byte, 4)); err != nil { // it has begun to speak
		t.Fatal(err)
	}
	cancel()
	select {
	case err := <-ended:
		if err == nil {
			t.Error("it went well")
		}
	case <-time.After(20 * time.Second):
		t.Error("it waits for ever")
	}
}
