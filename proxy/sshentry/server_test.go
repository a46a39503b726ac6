package sshentry

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/pawelmojski/inside/policy"
)

// newGateTo serves on the loopback in front of a server made of x/crypto/ssh,
// for what sshd does not do.
func newGateTo(t testing.TB, config *ssh.ServerConfig, serve func(*ssh.ServerConn, <-chan ssh.NewChannel, <-chan *ssh.Request)) *gate {
	t.Helper()
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	config.AddHostKey(newSigner(t))
	go func() {
		for {
			conn, err := server.Accept()
			if err != nil {
				return
			}
			go func() {
				c, channels, requests, err := ssh.NewServerConn(conn, config)
				if err != nil {
					return
				}
				if serve == nil {
					serve = serveEcho
				}
				serve(c, channels, requests)
			}()
		}
	}()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := server.Addr().(*net.TCPAddr).AddrPort()
	return serveGate(t, ln, func(context.Context) (net.Conn, error) {
		return net.Dial("tcp", addr.String())
	}, netip.MustParseAddrPort(addr.String()))
}

// serveEcho runs every command by printing it.
func serveEcho(_ *ssh.ServerConn, channels <-chan ssh.NewChannel, requests <-chan *ssh.Request) {
	go ssh.DiscardRequests(requests)
	for nc := range channels {
		ch, requests, err := nc.Accept()
		if err != nil {
			return
		}
		go func() {
			for r := range requests {
				ok := r.Type == "exec" || r.Type == "pty-req" || r.Type == "shell"
				r.Reply(ok, nil)
				if r.Type == "exec" || r.Type == "shell" {
					ch.Write(r.Payload)
					ch.SendRequest("exit-status", false, []byte{0, 0, 0, 5})
					ch.Close()
				}
			}
		}()
	}
}

// connect logs in through a gate on the loopback.
func (g *gate) connect(user string, auth ...ssh.AuthMethod) (*ssh.Client, error) {
	return g.connectWith(&ssh.ClientConfig{User: user, Auth: auth})
}

func (g *gate) connectWith(config *ssh.ClientConfig) (*ssh.Client, error) {
	conn, err := net.Dial("tcp", g.addr.String())
	if err != nil {
		return nil, err
	}
	config.HostKeyCallback = ssh.FixedHostKey(g.own.PublicKey())
	c, channels, requests, err := ssh.NewClientConn(conn, g.addr.String(), config)
	if err != nil {
		return nil, err
	}
	client := ssh.NewClient(c, channels, requests)
	g.t.Cleanup(func() { client.Close() })
	return client, nil
}

// mustRun runs a command and returns what it printed.
func mustRun(t testing.TB, c *ssh.Client, command string) string {
	t.Helper()
	s, err := c.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	out, err := s.CombinedOutput(command)
	var exit *ssh.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return string(out)
}

func TestEveryRoundOfQuestionsIsRelayedWithItsEcho(t *testing.T) {
	g := newGateTo(t, &ssh.ServerConfig{
		KeyboardInteractiveCallback: func(_ ssh.ConnMetadata, ask ssh.KeyboardInteractiveChallenge) (*ssh.Permissions, error) {
			a, err := ask("name", "first\x1b[2J round", []string{"user: ", "pin: "}, []bool{true, false})
			if err != nil || len(a) != 2 || a[0] != "A" || a[1] != "B" {
				return nil, fmt.Errorf("%q %v", a, err)
			}
			if a, err = ask("", "an empty round", nil, nil); err != nil || len(a) != 0 {
				return nil, fmt.Errorf("%q %v", a, err)
			}
			a, err = ask("", "", []string{"code: "}, []bool{true})
			if err != nil || a[0] != "" {
				return nil, fmt.Errorf("%q %v", a, err)
			}
			return nil, nil
		},
	}, nil)
	var seen []string
	answers := [][]string{{"A", "B"}, nil, {""}}
	_, err := g.connect("ideo", ssh.KeyboardInteractive(func(name, instruction string, questions []string, echos []bool) ([]string, error) {
		seen = append(seen, fmt.Sprintf("%q %q %q %v", name, instruction, questions, echos))
		return answers[len(seen)-1], nil
	}))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		`"name" "first[2J round" ["user: " "pin: "] [true false]`,
		`"" "an empty round" [] []`,
		`"" "" ["code: "] [true]`,
	}
	if fmt.Sprint(seen) != fmt.Sprint(want) {
		t.Errorf("saw %v\nwant %v", seen, want)
	}
}

