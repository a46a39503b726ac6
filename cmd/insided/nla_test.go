package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pawelmojski/inside/netfilter/nettest"
)

// exitLogon is how xfreerdp ends when CredSSP says that name or password is
// wrong.
const exitLogon = 134

// shadowHouse is a house whose server insists on NLA.
func shadowHouse(t testing.TB) (*house, *desk, *nettest.Shadow) {
	t.Helper()
	nettest.Need(t, "freerdp-shadow-cli", "winpr-hash", "xfreerdp", "Xvfb", "xterm", "import", "xdotool", "xdpyinfo", "nsenter", "openbox", "xprop")
	h := newHouse(t, settings{})
	x, err := h.StartShadow(accounts("ideo")[0])
	if err != nil {
		t.Fatal(err)
	}
	h.know()
	return h, h.desk(), x
}

func TestAPersonLogsInByNLAWithTheStoredPassword(t *testing.T) {
	h, d, _ := shadowHouse(t)
	h.grant("--protocol", "rdp", "--duration", "1h")

	s := d.rdp("/u:ideo", "/p:"+password, "/sec:nla")
	<-s.done
	if e := h.entries(1)[0]; e.Denial != "not-served" || !strings.Contains(e.Detail, "a password that an administrator has stored") {
		t.Errorf("entry %+v, want not-served because nothing is stored", e)
	}
	h.insideInput(password+"\n", "credential", "add", "p.mojski", "--server", "test-ssh-server", "--login", "ideo", "--password")

	d.rdp("/u:ideo", "/p:wrong horse", "/sec:nla").ends(t, exitLogon)
	if e := h.entries(2)[0]; e.Denial != "not-authenticated" || e.Login != "ideo" || !strings.Contains(e.Detail, "does not know the password") {
		t.Errorf("entry %+v, want not-authenticated", e)
	}
	s = d.rdp("/u:admin", "/p:"+password, "/sec:nla")
	<-s.done
	if e := h.entries(3)[0]; e.Denial != "not-served" || e.Login != "admin" {
		t.Errorf("entry %+v, want not-served for a login that nothing is stored for", e)
	}

	s = d.rdp("/u:ideo", "/p:"+password, "/sec:nla")
	d.shows("the desktop", shadowColour, 100_000, s)
	live := h.live(1)[0]
	if live.Login != "ideo" || live.Protocol != "rdp" {
		t.Errorf("session %+v", live)
	}
	h.inside("session", "kill", live.ID[:8])
	s.ends(t, exitAdmin)
	if found := h.grepState(password); found != "" {
		t.Errorf("the password stands in %s", found)
	}
}

func TestAStoredPasswordLogsInWhoeverNeedsNotKnowIt(t *testing.T) {
	h, d, _ := shadowHouse(t)
	h.grant("--protocol", "rdp", "--duration", "1h")
	add := func(stored string) {
		h.insideInput(stored+"\n", "credential", "add", "p.mojski", "--server", "test-ssh-server", "--login", "ideo", "--password", "--without-proof")
	}
	add("an old password")
	s := d.rdp("/u:ideo", "/sec:tls") // and no password
	d.shows("the message", messageColour, 10_000, s)
	d.keys("key Return")
	s.ends(t, exitDenied)
	h.inside("credential", "remove", "1")
	add(password)
	s = d.rdp("/u:ideo", "/sec:tls")
	d.shows("the desktop", shadowColour, 100_000, s)
	live := h.live(1)[0]
	uses := h.audit("credential.use")
	if len(uses) != 2 || uses[0].Object != "credential 2" || uses[1].Object != "credential 1" || !strings.Contains(uses[0].Detail, "session "+live.ID) {
		t.Errorf("audit: %+v", uses)
	}
	h.inside("session", "kill", live.ID[:8])
	s.ends(t, exitAdmin)
	if found := h.grepState(password); found != "" {
		t.Errorf("the password stands in %s", found)
	}
}

func TestNLAPassesThroughUnderTheServersOwnCertificate(t *testing.T) {
	h, d, x := shadowHouse(t)
	h.grant("--protocol", "rdp", "--duration", "1h")
	at := netip.AddrPortFrom(nettest.BackendIP4, 3389).String()
	importing := func(cert, key string) {
		h.inside("server", "certificate", "import", "test-ssh-server", "--address", at, "--cert", cert, "--key", key)
	}

	// Under another key the login could not reach the server.
	other := filepath.Join(h.dir, "other.pem")
	h.write(other, selfSigned(t))
	importing(other, other)
	s := d.rdp("/u:ideo", "/p:"+password, "/sec:nla")
	<-s.done
	if e := h.entries(1)[0]; e.Denial != "not-served" || !strings.Contains(e.Detail, "the certificate that was imported has SHA256:") {
		t.Errorf("entry %+v, want not-served for another key", e)
	}

	cert, key, err := x.Certificate()
	if err != nil {
		t.Fatal(err)
	}
	importing(cert, key)
	d.rdp("/u:ideo", "/p:wrong horse", "/sec:nla").ends(t, exitLogon)
	if e := h.entries(2)[0]; e.Denial != "not-authenticated" || e.Login != "ideo" || !strings.Contains(e.Detail, "the server did not accept the login") {
		t.Errorf("entry %+v, want not-authenticated by the server", e)
	}
	s = d.rdp("/u:ideo", "/p:"+password, "/sec:nla")
	d.shows("the desktop", shadowColour, 100_000, s)
	live := h.live(1)[0]
	if live.Login != "ideo" || live.Protocol != "rdp" {
		t.Errorf("session %+v", live)
	}
	h.until("the recording equals the window", func() bool { return d.differs(h.replay(live.ID), 8) == 0 })
	h.inside("session", "kill", live.ID[:8])
	s.ends(t, exitAdmin)
	if found := h.grepState(password); found != "" {
		t.Errorf("the password stands in %s", found)
	}
}

// selfSigned is a certificate and its key in PEM.
func selfSigned(t testing.TB) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "other"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})) + string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))
}
