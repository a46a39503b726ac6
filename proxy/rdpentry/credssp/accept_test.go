package credssp

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

// knows is a check that knows one person's password.
func knows(user, password string) Check {
	return func(domain, name string, proves func([]byte) bool) error {
		if name != user || !proves(Hash(password)) {
			return &Denied{StatusLogonFailure, errWrong}
		}
		return nil
	}
}

var errWrong = errors.New("wrong password")

// accepting runs Accept beside a client.
func accepting(t *testing.T, cert *x509.Certificate, check Check, client func(conn net.Conn)) (Credentials, error) {
	t.Helper()
	near, far := net.Pipe()
	near.SetDeadline(time.Now().Add(10 * time.Second))
	far.SetDeadline(time.Now().Add(10 * time.Second))
	done := make(chan struct{})
	go func() {
		defer close(done)
		client(far)
		io.Copy(io.Discard, far)
	}()
	c, err := Accept(near, cert, "DESK", check)
	near.Close()
	<-done
	return c, err
}

func TestAClientThatKnowsThePasswordIsLetIn(t *testing.T) {
	cert := testCertificate(t)
	var clientErr error
	mine := Credentials{"LAB", "zażółć", "correct horse"}
	got, err := accepting(t, cert, knows(mine.User, mine.Password), func(c net.Conn) { clientErr = Login(c, cert, mine) })
	if err != nil || clientErr != nil || got != mine {
		t.Errorf("let in as %+v, %v; the client says %v", got, err, clientErr)
	}
}

func TestAClientThatDoesNotIsToldSo(t *testing.T) {
	cert, other := testCertificate(t), testCertificate(t)
	for name, c := range map[string]struct {
		seen  *x509.Certificate
		login Credentials
		check Check
		want  error
		told  error
	}{
		"a wrong password":     {cert, Credentials{"", "ideo", "x"}, knows("ideo", "correct horse"), errWrong, ErrRefused},
		"another name":         {cert, Credentials{"", "admin", "correct horse"}, knows("ideo", "correct horse"), errWrong, ErrRefused},
		"somebody in between":  {other, Credentials{"", "ideo", "correct horse"}, knows("ideo", "correct horse"), ErrProtocol, ErrRefused},
		"a check that forgets": {cert, Credentials{"", "ideo", "x"}, func(string, string, func([]byte) bool) error { return nil }, nil, ErrRefused},
	} {
		t.Run(name, func(t *testing.T) {
			var told error
			got, err := accepting(t, cert, c.check, func(conn net.Conn) { told = Login(conn, c.seen, c.login) })
			if err == nil || !errors.Is(err, c.want) && c.want != nil {
				t.Errorf("let in as %+v, %v, want %v", got, err, c.want)
			}
			if !errors.Is(told, c.told) {
				t.Errorf("the client says %v, want %v", told, c.told)
			}
		})
	}
}

// A windowsClient speaks as Windows does: NTLM in SPNEGO.
type windowsClient struct {
	version    int
	mechanisms []asn1.ObjectIdentifier
	optimistic bool // the first token holds the first mechanism's
	sign       bool // the list of mechanisms
	wait       bool // for the end of SPNEGO, before the public key
	spoil      bool // the list was changed on the way
	kind       int  // of what is delegated
}

var oidKerberos = asn1.ObjectIdentifier{1, 2, 840, 113554, 1, 2, 2}