func TestAClientThatStopsAnsweringMayTryAnotherWay(t *testing.T) {
	g := newGateTo(t, &ssh.ServerConfig{
		KeyboardInteractiveCallback: func(_ ssh.ConnMetadata, ask ssh.KeyboardInteractiveChallenge) (*ssh.Permissions, error) {
			_, err := ask("", "", []string{"code: "}, []bool{true})
			return nil, errors.Join(errors.New("no"), err)
		},
		PasswordCallback: func(_ ssh.ConnMetadata, p []byte) (*ssh.Permissions, error) {
			if string(p) == "sesame" {
				return nil, nil
			}
			return nil, errors.New("no")
		},
	}, nil)
	c, err := g.connect("ideo", ssh.KeyboardInteractive(func(string, string, []string, []bool) ([]string, error) {
		return []string{"wrong"}, nil
	}), ssh.Password("sesame"))
	if err != nil {
		t.Fatal(err)
	}
	if out := mustRun(t, c, "x"); !strings.HasSuffix(out, "x") {
		t.Errorf("%q", out)
	}
}

func TestAServerThatWantsTwoMethodsGetsBoth(t *testing.T) {
	key := newSigner(t)
	password := ssh.ServerAuthCallbacks{PasswordCallback: func(_ ssh.ConnMetadata, p []byte) (*ssh.Permissions, error) {
		if string(p) == "sesame" {
			return nil, nil
		}
		return nil, errors.New("no")
	}}
	byKey := func(next ssh.ServerAuthCallbacks) func(ssh.ConnMetadata, ssh.PublicKey) (*ssh.Permissions, error) {
		return func(_ ssh.ConnMetadata, k ssh.PublicKey) (*ssh.Permissions, error) {
			if !bytes.Equal(k.Marshal(), key.PublicKey().Marshal()) {
				return nil, errors.New("no")
			}
			if next.PasswordCallback != nil {
				return nil, &ssh.PartialSuccessError{Next: next}
			}
			return nil, nil
		}
	}
	t.Run("password, then a key", func(t *testing.T) {
		g := newGateTo(t, &ssh.ServerConfig{PasswordCallback: func(_ ssh.ConnMetadata, p []byte) (*ssh.Permissions, error) {
			return nil, &ssh.PartialSuccessError{Next: ssh.ServerAuthCallbacks{PublicKeyCallback: byKey(ssh.ServerAuthCallbacks{})}}
		}}, nil)
		c, err := g.connect("ideo", ssh.Password("sesame"), ssh.PublicKeys(key))
		if err != nil {
			t.Fatal(err)
		}
		if err := lend(c, key); err != nil {
			t.Fatal(err)
		}
		if out := runWithAgent(t, c, "x"); !strings.HasSuffix(out, "x") {
			t.Errorf("%q", out)
		}
	})
	t.Run("a key, then a password in the terminal", func(t *testing.T) {
		g := newGateTo(t, &ssh.ServerConfig{PublicKeyCallback: byKey(password)}, nil)
		c, err := g.connect("ideo", ssh.PublicKeys(key))
		if err != nil {
			t.Fatal(err)
		}
		if err := lend(c, key); err != nil {
			t.Fatal(err)
		}
		s, err := c.NewSession()
		if err != nil {
			t.Fatal(err)
		}
		agent.RequestAgentForwarding(s)
		if err := s.RequestPty("xterm", 24, 80, nil); err != nil {
			t.Fatal(err)
		}
		s.Stdin = strings.NewReader("sesame\r")
		out, err := s.CombinedOutput("x")
		if !strings.HasSuffix(string(out), "x") {
			t.Errorf("%q %v", out, err)
		}
	})
}

