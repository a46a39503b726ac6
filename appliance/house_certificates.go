package appliance

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/pawelmojski/inside/appliance/api"
	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/proxy/rdpentry"
	"github.com/pawelmojski/inside/store"
)

func (h *House) ServerCertificate(ctx context.Context, server string, f api.HostKeyFilter) (api.ServerCertificate, error) {
	s, dest, err := h.addressOf(server, f.Address, policy.RDP)
	if err != nil {
		return api.ServerCertificate{}, err
	}
	return h.serverCertificate(ctx, s, dest)
}

func (h *House) serverCertificate(ctx context.Context, s *policy.Server, dest netip.AddrPort) (api.ServerCertificate, error) {
	sc := api.ServerCertificate{Server: s.Name, Address: dest.String(), Pinned: []api.PublicKey{}}
	name := ""
	if s.Prefix.IsSingleIP() {
		name = s.Name
	}
	own, imported, err := h.Certs.Own(ctx, dest, name)
	if err != nil {
		return sc, err
	}
	leaf, err := x509.ParseCertificate(own.Certificate[0])
	if err != nil {
		return sc, err
	}
	sc.Gate = wireCertificate(leaf)
	sc.Gate.Imported = imported
	rows, err := h.Store.HostKeys(ctx, dest)
	if err != nil {
		return sc, asProblem(err, "")
	}
	for _, row := range rows {
		if row.Type == keyTypeRDP {
			sc.Pinned = append(sc.Pinned, wirePinned(row))
		}
	}
	return sc, nil
}

func (h *House) ImportCertificate(ctx context.Context, server string, i api.ImportedCertificate) (api.ServerCertificate, error) {
	none := api.ServerCertificate{}
	s, dest, err := h.addressOf(server, i.Address, policy.RDP)
	if err != nil {
		return none, err
	}
	if _, err := certificateIn(i.Certificate); err != nil {
		return none, err
	}
	pair, err := tls.X509KeyPair([]byte(i.Certificate), i.PrivateKey)
	if err != nil {
		return none, invalid("give the private key of this very certificate, in PEM and without a passphrase", "certificate for %s: %s", dest, strings.TrimPrefix(err.Error(), "tls: "))
	}
	was, err := h.serverCertificate(ctx, s, dest)
	if err != nil {
		return none, err
	}
	// Written down first: a certificate that is shown and that nobody knows who
	// imported would be worse than a row about one that is not.
	imported := wireCertificate(pair.Leaf)
	imported.Imported = true
	err = h.Store.AuditChange(ctx, api.By(ctx), "certificate.import", "server "+s.Name, fmt.Sprintf("%s %s", dest, imported.Fingerprint), was.Gate, imported)
	if err != nil {
		return none, asProblem(err, "")
	}
	if err := h.Certs.Import(dest, &pair); err != nil {
		failed := h.Store.Audit(ctx, api.By(ctx), "certificate.import-failed", "server "+s.Name, fmt.Sprintf("%s %s: %v", dest, imported.Fingerprint, err))
		return none, api.NewProblem(api.CodeUnavailable, errors.Join(err, failed).Error(), "inside status")
	}
	return h.serverCertificate(ctx, s, dest)
}

func (h *House) TrustCertificate(ctx context.Context, server string, t api.TrustedCertificate) (api.ServerCertificate, error) {
	s, dest, err := h.addressOf(server, t.Address, policy.RDP)
	if err != nil {
		return api.ServerCertificate{}, err
	}
	cert, err := certificateIn(t.Certificate)
	if err != nil {
		return api.ServerCertificate{}, err
	}
	removed, err := h.Store.TrustHostKeys(ctx, api.By(ctx), dest, []store.HostKey{{Type: keyTypeRDP, Key: cert.RawSubjectPublicKeyInfo, Pinned: h.Now()}})
	if err != nil {
		return api.ServerCertificate{}, asProblem(err, "")
	}
	h.Lookout.keyRight(dest)
	sc, err := h.serverCertificate(ctx, s, dest)
	sc.Removed = removed
	return sc, err
}

func (h *House) ForgetCertificate(ctx context.Context, server string, f api.ForgottenCertificate) (api.ServerCertificate, error) {
	s, dest, err := h.addressOf(server, f.Address, policy.RDP)
	if err != nil {
		return api.ServerCertificate{}, err
	}
	removed := 0
	if f.Imported {
		removed, err = h.dropCertificate(ctx, s, dest)
	} else {
		removed, err = h.Store.ForgetHostKeys(ctx, api.By(ctx), dest)
		h.Lookout.keyRight(dest)
	}
	if err != nil {
		return api.ServerCertificate{}, asProblem(err, "")
	}
	sc, err := h.serverCertificate(ctx, s, dest)
	sc.Removed = removed
	return sc, err
}

// dropCertificate has the gate show a certificate of its own again.
func (h *House) dropCertificate(ctx context.Context, s *policy.Server, dest netip.AddrPort) (removed int, err error) {
	was, err := h.serverCertificate(ctx, s, dest)
	if err != nil || !was.Gate.Imported {
		return 0, err
	}
	err = h.Store.AuditChange(ctx, api.By(ctx), "certificate.drop", "server "+s.Name, fmt.Sprintf("%s %s", dest, was.Gate.Fingerprint), was.Gate, nil)
	if err != nil {
		return 0, err
	}
	if _, err := h.Certs.Drop(dest); err != nil {
		return 0, err
	}
	return 1, nil
}

func (h *House) RDPAuthority(ctx context.Context) (api.ShownCertificate, error) {
	authority, err := h.Certs.Authority(ctx)
	if err != nil {
		return api.ShownCertificate{}, err
	}
	return wireCertificate(authority), nil
}

// certificateIn reads the first certificate of a text.
func certificateIn(text string) (*x509.Certificate, error) {
	const hint = "give it in PEM; openssl x509 -inform der turns what Windows exports into that"
	for rest := []byte(text); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return nil, invalid(hint, "there is no certificate")
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, invalid(hint, "this is not a certificate: %v", err)
		}
		return cert, nil
	}
}

func wireCertificate(c *x509.Certificate) api.ShownCertificate {
	sum := sha256.Sum256(c.Raw)
	wire := api.ShownCertificate{
		Subject: c.Subject.String(), Issuer: c.Issuer.String(), Names: c.DNSNames,
		Fingerprint: rdpentry.Fingerprint(c.RawSubjectPublicKeyInfo), SHA256: hex.EncodeToString(sum[:]),
		NotAfter: c.NotAfter, PEM: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})),
	}
	for _, ip := range c.IPAddresses {
		wire.Names = append(wire.Names, ip.String())
	}
	return wire
}

// wirePinned is a server's key for RDP as it is pinned.
func wirePinned(row store.HostKey) api.PublicKey {
	return api.PublicKey{
		Type: row.Type, Fingerprint: rdpentry.Fingerprint(row.Key), Key: base64.StdEncoding.EncodeToString(row.Key),
		Pinned: row.Pinned, By: row.By,
	}
}
