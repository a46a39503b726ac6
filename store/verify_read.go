package store

import (
	"context"
	"database/sql"
	"strconv"
	"strings"

	"github.com/pawelmojski/inside/policy"
)

// pieceSize is how many links Verify reads at once.
const pieceSize = 1000

// A piece is a part of the chain with all it tells of, read in one
// transaction.
type piece struct {
	head     chainHead
	upTo     int64
	audits   []auditRow
	entries  []entryRow
	heads    []Head
	sessions map[policy.SessionID]sessionState
	stays    map[policy.StayID]stayFact
	last     *lastPiece // set when the piece reaches the head
}

// A lastPiece is what stands beside the chain.
type lastPiece struct {
	audit, entry    int64 // the number of a row that is not in the chain; 0 is none
	heads           []Head
	open            map[policy.SessionID]policy.GrantID
	openStays       map[policy.StayID]bool
	sessions, stays int64 // how many there are
}

// A beginning is what an entry and its session both say.
type beginning struct {
	at                                                  int64
	gate, client, dest, protocol, login, person, server string
	account, node, waived                               string
}

func (e entryRow) began() beginning {
	return beginning{e.at, e.gate, e.client, e.dest, e.protocol, e.login, e.person, e.server, e.account, e.node, e.waived}
}

// A sessionState is a session as it lies in the table.
type sessionState struct {
	began beginning
	fact  sessionFact
}

func (s *Store) piece(ctx context.Context, after int64) (*piece, error) {
	var p *piece
	err := s.reading(ctx, func(ctx context.Context, tx *sql.Tx) (err error) {
		p = &piece{upTo: after + pieceSize}
		const piece = " WHERE link > $1 AND link <= $2 ORDER BY link, id"
		gone := &Broken{Link: after + 1, Record: "the head of the chain", What: "it is gone"}
		if p.head, err = one(ctx, tx, readChainHead, error(gone), chainHeadQuery); err != nil {
			return err
		}
		if p.audits, err = all(ctx, tx, readAuditColumns, "SELECT "+auditColumns+" FROM audit"+piece, after, p.upTo); err != nil {
			return err
		}
		if p.entries, err = all(ctx, tx, readEntryColumns, "SELECT "+entryColumns+" FROM entries"+piece, after, p.upTo); err != nil {
			return err
		}
		if p.heads, err = all(ctx, tx, readHead, "SELECT "+headColumns+" FROM heads WHERE link > $1 AND link <= $2 ORDER BY link, gate", after, p.upTo); err != nil {
			return err
		}
		if err := p.toldOf(ctx, tx); err != nil || p.head.link > p.upTo {
			return err
		}
		p.last, err = readLast(ctx, tx, p.head.link)
		return err
	})
	return p, err
}

// toldOf reads the sessions and stays the piece tells of.
func (p *piece) toldOf(ctx context.Context, tx *sql.Tx) error {
	var sessions, stays []any
	for _, e := range p.entries {
		if e.session != "" {
			sessions = append(sessions, e.session)
		}
	}
	for _, a := range p.audits {
		noun, id, _ := strings.Cut(a.object, " ")
		switch a.action {
		case actionSessionEnded, actionSessionMoved:
			if noun == "session" {
				sessions = append(sessions, id)
			}
		case actionStayStarted, actionStayEnded:
			if n, ok := idNumber(id); ok && noun == "stay" {
				stays = append(stays, n)
			}
		}
	}
	p.sessions, p.stays = map[policy.SessionID]sessionState{}, map[policy.StayID]stayFact{}
	const session = "SELECT id, stay, grant_id, ended, cause, started, gate, client, dest, protocol, login, person, server, account, node, waived FROM sessions WHERE id IN ("
	err := among(ctx, tx, func(r row) error {
		var se sessionState
		var stay, grant int64
		f, b := &se.fact, &se.began
		err := r.Scan(&f.Session, &stay, &grant, &f.End, &f.Cause, &b.at, &b.gate, &b.client, &b.dest, &b.protocol, &b.login, &b.person, &b.server, &b.account, &b.node, &b.waived)
		f.Stay, f.Grant = policy.StayID(numberID(stay)), policy.GrantID(numberID(grant))
		p.sessions[f.Session] = se
		return err
	}, session, sessions)
	if err != nil {
		return err
	}
	return among(ctx, tx, func(r row) error {
		var st stayFact
		var id, grant int64
		err := r.Scan(&id, &st.Person, &grant, &st.Start, &st.End, &st.Cause)
		st.Stay, st.Grant = policy.StayID(numberID(id)), policy.GrantID(numberID(grant))
		p.stays[st.Stay] = st
		return err
	}, "SELECT id, person, grant_id, started, ended, cause FROM stays WHERE id IN (", stays)
}