// lend offers the client's agent with one key.
func lend(c *ssh.Client, key ssh.Signer) error { return agent.ForwardToAgent(c, &oneKey{key: key}) }

func runWithAgent(t testing.TB, c *ssh.Client, command string) string {
	t.Helper()
	s, err := c.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	agent.RequestAgentForwarding(s)
	out, _ := s.CombinedOutput(command)
	return string(out)
}

// oneKey is an agent with one key that counts what it is asked.
type oneKey struct {
	agent.ExtendedAgent
	key   ssh.Signer
	signs atomic.Int32
}

func (a *oneKey) List() ([]*agent.Key, error) {
	return []*agent.Key{{Format: a.key.PublicKey().Type(), Blob: a.key.PublicKey().Marshal()}}, nil
}

func (a *oneKey) SignWithFlags(_ ssh.PublicKey, data []byte, _ agent.SignatureFlags) (*ssh.Signature, error) {
	a.signs.Add(1)
	return a.key.Sign(rand.Reader, data)
}

func (a *oneKey) Sign(k ssh.PublicKey, data []byte) (*ssh.Signature, error) {
	return a.SignWithFlags(k, data, 0)
}

func takeKey(want ssh.PublicKey) *ssh.ServerConfig {
	return &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, k ssh.PublicKey) (*ssh.Permissions, error) {
		if sameKey(k, want) {
			return nil, nil
		}
		return nil, errors.New("no")
	}}
}

func TestAnAgentIsAskedForExactlyOneSignature(t *testing.T) {
	key := newSigner(t)
	g := newGateTo(t, takeKey(key.PublicKey()), nil)
	c, err := g.connect("ideo", ssh.PublicKeys(newSigner(t), newSigner(t), key))
	if err != nil {
		t.Fatal(err)
	}
	a := &oneKey{key: key}
	if err := agent.ForwardToAgent(c, a); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if out := runWithAgent(t, c, "x"); !strings.HasSuffix(out, "x") {
			t.Fatalf("%q", out)
		}
	}
	if n := a.signs.Load(); n != 1 {
		t.Errorf("%d signatures", n)
	}
}

func TestOnlyAProvenKeyGetsIn(t *testing.T) {
	// CVE-2024-45337: the key that was offered last is not the key that was
	// proven. Whatever is offered in whatever order, the agent is asked for
	// the key that was proven.
	key := newSigner(t)
	g := newGateTo(t, takeKey(key.PublicKey()), nil)
	for i := range 8 {
		signers := []ssh.Signer{newSigner(t), newSigner(t), newSigner(t)}
		signers = append(signers[:i%4:i%4], append([]ssh.Signer{key}, signers[i%4:]...)...)
		c, err := g.connect("ideo", ssh.PublicKeys(signers...))
		if err != nil {
			t.Fatal(err)
		}
		if e := g.visit(i).noted("login"); len(e) != 1 || e[0].Detail != "publickey "+ssh.FingerprintSHA256(key.PublicKey()) {
			t.Errorf("login %+v", e)
		}
		c.Close()
	}
	if _, err := g.connect("ideo", ssh.PublicKeys(&liar{key.PublicKey(), newSigner(t)})); err == nil {
		t.Error("somebody got in with a key they cannot sign with")
	}
	if h := g.visit(8); len(h.admitted) != 0 {
		t.Error("and was admitted")
	}
}

// A liar shows one key and signs with another.
type liar struct {
	shown ssh.PublicKey
	key   ssh.Signer
}

func (l *liar) PublicKey() ssh.PublicKey { return l.shown }
func (l *liar) Sign(r io.Reader, data []byte) (*ssh.Signature, error) {
	return l.key.Sign(r, data)
}

