package store

import (
	"context"
	"database/sql"
	"regexp"
	"time"

	"github.com/pawelmojski/inside/policy"
)

const sessionColumns = "id, stay, person, server, grant_id, protocol, login, client, dest, gate, started, ended, cause, bytes_in, bytes_out, recordings, forwarding, files, removed, account, node, waived"

// sessionIDs are file names too, so their form is narrow.
var (
	sessionID     = regexp.MustCompile(`^[a-z0-9]{16,64}$`)
	sessionPrefix = regexp.MustCompile(`^[a-z0-9]{4,64}$`)
)

const headLength = 4

// Enter writes an allowed entry, joins or starts the stay of the person under
// the grant and writes the session, in one transaction. When the grant allows
// the person no further session beside those that are open, it is ErrFull; no
// further entry for now, ErrOften. A session with a Waived denial has neither: it
// may be of nobody and on no server that is known. The session comes back with its Stay; one
// without an id or a start is given them. joined tells whether the stay was
// there before.
//
// After an error that is none of the sentinels the session may have been
// written all the same, if the connection to the database broke at the last
// moment: whoever does not let the person in then calls Leave.
func (s *Store) Enter(ctx context.Context, se policy.Session) (entered policy.Session, joined bool, err error) {
	if se.ID == "" {
		se.ID = policy.SessionID(newID())
	}
	if se.Start.IsZero() {
		se.Start = time.Now()
	}
	se.Start, se.End, se.Cause, se.Carried, se.Removed = kept(se.Start), time.Time{}, "", policy.Carried{}, time.Time{}
	se.Client, se.Dest = unmapped(se.Client), unmapped(se.Dest)
	se.Login, se.Identity = readable(se.Login, maxText), readableIdentity(se.Identity)
	if err := checkSession(se); err != nil {
		return policy.Session{}, false, err
	}
	err = s.writing(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if err := sessionParties(ctx, tx, se); err != nil {
			return err
		}
		if se.Waived != "" {
			return enterWaived(ctx, tx, se)
		}
		grant, _ := idNumber(string(se.Grant))
		stay, was, err := joinOrStart(ctx, tx, se.Person, grant, se.Start)
		if err != nil {
			return err
		}
		if err := room(ctx, tx, se.Person, grant); err != nil {
			return err
		}
		if err := notTooOften(ctx, tx, se.Person, grant, se.Start); err != nil {
			return err
		}
		if err := visitServer(ctx, tx, stay, se.Server, se.Start); err != nil {
			return err
		}
		se.Stay, joined = policy.StayID(numberID(stay)), was
		if err := insertSession(ctx, tx, se, stay, grant); err != nil {
			return err
		}
		if !joined {
			if err := writeDown(ctx, tx, gateActor(se.Gate), stayStarted(se)); err != nil {
				return err
			}
		}
		return insertEntry(ctx, tx, entryOf(se))
	})
	if err != nil {
		return policy.Session{}, false, err
	}
	return se, joined, nil
}

// enterWaived writes a session that is let in though it would be denied: it
// rests on no stay and no grant.
func enterWaived(ctx context.Context, tx *sql.Tx, se policy.Session) error {
	if err := insertSession(ctx, tx, se, 0, 0); err != nil {
		return err
	}
	return insertEntry(ctx, tx, entryOf(se))
}

func entryOf(se policy.Session) Entry {
	return Entry{
		Time: se.Start, Gate: se.Gate, Client: se.Client, Dest: se.Dest, Protocol: se.Protocol, Login: se.Login,
		Person: se.Person, Server: se.Server, Grant: se.Grant, Session: se.ID, Identity: se.Identity, Waived: se.Waived,
	}
}

