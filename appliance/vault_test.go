package appliance

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/pawelmojski/inside/appliance/api"
	"github.com/pawelmojski/inside/proxy"
	"github.com/pawelmojski/inside/store"
)

func TestASealOpensForItsPurposeOnly(t *testing.T) {
	v := OpenVault(t.TempDir())
	c := store.Credential{ID: "7", Person: "p", Server: "s", Login: "l", Kind: store.KeyCredential, Public: []byte("k")}
	secret := []byte("canary")
	sealed, err := v.Seal(secret, purposeOf(c)...)
	do(t, err)
	if bytes.Contains(sealed, secret) {
		t.Fatal("the secret can be read in its seal")
	}
	if open, err := v.Open(sealed, purposeOf(c)...); err != nil || string(open) != "canary" {
		t.Fatalf("opened %q, %v", open, err)
	}
	// A row that is swapped, whatever of it.
	for what, change := range map[string]func(*store.Credential){
		"id": func(c *store.Credential) { c.ID = "8" }, "person": func(c *store.Credential) { c.Person = "q" },
		"server": func(c *store.Credential) { c.Server = "" }, "login": func(c *store.Credential) { c.Login = "" },
		"kind": func(c *store.Credential) { c.Kind = store.PasswordCredential }, "public half": func(c *store.Credential) { c.Public = nil },
		"border between fields": func(c *store.Credential) { c.Person, c.Server = "ps", "" },
	} {
		swapped := c
		change(&swapped)
		if open, err := v.Open(sealed, purposeOf(swapped)...); err == nil || len(open) > 0 || !strings.Contains(err.Error(), "the seal is broken") {
			t.Errorf("another %s: opened %q, %v", what, open, err)
		}
	}
	for i := range sealed {
		changed := bytes.Clone(sealed)
		changed[i] ^= 1
		if open, err := v.Open(changed, purposeOf(c)...); err == nil || len(open) > 0 {
			t.Errorf("byte %d changed: opened %q", i, open)
		}
		if open, err := v.Open(sealed[:i], purposeOf(c)...); err == nil || len(open) > 0 {
			t.Errorf("cut at %d: opened %q", i, open)
		}
	}
}

