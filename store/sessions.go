package store

import (
	"context"
	"database/sql"
	"regexp"
	"strings"
	"time"

	"github.com/pawelmojski/inside/policy"
)

const sessionColumns = "id, stay, person, server, grant_id, protocol, login, client, dest, gate, started, ended, cause"

// sessionIDs are file names too, so their form is narrow.
var (
	sessionID     = regexp.MustCompile(`^[a-z0-9]{16,64}$`)
	sessionPrefix = regexp.MustCompile(`^[a-z0-9]{4,64}$`)
)

const headLength = 4

// Enter writes an allowed entry, joins or starts the stay of the person under
// the grant and writes the session, in one transaction. When the grant allows
// the person no further session beside those that are open, it is ErrFull. The session comes
// back with its Stay; one without an id or a start is given them. joined tells
// whether the stay was there before.
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
	se.Start, se.End, se.Cause = kept(se.Start), time.Time{}, ""
	se.Client, se.Dest = unmapped(se.Client), unmapped(se.Dest)
	se.Login = readable(se.Login, maxText)
	if err := checkSession(se); err != nil {
		return policy.Session{}, false, err
	}
	err = s.writing(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if err := sessionParties(ctx, tx, se); err != nil {
			return err
		}
		grant, _ := idNumber(string(se.Grant))
		stay, was, err := joinOrStart(ctx, tx, se.Person, grant, se.Start)
		if err != nil {
			return err
		}
		if err := room(ctx, tx, se.Person, grant); err != nil {
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
		return insertEntry(ctx, tx, Entry{
			Time: se.Start, Gate: se.Gate, Client: se.Client, Dest: se.Dest, Protocol: se.Protocol, Login: se.Login,
			Person: se.Person, Server: se.Server, Grant: se.Grant, Session: se.ID,
		})
	})
	if err != nil {
		return policy.Session{}, false, err
	}
	return se, joined, nil
}

func checkSession(se policy.Session) error {
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
	case persons == 0:
		return refuse(ErrNotFound, "there is no person with the id %q", se.Person)
	case servers == 0:
		return refuse(ErrNotFound, "there is no server with the id %q", se.Server)
	case grants == 0:
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

func insertSession(ctx context.Context, tx *sql.Tx, se policy.Session, stay, grant int64) error {
	_, err := tx.ExecContext(ctx, "INSERT INTO sessions ("+sessionColumns+`, head)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 0, '', $12)`,
		se.ID, stay, se.Person, se.Server, grant, se.Protocol, se.Login,
		addrPortText(se.Client), addrPortText(se.Dest), se.Gate, micros(se.Start), se.ID[:headLength])
	return err
}

// Leave ends a session. Leaving twice is no error; the first end stays.
func (s *Store) Leave(ctx context.Context, id policy.SessionID, end time.Time, why policy.EndCause) error {
	if err := checkEnded("session", end, why); err != nil {
		return err
	}
	return s.writing(ctx, func(ctx context.Context, tx *sql.Tx) error {
		ended, err := all(ctx, tx, readSession, "UPDATE sessions SET ended = $2, cause = $3 WHERE id = $1 AND ended = 0 RETURNING "+sessionColumns,
			id, micros(end), why)
		if err != nil {
			return err
		}
		if len(ended) > 0 {
			return writeDown(ctx, tx, gateActor(ended[0].Gate), sessionEnded(ended[0]))
		}
		_, err = one(ctx, tx, text, noSession(string(id)), "SELECT id FROM sessions WHERE id = $1", id)
		return err
	})
}

func noSession(id string) error { return refuse(ErrNotFound, "there is no session %s", id) }

// Move puts a live session under another grant: it joins or starts the stay
// there and returns it. A session that has ended is ErrConflict; a grant that
// has no room for it is ErrFull.
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
		if err := room(ctx, tx, se.Person, n); err != nil {
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
				err = writeDown(ctx, tx, gateActor(gate), sessionEnded(se))
			}
		}
		return err
	})
	return orphans, err
}

// SessionFilter limits Sessions; zero fields limit nothing.
type SessionFilter struct {
	Stay  policy.StayID
	Open  bool
	Limit int // 0: 100
}

// Sessions, newest first.
func (s *Store) Sessions(ctx context.Context, f SessionFilter) ([]policy.Session, error) {
	// The query is put together instead of asking ($2 = 0 OR stay = $2), which
	// would keep SQLite from using an index.
	var where []string
	args := []any{limitOr100(f.Limit)}
	if f.Stay != "" {
		n, ok := idNumber(string(f.Stay))
		if !ok {
			return nil, noStay(f.Stay)
		}
		where, args = append(where, "stay = $2"), append(args, n)
	}
	if f.Open {
		where = append(where, "ended = 0")
	}
	query := "SELECT " + sessionColumns + " FROM sessions"
	if where != nil {
		query += " WHERE " + strings.Join(where, " AND ")
	}
	query += " ORDER BY started DESC, id DESC LIMIT $1"
	var sessions []policy.Session
	err := s.reading(ctx, func(ctx context.Context, tx *sql.Tx) (err error) {
		sessions, err = all(ctx, tx, readSession, query, args...)
		return err
	})
	return sessions, err
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
	var stay, grant, started, ended int64
	var client, dest string
	if err := r.Scan(&se.ID, &stay, &se.Person, &se.Server, &grant, &se.Protocol, &se.Login, &client, &dest, &se.Gate,
		&started, &ended, &se.Cause); err != nil {
		return se, err
	}
	se.Stay, se.Grant = policy.StayID(numberID(stay)), policy.GrantID(numberID(grant))
	se.Start, se.End = moment(started), moment(ended)
	if se.Client, err = parseAddrPort(client); err != nil {
		return se, err
	}
	se.Dest, err = parseAddrPort(dest)
	return se, err
}
