package appliance

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/pawelmojski/inside/store"
)

// Certificates keeps both sides of the promise that a server keeps its face in
// RDP: the certificates the gate shows in a server's name, files under
// keys/rdp, signed by an authority of the gate's own that can be given to
// clients or imported by an admin, and the servers' own public keys, pinned in
// the store.
type Certificates struct {
	root  *os.Root
	store *store.Store
	gate  string
	now   func() time.Time

	making chan struct{} // holds one who makes a key: that takes a while

	mu  sync.Mutex
	own map[netip.AddrPort]ownCertificate
}

// An ownCertificate is what the gate shows for a server.
type ownCertificate struct {
	*tls.Certificate
	imported bool
}

// keyTypeRDP is what stands in the store for the public key of a server's
// certificate.
const keyTypeRDP = "x509-spki"

// The names of the files under keys/rdp. Each holds certificate and key, so
// that a crash leaves both or none, but for the copy of the authority's
// certificate that is given to clients.
const (
	authorityFile = "authority.pem"
	authorityCopy = "ca.crt"
	strangersLeaf = "unknown.pem"
)

// Clients refuse a certificate that has ended, and warn when it changes: it is
// made to last as long as the gate.
const leafLife = 10 * 365 * 24 * time.Hour

// OpenCertificates opens the folder rdp below the gate's keys.
func OpenCertificates(keys string, s *store.Store, gate string, now func() time.Time) (*Certificates, error) {
	dir := filepath.Join(keys, "rdp")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("certificates: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("certificates: %w", err)
	}
	return &Certificates{root: root, store: s, gate: gate, now: now, making: make(chan struct{}, 1), own: map[netip.AddrPort]ownCertificate{}}, nil
}

// Own implements rdpentry.Certificates. Whoever dials the servers of a prefix
// one after the other has a key made for each, one at a time; who dials a
// server that has one does not wait for that.
func (c *Certificates) Own(ctx context.Context, dest netip.AddrPort, name string) (cert *tls.Certificate, imported bool, err error) {
	own, err := c.made(dest)
	if errors.Is(err, fs.ErrNotExist) {
		own, err = c.make(ctx, dest, name)
	}
	if err != nil {
		return nil, false, fmt.Errorf("certificate for %s: %w", dest, err)
	}
	return own.Certificate, own.imported, nil
}

// made returns what there is for a server.
func (c *Certificates) made(dest netip.AddrPort) (own ownCertificate, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if own, ok := c.own[dest]; ok {
		return own, nil
	}
	own.imported = true
	if own.Certificate, err = c.load(importedName(dest)); errors.Is(err, fs.ErrNotExist) {
		own.imported = false
		own.Certificate, err = c.load(leafName(dest))
	}
	if err == nil {
		c.own[dest] = own
	}
	return own, err
}

func (c *Certificates) make(ctx context.Context, dest netip.AddrPort, name string) (ownCertificate, error) {
	select {
	case c.making <- struct{}{}:
		defer func() { <-c.making }()
	case <-ctx.Done():
		return ownCertificate{}, context.Cause(ctx)
	}
	if own, err := c.made(dest); !errors.Is(err, fs.ErrNotExist) {
		return own, err
	}
	if err := c.issue(dest, name); err != nil {
		return ownCertificate{}, err
	}
	return c.made(dest)
}

// Import makes a server's own certificate and private key, both in PEM, the
// ones the gate shows for it, so that no client notices anything. The
// certificate the gate made for it is kept, for when this one is dropped.
func (c *Certificates) Import(dest netip.AddrPort, cert *tls.Certificate) error {
	if !dest.IsValid() {
		return errors.New("a certificate is imported for one address")
	}
	var text []byte
	for _, der := range cert.Certificate {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	private, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		return err
	}
	text = append(text, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})...)
	defer clear(text)
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.own, dest)
	return c.save(importedName(dest), text)
}

// Drop undoes Import, and reports whether there was anything to undo.
func (c *Certificates) Drop(dest netip.AddrPort) (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.own, dest)
	err := c.root.Remove(importedName(dest))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// Authority is the certificate of what signs for servers, to be given to
