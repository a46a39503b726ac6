package credssp

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"math/big"
	"net"
	"testing"
	"time"
)

// The example of MS-NLMP 4.2.4.
func TestTheExampleOfTheDocumentComesOut(t *testing.T) {
	unhex := func(s string) []byte {
		b, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	c := Credentials{"Domain", "User", "Password"}
	target := unhex("02000c0044006f006d00610069006e0001000c005300650072007600650072000000" + "0000")
	proof, key := response(c, unhex("0123456789abcdef"), unhex("aaaaaaaaaaaaaaaa"), make([]byte, 8), target)
	if got := hex.EncodeToString(proof[:16]); got != "68cd0ab851e51c96aabc927bebef6a1c" {
		t.Errorf("proof %s", got)
	}
	if got := hex.EncodeToString(key); got != "8de40ccadbc14a82f15cb0ad0de95ca3" {
		t.Errorf("session key %s", got)
	}
	if got := hex.EncodeToString(Hash("Password")); got != "a4f49c406510bdcab6824ee7c30fd852" {
		t.Errorf("hash of the password %s", got)
	}
	if got := hex.EncodeToString(owner(Hash("Password"), "Domain", "User")); got != "0c868a403bfd7a93a3001ef22ef02e3f" {
		t.Errorf("hash of the password and its owner %s", got)
	}
	wrapped := make([]byte, 16)
	stream(key).XORKeyStream(wrapped, bytes.Repeat([]byte{0x55}, 16))
	if got := hex.EncodeToString(wrapped); got != "c5dad2544fc9799094ce1ce90bc9d03e" {
		t.Errorf("wrapped session key %s", got)
	}
	s := newSession(bytes.Repeat([]byte{0x55}, 16))
	if got := hex.EncodeToString(s.out.seal(utf16le("Plaintext"))); got != "010000007fb38ec5c55d497600000000"+"54e50165bf1936dc996020c1811b0f06fb5f" {
		t.Errorf("sealed message %s", got)
	}
}

func TestWhatIsSealedOpensOnceAndUnchanged(t *testing.T) {
	key := bytes.Repeat([]byte{7}, 16)
	a, b := newSession(key), newSession(key)
	b.in, b.out = b.out, b.in
	for _, message := range []string{"", "first", "second"} {
		got, err := b.in.open(a.out.seal([]byte(message)))
		if err != nil || string(got) != message {
			t.Errorf("%q became %q, %v", message, got, err)
		}
	}
	changed := a.out.seal([]byte("third"))
	changed[len(changed)-1] ^= 1
	if _, err := b.in.open(changed); !errors.Is(err, ErrProtocol) {
		t.Errorf("a changed message opens: %v", err)
	}
}

func TestAServerThatLiesIsLeft(t *testing.T) {
	cert := testCertificate(t)
	for name, c := range map[string]struct {
		answers []any
		want    error
	}{
		"an old version":     {[]any{tsRequest{Version: 4, NegoTokens: []negoToken{{testChallenge(ntlmMust)}}}}, ErrOld},
		"a refusal":          {[]any{tsRequest{Version: 6, ErrorCode: 0xc000006d}}, ErrRefused},
		"no challenge":       {[]any{tsRequest{Version: 6}}, ErrProtocol},
		"no sealing":         {[]any{tsRequest{Version: 6, NegoTokens: []negoToken{{testChallenge(ntlmUnicode)}}}}, ErrProtocol},
		"a relayed login":    {[]any{tsRequest{Version: 6, NegoTokens: []negoToken{{testChallenge(ntlmMust)}}}, tsRequest{Version: 6, PubKeyAuth: make([]byte, 48)}}, ErrProtocol},
		"a wrong password":   {[]any{tsRequest{Version: 6, NegoTokens: []negoToken{{testChallenge(ntlmMust)}}}, tsRequest{Version: 6, ErrorCode: 0xc000006d}}, ErrRefused},
		"hanging up instead": {[]any{tsRequest{Version: 6, NegoTokens: []negoToken{{testChallenge(ntlmMust)}}}}, ErrRefused},
		"garbage":            {[]any{"not CredSSP at all"}, ErrProtocol},
	} {
		t.Run(name, func(t *testing.T) {
			near, far := net.Pipe()
			near.SetDeadline(time.Now().Add(10 * time.Second))
			far.SetDeadline(time.Now().Add(10 * time.Second))
			go func() {
				defer far.Close()
				buf := make([]byte, 64<<10)
				for _, a := range c.answers {
					far.Read(buf)
					b, ok := a.(string)
					if !ok {
						der, err := asn1.Marshal(a)
						if err != nil {
							panic(err)
						}
						b = string(der)
					}
					far.Write([]byte(b))
				}
				far.Read(buf)
			}()
			if err := Login(near, cert, Credentials{"", "ideo", "x"}); !errors.Is(err, c.want) {
				t.Errorf("login: %v, want %v", err, c.want)
			}
		})
	}
}

func testCertificate(t *testing.T) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func testChallenge(flags uint32) []byte {
	b := make([]byte, 48)
	copy(b, signature)
	le.PutUint32(b[8:], 2)
	le.PutUint32(b[20:], flags)
	copy(b[24:], "12345678")
	target := appendAttribute(nil, avTime, make([]byte, 8))
	target = appendAttribute(target, avEnd, nil)
	le.PutUint16(b[40:], uint16(len(target)))
	le.PutUint16(b[42:], uint16(len(target)))
	le.PutUint32(b[44:], uint32(len(b)))
	return append(b, target...)
}

func FuzzServer(f *testing.F) {
	der, _ := asn1.Marshal(tsRequest{Version: 6, NegoTokens: []negoToken{{testChallenge(ntlmMust)}}})
	f.Add(der)
	f.Add(testChallenge(ntlmMust))
	f.Fuzz(func(t *testing.T, b []byte) {
		receive(bytes.NewReader(b))
		if proof, keys, err := authenticate(negotiateMessage(), b, Credentials{"LAB", "ideo", "x"}); err == nil {
			if len(proof) < 88 || keys == nil {
				t.Fatalf("a proof of %d bytes", len(proof))
			}
			keys.in.open(b)
		}
	})
}