func checkSession(se policy.Session) error {
	if se.Waived != "" && se.Grant != "" {
		return refuse(ErrInvalid, "session %s is by grant %s, and would have been denied", se.ID, se.Grant)
	}
	if !sessionID.MatchString(string(se.ID)) {
		return refuse(ErrInvalid, "session id %q is not 16 to 64 lower-case letters and digits", se.ID)
	}
	if err := checkProtocol(se.Protocol); err != nil {
		return err
	}
	if err := checkText("gate of the session", se.Gate, maxName); err != nil {
		return err
	}
	if err := checkMoment("start of the session", se.Start); err != nil {
		return err
	}
	if !se.Client.IsValid() || !se.Dest.IsValid() {
		return refuse(ErrInvalid, "session %s has no client or no destination address", se.ID)
	}
	return nil
}

// sessionParties names what a session refers to and does not exist, and an id
// that is taken; the foreign keys would only say that something is wrong.
func sessionParties(ctx context.Context, tx *sql.Tx, se policy.Session) error {
	grant, _ := idNumber(string(se.Grant)) // 0 is no grant's number
	var persons, servers, grants, taken int64
	err := tx.QueryRowContext(ctx, `SELECT (SELECT COUNT(*) FROM persons WHERE id = $1), (SELECT COUNT(*) FROM servers WHERE id = $2),
		(SELECT COUNT(*) FROM grants WHERE id = $3), (SELECT COUNT(*) FROM sessions WHERE id = $4)`,
		se.Person, se.Server, grant, se.ID).Scan(&persons, &servers, &grants, &taken)
	switch {
	case err != nil:
		return err
	case persons == 0 || se.Person == "" && se.Waived == "":
		return refuse(ErrNotFound, "there is no person with the id %q", se.Person)
	case servers == 0 || se.Server == "" && se.Waived == "":
		return refuse(ErrNotFound, "there is no server with the id %q", se.Server)
	case grants == 0 || grant == 0 && se.Waived == "":
		return refuse(ErrNotFound, "there is no grant %q", se.Grant)
	case taken > 0:
		return refuse(ErrConflict, "there is a session %s already", se.ID)
	}
	return nil
}

// room is ErrFull when the person has as many sessions open under the grant as
// it allows, on whichever gate. The transaction holds the row of their stay
// under it (joinOrStart): who enters or moves at the same time waits, and then
// counts what was written here.
func room(ctx context.Context, tx *sql.Tx, p policy.PersonID, grant int64) error {
	most, err := number(tx.QueryRowContext(ctx, "SELECT max_sessions FROM grants WHERE id = $1", grant))
	if err != nil || most == 0 {
		return err
	}
	open, err := number(tx.QueryRowContext(ctx, "SELECT COUNT(*) FROM sessions WHERE grant_id = $1 AND person = $2 AND ended = 0", grant, p))
	if err == nil && open >= most {
		err = refuse(ErrFull, "%d sessions are open under grant %d, which allows %d at a time", open, grant, most)
	}
	return err
}

// notTooOften is ErrOften when the person entered under the grant as often as
// it allows, by whichever gates. As in room, who enters at the same time waits
// and then counts this entry. Entries are counted, not sessions: those that
// moved here did not enter here, those that moved away did.
func notTooOften(ctx context.Context, tx *sql.Tx, p policy.PersonID, grant int64, now time.Time) error {
	var most, per int64
	if err := tx.QueryRowContext(ctx, "SELECT max_entries, entries_per FROM grants WHERE id = $1", grant).Scan(&most, &per); err != nil || most == 0 {
		return err
	}
	since := now.Add(-time.Duration(per) * time.Microsecond)
	n, err := entriesUnder(ctx, tx, grant, p, since)
	if err == nil && n >= most {
		err = refuse(ErrOften, "%d entries under grant %d since %s, which allows %d in that time", n, grant, clock(since), most)
	}
	return err
}

