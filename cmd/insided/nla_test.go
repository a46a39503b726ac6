package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"encoding/pem"
	"io"
	"math/big"
	"net"
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

// An nlaHouse is a house whose server insists on NLA, and who dials it.
type nlaHouse struct {
	*house
	d *desk
	x *nettest.Shadow
	n int // entries so far
}

// denied waits for the next entry, which must be a denied one.
func (h *nlaHouse) denied(t *testing.T, denial, login, reason string) {
	t.Helper()
	h.n++
	if e := h.entries(h.n)[0]; e.Denial != denial || e.Login != login || !strings.Contains(e.Detail, reason) {
		t.Errorf("entry %+v, want %s of %q because of %q", e, denial, login, reason)
	}
}

// enters has somebody see the desktop, and ends that.
func (h *nlaHouse) enters(t *testing.T, args ...string) (session string) {
	t.Helper()
	h.n++
	s := h.d.rdp(args...)
	h.d.shows("the desktop", shadowColour, 100_000, s)
	live := h.live(1)[0]
	if live.Login != "ideo" || live.Protocol != "rdp" {
		t.Errorf("session %+v", live)
	}
	h.until("the recording equals the window", func() bool { return h.d.differs(h.replay(live.ID), 8) == 0 })
	h.inside("session", "kill", live.ID[:8])
	s.ends(t, exitAdmin)
	return live.ID
}

func (h *nlaHouse) store(stored string, args ...string) {
	h.insideInput(stored+"\n", append([]string{"credential", "add", "p.mojski", "--server", "test-ssh-server", "--login", "ideo", "--password"}, args...)...)
}

// One house for all: most of what these stories take is to build it.
func TestNLAOnBothSides(t *testing.T) {
	h := &nlaHouse{}
	h.house, h.d, h.x = shadowHouse(t)
	h.grant("--protocol", "rdp", "--duration", "1h")
	t.Run("the gate checks a stored password", h.checksStored)
	t.Run("clients that cannot be carried are refused by name", h.refusesByName)
	h.inside("credential", "remove", "1")
	t.Run("a stored password that needs no proof is used", h.usesStored)
	h.inside("credential", "remove", "3")
	t.Run("under the server's own certificate a login passes through", h.passes)
	if found := h.grepState(password); found != "" {
		t.Errorf("the password stands in %s", found)
	}
}

func (h *nlaHouse) checksStored(t *testing.T) {
	s := h.d.rdp("/u:ideo", "/p:"+password, "/sec:nla")
	<-s.done
	h.denied(t, "not-served", "ideo", "a password that an administrator has stored")
	h.store(password)
	h.d.rdp("/u:ideo", "/p:wrong horse", "/sec:nla").ends(t, exitLogon)
	h.denied(t, "not-authenticated", "ideo", "does not know the password")
	s = h.d.rdp("/u:admin", "/p:"+password, "/sec:nla")
	<-s.done
	h.denied(t, "not-served", "admin", "a password that an administrator has stored")
	h.enters(t, "/u:ideo", "/p:"+password, "/sec:nla")
}

func (h *nlaHouse) usesStored(t *testing.T) {
	h.store("an old password", "--without-proof")
	h.n++
	s := h.d.rdp("/u:ideo", "/sec:tls") // and no password
	h.d.shows("the message", messageColour, 10_000, s)
	h.d.keys("key Return")
	s.ends(t, exitDenied)
	h.inside("credential", "remove", "2")
	h.store(password, "--without-proof")
	session := h.enters(t, "/u:ideo", "/sec:tls")
	uses := h.audit("credential.use")
	if len(uses) != 2 || uses[0].Object != "credential 3" || uses[1].Object != "credential 2" || !strings.Contains(uses[0].Detail, "session "+session) {
		t.Errorf("audit: %+v", uses)
	}
}

func (h *nlaHouse) passes(t *testing.T) {
	at := netip.AddrPortFrom(nettest.BackendIP4, 3389).String()
	importing := func(cert, key string) {
		h.inside("server", "certificate", "import", "test-ssh-server", "--address", at, "--cert", cert, "--key", key)
	}
	// Under another key the login could not reach the server.
	other := filepath.Join(h.dir, "other.pem")
	h.write(other, selfSigned(t))
	importing(other, other)
	s := h.d.rdp("/u:ideo", "/p:"+password, "/sec:nla")
	<-s.done
	h.denied(t, "not-served", "ideo", "the certificate that was imported has SHA256:")

	cert, key, err := h.x.Certificate()
	if err != nil {
		t.Fatal(err)
	}
	importing(cert, key)
	h.d.rdp("/u:ideo", "/p:wrong horse", "/sec:nla").ends(t, exitLogon)
	h.denied(t, "not-authenticated", "ideo", "the server did not accept the login")
	h.enters(t, "/u:ideo", "/p:"+password, "/sec:nla")
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

// Clients that xfreerdp cannot be made to be, up to where they are refused.
func (h *nlaHouse) refusesByName(t *testing.T) {
	const nla, rdsTLS, entra = 2, 4, 0x10
	at := netip.AddrPortFrom(nettest.BackendIP4, 3389).String()
	for _, c := range []struct {
		what      string
		flags     byte
		protocols uint32
		old       bool // it says a CredSSP message of version 4
		confirm   byte // 2: the server chose, 3: it chose nothing
		reason    string
	}{
		{"standard RDP security", 0, 0, false, 3, "standard RDP security"},
		{"a token of Entra ID", 0, entra, false, 3, "RDSAAD"},
		{"RDSTLS", 0, rdsTLS, false, 3, "RDSTLS"},
		{"restricted admin", 1, nla, false, 3, "restricted admin"},
		{"remote credential guard", 2, nla, false, 3, "remote credential guard"},
		{"CredSSP version 4", 0, nla, true, 2, "CredSSP is older than version 5"},
	} {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		conn, err := h.Client.Dial(ctx, at)
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		conn.SetDeadline(time.Now().Add(patience))
		kind := askRDP(t, conn, c.flags, c.protocols)
		if kind != c.confirm {
			t.Errorf("%s: confirm of kind %d, want %d", c.what, kind, c.confirm)
		}
		if c.old {
			conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
			// TSRequest{version 4, no token yet} (MS-CSSP 2.2.1).
			conn.Write([]byte{0x30, 5, 0xa0, 3, 2, 1, 4})
			answer, _ := io.ReadAll(conn)
			if status := []byte{0xa4, 6, 2, 4, 0xc0, 0, 0, 0xbb}; !strings.Contains(string(answer), string(status)) {
				t.Errorf("%s: answered % x, want STATUS_NOT_SUPPORTED", c.what, answer)
			}
		}
		conn.Close()
		h.denied(t, "not-served", "", c.reason)
	}
	h.live(0)
}

// askRDP sends a connection request (MS-RDPBCGR 2.2.1.1) and returns the kind
// of the answer.
func askRDP(t testing.TB, conn net.Conn, flags byte, protocols uint32) byte {
	t.Helper()
	request := []byte{3, 0, 0, 19, 14, 0xe0, 0, 0, 0, 0, 0, 1, flags, 8, 0}
	if _, err := conn.Write(binary.LittleEndian.AppendUint32(request, protocols)); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 19)
	if _, err := io.ReadFull(conn, answer); err != nil {
		t.Fatal(err)
	}
	return answer[11]
}
