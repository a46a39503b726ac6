package appliance

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/crypto/ssh"

	"github.com/pawelmojski/inside/store"
)

// hostKeys keeps both sides of the promise that a server keeps its face: the
// keys the gate shows in a server's name, files under keys/ADDRESS_PORT, and
// the server's own keys, pinned in the store.
//
// The gate's keys are of ed25519 and ecdsa: every client in use takes one of
// the two, and making them costs a millisecond where RSA costs a second.
type hostKeys struct {
	root  *os.Root
	store *store.Store
	now   moments

	mu  sync.Mutex
	own map[netip.AddrPort][]ssh.Signer
}

func openHostKeys(dir string, s *store.Store, now moments) (*hostKeys, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("host keys: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("host keys: %w", err)
	}
	return &hostKeys{root: root, store: s, now: now, own: map[netip.AddrPort][]ssh.Signer{}}, nil
}

// Own returns the keys the gate shows for a server's address, and makes them
// when the address is seen for the first time.
func (h *hostKeys) Own(ctx context.Context, dest netip.AddrPort) ([]ssh.Signer, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if keys, ok := h.own[dest]; ok {
		return keys, nil
	}
	keys, err := h.load(dest)
	if errors.Is(err, fs.ErrNotExist) {
		keys, err = h.generate(dest)
	}
	if err != nil {
		return nil, fmt.Errorf("host keys of %s: %w", dest, err)
	}
	h.own[dest] = keys
	return keys, nil
}

// Import makes a server's real private key (PEM, without a passphrase) the one
// the gate shows for it, so that no client notices anything. The first import
// takes the place of the keys the gate made for itself.
func (h *hostKeys) Import(dest netip.AddrPort, pemBytes []byte) (ssh.PublicKey, error) {
	private, err := parsePrivateKey(pemBytes)
	if err != nil {
		return nil, fmt.Errorf("host key for %s: %w", dest, err)
	}
	signer, err := ssh.NewSignerFromSigner(private)
	if err != nil {
		return nil, fmt.Errorf("host key for %s: %w", dest, err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.dropGenerated(dest); err != nil {
		return nil, err
	}
	if err := h.save(dest, "imported_"+signer.PublicKey().Type(), private); err != nil {
		return nil, err
	}
	delete(h.own, dest)
	return signer.PublicKey(), nil
}

// Pinned returns the keys the server is known by.
func (h *hostKeys) Pinned(ctx context.Context, dest netip.AddrPort) ([]ssh.PublicKey, error) {
	rows, err := h.store.HostKeys(ctx, dest)
	if err != nil {
		return nil, err
	}
	var keys []ssh.PublicKey
	for _, row := range rows {
		key, err := ssh.ParsePublicKey(row.Key)
		if err != nil {
			return nil, fmt.Errorf("pinned host key of %s: %w", dest, err)
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// Pin remembers a key seen for the first time.
func (h *hostKeys) Pin(ctx context.Context, dest netip.AddrPort, key ssh.PublicKey) error {
	return h.store.PinHostKey(ctx, store.HostKey{
		Addr: dest, Type: key.Type(), Key: key.Marshal(), Pinned: h.now.now(), By: "first-sight",
	})
}

func keyFolder(dest netip.AddrPort) string {
	return fmt.Sprintf("%s_%d", dest.Addr(), dest.Port())
}

func (h *hostKeys) load(dest netip.AddrPort) ([]ssh.Signer, error) {
	dir := keyFolder(dest)
	files, err := fs.ReadDir(h.root.FS(), dir)
	if err != nil {
		return nil, err
	}
	var keys []ssh.Signer
	for _, f := range files {
		if filepath.Ext(f.Name()) == ".new" {
			continue // a write that did not finish
		}
		text, err := h.root.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			return nil, err
		}
		key, err := ssh.ParsePrivateKey(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name(), err)
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, fs.ErrNotExist
	}
	return keys, nil
}

func (h *hostKeys) generate(dest netip.AddrPort) ([]ssh.Signer, error) {
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	if err := h.save(dest, "ed25519", ed); err != nil {
		return nil, err
	}
	if err := h.save(dest, "ecdsa", ec); err != nil {
		return nil, err
	}
	return h.load(dest)
}

// save writes a key beside its place and renames it there, so that a crash
// leaves a whole key or none.
func (h *hostKeys) save(dest netip.AddrPort, name string, key crypto.Signer) error {
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		return err
	}
	if err := h.root.MkdirAll(keyFolder(dest), 0o700); err != nil {
		return err
	}
	path := filepath.Join(keyFolder(dest), name)
	if err := h.root.WriteFile(path+".new", pem.EncodeToMemory(block), 0o600); err != nil {
		return err
	}
	return h.root.Rename(path+".new", path)
}

func (h *hostKeys) dropGenerated(dest netip.AddrPort) error {
	for _, name := range []string{"ed25519", "ecdsa"} {
		err := h.root.Remove(filepath.Join(keyFolder(dest), name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
