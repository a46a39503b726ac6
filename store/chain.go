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
// table and all its columns.
func linkHash(prev, table string, columns ...any) string {
	sum := sha256.Sum256(framed(append([]any{"inside chain 1", prev, table}, columns...)...))
	return hex.EncodeToString(sum[:])
}

// framed puts values behind one another, each with its kind and length before
// it, so that no two lists of values have the same bytes.
func framed(values ...any) []byte {
	b := make([]byte, 0, 1024)
	for _, value := range values {
		switch v := value.(type) {
		case int64:
			b = append(b, 'n')
			b = binary.BigEndian.AppendUint64(b, uint64(v))
		case string:
			b = append(b, 's')
			b = binary.BigEndian.AppendUint64(b, uint64(len(v)))
			b = append(b, v...)
		default:
			panic(fmt.Sprintf("store: a %T in the chain", value))
		}
	}
	return b
}

// chainHead is the newest link.
type chainHead struct {
	link, audits, entries int64
	hash                  string
}

func readChainHead(r row) (h chainHead, err error) {
	return h, r.Scan(&h.link, &h.audits, &h.entries, &h.hash)
}

const chainHeadQuery = "SELECT link, audits, entries, hash FROM chain WHERE id = 1"
