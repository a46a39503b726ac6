package appliance

import (
	"crypto/rand"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"

	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/store"
)

func TestACertificateIsForOneLoginFromHereAndForMinutes(t *testing.T) {
	now := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	ca, err := ssh.ParsePrivateKey(testKey(t))
	do(t, err)
	session, err := ssh.ParsePrivateKey(testKey(t))
	do(t, err)
	se := policy.Session{ID: "s1", Grant: "42", Login: "ideo"}
	person := &policy.Person{Name: "alice"}
	v4, v6 := netip.MustParseAddr("10.50.0.1"), netip.MustParseAddr("fd00::1")
	for _, c := range []struct {
		name    string
		verdict policy.Verdict
		source  netip.Addr
		until   time.Time
		option  string
		forward bool
	}{
		{"a grant without an end", policy.Verdict{Grant: &policy.Grant{}}, v4, now.Add(5 * time.Minute), "10.50.0.1/32", false},
		{"a grant that ends later", policy.Verdict{Grant: &policy.Grant{}, Until: now.Add(time.Hour)}, v6, now.Add(5 * time.Minute), "fd00::1/128", false},
		{"a grant that ends sooner", policy.Verdict{Grant: &policy.Grant{}, Until: now.Add(time.Minute)}, v4, now.Add(time.Minute), "10.50.0.1/32", false},
		{"a grant that forwards", policy.Verdict{Grant: &policy.Grant{Forwarding: policy.Local}}, v4, now.Add(5 * time.Minute), "10.50.0.1/32", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.verdict.Person = person
			cert := certificate(session.PublicKey(), se, c.verdict, c.source, now)
			do(t, cert.SignCert(rand.Reader, ca))
			want := map[string]string{"permit-pty": "", "permit-user-rc": ""}
			if c.forward {
				want["permit-port-forwarding"] = ""
			}
			if diff := cmp.Diff(want, cert.Extensions); diff != "" {
				t.Errorf("extensions: %s", diff)
			}
			if diff := cmp.Diff(map[string]string{"source-address": c.option}, cert.CriticalOptions); diff != "" {
				t.Errorf("critical options: %s", diff)
			}
			if cert.KeyId != "alice session s1 grant 42" || cert.CertType != ssh.UserCert || !cmp.Equal(cert.ValidPrincipals, []string{"ideo"}) {
				t.Errorf("%+v", cert)
			}
			checker := ssh.CertChecker{SupportedCriticalOptions: []string{"source-address"}, IsUserAuthority: func(k ssh.PublicKey) bool { return string(k.Marshal()) == string(ca.PublicKey().Marshal()) }}
			for at, good := range map[time.Time]bool{
				now: true, now.Add(-4 * time.Minute): true, now.Add(-6 * time.Minute): false,
				c.until.Add(-time.Second): true, c.until.Add(time.Second): false,
			} {
				checker.Clock = func() time.Time { return at }
				if err := checker.CheckCert("ideo", cert); (err == nil) != good {
					t.Errorf("at %s: %v", at, err)
				}
			}
			checker.Clock = func() time.Time { return now }
			if checker.CheckCert("root", cert) == nil {
				t.Error("it is good for another login")
			}
		})
	}
}

func TestALoginThatCouldBeTwoPrincipalsGetsNoCertificate(t *testing.T) {
	for _, login := range []string{"ideo,root", "ideo root"} {
		v := &visit{session: policy.Session{ID: "s", Person: "p", Server: "v", Login: login}, ctx: t.Context()}
		k := &keyring{visit: v, person: "p", server: "v", login: login}
		if s, err := k.certify(t.Context(), store.UserCA{}); err == nil || s != nil {
			t.Errorf("%q: %v", login, err)
		}
	}
}
