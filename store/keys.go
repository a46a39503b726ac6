package store

import (
	"context"
	"database/sql"
	"fmt"
	"math/bits"
	"net/netip"
	"strings"
	"time"

	"github.com/pawelmojski/inside/policy"
)

// Keys are what a search compares in the database. They are made so that both
// engines order and compare them alike: PostgreSQL by the collation of the
// database, which folds and contracts letters (in Danish "aa" comes after
// "z"), but leaves digits in their order.

// addrKey is an address as digits of a fixed width, so that a prefix is a
// range: "4" and three digits for each byte, or "6" and as many.
func addrKey(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	a = a.Unmap()
	var b strings.Builder
	b.WriteByte("46"[bool01(a.Is6())])
	for _, c := range a.AsSlice() {
		fmt.Fprintf(&b, "%03d", c)
	}
	return b.String()
}

func bool01(is bool) int {
	if is {
		return 1
	}
	return 0
}

// addrRange is the first and the last key of a prefix.
func addrRange(p netip.Prefix) (first, last string) {
	p = p.Masked()
	end := p.Addr().AsSlice()
	for i := p.Bits(); i < 8*len(end); i++ {
		end[i/8] |= 0x80 >> (i % 8)
	}
	to, _ := netip.AddrFromSlice(end)
	return addrKey(p.Addr()), addrKey(to)
}

// loginKey folds a login as it is kept. It is compared for equality only.
func loginKey(login string) string { return strings.ToLower(login) }

const stillOpen = -1 // in the column lasted

// lastedKey is the length of a session to the power of two: n binary digits of
// its seconds.
func lastedKey(start, end time.Time) int {
	return lengthKey(end.Sub(start))
}

func lengthKey(d time.Duration) int { return bits.Len64(uint64(max(0, d/time.Second))) }

// longest is the upper bound of a length with this key, itself not reached.
func longest(key int) time.Duration { return time.Second << key }

// longestKey is that of the longest session there can be, some 250 years.
var longestKey = lengthKey(1<<63 - 1)

// fillKeys makes the keys of what was there before there were keys. It names
// its columns itself: those of later schemas are not there yet.
func fillKeys(ctx context.Context, tx *sql.Tx) error {
	const atOnce = 1000
	for {
		sessions, err := all(ctx, tx, func(r row) (se policy.Session, err error) {
			var client, dest string
			var started, ended int64
			err = r.Scan(&se.ID, &se.Login, &client, &dest, &started, &ended)
			se.Start, se.End = moment(started), moment(ended)
			return withAddresses(se, client, dest, err)
		}, "SELECT id, login, client, dest, started, ended FROM sessions WHERE client_key = '' LIMIT $1", atOnce)
		if err != nil {
			return err
		}
		for _, se := range sessions {
			lasted := stillOpen
			if !se.End.IsZero() {
				lasted = lastedKey(se.Start, se.End)
			}
			if _, err := tx.ExecContext(ctx, "UPDATE sessions SET login_key = $2, client_key = $3, dest_key = $4, lasted = $5 WHERE id = $1",
				se.ID, loginKey(se.Login), addrKey(se.Client.Addr()), addrKey(se.Dest.Addr()), lasted); err != nil {
				return err
			}
		}
		if len(sessions) < atOnce {
			break
		}
	}
	for last := int64(0); ; {
		entries, err := all(ctx, tx, func(r row) (e Entry, err error) {
			var client, dest string
			var at, grant int64
			err = r.Scan(&e.ID, &at, &client, &dest, &e.Protocol, &e.Login, &e.Person, &e.Server, &grant, &e.Denial)
			e.Time, e.Grant = moment(at), policy.GrantID(numberID(grant))
			se, err := withAddresses(policy.Session{}, client, dest, err)
			e.Client, e.Dest = se.Client, se.Dest
			return e, err
		}, `SELECT id, at, client, dest, protocol, login, person, server, grant_id, denial
			FROM entries WHERE denial <> '' AND id > $1 ORDER BY id LIMIT $2`, last, atOnce)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if err := insertDenial(ctx, tx, e); err != nil {
				return err
			}
			last = e.ID
		}
		if len(entries) < atOnce {
			return nil
		}
	}
}

func withAddresses(se policy.Session, client, dest string, err error) (policy.Session, error) {
	if err == nil {
		se.Client, err = parseAddrPort(client)
	}
	if err == nil {
		se.Dest, err = parseAddrPort(dest)
	}
	return se, err
}

// insertDenial makes a denied entry findable.
func insertDenial(ctx context.Context, tx *sql.Tx, e Entry) error {
	grant, _ := idNumber(string(e.Grant))
	_, err := tx.ExecContext(ctx, `INSERT INTO denials (id, started, person, server, grant_id, protocol, login_key, client_key, dest_key, denial)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
		e.ID, micros(e.Time), e.Person, e.Server, grant, readable(string(e.Protocol), maxName), loginKey(readable(e.Login, maxText)),
		addrKey(e.Client.Addr()), addrKey(e.Dest.Addr()), e.Denial)
	return err
}
