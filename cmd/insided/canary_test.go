package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/pawelmojski/inside/netfilter/nettest"
)

// A stored secret must be nowhere but in its seal: not in the database's
// bytes, in a recording, a log, an answer of the API, or what the kernel tells
// of the process.
func TestAStoredSecretIsNowhereButInItsSeal(t *testing.T) {
	const canary = "kanarek-7f3a9c51"
	h := newHouse(t, settings{sshd: nettest.SSHDOptions{Users: []nettest.User{{Name: "ideo", Password: canary}, {Name: "root", Password: canary}}}})
	h.know()
	h.grant()
	mine, minePub := h.keyFile("id_mine")
	stored, storedPub := h.keyFile("id_stored")
	h.insideInput(minePub, "person", "key", "add", "p.mojski")
	h.insideInput(read(t, stored), "credential", "add", "p.mojski", "--login", "root")
	h.insideInput(canary, "credential", "add", "p.mojski", "--login", "ideo", "--password")
	h.authorize("root", storedPub)
	h.inside("credential", "enroll", "test-ssh-server", "on")
	for _, login := range []string{"root", "ideo"} {
		if r := h.withKey(mine, at(login, nettest.BackendIP4), "id -un"); r.stdout != login+"\n" {
			t.Fatalf("%s: exit %d\n%s%s\n%s", login, r.exit, r.stdout, r.stderr, h.daemon.Output())
		}
	}
	// A login by the person's own password makes the gate's own key.
	if r := h.sshWith("LAB_PASSWORD="+canary, at("ideo", nettest.BackendIP4), "true"); r.exit != 0 {
		t.Fatalf("exit %d\n%s", r.exit, r.stderr)
	}
	h.until("the account is enrolled", func() bool { return strings.Contains(h.inside("credential", "enrolled"), " enrolled ") })
	h.live(0)

	raw, err := ssh.ParseRawPrivateKey([]byte(read(t, stored)))
	if err != nil {
		t.Fatal(err)
	}
	seed := raw.(*ed25519.PrivateKey).Seed()
	body := strings.Split(read(t, stored), "\n")
	secrets := map[string][]byte{
		"the password": []byte(canary), "the password in base64": []byte(base64.StdEncoding.EncodeToString([]byte(canary))[:20]),
		"the password in hexadecimal": []byte(hex.EncodeToString([]byte(canary))),
		"the key":                     seed, "the key's PEM": []byte(body[len(body)-4]), "the key in hexadecimal": []byte(hex.EncodeToString(seed)),
		"a private key": []byte("PRIVATE KEY"),
	}
	nowhere := func(where string, text []byte) {
		t.Helper()
		for what, secret := range secrets {
			if bytes.Contains(text, secret) {
				t.Errorf("%s is in %s", what, where)
			}
		}
	}
	searched := 0
	for _, dir := range []string{filepath.Join(h.dir, "state"), h.run()} {
		filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() && !strings.Contains(path, "/keys/10.30.") { // the gate's host keys are keys
				if !strings.Contains(path, "/keys/") || strings.Contains(path, "credentials") {
					nowhere(path, []byte(read(t, path)))
					searched++
				}
			}
			return nil
		})
	}
	if searched < 5 {
		t.Errorf("only %d files were searched", searched)
	}
	nowhere("the log", []byte(h.daemon.Output()))
	for _, file := range []string{"environ", "cmdline"} {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", h.daemon.PID(), file))
		if err != nil {
			t.Fatal(err)
		}
		nowhere(file, text)
	}
	if limits := read(t, fmt.Sprintf("/proc/%d/limits", h.daemon.PID())); !regexp.MustCompile(`(?m)^Max core file size +1 +1 `).MatchString(limits) {
		t.Errorf("the daemon may leave a core file:\n%s", limits)
	}
	for _, args := range [][]string{{"credential", "list"}, {"credential", "enrolled"}, {"person", "key", "list"}, {"person", "list"}, {"entries"}, {"sessions"}, {"audit", "list"}, {"ca", "user"}} {
		nowhere("inside "+strings.Join(args, " "), []byte(h.inside(append(args, "--json")...)))
	}
}

// sshWith is ssh with something more in its environment.
func (h *house) sshWith(env string, args ...string) result {
	h.t.Helper()
	cmd := h.sshCommand(h.t.Context(), args...)
	cmd.Env = append(cmd.Env, env)
	return h.finish(cmd)
}

func TestAWrongDataKeyAndASwappedRowLetNothingOut(t *testing.T) {
	h := newHouse(t, settings{})
	h.know()
	h.grant()
	mine, minePub := h.keyFile("id_mine")
	h.insideInput(minePub, "person", "key", "add", "p.mojski")
	h.insideInput(password, "credential", "add", "p.mojski", "--login", "ideo", "--password")
	h.insideInput("another password", "credential", "add", "p.mojski", "--login", "root", "--password")
	server := at("ideo", nettest.BackendIP4)
	works := func() {
		t.Helper()
		if r := h.withKey(mine, server, "id -un"); r.stdout != "ideo\n" {
			t.Fatalf("exit %d\n%s%s\n%s", r.exit, r.stdout, r.stderr, h.daemon.Output())
		}
	}
	fails := func(logged string) {
		t.Helper()
		r := h.withKey(mine, server, "id -un")
		if r.exit != 255 || !strings.Contains(r.stderr, "credential 1, which the gate holds for you, cannot be used") {
			t.Errorf("exit %d\n%s%s", r.exit, r.stdout, r.stderr)
		}
		if !strings.Contains(h.daemon.Output(), logged) {
			t.Errorf("the log does not say %q:\n%s", logged, h.daemon.Output())
		}
		// The person can still log in with what they know themselves.
		if r := h.ssh(server, "id -un"); r.stdout != "ideo\n" || !r.asked {
			t.Errorf("by password: exit %d\n%s%s", r.exit, r.stdout, r.stderr)
		}
	}
	works()

	file := filepath.Join(h.dir, "state", "keys", "credentials.key")
	key := read(t, file)
	other := make([]byte, 32)
	rand.Read(other)
	h.stop()
	h.replace(file, string(other))
	h.start()
	fails(file)
	h.stop()
	h.replace(file, key)
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	h.start()
	fails("others may read " + file)
	if out, err := h.tryInside("credential", "list"); err != nil || !strings.Contains(out, "password") {
		t.Errorf("the list needs no key: %v\n%s", err, out)
	}
	h.stop()
	h.replace(file, key)
	h.start()
	works()

	h.stop()
	db, err := sql.Open("sqlite", filepath.Join(h.dir, "state", "inside.db"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec("UPDATE credentials SET sealed = (SELECT sealed FROM credentials WHERE id = 2) WHERE id = 1"); err != nil {
		t.Fatal(err)
	}
	db.Close()
	h.start()
	fails("the seal is broken")
}

// replace writes a file that only root may read.
func (h *house) replace(file, text string) {
	h.t.Helper()
	os.Remove(file)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		h.t.Fatal(err)
	}
}
