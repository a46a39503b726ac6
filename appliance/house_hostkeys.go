package appliance

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/pawelmojski/inside/appliance/api"
	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/store"
)

func (h *House) HostKeys(ctx context.Context, server string, f api.HostKeyFilter) (api.HostKeyList, error) {
	s, dest, err := h.addressOf(server, f.Address, policy.SSH)
	if err != nil {
		return api.HostKeyList{}, err
	}
	return h.hostKeyList(ctx, s, dest)
}

func (h *House) ImportHostKey(ctx context.Context, server string, k api.ImportedKey) (api.HostKeyList, error) {
	s, dest, err := h.addressOf(server, k.Address, policy.SSH)
	if err != nil {
		return api.HostKeyList{}, err
	}
	if block, _ := pem.Decode([]byte(k.PrivateKey)); block == nil {
		return api.HostKeyList{}, invalid("give the server's /etc/ssh/ssh_host_ed25519_key or another of its keys", "this is not a private key in PEM")
	}
	private, err := parsePrivateKey([]byte(k.PrivateKey))
	var key ssh.Signer
	if err == nil {
		key, err = ssh.NewSignerFromSigner(private)
	}
	if err != nil {
		return api.HostKeyList{}, invalid("give a private host key without a passphrase", "host key for %s: %v", dest, err)
	}
	was, err := h.hostKeyList(ctx, s, dest)
	if err != nil {
		return api.HostKeyList{}, err
	}
	// Written down first: a key that is shown and that nobody knows who
	// imported would be worse than a row about one that is not.
	imported := wireKey(key.PublicKey())
	err = h.Store.AuditChange(ctx, api.By(ctx), "host-key.import", "server "+s.Name, fmt.Sprintf("%s %s", dest, imported.Fingerprint), was.Gate, []api.PublicKey{imported})
	if err != nil {
		return api.HostKeyList{}, asProblem(err, "")
	}
	if _, err := h.Keys.Import(dest, []byte(k.PrivateKey)); err != nil {
		failed := h.Store.Audit(ctx, api.By(ctx), "host-key.import-failed", "server "+s.Name, fmt.Sprintf("%s %s: %v", dest, imported.Fingerprint, err))
		return api.HostKeyList{}, api.NewProblem(api.CodeUnavailable, errors.Join(err, failed).Error(), "inside status")
	}
	return h.hostKeyList(ctx, s, dest)
}

func (h *House) TrustHostKeys(ctx context.Context, server string, k api.TrustedKeys) (api.HostKeyList, error) {
	s, dest, err := h.addressOf(server, k.Address, policy.SSH)
	if err != nil {
		return api.HostKeyList{}, err
	}
	keys, err := publicKeys([]byte(k.PublicKeys))
	if err != nil {
		return api.HostKeyList{}, err
	}
	var trusted []store.HostKey
	for _, key := range keys {
		trusted = append(trusted, store.HostKey{Type: key.Type(), Key: key.Marshal(), Pinned: h.Now()})
	}
	removed, err := h.Store.TrustHostKeys(ctx, api.By(ctx), dest, trusted)
	if err != nil {
		return api.HostKeyList{}, asProblem(err, "")
	}
	h.Lookout.keyRight(dest)
	list, err := h.hostKeyList(ctx, s, dest)
	list.Removed = removed
	return list, err
}

func (h *House) ForgetHostKeys(ctx context.Context, server string, f api.HostKeyFilter) (api.HostKeyList, error) {
	s, dest, err := h.addressOf(server, f.Address, policy.SSH)
	if err != nil {
		return api.HostKeyList{}, err
	}
	removed, err := h.Store.ForgetHostKeys(ctx, api.By(ctx), dest)
	if err != nil {
		return api.HostKeyList{}, asProblem(err, "")
	}
	h.Lookout.keyRight(dest)
	list, err := h.hostKeyList(ctx, s, dest)
	list.Removed = removed
	return list, err
}

