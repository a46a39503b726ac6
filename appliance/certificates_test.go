package appliance

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"
)

func TestWhoTrustsTheGatesAuthorityIsNotAskedAboutItsCertificates(t *testing.T) {
	dir := t.TempDir()
	open := func() *Certificates {
		c, err := OpenCertificates(dir, nil, "gate-1", time.Now)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	c := open()
	dest := netip.MustParseAddrPort("10.30.0.140:3389")
	// Whoever asks for the authority meanwhile gets the one that signs.
	var asking sync.WaitGroup
	asking.Go(func() {
		if _, err := c.Authority(t.Context()); err != nil {
			t.Error(err)
		}
	})
	own, imported, err := c.Own(t.Context(), dest, "desk.lab")
	asking.Wait()
	if err != nil || imported {
		t.Fatalf("%v, imported %v", err, imported)
	}
	authority, err := c.Authority(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(authority)
	for _, name := range []string{"10.30.0.140", "desk.lab"} {
		if _, err := own.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: name}); err != nil {
			t.Errorf("a client that dials %s: %v", name, err)
		}
	}
	nameless, _, err := c.Own(t.Context(), netip.MustParseAddrPort("10.30.0.141:3389"), "not a host name")
	if err != nil || len(nameless.Leaf.DNSNames) != 0 {
		t.Errorf("%v, names %q", err, nameless.Leaf.DNSNames)
	}

	// An imported one takes its place, also after a restart, and gives it back.
	theirs, _, err := c.Own(t.Context(), netip.MustParseAddrPort("10.30.0.142:3389"), "")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Import(dest, theirs); err != nil {
		t.Fatal(err)
	}
	shows := func(c *Certificates, want *tls.Certificate, wantImported bool) {
		t.Helper()
		got, imported, err := c.Own(t.Context(), dest, "desk.lab")
		if err != nil || imported != wantImported || !bytes.Equal(got.Certificate[0], want.Certificate[0]) {
			t.Errorf("the gate shows %v (imported %v), %v", got.Leaf.Subject, imported, err)
		}
	}
	shows(c, theirs, true)
	shows(open(), theirs, true)
	if dropped, err := c.Drop(dest); !dropped || err != nil {
		t.Errorf("dropped %v, %v", dropped, err)
	}
	shows(c, own, false)
	if dropped, err := c.Drop(dest); dropped || err != nil {
		t.Errorf("dropped again: %v, %v", dropped, err)
	}
	files, err := os.ReadDir(dir + "/rdp")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if st, err := f.Info(); err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v, %v", f.Name(), st.Mode(), err)
		}
	}
}