func TestAnAgentThatMisbehavesOnlyFailsTheLogin(t *testing.T) {
	key := newSigner(t)
	blob := key.PublicKey().Marshal()
	list := ssh.Marshal(struct {
		Type    byte
		N       uint32
		Key     []byte
		Comment string
	}{agentIdentitiesAnswer, 1, blob, "c"})
	frame := func(b []byte) []byte { return append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...) }
	for name, answers := range map[string][][]byte{
		"success instead of a list (CVE-2025-47913)":      {frame([]byte{6})},
		"success instead of a signature (CVE-2025-47913)": {frame(list), frame([]byte{6})},
		"failure":                     {frame(list), frame([]byte{5})},
		"an answer of 4 GiB":          {{0xff, 0xff, 0xff, 0xff}},
		"an answer above the cap":     {{0, 4, 0, 1}},
		"an empty answer":             {{0, 0, 0, 0}},
		"a list cut short":            {frame(list[:len(list)-3])},
		"a list of four billion keys": {frame([]byte{agentIdentitiesAnswer, 255, 255, 255, 255})},
		"another key": {frame(ssh.Marshal(struct {
			Type    byte
			N       uint32
			Key     []byte
			Comment string
		}{agentIdentitiesAnswer, 1, newSigner(t).PublicKey().Marshal(), "c"}))},
		"half a signature (CVE-2026-46598)": {frame(list), frame(append([]byte{agentSignResponse}, ssh.Marshal(struct{ B []byte }{[]byte{0, 0, 0, 11, 's', 's', 'h'}})...))},
		"a signature of something else": {frame(list), frame(append([]byte{agentSignResponse}, ssh.Marshal(struct{ B []byte }{func() []byte {
			sig, _ := key.Sign(rand.Reader, []byte("something else"))
			return ssh.Marshal(sig)
		}()})...))},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGateTo(t, takeKey(key.PublicKey()), nil)
			c, err := g.connect("ideo", ssh.PublicKeys(key))
			if err != nil {
				t.Fatal(err)
			}
			channels := c.HandleChannelOpen("auth-agent@openssh.com")
			go func() {
				for nc := range channels {
					ch, requests, err := nc.Accept()
					if err != nil {
						return
					}
					go ssh.DiscardRequests(requests)
					for _, a := range answers {
						var size [4]byte
						if _, err := io.ReadFull(ch, size[:]); err != nil {
							return
						}
						io.CopyN(io.Discard, ch, int64(binary.BigEndian.Uint32(size[:])))
						ch.Write(a)
					}
					ch.CloseWrite()
				}
			}()
			out := runWithAgent(t, c, "x")
			if !strings.Contains(out, "your agent did not help") {
				t.Errorf("%q", out)
			}
			c.Close()
			if err := g.result(); err != policy.ClientLeft {
				t.Errorf("Serve returned %v", err)
			}
		})
	}
}

func TestOnlyALoginOfThisSessionIsSigned(t *testing.T) {
	key := newSigner(t).PublicKey()
	blob := func(session, user, service, method string, typ byte, signed bool, k ssh.PublicKey) []byte {
		return ssh.Marshal(struct {
			Session   string
			Type      byte
			User      string
			Service   string
			Method    string
			Signed    bool
			Algorithm string
			Key       []byte
		}{session, typ, user, service, method, signed, k.Type(), k.Marshal()})
	}
	good := blob("id", "ideo", "ssh-connection", "publickey", 50, true, key)
	if err := checkLoginBlob(good, []byte("id"), "ideo", key); err != nil {
		t.Error(err)
	}
	for name, bad := range map[string][]byte{
		"another session":   blob("di", "ideo", "ssh-connection", "publickey", 50, true, key),
		"another user":      blob("id", "root", "ssh-connection", "publickey", 50, true, key),
		"another service":   blob("id", "ideo", "ssh-userauth", "publickey", 50, true, key),
		"another method":    blob("id", "ideo", "ssh-connection", "hostbased", 50, true, key),
		"another message":   blob("id", "ideo", "ssh-connection", "publickey", 51, true, key),
		"without signature": blob("id", "ideo", "ssh-connection", "publickey", 50, false, key),
		"another key":       blob("id", "ideo", "ssh-connection", "publickey", 50, true, newSigner(t).PublicKey()),
		"more behind it":    append(bytes.Clone(good), 0),
		"less":              good[:len(good)-1],
		"nothing":           nil,
		"text":              []byte("please sign this"),
	} {
		if checkLoginBlob(bad, []byte("id"), "ideo", key) == nil {
			t.Errorf("%s would be signed", name)
		}
	}
	if checkLoginBlob(blob("", "ideo", "ssh-connection", "publickey", 50, true, key), nil, "ideo", key) == nil {
		t.Error("a login without a session would be signed")
	}
}