func (w windowsClient) login(conn net.Conn, cert *x509.Certificate, c Credentials) error {
	key, err := publicKey(cert)
	if err != nil {
		return err
	}
	say := func(r tsRequest) error {
		r.Version = w.version
		b, err := asn1.Marshal(r)
		if err == nil {
			_, err = conn.Write(b)
		}
		return err
	}
	hear := func() (tsRequest, negTokenResp, error) {
		r, err := answered(conn)
		var n negTokenResp
		if err == nil && len(r.NegoTokens) > 0 {
			err = unmarshalInner(r.NegoTokens[0].Token, asn1.ClassContextSpecific, 1, &n)
		}
		return r, n, err
	}
	list, err := asn1.Marshal(w.mechanisms)
	if err != nil {
		return err
	}
	hello := negotiateMessage()
	var optimistic []byte
	if w.optimistic {
		optimistic = hello
		if !w.mechanisms[0].Equal(oidNTLM) {
			optimistic = []byte("a ticket")
		}
	}
	if err := say(tsRequest{NegoTokens: tokens(initToken(list, optimistic))}); err != nil {
		return err
	}
	_, n, err := hear()
	if err == nil && n.Token == nil {
		if n.State != negRequestMIC && !w.mechanisms[0].Equal(oidNTLM) {
			return errors.New("the server does not ask for a signature of the mechanisms")
		}
		b, _ := wrapped(negAnswer{State: negIncomplete, Token: hello})
		if err = say(tsRequest{NegoTokens: tokens(b)}); err == nil {
			_, n, err = hear()
		}
	}
	if err != nil {
		return err
	}
	proof, keys, err := authenticate(hello, n.Token, c)
	if err != nil {
		return err
	}
	answer := negAnswer{State: negIncomplete, Token: proof}
	if w.sign {
		answer.MIC = keys.out.signature(list)
	}
	if w.spoil {
		answer.MIC[5] ^= 1
	}
	final, _ := wrapped(answer)
	nonce := bytes.Repeat([]byte{9}, nonceLen)
	var r tsRequest
	if w.wait {
		if err := say(tsRequest{NegoTokens: tokens(final)}); err != nil {
			return err
		}
		if _, n, err = hear(); err != nil {
			return err
		}
		final = nil
	}
	if err := say(tsRequest{NegoTokens: tokens(final), PubKeyAuth: keys.out.seal(bound(toServer, nonce, key)), Nonce: nonce}); err != nil {
		return err
	}
	if r, n, err = hear(); err != nil {
		return err
	}
	if !w.wait && (n.State != negCompleted || w.sign && !bytes.Equal(n.MIC, keys.in.signature(list))) {
		return errors.New("the server does not end SPNEGO as it should")
	}
	if w.wait && w.sign {
		keys.in.signature(list)
	}
	if b, err := keys.in.open(r.PubKeyAuth); err != nil || !bytes.Equal(b, bound(toClient, nonce, key)) {
		return errors.New("the server does not prove its certificate")
	}
	password, _ := asn1.Marshal(tsPassword{utf16le(c.Domain), utf16le(c.User), utf16le(c.Password)})
	credentials, _ := asn1.Marshal(tsCredentials{w.kind, password})
	return say(tsRequest{AuthInfo: keys.out.seal(credentials)})
}

func initToken(list, token []byte) []byte {
	mechanisms, _ := asn1.Marshal(asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true, Bytes: list})
	if token != nil {
		octets, _ := asn1.Marshal(token)
		b, _ := asn1.Marshal(asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 2, IsCompound: true, Bytes: octets})
		mechanisms = append(mechanisms, b...)
	}
	sequence, _ := asn1.Marshal(asn1.RawValue{Tag: asn1.TagSequence, IsCompound: true, Bytes: mechanisms})
	choice, _ := asn1.Marshal(asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true, Bytes: sequence})
	oid, _ := asn1.Marshal(oidSPNEGO)
	b, _ := asn1.Marshal(asn1.RawValue{Class: asn1.ClassApplication, Tag: 0, IsCompound: true, Bytes: append(oid, choice...)})
	return b
}

func TestNTLMInSPNEGOAsWindowsSendsIt(t *testing.T) {
	cert := testCertificate(t)
	ntlm, kerberos := oidNTLM, oidKerberos
	both := []asn1.ObjectIdentifier{kerberos, ntlm}
	for name, c := range map[string]struct {
		client windowsClient
		want   error
	}{
		"NTLM alone":                      {windowsClient{version: 6, mechanisms: []asn1.ObjectIdentifier{ntlm}, optimistic: true, sign: true}, nil},
		"NTLM alone, not signed":          {windowsClient{version: 6, mechanisms: []asn1.ObjectIdentifier{ntlm}, optimistic: true}, nil},
		"NTLM alone, asked for":           {windowsClient{version: 5, mechanisms: []asn1.ObjectIdentifier{ntlm}, sign: true}, nil},
		"rather Kerberos":                 {windowsClient{version: 6, mechanisms: both, optimistic: true, sign: true}, nil},
		"rather Kerberos, step by step":   {windowsClient{version: 6, mechanisms: both, sign: true, wait: true}, nil},
		"NTLM first, step by step":        {windowsClient{version: 6, mechanisms: []asn1.ObjectIdentifier{ntlm, kerberos}, optimistic: true, sign: true, wait: true}, nil},
		"Kerberos only":                   {windowsClient{version: 6, mechanisms: []asn1.ObjectIdentifier{kerberos}, optimistic: true}, ErrNoNTLM},
		"rather Kerberos, and not signed": {windowsClient{version: 6, mechanisms: both}, ErrProtocol},
		"a list that was changed":         {windowsClient{version: 6, mechanisms: both, sign: true, spoil: true}, ErrProtocol},
		"version 4":                       {windowsClient{version: 4, mechanisms: both, sign: true}, ErrOldClient},
		"version 2":                       {windowsClient{version: 2, mechanisms: both, sign: true}, ErrOldClient},
		"a smart card":                    {windowsClient{version: 6, mechanisms: []asn1.ObjectIdentifier{ntlm}, optimistic: true, kind: 2}, ErrNotPassword},
	} {
		t.Run(name, func(t *testing.T) {
			if c.client.kind == 0 {
				c.client.kind = passwordKind
			}
			mine := Credentials{"", "ideo", "correct horse"}
			var told error
			got, err := accepting(t, cert, knows("ideo", "correct horse"), func(conn net.Conn) { told = c.client.login(conn, cert, mine) })
			switch {
			case !errors.Is(err, c.want):
				t.Errorf("let in as %+v, %v, want %v; the client says %v", got, err, c.want, told)
			case c.want == nil && (got != mine || told != nil):
				t.Errorf("let in as %+v; the client says %v", got, told)
			}
		})
	}
}

