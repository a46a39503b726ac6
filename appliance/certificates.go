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
	"sync"
	"time"

	"github.com/pawelmojski/inside/store"
)

// certificates keeps both sides of the promise that a server keeps its face in
// RDP: the certificates the gate shows in a server's name, files under
// keys/rdp, signed by an authority of the gate's own that can be given to
// clients, and the servers' own public keys, pinned in the store.
type certificates struct {
	root  *os.Root
	store *store.Store
	gate  string
	now   moments

	mu  sync.Mutex
	own map[netip.AddrPort]*tls.Certificate
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

func openCertificates(dir string, s *store.Store, gate string, now moments) (*certificates, error) {
	dir = filepath.Join(dir, "rdp")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("certificates: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("certificates: %w", err)
	}
	return &certificates{root: root, store: s, gate: gate, now: now, own: map[netip.AddrPort]*tls.Certificate{}}, nil
}

// Own implements rdpentry.Certificates.
func (c *certificates) Own(ctx context.Context, dest netip.AddrPort) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if cert, ok := c.own[dest]; ok {
		return cert, nil
	}
	cert, err := c.load(dest)
	if errors.Is(err, fs.ErrNotExist) {
		cert, err = c.issue(dest)
	}
	if err != nil {
		return nil, fmt.Errorf("certificate for %s: %w", dest, err)
	}
	c.own[dest] = cert
	return cert, nil
}

// Pinned implements rdpentry.Certificates.
func (c *certificates) Pinned(ctx context.Context, dest netip.AddrPort) ([][]byte, error) {
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
func (c *certificates) Pin(ctx context.Context, dest netip.AddrPort, key []byte) error {
	return c.store.PinHostKey(ctx, store.HostKey{Addr: dest, Type: keyTypeRDP, Key: key, Pinned: c.now.now(), By: "first-sight"})
}

func leafName(dest netip.AddrPort) string {
	if !dest.IsValid() {
		return strangersLeaf
	}
	return keyFolder(dest) + ".pem"
}

func (c *certificates) load(dest netip.AddrPort) (*tls.Certificate, error) {
	text, err := c.root.ReadFile(leafName(dest))
	if err != nil {
		return nil, err
	}
	cert, err := tls.X509KeyPair(text, text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", leafName(dest), err)
	}
	return &cert, nil
}

// issue makes a key and has the authority sign for it. It is RSA because there
// are RDP clients that take nothing else.
func (c *certificates) issue(dest netip.AddrPort) (*tls.Certificate, error) {
	authority, err := c.authority()
	if err != nil {
		return nil, err
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: "unknown server"},
		NotAfter:    c.now.now().Add(leafLife),
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if dest.IsValid() {
		template.Subject.CommonName = dest.Addr().String()
		template.IPAddresses = []net.IP{dest.Addr().AsSlice()}
	}
	text, err := c.sign(template, key, authority.Leaf, authority.PrivateKey.(crypto.Signer))
	if err != nil {
		return nil, err
	}
	if err := c.save(leafName(dest), text); err != nil {
		return nil, err
	}
	return c.load(dest)
}

// authority loads what signs for servers, or makes it.
func (c *certificates) authority() (*tls.Certificate, error) {
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

func (c *certificates) newAuthority() ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: "Inside gate " + c.gate},
		NotAfter:              c.now.now().Add(2 * leafLife),
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
func (c *certificates) sign(template *x509.Certificate, key crypto.Signer, parent *x509.Certificate, by crypto.Signer) ([]byte, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	template.SerialNumber = serial
	template.NotBefore = c.now.now().Add(-24 * time.Hour) // clocks of clients differ
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
func (c *certificates) save(name string, text []byte) error {
	if err := c.root.WriteFile(name+".new", text, 0o600); err != nil {
		return err
	}
	return c.root.Rename(name+".new", name)
}