func TestAServerThatTakesEverybodyIsEntered(t *testing.T) {
	g := newGateTo(t, &ssh.ServerConfig{NoClientAuth: true}, nil)
	c, err := g.connect("ideo")
	if err != nil {
		t.Fatal(err)
	}
	if out := mustRun(t, c, "x"); !strings.HasSuffix(out, "x") {
		t.Errorf("%q", out)
	}
	if e := g.visit(0).noted("login"); len(e) != 1 || e[0].Detail != "none" {
		t.Errorf("login events: %+v", e)
	}
}

func TestTheServersBannerIsShownWithoutItsEscapesAndNotWithoutEnd(t *testing.T) {
	config := &ssh.ServerConfig{PasswordCallback: func(ssh.ConnMetadata, []byte) (*ssh.Permissions, error) { return nil, nil }}
	config.PreAuthConnCallback = func(c ssh.ServerPreAuthConn) {
		c.SendAuthBanner("welcome\x1b]0;title\x07 to\r\n\tthe server\u202e\n")
		for range 200 {
			c.SendAuthBanner(strings.Repeat("x", 1000))
		}
	}
	g := newGateTo(t, config, nil)
	var got strings.Builder
	_, err := g.connectWith(&ssh.ClientConfig{User: "ideo", Auth: []ssh.AuthMethod{ssh.Password("x")},
		BannerCallback: func(m string) error { got.WriteString(m); return nil }})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(got.String(), "welcome]0;title to\n\tthe server\nxxx") || got.Len() > maxBanner {
		t.Errorf("%d bytes: %.60q", got.Len(), got.String())
	}
}

func TestAServerOpensNothingThatWasNotAskedFor(t *testing.T) {
	refused := make(chan error, 10)
	g := newGateTo(t, &ssh.ServerConfig{NoClientAuth: true}, func(c *ssh.ServerConn, channels <-chan ssh.NewChannel, requests <-chan *ssh.Request) {
		go ssh.DiscardRequests(requests)
		for _, kind := range []string{"session", "x11", "auth-agent@openssh.com", "direct-tcpip", "forwarded-streamlocal@openssh.com", "nonsense"} {
			_, _, err := c.OpenChannel(kind, nil)
			refused <- err
		}
		_, _, err := c.OpenChannel("forwarded-tcpip", ssh.Marshal(&forwardedTCPIP{"localhost", 7003, "127.0.0.1", 1}))
		refused <- err
		_, _, err = c.OpenChannel("forwarded-tcpip", []byte("junk"))
		refused <- err
		c.SendRequest("hostkeys-00@openssh.com", false, []byte("junk"))
		ok, _, err := c.SendRequest("nonsense", true, nil)
		if ok {
			err = nil
		} else if err == nil {
			err = errors.New("refused")
		}
		refused <- err
		serveEcho(c, channels, nil)
	})
	g.grantForwarding(policy.Remote)
	c, err := g.connect("ideo")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 9 {
		select {
		case err := <-refused:
			if err == nil {
				t.Errorf("the server got its wish %d", i)
			}
		case <-time.After(10 * time.Second):
			t.Fatal("no answer")
		}
	}
	if out := mustRun(t, c, "x"); !strings.HasSuffix(out, "x") {
		t.Errorf("%q", out)
	}
}

