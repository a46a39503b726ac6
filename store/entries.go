package store

import (
	"context"
	"database/sql"
	"net/netip"
	"time"

	"github.com/pawelmojski/inside/policy"
)

// An Entry is one attempt to get in, as it is written down, append-only like
// the audit trail. Ids are given without gaps.
type Entry struct {
	ID       int64
	Time     time.Time
	Gate     string
	Client   netip.AddrPort
	Dest     netip.AddrPort
	Protocol policy.Protocol
	Login    string
	Person   policy.PersonID // as far as known, like all that follows
	Server   policy.ServerID
	Grant    policy.GrantID
	Denial   policy.Denial    // "" is allowed
	Detail   string           // for humans: what lies beneath a denial
	Session  policy.SessionID // of an allowed entry
}

const entryColumns = "id, at, gate, client, dest, protocol, login, person, server, grant_id, denial, detail, session"

// Deny writes a denied entry. A zero Time is now. What a stranger may have
// chosen, the login and the detail, is made readable and never a reason not to
// write.
func (s *Store) Deny(ctx context.Context, e Entry) error {
	if e.Denial == "" {
		return refuse(ErrInvalid, "a denied entry has no denial")
	}
	if err := checkText("gate of the entry", e.Gate, maxName); err != nil {
		return err
	}
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	return s.writing(ctx, func(ctx context.Context, tx *sql.Tx) error {
		return insertEntry(ctx, tx, e)
	})
}

// insertEntry is the last statement of its transaction, because it holds the
// counter that every other one needs.
func insertEntry(ctx context.Context, tx *sql.Tx, e Entry) error {
	id, err := next(ctx, tx, "entry")
	if err != nil {
		return err
	}
	grant, _ := idNumber(string(e.Grant)) // a grant that is no number is none
	_, err = tx.ExecContext(ctx, "INSERT INTO entries ("+entryColumns+") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
		id, micros(e.Time), e.Gate, addrPortText(e.Client), addrPortText(e.Dest), readable(string(e.Protocol), maxName),
		readable(e.Login, maxText), e.Person, e.Server, grant, e.Denial, readable(e.Detail, maxDetail), e.Session)
	return err
}

// Entries, newest first; limit 0 is 100.
func (s *Store) Entries(ctx context.Context, limit int) ([]Entry, error) {
	var entries []Entry
	err := s.reading(ctx, func(ctx context.Context, tx *sql.Tx) (err error) {
		entries, err = all(ctx, tx, readEntry, "SELECT "+entryColumns+" FROM entries ORDER BY id DESC LIMIT $1", limitOr100(limit))
		return err
	})
	return entries, err
}

func readEntry(r row) (e Entry, err error) {
	var at, grant int64
	var client, dest string
	if err := r.Scan(&e.ID, &at, &e.Gate, &client, &dest, &e.Protocol, &e.Login, &e.Person, &e.Server, &grant, &e.Denial, &e.Detail, &e.Session); err != nil {
		return e, err
	}
	e.Time, e.Grant = moment(at), policy.GrantID(numberID(grant))
	if e.Client, err = parseAddrPort(client); err != nil {
		return e, err
	}
	e.Dest, err = parseAddrPort(dest)
	return e, err
}
