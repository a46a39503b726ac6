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
	Identity policy.Identity  // what the network said of who came, where it was asked
	Waived   policy.Denial    // of an allowed entry: it would have been denied for this, were its network protected
}

const entryColumns = "id, at, gate, client, dest, protocol, login, person, server, grant_id, denial, detail, session, link, hash, account, node, waived"

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

// entryRow are the columns of an entry as they lie in the table.
type entryRow struct {
	id, at                                              int64
	gate, client, dest, protocol, login, person, server string
	grant                                               int64
	denial, detail, session                             string
	link                                                int64
	hash                                                string
	account, node, waived                               string
}

// sum is the hash the row must have behind prev. Entries without an identity,
// or without a denial that was waived, have the hash they had before there were
// any.
func (e entryRow) sum(prev string) string {
	columns := []any{e.link, e.id, e.at, e.gate, e.client, e.dest, e.protocol, e.login, e.person, e.server,
		e.grant, e.denial, e.detail, e.session}
	if e.account != "" || e.node != "" || e.waived != "" {
		columns = append(columns, e.account, e.node)
	}
	if e.waived != "" {
		columns = append(columns, e.waived)
	}
	return linkHash(prev, "entries", columns...)
}

// insertEntry is the last statement of its transaction, because it holds the
// lock that every other one needs.
func insertEntry(ctx context.Context, tx *sql.Tx, e Entry) error {
	p, err := nextPlace(ctx, tx, nextEntry)
	if err != nil {
		return err
	}
	grant, _ := idNumber(string(e.Grant)) // a grant that is no number is none
	r := entryRow{
		id: p.id, at: micros(e.Time), gate: e.Gate, client: addrPortText(e.Client), dest: addrPortText(e.Dest),
		protocol: readable(string(e.Protocol), maxName), login: readable(e.Login, maxText),
		person: string(e.Person), server: string(e.Server), grant: grant,
		denial: string(e.Denial), detail: readable(e.Detail, maxDetail), session: string(e.Session), link: p.link,
		account: readable(e.Identity.Account, maxText), node: readable(e.Identity.Node, maxText), waived: string(e.Waived),
	}
	r.hash = r.sum(p.prev)
	_, err = tx.ExecContext(ctx, "INSERT INTO entries ("+entryColumns+") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)",
		r.id, r.at, r.gate, r.client, r.dest, r.protocol, r.login, r.person, r.server, r.grant, r.denial, r.detail, r.session, r.link, r.hash, r.account, r.node, r.waived)
	if err != nil {
		return err
	}
	if e.Denial != "" {
		e.ID = r.id
		if err := insertDenial(ctx, tx, e); err != nil {
			return err
		}
	}
	return closeLink(ctx, tx, r.hash)
}

// EntriesUnder counts how often a person has entered under a grant since then.
func (s *Store) EntriesUnder(ctx context.Context, grant policy.GrantID, p policy.PersonID, since time.Time) (int, error) {
	var count int64
	err := s.reading(ctx, func(ctx context.Context, tx *sql.Tx) (err error) {
		n, _ := idNumber(string(grant)) // 0 is no grant's number
		count, err = entriesUnder(ctx, tx, n, p, since)
		return err
	})
	return int(count), err
}

func entriesUnder(ctx context.Context, tx *sql.Tx, grant int64, p policy.PersonID, since time.Time) (int64, error) {
	return number(tx.QueryRowContext(ctx, "SELECT COUNT(*) FROM entries WHERE grant_id = $1 AND at > $2 AND person = $3 AND denial = ''",
		grant, micros(since), p))
}

// UnusedGrants are the grants as old as since, or older, that are neither
// revoked nor have ended at now, and under which nobody is inside or has
// entered since then; with when somebody did last, zero if nobody ever did.
func (s *Store) UnusedGrants(ctx context.Context, since, now time.Time) (map[policy.GrantID]time.Time, error) {
	unused := map[policy.GrantID]time.Time{}
	err := s.reading(ctx, func(ctx context.Context, tx *sql.Tx) error {
		return each(ctx, tx, func(r row) error {
			var id, at int64
			err := r.Scan(&id, &at)
			if last := moment(at); err == nil && !last.After(since) {
				unused[policy.GrantID(numberID(id))] = last
			}
			return err
		}, `SELECT id, COALESCE((SELECT at FROM entries WHERE grant_id = grants.id AND denial = '' ORDER BY at DESC LIMIT 1), 0) FROM grants
			WHERE revoked = 0 AND (ends = 0 OR ends > $2) AND starts <= $1 AND created <= $1
			AND NOT EXISTS (SELECT 1 FROM sessions WHERE grant_id = grants.id AND ended = 0)`, micros(since), micros(now))
	})
	return unused, err
}

// EntryFilter limits Entries; zero fields limit nothing.
type EntryFilter struct {
	Allowed bool
	Denied  bool
	Waived  bool
	Person  policy.PersonID
	Server  policy.ServerID
	After   int64 // older ones than this entry
	Limit   int   // 0: 100
}

// Entries, newest first.
func (s *Store) Entries(ctx context.Context, f EntryFilter) ([]Entry, error) {
	var w where
	if f.Person != "" {
		w.and("person = " + w.place(f.Person))
	}
	if f.Server != "" {
		w.and("server = " + w.place(f.Server))
	}
	if f.Allowed {
		w.and("denial = ''")
	}
	if f.Denied {
		w.and("denial <> ''")
	}
	if f.Waived {
		w.and("waived <> ''")
	}
	if f.After > 0 {
		w.and("id < " + w.place(f.After))
	}
	query := "SELECT " + entryColumns + " FROM entries" + w.clause() + " ORDER BY id DESC LIMIT " + w.place(limitOr100(f.Limit))
	var entries []Entry
	err := s.reading(ctx, func(ctx context.Context, tx *sql.Tx) (err error) {
		entries, err = all(ctx, tx, readEntry, query, w.args...)
		return err
	})
	return entries, err
}

func readEntryColumns(r row) (e entryRow, err error) {
	return e, r.Scan(&e.id, &e.at, &e.gate, &e.client, &e.dest, &e.protocol, &e.login, &e.person, &e.server, &e.grant,
		&e.denial, &e.detail, &e.session, &e.link, &e.hash, &e.account, &e.node, &e.waived)
}

func readEntry(r row) (Entry, error) {
	c, err := readEntryColumns(r)
	if err != nil {
		return Entry{}, err
	}
	e := Entry{
		ID: c.id, Time: moment(c.at), Gate: c.gate, Protocol: policy.Protocol(c.protocol), Login: c.login,
		Person: policy.PersonID(c.person), Server: policy.ServerID(c.server), Grant: policy.GrantID(numberID(c.grant)),
		Denial: policy.Denial(c.denial), Detail: c.detail, Session: policy.SessionID(c.session),
		Identity: policy.Identity{Account: c.account, Node: c.node}, Waived: policy.Denial(c.waived),
	}
	if e.Client, err = parseAddrPort(c.client); err != nil {
		return e, err
	}
	e.Dest, err = parseAddrPort(c.dest)
	return e, err
}
