package store

import (
	"context"
	"database/sql"
	"fmt"
	"net/netip"
	"time"

	"github.com/pawelmojski/inside/policy"
)

// An Enrolment is an account of a server whose authorized_keys hold the gate's
// own key for a person, or should.
type Enrolment struct {
	Gate       string // whose address the line names
	Person     policy.PersonID
	Server     policy.ServerID
	Dest       netip.AddrPort
	Login      string
	Credential string // the gate's own key
	State      EnrolmentState
	Detail     string // why it failed
	Since      time.Time
	Told       bool // the person knows
}

// An EnrolmentState says how far an enrolment went. It is written down before
// the server is touched, so that no line is there that nobody knows of.
type EnrolmentState string

const (
	EnrolmentBegun  EnrolmentState = "begun"    // perhaps there, perhaps not
	Enrolled        EnrolmentState = "enrolled" // the line is there
	EnrolmentFailed EnrolmentState = "failed"   // the line is not there
	EnrolmentLost   EnrolmentState = "refused"  // the server does not take the key any more
	EnrolmentEnded  EnrolmentState = "ended"    // an admin had the line taken out, and it stays out
)

const enrolmentColumns = "gate, person, dest, login, server, credential, state, detail, since, told"

// Enrolments are those of one person, or with "" of everybody.
func (s *Store) Enrolments(ctx context.Context, of policy.PersonID) (es []Enrolment, err error) {
	err = s.reading(ctx, func(ctx context.Context, tx *sql.Tx) (err error) {
		es, err = enrolmentsWhere(ctx, tx, "person = $1 OR $1 = '' ORDER BY person, dest, login, gate", of)
		return err
	})
	return es, err
}

func enrolmentsWhere(ctx context.Context, tx *sql.Tx, where string, args ...any) ([]Enrolment, error) {
	return all(ctx, tx, readEnrolment, "SELECT "+enrolmentColumns+" FROM enrolments WHERE "+where, args...)
}

// SetEnrolment writes down how far an enrolment went; a zero Since is now.
func (s *Store) SetEnrolment(ctx context.Context, by string, e Enrolment) error {
	if err := checkText("gate of the enrolment", e.Gate, maxName); err != nil {
		return err
	}
	n, ok := idNumber(e.Credential)
	if !ok || !e.Dest.IsValid() {
		return refuse(ErrInvalid, "an enrolment needs a credential and an address")
	}
	if e.Since.IsZero() {
		e.Since = time.Now()
	}
	e.Detail = readable(e.Detail, maxText)
	return s.writing(ctx, func(ctx context.Context, tx *sql.Tx) error {
		at, err := scopeOf(ctx, tx, e.Person, e.Server, e.Login)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, "INSERT INTO enrolments ("+enrolmentColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
			ON CONFLICT (gate, person, dest, login) DO UPDATE SET server = excluded.server, credential = excluded.credential,
			state = excluded.state, detail = excluded.detail, since = excluded.since, told = excluded.told`,
			e.Gate, e.Person, addrPortText(e.Dest), e.Login, e.Server, n, e.State, e.Detail, micros(e.Since), e.Told)
		if err != nil {
			return err
		}
		detail := fmt.Sprintf("%s (%s): %s", at, e.Dest, e.State)
		if e.Detail != "" {
			detail += ", " + e.Detail
		}
		return writeDown(ctx, tx, by, deed{action: "credential.enroll", object: "credential " + e.Credential, detail: detail})
	})
}

// TellEnrolment remembers that the person knows.
func (s *Store) TellEnrolment(ctx context.Context, e Enrolment) error {
	return s.writing(ctx, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "UPDATE enrolments SET told = $5 WHERE gate = $1 AND person = $2 AND dest = $3 AND login = $4",
			e.Gate, e.Person, addrPortText(e.Dest), e.Login, true)
		return err
	})
}

// ForgetEnrolment forgets an enrolment, so that the account may be enrolled
// again; detail says why.
func (s *Store) ForgetEnrolment(ctx context.Context, by string, e Enrolment, detail string) error {
	if err := checkText("who forgets the enrolment", by, maxName); err != nil {
		return err
	}
	return s.writing(ctx, func(ctx context.Context, tx *sql.Tx) error {
		at, err := scopeOf(ctx, tx, e.Person, e.Server, e.Login)
		if err != nil {
			return err
		}
		res, err := tx.ExecContext(ctx, "DELETE FROM enrolments WHERE gate = $1 AND person = $2 AND dest = $3 AND login = $4",
			e.Gate, e.Person, addrPortText(e.Dest), e.Login)
		if err != nil {
			return err
		}
		if gone, err := res.RowsAffected(); err != nil || gone == 0 {
			return err
		}
		return writeDown(ctx, tx, by, deed{action: "credential.unenroll", object: "credential " + e.Credential, detail: fmt.Sprintf("%s (%s): %s", at, e.Dest, detail)})
	})
}

func readEnrolment(r row) (e Enrolment, err error) {
	var dest string
	var credential, since int64
	if err := r.Scan(&e.Gate, &e.Person, &dest, &e.Login, &e.Server, &credential, &e.State, &e.Detail, &since, &e.Told); err != nil {
		return e, err
	}
	e.Credential, e.Since = numberID(credential), moment(since)
	e.Dest, err = parseAddrPort(dest)
	return e, err
}
