package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pawelmojski/inside/netfilter/nettest"
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