func insertSession(ctx context.Context, tx *sql.Tx, se policy.Session, stay, grant int64) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO sessions (id, stay, person, server, grant_id, protocol, login, client, dest, gate,
			started, ended, cause, head, login_key, client_key, dest_key, account, node, waived)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 0, '', $12, $13, $14, $15, $16, $17, $18)`,
		se.ID, stay, se.Person, se.Server, grant, se.Protocol, se.Login,
		addrPortText(se.Client), addrPortText(se.Dest), se.Gate, micros(se.Start), se.ID[:headLength],
		loginKey(se.Login), addrKey(se.Client.Addr()), addrKey(se.Dest.Addr()),
		se.Identity.Account, se.Identity.Node, se.Waived)
	return err
}

// Leave ends a session and keeps what it carried. Leaving twice is no error;
// the first end stays.
func (s *Store) Leave(ctx context.Context, id policy.SessionID, end time.Time, why policy.EndCause, carried policy.Carried) error {
	if err := checkEnded("session", end, why); err != nil {
		return err
	}
	return s.writing(ctx, func(ctx context.Context, tx *sql.Tx) error {
		start, err := one(ctx, tx, number, noSession(string(id)), "SELECT started FROM sessions WHERE id = $1", id)
		if err != nil {
			return err
		}
		ended, err := all(ctx, tx, readSession, "UPDATE sessions SET ended = $2, cause = $3, lasted = $4 WHERE id = $1 AND ended = 0 RETURNING "+sessionColumns,
			id, micros(end), why, lastedKey(moment(start), end))
		if err != nil || len(ended) == 0 {
			return err
		}
		if err := keepCarried(ctx, tx, id, carried); err != nil {
			return err
		}
		return writeDown(ctx, tx, gateActor(ended[0].Gate), sessionEnded(ended[0]))
	})
}

// Carry keeps what a session carried that was ended without it being known.
func (s *Store) Carry(ctx context.Context, id policy.SessionID, carried policy.Carried) error {
	return s.writing(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if _, err := one(ctx, tx, text, noSession(string(id)), "SELECT id FROM sessions WHERE id = $1", id); err != nil {
			return err
		}
		return keepCarried(ctx, tx, id, carried)
	})
}

// keepCarried writes what a session carried, and adds its recordings to those
// of every stay it rested on.
func keepCarried(ctx context.Context, tx *sql.Tx, id policy.SessionID, c policy.Carried) error {
	was, err := number(tx.QueryRowContext(ctx, "SELECT recordings FROM sessions WHERE id = $1", id))
	if err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, "UPDATE sessions SET bytes_in = $2, bytes_out = $3, recordings = $4, forwarding = $5, files = $6 WHERE id = $1",
		id, c.In, c.Out, c.Recordings, c.Forwarding, c.Files); err != nil || int64(c.Recordings) == was {
		return err
	}
	_, err = tx.ExecContext(ctx, `UPDATE stays SET recordings = recordings + $2 WHERE id IN
		(SELECT stay FROM sessions WHERE id = $1 UNION SELECT stay FROM moves WHERE session = $1)`, id, int64(c.Recordings)-was)
	return err
}

func noSession(id string) error { return refuse(ErrNotFound, "there is no session %s", id) }

// Move puts a live session under another grant: it joins or starts the stay
// there and returns it, and the session remembers where it rested before. A
// session that has ended is ErrConflict; a grant that has no room for it is
// ErrFull.
func (s *Store) Move(ctx context.Context, id policy.SessionID, to policy.GrantID, now time.Time) (policy.StayID, error) {
	if err := checkMoment("time of the move", now); err != nil {
		return "", err
	}
	var stay int64
	err := s.writing(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if _, err := grant(ctx, tx, to); err != nil {
			return err
		}
		// As in joinOrStart, this takes the row lock: the session cannot end
		// before it has moved.
		se, err := one(ctx, tx, readSession, noSession(string(id)), "UPDATE sessions SET cause = cause WHERE id = $1 RETURNING "+sessionColumns, id)
		if err != nil {
			return err
		}
		if !se.End.IsZero() {
			return refuse(ErrConflict, "session %s ended at %s", id, clock(se.End))
		}
		n, _ := idNumber(string(to))
		var joined bool
		if stay, joined, err = joinOrStart(ctx, tx, se.Person, n, now); err != nil {
			return err
		}
		// A stay it rests on, or did before, has counted it already.
		if _, err := tx.ExecContext(ctx, `UPDATE stays SET sessions = sessions - 1 WHERE id = $1
			AND id IN (SELECT stay FROM sessions WHERE id = $2 UNION SELECT stay FROM moves WHERE session = $2)`, stay, id); err != nil {
			return err
		}
		if policy.StayID(numberID(stay)) == se.Stay {
			return nil
		}
		if err := room(ctx, tx, se.Person, n); err != nil {
			return err
		}
		if err := visitServer(ctx, tx, stay, se.Server, now); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "INSERT INTO moves (session, stay, grant_id, at) SELECT id, stay, grant_id, $2 FROM sessions WHERE id = $1",
			id, micros(now)); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "UPDATE sessions SET stay = $2, grant_id = $3 WHERE id = $1", id, stay, n); err != nil {
			return err
		}
		was := knownSession(se)
		se.Stay, se.Grant, se.Start = policy.StayID(numberID(stay)), to, now
		if !joined {
			if err := writeDown(ctx, tx, gateActor(se.Gate), stayStarted(se)); err != nil {
				return err
			}
		}
		return writeDown(ctx, tx, gateActor(se.Gate), sessionMoved(se, was))
	})
	if err != nil {
		return "", err
	}
	return policy.StayID(numberID(stay)), nil
}

// CloseOrphans ends the sessions a gate left open when it crashed, with the
// cause gate-crashed, and returns them. Call it before the gate lets anybody
// in.
func (s *Store) CloseOrphans(ctx context.Context, gate string, now time.Time) ([]policy.Session, error) {
	if err := checkText("gate", gate, maxName); err != nil {
		return nil, err
	}
	if err := checkEnded("session", now, policy.GateCrashed); err != nil {
		return nil, err
	}
	var orphans []policy.Session
	err := s.writing(ctx, func(ctx context.Context, tx *sql.Tx) (err error) {
		orphans, err = all(ctx, tx, readSession, "UPDATE sessions SET ended = $2, cause = $3 WHERE gate = $1 AND ended = 0 RETURNING "+sessionColumns,
			gate, micros(now), policy.GateCrashed)
		for _, se := range orphans {
			if err == nil {
				_, err = tx.ExecContext(ctx, "UPDATE sessions SET lasted = $2 WHERE id = $1", se.ID, lastedKey(se.Start, se.End))
			}
			if err == nil {
				err = writeDown(ctx, tx, gateActor(gate), sessionEnded(se))
			}
		}
		return err
	})
	return orphans, err
}

// SessionFilter limits Sessions; zero fields limit nothing.
type SessionFilter struct {
	Stay  policy.StayID // now, or before it moved
	Open  bool
	After policy.SessionID // older ones than this session
	Limit int              // 0: 100
}

// Sessions, newest first.
func (s *Store) Sessions(ctx context.Context, f SessionFilter) ([]policy.Session, error) {
	// The query is put together instead of asking ($2 = 0 OR stay = $2), which
	// would keep SQLite from using an index.
	var w where
	if f.Open {
		w.and("ended = 0")
	}
	var stay int64
	if f.Stay != "" {
		var ok bool
		if stay, ok = idNumber(string(f.Stay)); !ok {
			return nil, noStay(f.Stay)
		}
	}
	var sessions []policy.Session
	err := s.reading(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if f.After != "" {
			start, err := one(ctx, tx, number, noSession(string(f.After)), "SELECT started FROM sessions WHERE id = $1", f.After)
			if err != nil {
				return err
			}
			w.and("(started, id) < (" + w.place(start) + ", " + w.place(f.After) + ")")
		}
		const newest = " ORDER BY started DESC, id DESC LIMIT "
		limit := w.place(limitOr100(f.Limit))
		query := "SELECT " + sessionColumns + " FROM sessions" + w.clause() + newest + limit
		if stay != 0 {
			// Those that rest on it, and those that did before they moved.
			number := w.place(stay)
			rests, rested := w, w
			rests.and("stay = " + number)
			rested.and("id IN (SELECT session FROM moves WHERE stay = " + number + ")")
			of := "SELECT " + sessionColumns + " FROM sessions"
			query = "SELECT * FROM (" + of + rests.clause() + newest + limit + ") AS rests UNION SELECT * FROM (" +
				of + rested.clause() + newest + limit + ") AS rested" + newest + limit
		}
		var err error
		sessions, err = all(ctx, tx, readSession, query, w.args...)
		return err
	})
	return sessions, err
}

// A Left is a stay a session rested on before it moved to another grant.
type Left struct {
	Stay  policy.StayID
	Grant policy.GrantID
	Time  time.Time
}

// Moves tells where a session rested before, oldest first.
func (s *Store) Moves(ctx context.Context, id policy.SessionID) ([]Left, error) {
	var left []Left
	err := s.reading(ctx, func(ctx context.Context, tx *sql.Tx) (err error) {
		left, err = all(ctx, tx, func(r row) (l Left, err error) {
			var stay, grant, at int64
			err = r.Scan(&stay, &grant, &at)
			return Left{policy.StayID(numberID(stay)), policy.GrantID(numberID(grant)), moment(at)}, err
		}, "SELECT stay, grant_id, at FROM moves WHERE session = $1 ORDER BY at", id)
		return err
	})
	return left, err
}

// Session finds a session by its id or an unambiguous prefix of at least four
// characters; an ambiguous one is ErrConflict.
func (s *Store) Session(ctx context.Context, prefix string) (policy.Session, error) {
	if !sessionPrefix.MatchString(prefix) {
		return policy.Session{}, refuse(ErrInvalid, "%q is no session id: give at least %d of its characters", prefix, headLength)
	}
	var found []policy.Session
	err := s.reading(ctx, func(ctx context.Context, tx *sql.Tx) (err error) {
		// The shortest first: an id that is given whole is itself, even if
		// another one goes on after it.
		found, err = all(ctx, tx, readSession, "SELECT "+sessionColumns+` FROM sessions
			WHERE head = $1 AND substr(id, 1, $2) = $3 ORDER BY length(id) LIMIT 2`,
			prefix[:headLength], len(prefix), prefix)
		return err
	})
	if err != nil {
		return policy.Session{}, err
	}
	switch {
	case len(found) == 0:
		return policy.Session{}, noSession(prefix)
	case len(found) == 2 && string(found[0].ID) != prefix:
		return policy.Session{}, refuse(ErrConflict, "several sessions begin with %s, %s and %s among them: give more of it", prefix, found[0].ID, found[1].ID)
	}
	return found[0], nil
}

func readSession(r row) (se policy.Session, err error) {
	var stay, grant, started, ended, removed int64
	var client, dest string
	if err := r.Scan(&se.ID, &stay, &se.Person, &se.Server, &grant, &se.Protocol, &se.Login, &client, &dest, &se.Gate,
		&started, &ended, &se.Cause, &se.In, &se.Out, &se.Recordings, &se.Forwarding, &se.Files, &removed,
		&se.Identity.Account, &se.Identity.Node, &se.Waived); err != nil {
		return se, err
	}
	se.Stay, se.Grant = policy.StayID(numberID(stay)), policy.GrantID(numberID(grant))
	se.Start, se.End, se.Removed = moment(started), moment(ended), moment(removed)
	if se.Client, err = parseAddrPort(client); err != nil {
		return se, err
	}
	se.Dest, err = parseAddrPort(dest)
	return se, err
}
