package store

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"encoding/base64"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// A HostKey is a server's public SSH host key, pinned for one address.
type HostKey struct {
	Addr   netip.AddrPort
	Type   string // "ssh-ed25519"
	Key    []byte // wire format
	Pinned time.Time
	By     string // "first-sight" or the admin who trusted it
}

const hostKeyColumns = "addr, key_type, public_key, pinned, pinned_by"

// maxHostKey is far beyond any key: RSA of 16384 bits takes 2 KiB.
const maxHostKey = 64 << 10

// HostKeys returns the keys pinned for an address, by type.
func (s *Store) HostKeys(ctx context.Context, addr netip.AddrPort) ([]HostKey, error) {
	var keys []HostKey
	err := s.reading(ctx, func(ctx context.Context, tx *sql.Tx) (err error) {
		keys, err = pinnedKeys(ctx, tx, addr)
		return err
	})
	return keys, err
}

func pinnedKeys(ctx context.Context, tx *sql.Tx, addr netip.AddrPort) ([]HostKey, error) {
	keys, err := all(ctx, tx, readHostKey, "SELECT "+hostKeyColumns+" FROM host_keys WHERE addr = $1", addrPortText(addr))
	slices.SortFunc(keys, func(a, b HostKey) int { return cmp.Compare(a.Type, b.Type) })
	return keys, err
}

func readHostKey(r row) (k HostKey, err error) {
	var addr, key string
	var pinned int64
	if err := r.Scan(&addr, &k.Type, &key, &pinned, &k.By); err != nil {
		return k, err
	}
	k.Pinned = moment(pinned)
	if k.Addr, err = parseAddrPort(addr); err != nil {
		return k, err
	}
	k.Key, err = base64.StdEncoding.DecodeString(key)
	return k, err
}

func keyText(key []byte) string { return base64.StdEncoding.EncodeToString(key) }

// PinHostKey remembers a key; one of the same address and type that differs
// is ErrConflict, the same one again is no error. A zero Pinned is now.
func (s *Store) PinHostKey(ctx context.Context, k HostKey) error {
	if err := checkHostKey(&k); err != nil {
		return err
	}
	addr, key := addrPortText(k.Addr), keyText(k.Key)
	return s.writing(ctx, func(ctx context.Context, tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, "INSERT INTO host_keys ("+hostKeyColumns+`) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (addr, key_type) DO NOTHING`, addr, k.Type, key, micros(k.Pinned), k.By)
		if err != nil {
			return err
		}
		if pinned, err := res.RowsAffected(); err != nil {
			return err
		} else if pinned > 0 {
			return writeDown(ctx, tx, k.By, deed{
				action: "host-key.pin", object: "host key of " + addr, detail: "pinned " + k.Type + " " + key,
				became: knownHostKeys([]HostKey{k}),
			})
		}
		keys, err := pinnedKeys(ctx, tx, k.Addr)
		if err != nil {
			return err
		}
		for _, had := range keys {
			if had.Type == k.Type && !bytes.Equal(had.Key, k.Key) {
				return refuse(ErrConflict, "another %s host key of %s was pinned at %s by %s: forget it first, if the change is meant",
					k.Type, addr, clock(had.Pinned), had.By)
			}
		}
		return nil
	})
}

func checkHostKey(k *HostKey) error {
	if !k.Addr.IsValid() {
		return refuse(ErrInvalid, "a host key without an address cannot be pinned")
	}
	if err := checkText("type of the host key", k.Type, maxName); err != nil {
		return err
	}
	if err := checkText("who pins the host key", k.By, maxName); err != nil {
		return err
	}
	if len(k.Key) == 0 || len(k.Key) > maxHostKey {
		return refuse(ErrInvalid, "host key of %s has %d bytes: 1 to %d are kept", k.Addr, len(k.Key), maxHostKey)
	}
	if k.Pinned.IsZero() {
		k.Pinned = time.Now()
	}
	return nil
}

// TrustHostKeys pins keys, at most one of a type, in place of all that were
// pinned for an address, and says how many those were. Whatever happens in
// between, there are the old keys or the new ones.
func (s *Store) TrustHostKeys(ctx context.Context, by string, addr netip.AddrPort, keys []HostKey) (removed int, err error) {
	if len(keys) == 0 {
		return 0, refuse(ErrInvalid, "there is no host key to trust for %s: forget its keys instead", addr)
	}
	keys = slices.Clone(keys)
	for i := range keys {
		k := &keys[i]
		k.Addr, k.By = addr, by
		if err := checkHostKey(k); err != nil {
			return 0, err
		}
		if slices.ContainsFunc(keys[:i], func(o HostKey) bool { return o.Type == k.Type }) {
			return 0, refuse(ErrConflict, "two host keys of %s are of the type %s: one can be trusted", addr, k.Type)
		}
	}
	err = s.writing(ctx, func(ctx context.Context, tx *sql.Tx) error {
		had, err := pinnedKeys(ctx, tx, addr)
		if err != nil {
			return err
		}
		removed = len(had)
		if _, err := tx.ExecContext(ctx, "DELETE FROM host_keys WHERE addr = $1", addrPortText(addr)); err != nil {
			return err
		}
		detail := "trusted"
		for _, k := range keys {
			// Another gate may have seen a key since: the admin's word counts.
			_, err := tx.ExecContext(ctx, "INSERT INTO host_keys ("+hostKeyColumns+`) VALUES ($1, $2, $3, $4, $5)
				ON CONFLICT (addr, key_type) DO UPDATE SET public_key = excluded.public_key, pinned = excluded.pinned, pinned_by = excluded.pinned_by`,
				addrPortText(addr), k.Type, keyText(k.Key), micros(k.Pinned), k.By)
			if err != nil {
				return err
			}
			detail += " " + k.Type + " " + keyText(k.Key)
		}
		return writeDown(ctx, tx, by, deed{
			action: "host-key.trust", object: "host key of " + addrPortText(addr), detail: detail,
			was: knownHostKeys(had), became: knownHostKeys(keys),
		})
	})
	return removed, err
}

// ForgetHostKeys unpins all keys of an address and says how many.
func (s *Store) ForgetHostKeys(ctx context.Context, by string, addr netip.AddrPort) (int, error) {
	if err := checkText("who forgets the host keys", by, maxName); err != nil {
		return 0, err
	}
	var forgotten int
	err := s.writing(ctx, func(ctx context.Context, tx *sql.Tx) error {
		keys, err := pinnedKeys(ctx, tx, addr)
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "DELETE FROM host_keys WHERE addr = $1", addrPortText(addr)); err != nil {
			return err
		}
		forgotten = len(keys)
		if forgotten == 0 {
			return nil
		}
		detail := "forgot"
		for _, k := range keys {
			detail += fmt.Sprintf(" %s %s", k.Type, keyText(k.Key))
		}
		return writeDown(ctx, tx, by, deed{
			action: "host-key.forget", object: "host key of " + addrPortText(addr), detail: detail, was: knownHostKeys(keys),
		})
	})
	return forgotten, err
}