// Records that are one too many, before it is known which.
const someSession, someStay = "a session", "a stay"

// named finds out which session or stay nobody ever wrote down. It is looked
// for only when there is one: nothing else needs an index for that.
func (s *Store) named(ctx context.Context, err error) error {
	b, ok := AsBroken(err)
	if !ok || b.Record != someSession && b.Record != someStay {
		return err
	}
	query, noun := `SELECT s.id FROM sessions s LEFT JOIN entries e ON e.session = s.id WHERE e.id IS NULL ORDER BY s.started LIMIT 1`, "session "
	if b.Record == someStay {
		query, noun = `SELECT CAST(s.id AS TEXT) FROM stays s
			LEFT JOIN audit a ON a.object = 'stay ' || CAST(s.id AS TEXT) AND a.action = '`+actionStayStarted+`'
			WHERE a.id IS NULL AND s.id <> 0 ORDER BY s.id LIMIT 1`, "stay "
	}
	var id string
	if e := s.reading(ctx, func(ctx context.Context, tx *sql.Tx) (err error) {
		id, err = one(ctx, tx, text, nil, query)
		return err
	}); e != nil || id == "" {
		return err
	}
	b.Record, b.What = noun+id, "it was put in by hand: "+b.What
	return b
}

// among runs a query that ends with an open list, over all of values.
func among(ctx context.Context, tx *sql.Tx, read func(row) error, query string, values []any) error {
	if len(values) == 0 {
		return nil
	}
	places := make([]string, len(values))
	for i := range values {
		places[i] = "$" + strconv.Itoa(i+1)
	}
	return each(ctx, tx, read, query+strings.Join(places, ", ")+")", values...)
}

func readLast(ctx context.Context, tx *sql.Tx, head int64) (*lastPiece, error) {
	l := &lastPiece{open: map[policy.SessionID]policy.GrantID{}, openStays: map[policy.StayID]bool{}}
	const outside = " WHERE link < 1 OR link > $1 ORDER BY link, id LIMIT 1"
	var err error
	if l.audit, err = one(ctx, tx, number, nil, "SELECT id FROM audit"+outside, head); err != nil {
		return nil, err
	}
	if l.entry, err = one(ctx, tx, number, nil, "SELECT id FROM entries"+outside, head); err != nil {
		return nil, err
	}
	if l.heads, err = all(ctx, tx, readHead, "SELECT "+headColumns+" FROM heads WHERE link < 1 OR link > $1 ORDER BY link DESC LIMIT 1", head); err != nil {
		return nil, err
	}
	if l.sessions, err = number(tx.QueryRowContext(ctx, "SELECT COUNT(*) FROM sessions")); err != nil {
		return nil, err
	}
	if l.stays, err = number(tx.QueryRowContext(ctx, "SELECT COUNT(*) FROM stays WHERE id <> 0")); err != nil {
		return nil, err
	}
	err = each(ctx, tx, func(r row) error {
		var id policy.SessionID
		var grant int64
		err := r.Scan(&id, &grant)
		l.open[id] = policy.GrantID(numberID(grant))
		return err
	}, "SELECT id, grant_id FROM sessions WHERE ended = 0")
	if err != nil {
		return nil, err
	}
	err = each(ctx, tx, func(r row) error {
		id, err := number(r)
		l.openStays[policy.StayID(numberID(id))] = true
		return err
	}, "SELECT id FROM stays WHERE ended = 0")
	return l, err
}
