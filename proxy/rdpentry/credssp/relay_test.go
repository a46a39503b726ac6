package credssp

import (
	"encoding/asn1"
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

func TestALoginPassesThroughUntouchedUnderTheServersCertificate(t *testing.T) {
	cert, other := testCertificate(t), testCertificate(t)
	mine := Credentials{"LAB", "ideo", "correct horse"}
	windows := func(w windowsClient) func(net.Conn) error {
		w.version, w.sign, w.kind = max(w.version, 5), true, passwordKind
		return func(c net.Conn) error { return w.login(c, cert, mine) }
	}
	rather := []asn1.ObjectIdentifier{oidKerberos, oidNTLM}
	no := errors.New("not this one")
	for name, c := range map[string]struct {
		client func(net.Conn) error
		decide error
		want   error
		told   error
		enters bool
	}{
		"NTLM":                   {client: func(c net.Conn) error { return Login(c, cert, mine) }, enters: true},
		"NTLM in SPNEGO":         {client: windows(windowsClient{mechanisms: []asn1.ObjectIdentifier{oidNTLM}, optimistic: true}), enters: true},
		"rather Kerberos":        {client: windows(windowsClient{mechanisms: rather, optimistic: true}), enters: true},
		"step by step":           {client: windows(windowsClient{mechanisms: rather, wait: true}), enters: true},
		"a wrong password":       {client: func(c net.Conn) error { return Login(c, cert, Credentials{"LAB", "ideo", "x"}) }, want: ErrRefused, told: ErrRefused},
		"who is not let in":      {client: func(c net.Conn) error { return Login(c, cert, mine) }, decide: &Denied{StatusNotGranted, no}, want: no, told: ErrRefused},
		"Kerberos only":          {client: windows(windowsClient{version: 6, mechanisms: []asn1.ObjectIdentifier{oidKerberos}, optimistic: true}), want: ErrNoNTLM, told: ErrRefused},
		"another key than shown": {client: func(c net.Conn) error { return Login(c, other, mine) }, want: ErrRefused, told: ErrRefused},
	} {
		t.Run(name, func(t *testing.T) {
			clientEnd, gateFront := net.Pipe()
			gateBack, serverEnd := net.Pipe()
			for _, p := range []net.Conn{clientEnd, gateFront, gateBack, serverEnd} {
				p.SetDeadline(time.Now().Add(10 * time.Second))
			}
			var told, relayed, served error
			var got Credentials
			asked := false
			clientDone, serverDone := make(chan struct{}), make(chan struct{})
			go func() {
				defer close(clientDone)
				told = c.client(clientEnd)
				io.Copy(io.Discard, clientEnd)
			}()
			go func() {
				defer close(serverDone)
				got, served = Accept(serverEnd, cert, "DESK", func(domain, user string, proves func([]byte) bool) error {
					asked = true
					return knows("ideo", "correct horse")(domain, user, proves)
				})
				serverEnd.Close()
			}()
			relayed = Relay(gateFront, gateBack, func(domain, user string) error {
				if domain != "LAB" || user != "ideo" {
					t.Errorf("asked about %q of %q", user, domain)
				}
				return c.decide
			})
			gateFront.Close()
			gateBack.Close()
			<-clientDone
			<-serverDone
			if !errors.Is(relayed, c.want) || !errors.Is(told, c.told) {
				t.Errorf("passed with %v, the client was told %v; want %v and %v", relayed, told, c.want, c.told)
			}
			if c.enters && (got != mine || served != nil) {
				t.Errorf("the server let in %+v, %v", got, served)
			}
			if (c.decide != nil || c.want == ErrNoNTLM) && asked {
				t.Error("the server was asked about somebody who was not let in")
			}
		})
	}
}

func TestARelayedServerOfAnOldVersionIsRefused(t *testing.T) {
	clientEnd, gateFront := net.Pipe()
	gateBack, serverEnd := net.Pipe()
	for _, p := range []net.Conn{clientEnd, gateFront, gateBack, serverEnd} {
		p.SetDeadline(time.Now().Add(10 * time.Second))
		defer p.Close()
	}
	go func() {
		receive(serverEnd)
		old, _ := asn1.Marshal(tsRequest{Version: 4, NegoTokens: tokens(testChallenge(ntlmMust))})
		serverEnd.Write(old)
	}()
	told := make(chan error, 1)
	go func() { told <- Login(clientEnd, testCertificate(t), Credentials{"", "ideo", "x"}) }()
	if err := Relay(gateFront, gateBack, func(string, string) error { return nil }); !errors.Is(err, ErrOld) {
		t.Errorf("passed with %v", err)
	}
	if err := <-told; !errors.Is(err, ErrRefused) {
		t.Errorf("the client was told %v", err)
	}
}
