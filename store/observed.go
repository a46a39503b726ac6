package store

import (
	"context"
	"database/sql"
	"encoding/base64"
	"net/netip"
	"time"

	"github.com/pawelmojski/inside/policy"
)

// An Acquaintance is a person's address and a server that were seen to talk, as
// somebody who stands aside learns it. All text is what strangers said.
type Acquaintance struct {
	Client        netip.Addr
	Server        netip.AddrPort
	Protocol      policy.Protocol
	ClientVersion string
	ServerVersion string
	Login         string // that the client asked for in clear, where the protocol has that
	First, Last   time.Time
	Times         int // conversations
}

// A SeenKey is a host key that a server was seen to show.
type SeenKey struct {
	Server      netip.AddrPort
	Type        string
	Key         []byte
	First, Last time.Time
}

// What is kept: so many of each, and no longer than since they were last seen.
// What is more is not learned.
const (
	mostObserved = 10_000
	mostSeenKeys = 8 // of a server
	keepObserved = 90 * 24 * time.Hour
)

// Observe adds what was learned. Of what is known already the last word counts,
// and Times add up.
func (s *Store) Observe(ctx context.Context, seen []Acquaintance, keys []SeenKey, now time.Time) error {
	return s.writing(ctx, func(ctx context.Context, tx *sql.Tx) error {
		for _, table := range []string{"observed", "observed_keys"} {
			if _, err := tx.ExecContext(ctx, "DELETE FROM "+table+" WHERE last_seen < $1", micros(now.Add(-keepObserved))); err != nil {
				return err
			}
		}
		known, err := number(tx.QueryRowContext(ctx, "SELECT COUNT(*) FROM observed"))
		if err != nil {
			return err
		}
		for _, a := range seen {
			is, err := observeAgain(ctx, tx, a)
			if err == nil && !is && known < mostObserved {
				known++
				err = observeFirst(ctx, tx, a)
			}
			if err != nil {
				return err
			}
		}
		for _, k := range keys {
			if err := observeKey(ctx, tx, k); err != nil {
				return err
			}
		}
		return nil
	})
}

func observeAgain(ctx context.Context, tx *sql.Tx, a Acquaintance) (known bool, err error) {
	done, err := tx.ExecContext(ctx, `UPDATE observed SET last_seen = $4, times = times + $5,
			client_version = CASE WHEN $6 = '' THEN client_version ELSE $6 END,
			server_version = CASE WHEN $7 = '' THEN server_version ELSE $7 END,
			login = CASE WHEN $8 = '' THEN login ELSE $8 END
		WHERE client = $1 AND server = $2 AND protocol = $3`,
		a.Client.String(), addrPortText(a.Server), string(a.Protocol), micros(a.Last), int64(a.Times),
		readable(a.ClientVersion, maxText), readable(a.ServerVersion, maxText), readable(a.Login, maxText))
	if err != nil {
		return false, err
	}
	n, err := done.RowsAffected()
	return n > 0, err
}

func observeFirst(ctx context.Context, tx *sql.Tx, a Acquaintance) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO observed (client, server, protocol, client_version, server_version, login, first_seen, last_seen, times)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (client, server, protocol) DO NOTHING`,
		a.Client.String(), addrPortText(a.Server), string(a.Protocol), readable(a.ClientVersion, maxText), readable(a.ServerVersion, maxText),
		readable(a.Login, maxText), micros(a.First), micros(a.Last), int64(a.Times))
	return err
}

func observeKey(ctx context.Context, tx *sql.Tx, k SeenKey) error {
	if err := checkHostKey(&HostKey{Addr: k.Server, Type: k.Type, Key: k.Key, Pinned: k.Last, By: "observed"}); err != nil {
		return err
	}
	server := addrPortText(k.Server)
	done, err := tx.ExecContext(ctx, "UPDATE observed_keys SET last_seen = $4 WHERE server = $1 AND key_type = $2 AND public_key = $3",
		server, k.Type, keyText(k.Key), micros(k.Last))
	if err != nil {
		return err
	}
	if n, err := done.RowsAffected(); n > 0 || err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO observed_keys (server, key_type, public_key, first_seen, last_seen)
		SELECT $1, $2, $3, $4, $5 WHERE (SELECT COUNT(*) FROM observed_keys WHERE server = $1) < $6
			AND (SELECT COUNT(*) FROM observed_keys) < $7
		ON CONFLICT (server, key_type, public_key) DO NOTHING`,
		server, k.Type, keyText(k.Key), micros(k.First), micros(k.Last), int64(mostSeenKeys), int64(mostObserved))
	return err
}

// Observed is all that was learned, what was seen last first.
func (s *Store) Observed(ctx context.Context) (seen []Acquaintance, keys []SeenKey, err error) {
	err = s.reading(ctx, func(ctx context.Context, tx *sql.Tx) (err error) {
		seen, err = all(ctx, tx, readAcquaintance, `SELECT client, server, protocol, client_version, server_version, login, first_seen, last_seen, times
			FROM observed ORDER BY last_seen DESC, client, server, protocol`)
		if err != nil {
			return err
		}
		keys, err = all(ctx, tx, readSeenKey, `SELECT server, key_type, public_key, first_seen, last_seen
			FROM observed_keys ORDER BY last_seen DESC, server, key_type, public_key`)
		return err
	})
	return seen, keys, err
}

func readAcquaintance(r row) (a Acquaintance, err error) {
	var client, server, protocol string
	var first, last, times int64
	if err := r.Scan(&client, &server, &protocol, &a.ClientVersion, &a.ServerVersion, &a.Login, &first, &last, &times); err != nil {
		return a, err
	}
	a.Protocol, a.First, a.Last, a.Times = policy.Protocol(protocol), moment(first), moment(last), int(times)
	if a.Client, err = netip.ParseAddr(client); err != nil {
		return a, err
	}
	a.Server, err = parseAddrPort(server)
	return a, err
}

func readSeenKey(r row) (SeenKey, error) {
	var server, kind, key string
	var first, last int64
	if err := r.Scan(&server, &kind, &key, &first, &last); err != nil {
		return SeenKey{}, err
	}
	k := SeenKey{Type: kind, First: moment(first), Last: moment(last)}
	var err error
	if k.Server, err = parseAddrPort(server); err != nil {
		return k, err
	}
	k.Key, err = base64.StdEncoding.DecodeString(key)
	return k, err
}
