package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pawelmojski/inside/netfilter/nettest"
	"github.com/pawelmojski/inside/store"
)

// keyFile makes a key pair and returns the file and the public half.
func (h *house) keyFile(name string) (file, public string) {
	h.t.Helper()
	file = filepath.Join(h.dir, name)
	public, err := nettest.NewKey(file)
	if err != nil {
		h.t.Fatal(err)
	}
	return file, public
}

// authorize lets keys in at an account of the server, and no others.
func (h *house) authorize(login string, keys ...string) {
	h.t.Helper()
	h.write(filepath.Join(h.sshd.Home(login), ".ssh", "authorized_keys"), strings.Join(keys, "\n")+"\n")
}

// insideInput runs the command with something on its standard input.
func (h *house) insideInput(stdin string, args ...string) string {
	h.t.Helper()
	cmd := h.Gateway.Command(context.Background(), filepath.Join(binaries, "inside"), append([]string{"--socket", h.socket()}, args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		h.t.Fatalf("inside %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// withKey is ssh with a plain key file, no agent, and nobody to ask.
func (h *house) withKey(key string, args ...string) result {
	h.t.Helper()
	return h.ssh(append([]string{"-i", key, "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes"}, args...)...)
}

func TestAPlainKeyFileAndNoAgentIsEnoughWhereTheGateHoldsAKey(t *testing.T) {
	h := newHouse(t, settings{})
	h.know()
	h.grant()
	mine, minePub := h.keyFile("id_mine")
	stored, storedPub := h.keyFile("id_stored")
	h.authorize("ideo", storedPub)
	h.insideInput(minePub+" p.mojski@home", "person", "key", "add", "p.mojski")
	h.insideInput(read(t, stored), "credential", "add", "p.mojski", "--server", "test-ssh-server", "--login", "ideo")

	server := at("ideo", nettest.BackendIP4)
	r := h.withKey(mine, server, "id -un; exit 3")
	if r.exit != 3 || r.stdout != "ideo\n" || r.asked || strings.Contains(r.stderr, "Inside") {
		t.Fatalf("exit %d, asked %v\n%s%s\n%s", r.exit, r.asked, r.stdout, r.stderr, h.daemon.Output())
	}
}

func read(t testing.TB, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestAKeyOfSomebodyElseProvesNothing(t *testing.T) {
	h := newHouse(t, settings{})
	h.know()
	h.grant()
	h.inside("person", "add", "alice", "--ip", "10.9.9.9")
	hers, hersPub := h.keyFile("id_alice")
	stored, storedPub := h.keyFile("id_stored")
	unknown, _ := h.keyFile("id_unknown")
	// The server would even take it: it is still not p.mojski's.
	h.authorize("ideo", storedPub, hersPub)
	h.insideInput(hersPub, "person", "key", "add", "alice")
	h.insideInput(read(t, stored), "credential", "add", "p.mojski")

	server := at("ideo", nettest.BackendIP4)
	r := h.withKey(hers, server, "id -un")
	if r.exit != 255 || r.stdout != "" || !strings.Contains(r.stderr, "is registered for somebody else and proves nothing here") {
		t.Errorf("a key of alice's: exit %d\n%s%s", r.exit, r.stdout, r.stderr)
	}
	if strings.Contains(r.stderr, "alice") {
		t.Errorf("it is said whose key it is:\n%s", r.stderr)
	}
	r = h.withKey(unknown, server, "id -un")
	if r.exit != 255 || !strings.Contains(r.stderr, "Permission denied") {
		t.Errorf("a key nobody knows: exit %d\n%s%s", r.exit, r.stdout, r.stderr)
	}
	if uses := h.audit("credential.use"); len(uses) != 0 {
		t.Errorf("what is held was used: %+v", uses)
	}
}

func TestAStoredPasswordLogsIn(t *testing.T) {
	for _, pam := range []bool{false, true} {
		t.Run(map[bool]string{false: "by password", true: "by keyboard-interactive"}[pam], func(t *testing.T) {
			h := newHouse(t, settings{sshd: nettest.SSHDOptions{PAM: pam, Config: []string{"PubkeyAuthentication no",
				map[bool]string{false: "KbdInteractiveAuthentication no", true: "PasswordAuthentication no"}[pam]}}})
			h.know()
			id := h.grant()
			mine, minePub := h.keyFile("id_mine")
			h.insideInput(minePub, "person", "key", "add", "p.mojski")
			h.insideInput(password+"\n", "credential", "add", "p.mojski", "--login", "ideo", "--password")
			server := at("ideo", nettest.BackendIP4)
			r := h.withKey(mine, server, "id -un")
			if r.exit != 0 || r.stdout != "ideo\n" {
				t.Fatalf("exit %d\n%s%s\n%s", r.exit, r.stdout, r.stderr, h.daemon.Output())
			}
			uses := h.audit("credential.use")
			if len(uses) != 1 || uses[0].Object != "credential 1" || !strings.Contains(uses[0].Detail, "person p.mojski, server test-ssh-server") {
				t.Errorf("audit: %+v", uses)
			}
			h.inside("grant", "revoke", id)
			if r := h.withKey(mine, server, "id -un"); r.exit != 255 || !strings.Contains(r.stderr, "may not enter") {
				t.Errorf("after the grant was revoked: exit %d\n%s%s", r.exit, r.stdout, r.stderr)
			}
			if uses := h.audit("credential.use"); len(uses) != 1 {
				t.Errorf("it was used without a grant: %+v", uses)
			}
		})
	}
}

func TestACertificateOfTheUserCALogsIn(t *testing.T) {
	trusted := filepath.Join(t.TempDir(), "ca.pub")
	h := newHouse(t, settings{sshd: nettest.SSHDOptions{Config: []string{"TrustedUserCAKeys " + trusted, "PasswordAuthentication no"}}})
	h.know()
	h.grant()
	mine, minePub := h.keyFile("id_mine")
	h.insideInput(minePub, "person", "key", "add", "p.mojski")
	ca := h.inside("ca", "user")
	if again := h.inside("ca", "user"); again != ca {
		t.Errorf("the user CA changes by itself:\n%s%s", ca, again)
	}
	h.write(trusted, ca)
	server := at("ideo", nettest.BackendIP4)
	if r := h.withKey(mine, server, "id -un"); r.exit == 0 {
		t.Fatalf("a certificate is used where no admin has said so")
	}
	h.inside("ca", "user", "trust", "test-ssh-server")
	r := h.withKey(mine, server, "id -un")
	if r.exit != 0 || r.stdout != "ideo\n" || strings.Contains(r.stderr, "Inside") {
		t.Fatalf("exit %d\n%s%s\n%s\n%s", r.exit, r.stdout, r.stderr, h.daemon.Output(), h.sshd.Output())
	}
	for _, want := range []string{"ED25519-CERT", "p.mojski session", "serial 1"} {
		if !strings.Contains(h.sshd.Output(), want) {
			t.Errorf("sshd does not say %q of the certificate:\n%s", want, h.sshd.Output())
		}
	}
	if issued := h.audit("certificate.issue"); len(issued) != 1 || issued[0].Object != "certificate 1" {
		t.Errorf("audit: %+v", issued)
	}

	// Both keys of a rotation serve; the server learns the new one later.
	if both := h.inside("ca", "user", "--rotate"); strings.Count(both, "ssh-ed25519 ") != 2 || !strings.Contains(both, strings.TrimSpace(ca)) {
		t.Errorf("after a rotation both are shown:\n%s", both)
	}
	if r := h.withKey(mine, server, "id -un"); r.exit != 0 || r.stdout != "ideo\n" {
		t.Errorf("after a rotation: exit %d\n%s%s", r.exit, r.stdout, r.stderr)
	}
	h.inside("ca", "user", "distrust", "test-ssh-server")
	if r := h.withKey(mine, server, "id -un"); r.exit == 0 {
		t.Errorf("a certificate is used after distrust")
	}
}

// audit returns the audit rows of an action, the newest first.
func (h *house) audit(action string) []store.AuditRow {
	h.t.Helper()
	s, err := store.Open(context.Background(), filepath.Join(h.dir, "state", "inside.db"))
	if err != nil {
		h.t.Fatal(err)
	}
	defer s.Close()
	rows, err := s.AuditRows(context.Background(), store.AuditFilter{Action: action})
	if err != nil {
		h.t.Fatal(err)
	}
	return rows
}