// clients.
func (c *Certificates) Authority(ctx context.Context) (*x509.Certificate, error) {
	select {
	case c.making <- struct{}{}: // or somebody makes another one meanwhile
		defer func() { <-c.making }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	authority, err := c.authority()
	if err != nil {
		return nil, err
	}
	return authority.Leaf, nil
}

// Pinned implements rdpentry.Certificates.
func (c *Certificates) Pinned(ctx context.Context, dest netip.AddrPort) ([][]byte, error) {
	rows, err := c.store.HostKeys(ctx, dest)
	if err != nil {
		return nil, err
	}
	var keys [][]byte
	for _, row := range rows {
		if row.Type == keyTypeRDP {
			keys = append(keys, row.Key)
		}
	}
	return keys, nil
}

// Pin implements rdpentry.Certificates.
func (c *Certificates) Pin(ctx context.Context, dest netip.AddrPort, key []byte) error {
	return c.store.PinHostKey(ctx, store.HostKey{Addr: dest, Type: keyTypeRDP, Key: key, Pinned: c.now(), By: "first-sight"})
}

func leafName(dest netip.AddrPort) string {
	if !dest.IsValid() {
		return strangersLeaf
	}
	return keyFolder(dest) + ".pem"
}

func importedName(dest netip.AddrPort) string { return "imported_" + leafName(dest) }

func (c *Certificates) load(name string) (*tls.Certificate, error) {
	text, err := c.root.ReadFile(name)
	if err != nil {
		return nil, err
	}
	defer clear(text)
	cert, err := tls.X509KeyPair(text, text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return &cert, nil
}

// issue makes a key and has the authority sign for it. It is RSA because there
// are RDP clients that take nothing else. It names the address, which people
// dial, and the server, which they may resolve to it.
func (c *Certificates) issue(dest netip.AddrPort, name string) error {
	authority, err := c.authority()
	if err != nil {
		return err
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: "unknown server"},
		NotAfter:    c.now().Add(leafLife),
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if dest.IsValid() {
		template.Subject.CommonName = dest.Addr().String()
		template.IPAddresses = []net.IP{dest.Addr().AsSlice()}
		if isHostName(name) {
			template.DNSNames = []string{name}
		}
	}
	text, err := c.sign(template, key, authority.Leaf, authority.PrivateKey.(crypto.Signer))
	if err != nil {
		return err
	}
	return c.save(leafName(dest), text)
}

// isHostName reports whether a server's name can stand in a certificate (RFC
// 1123 section 2.1).
func isHostName(name string) bool {
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || strings.Trim(label, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") != "" ||
			strings.HasPrefix(label, "-") || strings.HasSuffix(label, "-") {
			return false
		}
	}
	return len(name) <= 253
}

// authority loads what signs for servers, or makes it.
func (c *Certificates) authority() (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	text, err := c.root.ReadFile(authorityFile)
	if errors.Is(err, fs.ErrNotExist) {
		text, err = c.newAuthority()
	}
	if err != nil {
		return nil, err
	}
	authority, err := tls.X509KeyPair(text, text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", authorityFile, err)
	}
	return &authority, nil
}

func (c *Certificates) newAuthority() ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: "Inside gate " + c.gate},
		NotAfter:              c.now().Add(2 * leafLife),
		KeyUsage:              x509.KeyUsageCertSign,
		BasicConstraintsValid: true, IsCA: true, MaxPathLenZero: true,
	}
	text, err := c.sign(template, key, template, key)
	if err != nil {
		return nil, err
	}
	// For people to copy to clients: the certificate without the key.
	block, _ := pem.Decode(text)
	if err := c.save(authorityCopy, pem.EncodeToMemory(block)); err != nil {
		return nil, err
	}
	return text, c.save(authorityFile, text)
}

// sign makes a certificate for key and returns it in PEM, followed by the key.
func (c *Certificates) sign(template *x509.Certificate, key crypto.Signer, parent *x509.Certificate, by crypto.Signer) ([]byte, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	template.SerialNumber = serial
	template.NotBefore = c.now().Add(-24 * time.Hour) // clocks of clients differ
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), by)
	if err != nil {
		return nil, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return append(text, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})...), nil
}

// save writes a file beside its place and renames it there, so that a crash
// leaves it whole or not at all.
func (c *Certificates) save(name string, text []byte) error {
	if err := c.root.WriteFile(name+".new", text, 0o600); err != nil {
		return err
	}
	return c.root.Rename(name+".new", name)
}