func TestAServerThatFailsInTheMiddleOfALoginLeavesNothing(t *testing.T) {
	// A burst the library does not read any more after its login has failed,
	// see drainTransport.
	config := &ssh.ServerConfig{PasswordCallback: func(ssh.ConnMetadata, []byte) (*ssh.Permissions, error) { return nil, errors.New("no") }}
	config.MaxAuthTries = 1
	config.PreAuthConnCallback = func(c ssh.ServerPreAuthConn) {
		go func() {
			for c.SendAuthBanner("x") == nil {
			}
		}()
	}
	g := newGateTo(t, config, nil)
	try := func() {
		if _, err := g.connect("ideo", ssh.Password("x")); err == nil {
			t.Error("let in")
		}
		g.result()
	}
	try()
	goroutines, fds := runtime.NumGoroutine(), openFiles(t)
	for range 30 {
		try()
	}
	awaitNoMore(t, goroutines, fds)
}

func TestATextOfTheServerThatEndsTheLoginReachesTheClient(t *testing.T) {
	g := newGateTo(t, &ssh.ServerConfig{
		MaxAuthTries:     2,
		PasswordCallback: func(ssh.ConnMetadata, []byte) (*ssh.Permissions, error) { return nil, errors.New("no") },
	}, nil)
	var got strings.Builder
	_, err := g.connectWith(&ssh.ClientConfig{User: "ideo", Auth: []ssh.AuthMethod{ssh.RetryableAuthMethod(ssh.Password("x"), 10)},
		BannerCallback: func(m string) error { got.WriteString(m); return nil }})
	if err == nil || !strings.Contains(got.String(), "the server ended the login: too many authentication failures") {
		t.Errorf("%q %v", got.String(), err)
	}
	if d := g.denial(); d != policy.NotAuthenticated {
		t.Errorf("denial %s", d)
	}
}

func TestASilentServerIsToldOf(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	g := newGateTo(t, &ssh.ServerConfig{NoClientAuth: true}, nil)
	g.dial = func(context.Context) (net.Conn, error) { return net.Dial("tcp", silent.Addr().String()) }
	g.set(func() { g.entry.LoginGrace = time.Second })
	var got strings.Builder
	_, err = g.connectWith(&ssh.ClientConfig{User: "ideo", BannerCallback: func(m string) error { got.WriteString(m); return nil }})
	if err == nil || !strings.Contains(got.String(), "the server does not answer") {
		t.Errorf("%q %v", got.String(), err)
	}
	if d := g.denial(); d != policy.ServerUnreachable {
		t.Errorf("denial %s", d)
	}
}

func TestASecondCommandOnOneChannelIsRecordedToo(t *testing.T) {
	serve := func(_ *ssh.ServerConn, channels <-chan ssh.NewChannel, _ <-chan *ssh.Request) {
		for nc := range channels {
			ch, requests, err := nc.Accept()
			if err != nil {
				return
			}
			for r := range requests {
				ok := r.Type == "pty-req" || r.Type == "exec"
				r.Reply(ok, nil)
				if r.Type == "exec" {
					io.WriteString(ch, "secret")
					ch.SendRequest("exit-status", false, []byte{0, 0, 0, 0})
					ch.Close()
				}
			}
		}
	}
	for _, tty := range []bool{false, true} {
		g := newGateTo(t, &ssh.ServerConfig{NoClientAuth: true}, serve)
		c, err := g.connect("ideo")
		if err != nil {
			t.Fatal(err)
		}
		s, err := c.NewSession()
		if err != nil {
			t.Fatal(err)
		}
		if tty {
			if err := s.RequestPty("xterm", 24, 80, nil); err != nil {
				t.Fatal(err)
			}
		}
		// The server refuses the first.
		if ok, err := s.SendRequest("subsystem", true, ssh.Marshal(&stringRequest{"sftp"})); ok || err != nil {
			t.Fatal(ok, err)
		}
		if out, err := s.Output("bash"); string(out) != "secret" || err != nil {
			t.Errorf("%q %v", out, err)
		}
		c.Close()
		g.result()
		if shown := g.visit(0).shown(t, 0); shown != "secret" {
			t.Errorf("recorded %q", shown)
		}
	}
}
