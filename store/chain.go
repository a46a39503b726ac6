package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"encoding/hex"
	"fmt"
)

// The chain holds every audit row and every entry, in the order in which they
// were committed, whichever gate they come from. The hash of a link covers the
// hash of the link before it, so that nothing can be changed, taken out or put
// in between without all later hashes being wrong. What a person may not be
// believed without is therefore in it: the ends of sessions and stays are audit
// rows of their own.

// A place is where a row goes in the chain.
type place struct {
	link int64  // counts from 1, over both tables
	id   int64  // of the row in its own table, without gaps
	prev string // hash of the link before; "" of none
}

// next places: the rows of the chain are counted together with the rows of
// their own table. The lock of this one row lets one writer at a time through,
// whichever gate it is: whoever has seen one number has seen all smaller ones.
const (
	nextAudit = "UPDATE chain SET link = link + 1, audits = audits + 1 WHERE id = 1 RETURNING link, audits, hash"
	nextEntry = "UPDATE chain SET link = link + 1, entries = entries + 1 WHERE id = 1 RETURNING link, entries, hash"
)

// nextPlace takes the next place, and with it the lock that every other writer
// needs: what follows it ends the transaction.
func nextPlace(ctx context.Context, tx *sql.Tx, query string) (p place, err error) {
	return p, tx.QueryRowContext(ctx, query).Scan(&p.link, &p.id, &p.prev)
}

// closeLink makes a row's hash the head of the chain.
func closeLink(ctx context.Context, tx *sql.Tx, hash string) error {
	_, err := tx.ExecContext(ctx, "UPDATE chain SET hash = $1 WHERE id = 1", hash)
	return err
}

// linkHash is the hash of a row: over the hash of the link before it, the
// table and all its columns, each with its kind and length before it, so that
// no two rows have the same bytes.
func linkHash(prev, table string, columns ...any) string {
	b := make([]byte, 0, 1024)
	for _, column := range append([]any{"inside chain 1", prev, table}, columns...) {
		switch v := column.(type) {
		case int64:
			b = append(b, 'n')
			b = binary.BigEndian.AppendUint64(b, uint64(v))
		case string:
			b = append(b, 's')
			b = binary.BigEndian.AppendUint64(b, uint64(len(v)))
			b = append(b, v...)
		default:
			panic(fmt.Sprintf("store: a %T in the chain", column))
		}
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// chainRows puts rows into the chain that were written before there was one,
// in the order of their times.
func chainRows(ctx context.Context, tx *sql.Tx) error {
	audits, err := all(ctx, tx, readAuditColumns, "SELECT "+auditColumns+" FROM audit ORDER BY id")
	if err != nil {
		return err
	}
	entries, err := all(ctx, tx, readEntryColumns, "SELECT "+entryColumns+" FROM entries ORDER BY id")
	if err != nil {
		return err
	}
	var head place
	var written struct{ audits, entries int64 }
	for len(audits)+len(entries) > 0 {
		head.link++
		if len(entries) == 0 || len(audits) > 0 && audits[0].at <= entries[0].at {
			a := audits[0]
			audits, written.audits, a.link = audits[1:], a.id, head.link
			head.prev = a.sum(head.prev)
			_, err = tx.ExecContext(ctx, "UPDATE audit SET link = $2, hash = $3 WHERE id = $1", a.id, a.link, head.prev)
		} else {
			e := entries[0]
			entries, written.entries, e.link = entries[1:], e.id, head.link
			head.prev = e.sum(head.prev)
			_, err = tx.ExecContext(ctx, "UPDATE entries SET link = $2, hash = $3 WHERE id = $1", e.id, e.link, head.prev)
		}
		if err != nil {
			return err
		}
	}
	_, err = tx.ExecContext(ctx, "UPDATE chain SET link = $1, audits = $2, entries = $3, hash = $4 WHERE id = 1",
		head.link, written.audits, written.entries, head.prev)
	return err
}