func TestAClaimIsReadAsAnybodyElseReadsIt(t *testing.T) {
	ch := challenger{name: "DESK"}
	challenge, err := ch.challenged(negotiateMessage())
	if err != nil {
		t.Fatal(err)
	}
	good, _, err := authenticate(negotiateMessage(), challenge, Credentials{"LAB", "ideo", "x"})
	if err != nil {
		t.Fatal(err)
	}
	if a, err := parseClaim(good); err != nil || a.user != "ideo" || a.domain != "LAB" || ch.provenBy(a, Hash("x")) == nil {
		t.Fatalf("the claim is read as %+v, %v", a, err)
	}
	field := func(at int) int { return int(le.Uint32(good[at+4:])) }
	for name, spoil := range map[string]func(b []byte){
		"OEM names":            func(b []byte) { b[claimFlags] = b[claimFlags]&^1 | 2 },
		"no sealing":           func(b []byte) { b[claimFlags] &^= ntlmSeal },
		"a NUL in the name":    func(b []byte) { b[field(claimUser)], b[field(claimUser)+1] = 0, 0 },
		"half a surrogate":     func(b []byte) { b[field(claimUser)+1] = 0xd8 },
		"half a character":     func(b []byte) { b[claimUser]-- },
		"a name past the end":  func(b []byte) { le.PutUint32(b[claimUser+4:], 1<<31) },
		"a proof past the end": func(b []byte) { le.PutUint16(b[claimProof:], 0xffff) },
		"NTLM version 1":       func(b []byte) { b[claimProof], b[claimProof+1] = 24, 0 },
		"no session key":       func(b []byte) { b[claimKey] = 0 },
	} {
		t.Run(name, func(t *testing.T) {
			b := bytes.Clone(good)
			spoil(b)
			if a, err := parseClaim(b); !errors.Is(err, ErrProtocol) {
				t.Errorf("read as %+v, %v", a, err)
			}
		})
	}
	for name, spoil := range map[string]func(b []byte){
		"the flags": func(b []byte) { b[claimFlags] ^= ntlmSign },
		"the code":  func(b []byte) { b[claimCode] ^= 1 },
		"the name":  func(b []byte) { b[field(claimUser)] = 'j' },
	} {
		t.Run("changed: "+name, func(t *testing.T) {
			b := bytes.Clone(good)
			spoil(b)
			if a, err := parseClaim(b); err == nil && ch.provenBy(a, Hash("x")) != nil {
				t.Errorf("a claim that was changed is believed")
			}
		})
	}
}

func FuzzClient(f *testing.F) {
	ntlm, _ := asn1.Marshal([]asn1.ObjectIdentifier{oidKerberos, oidNTLM})
	for _, token := range [][]byte{negotiateMessage(), initToken(ntlm, nil), initToken(ntlm, []byte("ticket"))} {
		f.Add(token)
	}
	answer, _ := wrapped(negAnswer{State: negIncomplete, Token: negotiateMessage(), MIC: make([]byte, 16)})
	f.Add(answer)
	ch := challenger{name: "DESK", randomness: []byte("12345678")}
	proof, _, _ := authenticate(negotiateMessage(), testChallenge(ntlmMust), Credentials{"LAB", "ideo", "x"})
	f.Add(proof)
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, w := range []wrapping{{}, {begun: true, spnego: true}} {
			if ntlm, _, err := w.unwrap(b); err == nil && len(ntlm) > len(b) {
				t.Fatal("more came out than went in")
			}
		}
		if a, err := parseClaim(b); err == nil {
			if len(a.user) > 3*maxClaimName || !bytes.Equal(a.message, b) {
				t.Fatalf("claim %+v", a)
			}
			if ch.provenBy(a, Hash("no such password")) != nil {
				t.Fatal("something was proven")
			}
		}
		if answer, err := (&challenger{name: "DESK"}).challenged(b); err == nil {
			if _, err := parseChallenge(answer); err != nil {
				t.Fatalf("a challenge that is none: %v", err)
			}
		}
		if c, err := (&server{conn: struct {
			io.Reader
			io.Writer
		}{bytes.NewReader(b), io.Discard}}).accept(knows("ideo", "x")); err == nil {
			t.Fatalf("let in as %+v", c)
		}
		passed := Relay(struct {
			io.Reader
			io.Writer
		}{bytes.NewReader(b), io.Discard}, new(bytes.Buffer), func(string, string) error { return errWrong })
		if passed == nil {
			t.Fatal("a login passed through that the server never answered")
		}
	})
}