func TestAnotherDataKeyOpensNothingAndSaysWhichFile(t *testing.T) {
	one, other := t.TempDir(), t.TempDir()
	sealed, err := OpenVault(one).Seal([]byte("canary"), "x")
	do(t, err)
	_, err = OpenVault(other).Seal([]byte("else"), "x") // makes another key
	do(t, err)
	_, err = OpenVault(other).Open(sealed, "x")
	if err == nil || !strings.Contains(err.Error(), filepath.Join(other, "credentials.key")) || !strings.Contains(err.Error(), "another key") {
		t.Errorf("%v", err)
	}
	do(t, os.Remove(filepath.Join(one, "credentials.key")))
	_, err = OpenVault(one).Open(sealed, "x")
	if err == nil || !strings.Contains(err.Error(), filepath.Join(one, "credentials.key")) || !strings.Contains(err.Error(), "backup") {
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(filepath.Join(one, "credentials.key")); err == nil {
		t.Error("a lost key was replaced in silence")
	}
}

func TestADataKeyThatOthersMayReadIsRefused(t *testing.T) {
	for what, lay := range map[string]func(file string) error{
		"may read":    func(f string) error { return os.WriteFile(f, make([]byte, 32), 0o644) },
		"is not a":    func(f string) error { return os.Mkdir(f, 0o700) },
		"has 5 bytes": func(f string) error { return os.WriteFile(f, []byte("short"), 0o600) },
		"has 5000":    func(f string) error { return os.WriteFile(f, make([]byte, 5000), 0o600) },
	} {
		dir := t.TempDir()
		file := filepath.Join(dir, "credentials.key")
		do(t, lay(file))
		_, err := OpenVault(dir).Seal([]byte("canary"), "x")
		if err == nil || !strings.Contains(err.Error(), file) || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestTheDataKeyComesFromSystemdWhereItHandsOneOver(t *testing.T) {
	handed, state := t.TempDir(), t.TempDir()
	key := make([]byte, 48)
	rand.Read(key)
	do(t, os.WriteFile(filepath.Join(handed, "inside.key"), key, 0o440)) // the mask of an ACL
	t.Setenv("CREDENTIALS_DIRECTORY", handed)
	sealed, err := OpenVault(state).Seal([]byte("canary"), "x")
	do(t, err)
	if files, _ := os.ReadDir(state); len(files) > 0 {
		t.Errorf("a key of its own was made, too: %v", files)
	}
	open, err := OpenVault(t.TempDir()).Open(sealed, "x")
	if err != nil || string(open) != "canary" {
		t.Errorf("%q %v", open, err)
	}
	do(t, os.Chmod(filepath.Join(handed, "inside.key"), 0o444))
	if _, err := OpenVault(state).Open(sealed, "x"); err == nil || !strings.Contains(err.Error(), "others may read") {
		t.Errorf("%v", err)
	}
}

func TestTheDataKeyIsMadeOnceAndForTheDaemonAlone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	var all sync.WaitGroup
	seals := make([][]byte, 8)
	for i := range seals {
		all.Go(func() { // as several daemons would
			var err error
			if seals[i], err = OpenVault(dir).Seal([]byte("canary"), "x"); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for _, sealed := range seals {
		if open, err := OpenVault(dir).Open(sealed, "x"); err != nil || string(open) != "canary" {
			t.Errorf("%q %v", open, err)
		}
	}
	st, err := os.Stat(filepath.Join(dir, "credentials.key"))
	if err != nil || st.Mode().Perm() != 0o600 || st.Size() != 32 {
		t.Errorf("%v %v", st, err)
	}
	if files, _ := os.ReadDir(dir); len(files) != 1 {
		t.Errorf("left behind: %v", files)
	}
}

func TestASecretDoesNotShowItself(t *testing.T) {
	key, err := parsePrivateKey(testKey(t))
	do(t, err)
	secret := &proxy.Secret{Password: []byte("canary"), Key: key}
	wire := api.NewCredential{Person: "p", Secret: api.Secret("canary")}
	for _, text := range []string{
		fmt.Sprint(secret), fmt.Sprintf("%v %+v %#v %s", secret, secret, secret, secret), secret.LogValue().String(),
		fmt.Sprint(wire), fmt.Sprintf("%v %+v %#v %s %x", wire, wire, wire, wire.Secret, wire.Secret),
	} {
		if strings.Contains(text, "canary") || strings.Contains(text, fmt.Sprintf("%x", "canary")) || strings.Contains(text, fmt.Sprint([]byte("canary"))) {
			t.Errorf("it shows itself: %s", text)
		}
	}
	secret.Wipe()
	if secret.Password != nil || secret.Key != nil {
		t.Errorf("not wiped")
	}
}

func testKey(t testing.TB) []byte {
	t.Helper()
	_, private, err := newUserCA()
	do(t, err)
	return private
}

func TestACredentialIsNeverShownAgain(t *testing.T) {
	h, _, ctx := newHouse(t)
	h.Vault = OpenVault(t.TempDir())
	do(t, second(h.AddPerson(ctx, api.NewPerson{Name: "alice"})))
	pem := testKey(t)
	public, err := publicHalf(pem)
	do(t, err)
	key, err := ssh.ParsePublicKey(public)
	do(t, err)
	k, err := h.AddCredential(ctx, api.NewCredential{Person: "alice", Kind: "key", Secret: bytes.Clone(pem)})
	do(t, err)
	if k.Fingerprint != ssh.FingerprintSHA256(key) {
		t.Errorf("fingerprint %s", k.Fingerprint)
	}
	all, err := h.Credentials(ctx, api.CredentialFilter{})
	do(t, err)
	text, err := json.Marshal(all)
	do(t, err)
	if len(all) != 1 || strings.Contains(string(text), "PRIVATE") || strings.Contains(string(text), "ealed") {
		t.Errorf("%s", text)
	}
	for want, asked := range map[string]api.NewCredential{
		"not a private key":   {Person: "alice", Login: "a", Kind: "key", Secret: api.Secret("canary")},
		"the password is emp": {Person: "alice", Login: "a", Kind: "password"},
		"has a line end":      {Person: "alice", Login: "a", Kind: "password", Secret: api.Secret("canary\nx")},
		"longer than 1024":    {Person: "alice", Login: "a", Kind: "password", Secret: bytes.Repeat([]byte("canary"), 200)},
		`not "own-key"`:       {Person: "alice", Login: "a", Kind: "own-key", Secret: api.Secret("canary")},
		"unknown person":      {Person: "alicia", Kind: "password", Secret: api.Secret("canary")},
		"remove it first":     {Person: "alice", Kind: "key", Secret: bytes.Clone(pem)},
	} {
		_, err := h.AddCredential(ctx, asked)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "canary") {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func FuzzPersonKey(f *testing.F) {
	f.Add("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHVGLCEGQsVM9DmvBdAuKKpBMn0RzTQmyKoOjNb4m5ZC a@b\n# x\n")
	f.Add("from=\"x\" ssh-rsa AAAA\n")
	f.Add("-----BEGIN OPENSSH PRIVATE KEY-----\n")
	f.Fuzz(func(t *testing.T, text string) {
		k, err := personKey(text)
		if err != nil {
			return
		}
		if _, err := ssh.ParsePublicKey(k.Key); err != nil {
			t.Errorf("a key that cannot be read again: %v", err)
		}
	})
}

func FuzzOpen(f *testing.F) {
	v := OpenVault(f.TempDir())
	sealed, err := v.Seal([]byte("canary"), "x")
	do(f, err)
	f.Add(sealed)
	f.Add([]byte{sealVersion})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, text []byte) {
		if open, err := v.Open(text, "x"); err == nil && !bytes.Equal(text, sealed) {
			t.Errorf("opened %q", open)
		}
	})
}

func FuzzEnrollAnswer(f *testing.F) {
	f.Add("noise\r\nmark added\r\n")
	f.Add("mark ")
	f.Fuzz(func(t *testing.T, output string) {
		answer := enrollAnswer("mark", output)
		if strings.Contains(answer, "\n") || answer != "" && !strings.Contains(output, "mark "+answer) {
			t.Errorf("%q of %q", answer, output)
		}
	})
}