// publicKeys reads keys as .pub files hold them or as ssh-keyscan prints them,
// at most one of a type: the gate could not tell which of two is meant.
func publicKeys(text []byte) ([]ssh.PublicKey, error) {
	const hint = "give a .pub file of the server, or the output of ssh-keyscan ADDRESS"
	var keys []ssh.PublicKey
	seen := map[string]bool{}
	for line := range bytes.Lines(text) {
		line = bytes.TrimSpace(line)
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		key, _, _, _, err := ssh.ParseAuthorizedKey(line)
		if err != nil {
			_, _, key, _, _, err = ssh.ParseKnownHosts(line)
		}
		if err != nil && err != io.EOF || key == nil {
			return nil, invalid(hint, "%.40q is not a public key", line)
		}
		if seen[key.Type()] {
			return nil, invalid(hint, "there are two keys of type %s: one of each type can be trusted", key.Type())
		}
		seen[key.Type()] = true
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, invalid(hint, "there is no public key")
	}
	return keys, nil
}

// addressOf finds the address of a server that is meant, with the port of the
// protocol unless it says one.
func (h *House) addressOf(server, address string, protocol policy.Protocol) (*policy.Server, netip.AddrPort, error) {
	none := netip.AddrPort{}
	s, err := h.serverNamed(server)
	if err != nil {
		return nil, none, err
	}
	port := h.portOf(s, protocol)
	if address == "" {
		if !s.Prefix.IsSingleIP() {
			return nil, none, invalid("name one with --address, such as --address "+s.Prefix.Addr().Next().String(),
				"%s is a whole prefix, %s: keys belong to single addresses", s.Name, s.Prefix)
		}
		return s, netip.AddrPortFrom(s.Prefix.Addr(), port), nil
	}
	dest, err := netip.ParseAddrPort(address)
	if err != nil {
		addr, err := netip.ParseAddr(address)
		if err != nil {
			return nil, none, invalid(fmt.Sprintf("write for example 10.30.0.7, 10.30.0.7:%d or [fd00::7]:%d", port, port), "%.64q is not an address", address)
		}
		dest = netip.AddrPortFrom(addr, port)
	}
	dest = netip.AddrPortFrom(dest.Addr().Unmap(), dest.Port())
	if !s.Prefix.Contains(dest.Addr()) {
		return nil, none, invalid("inside server show "+s.Name, "%s is not an address of %s, which is %s", dest.Addr(), s.Name, prefixText(s.Prefix))
	}
	return s, dest, nil
}

// portOf returns the port people use to reach a server by a protocol.
func (h *House) portOf(s *policy.Server, p policy.Protocol) uint16 {
	own, ports, usual := s.SSHPort, h.portsOf(p), uint16(22)
	if p == policy.RDP {
		own, usual = s.RDPPort, 3389
	}
	switch {
	case p == policy.HTTP:
		return 80
	case own != 0:
		return own
	case len(ports) > 0:
		return ports[0]
	}
	return usual
}

func (h *House) hostKeyList(ctx context.Context, s *policy.Server, dest netip.AddrPort) (api.HostKeyList, error) {
	list := api.HostKeyList{Server: s.Name, Address: dest.String(), Gate: []api.PublicKey{}, Pinned: []api.PublicKey{}}
	var own []ssh.Signer
	if dest.Port() != h.portOf(s, policy.RDP) { // there the gate shows a certificate
		var err error
		if own, err = h.Keys.Own(ctx, dest); err != nil {
			return list, fmt.Errorf("keys of the gate for %s: %w", s.Name, err)
		}
	}
	for _, key := range own {
		list.Gate = append(list.Gate, wireKey(key.PublicKey()))
	}
	pinned, err := h.Store.HostKeys(ctx, dest)
	if err != nil {
		return list, asProblem(err, "")
	}
	for _, row := range pinned {
		if row.Type == keyTypeRDP {
			list.Pinned = append(list.Pinned, wirePinned(row))
			continue
		}
		key, err := ssh.ParsePublicKey(row.Key)
		if err != nil {
			return list, fmt.Errorf("pinned key of %s: %w", dest, err)
		}
		wire := wireKey(key)
		wire.Pinned, wire.By = row.Pinned, row.By
		list.Pinned = append(list.Pinned, wire)
	}
	return list, nil
}

func wireKey(key ssh.PublicKey) api.PublicKey {
	return api.PublicKey{
		Type:        key.Type(),
		Fingerprint: ssh.FingerprintSHA256(key),
		Key:         strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key))),
	}
}
