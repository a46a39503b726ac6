package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/pawelmojski/inside/appliance/api"
	"github.com/pawelmojski/inside/netfilter/nettest"
)

// look is what inside doctor rdp finds, in JSON; the words for people come
// with it.
func (h *house) look() (l api.RDPLook, words string) {
	h.t.Helper()
	words, _ = h.tryInside("doctor", "rdp", "test-ssh-server", "--address", nettest.BackendIP4.String())
	if err := json.Unmarshal([]byte(h.inside("doctor", "rdp", "test-ssh-server", "--address", nettest.BackendIP4.String(), "--json")), &l); err != nil {
		h.t.Fatal(err)
	}
	return l, words
}

func TestTheDoctorSaysWhatAServerOfRDPAsksFor(t *testing.T) {
	nettest.Need(t, "freerdp-shadow-cli", "winpr-hash", "xrdp", "xterm", "Xvfb", "xdpyinfo")
	h := newHouse(t, settings{})
	h.know()
	if out, err := h.tryInside("doctor", "rdp", "test-ssh-server", "--address", nettest.BackendIP4.String()); err == nil {
		t.Errorf("where nobody listens the doctor says\n%s", out)
	}
	shadow, err := h.StartShadow(accounts("ideo")[0])
	if err != nil {
		t.Fatal(err)
	}
	l, words := h.look()
	if !l.Usable || !slices.Contains(l.Takes, "nla") || slices.Contains(l.Takes, "tls") || !l.Insists || l.CredSSP < 5 || !strings.HasPrefix(l.TLS, "TLS 1.") {
		t.Errorf("freerdp-shadow looks like %+v", l)
	}
	if l.Certificate == nil || l.Certificate.Pinned != "no" || !strings.Contains(words, "sign-in form") || !strings.Contains(words, "not pinned yet") {
		t.Errorf("certificate %+v; the words are\n%s", l.Certificate, words)
	}
	shadow.Kill()
	if _, err := h.StartXRDP(nettest.XRDPOptions{Users: accounts("ideo")}); err != nil {
		t.Fatal(err)
	}
	l, words = h.look()
	if !l.Usable || !slices.Contains(l.Takes, "tls") || l.Insists || !strings.Contains(words, "login screen") {
		t.Errorf("xrdp looks like %+v; the words are\n%s", l, words)
	}
	t.Logf("%s", words)
}
