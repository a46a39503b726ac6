package store

import (
	"context"
	"database/sql"

	"github.com/pawelmojski/inside/policy"
)

// The columns as they were when the chain came to be. What later migrations
// add is not there yet when chainRows runs, so it shares no list of columns
// with the queries of today.
const (
	firstAuditColumns = "id, at, actor, action, object, detail, was, became, link, hash"
	firstEntryColumns = "id, at, gate, client, dest, protocol, login, person, server, grant_id, denial, detail, session, link, hash, '', '', ''"
)

// chainRows puts rows into the chain that were written before there was one,
// in the order of their times, and writes down which stays and sessions there
// are.
func chainRows(ctx context.Context, tx *sql.Tx) error {
	audits, err := all(ctx, tx, readAuditColumns, "SELECT "+firstAuditColumns+" FROM audit ORDER BY id")
	if err != nil {
		return err
	}
	entries, err := all(ctx, tx, readEntryColumns, "SELECT "+firstEntryColumns+" FROM entries ORDER BY id")
	if err != nil {
		return err
	}
	var head chainHead
	for len(audits)+len(entries) > 0 {
		head.link++
		if len(entries) == 0 || len(audits) > 0 && audits[0].at <= entries[0].at {
			a := audits[0]
			audits, head.audits, a.link = audits[1:], a.id, head.link
			head.hash = a.sum(head.hash)
			_, err = tx.ExecContext(ctx, "UPDATE audit SET link = $2, hash = $3 WHERE id = $1", a.id, a.link, head.hash)
		} else {
			e := entries[0]
			entries, head.entries, e.link = entries[1:], e.id, head.link
			head.hash = e.sum(head.hash)
			_, err = tx.ExecContext(ctx, "UPDATE entries SET link = $2, hash = $3 WHERE id = $1", e.id, e.link, head.hash)
		}
		if err != nil {
			return err
		}
	}
	_, err = tx.ExecContext(ctx, "UPDATE chain SET link = $1, audits = $2, entries = $3, hash = $4 WHERE id = 1",
		head.link, head.audits, head.entries, head.hash)
	if err != nil {
		return err
	}
	return chainInside(ctx, tx)
}

func chainInside(ctx context.Context, tx *sql.Tx) error {
	stays, err := all(ctx, tx, readStay, "SELECT id, person, grant_id, started, ended, cause, 0, 0 FROM stays ORDER BY id")
	if err != nil {
		return err
	}
	sessions, err := all(ctx, tx, readSession, `SELECT id, stay, person, server, grant_id, protocol, login, client, dest, gate, started, ended, cause,
		0, 0, 0, false, false, 0, '', '', '' FROM sessions ORDER BY started`)
	if err != nil {
		return err
	}
	const by = "insided"
	for _, st := range stays {
		if err := writeDown(ctx, tx, by, stayStarted(policy.Session{Stay: st.ID, Person: st.Person, Grant: st.Grant, Start: st.Start})); err != nil {
			return err
		}
		if st.End.IsZero() {
			continue
		}
		if err := writeDown(ctx, tx, by, stayEnded(st)); err != nil {
			return err
		}
	}
	for _, se := range sessions {
		d := sessionMoved(se, sessionFact{Session: se.ID})
		if !se.End.IsZero() {
			d = sessionEnded(se)
		}
		if err := writeDown(ctx, tx, by, d); err != nil {
			return err
		}
	}
	return nil
}
