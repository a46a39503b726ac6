package store

import (
	"context"
	"database/sql"
	"encoding/base64"
	"time"
)

// A Signin is an admin's being signed in, in one browser. What the browser
// shows for it is not kept, only its hash.
type Signin struct {
	Hash   [32]byte // SHA-256
	Client string   // where from
	Began  time.Time
	Seen   time.Time // used last, to the minute
	Ends   time.Time // at the latest
}

func hashText(h [32]byte) string { return base64.StdEncoding.EncodeToString(h[:]) }

// SignIn keeps a sign-in of an admin as they were when their password was
// checked: where it has another one by now, or may no longer, that is
// ErrNotFound. Sign-ins that have ended, or were seen before idle last, are
// forgotten.
func (s *Store) SignIn(ctx context.Context, a Admin, in Signin, idle time.Time) error {
	if err := checkText("where the sign-in comes from", in.Client, maxName); err != nil {
		return err
	}
	if err := checkMoment("end of the sign-in", in.Ends); err != nil {
		return err
	}
	id, _ := idNumber(a.ID)
	return s.writing(ctx, func(ctx context.Context, tx *sql.Tx) error {
		done, err := tx.ExecContext(ctx, "UPDATE admins SET used = $3 WHERE id = $1 AND password = $2 AND removed = 0 AND NOT disabled", id, a.Password, micros(in.Began))
		if err != nil {
			return err
		}
		if n, err := done.RowsAffected(); err != nil || n == 0 {
			return refuse(ErrNotFound, "the admin %s has changed meanwhile: sign in again", a.Name)
		}
		if _, err := tx.ExecContext(ctx, "DELETE FROM signins WHERE ends <= $1 OR seen <= $2", micros(in.Began), micros(idle)); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "INSERT INTO signins (hash, admin, client, began, seen, ends) VALUES ($1, $2, $3, $4, $4, $5)",
			hashText(in.Hash), id, in.Client, micros(in.Began), micros(in.Ends)); err != nil {
			return err
		}
		return writeDown(ctx, tx, a.Actor(), deed{action: "admin.signin", object: "admin " + a.Name, detail: "from " + in.Client})
	})
}

// Signed is who is signed in with a hash, and the sign-in.
func (s *Store) Signed(ctx context.Context, hash [32]byte) (a Admin, in Signin, err error) {
	err = s.reading(ctx, func(ctx context.Context, tx *sql.Tx) error {
		in = Signin{Hash: hash}
		var began, seen, ends int64
		a, err = one(ctx, tx, func(r row) (Admin, error) {
			return readAdmin(scanMore{r, []any{&in.Client, &began, &seen, &ends}})
		}, refuse(ErrNotFound, "nobody is signed in so"),
			"SELECT a.id, a.name, a.role, a.password, a.password_by, a.disabled, a.created, a.created_by, a.used, s.client, s.began, s.seen, s.ends "+
				"FROM signins s JOIN admins a ON a.id = s.admin WHERE s.hash = $1 AND a.removed = 0 AND NOT a.disabled", hashText(hash))
		in.Began, in.Seen, in.Ends = moment(began), moment(seen), moment(ends)
		return err
	})
	return a, in, err
}

// scanMore is a row with further columns behind those that are known.
type scanMore struct {
	row
	more []any
}

func (s scanMore) Scan(dest ...any) error { return s.row.Scan(append(dest, s.more...)...) }

// SigninSeen notes when a sign-in was used last. That is no change of the facts.
func (s *Store) SigninSeen(ctx context.Context, hash [32]byte, at time.Time) error {
	return s.writing(ctx, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "UPDATE signins SET seen = $2 WHERE hash = $1 AND seen < $2", hashText(hash), micros(at))
		return err
	})
}

// SignOut ends a sign-in. by is whose it was.
func (s *Store) SignOut(ctx context.Context, a Admin, hash [32]byte) error {
	return s.writing(ctx, func(ctx context.Context, tx *sql.Tx) error {
		done, err := tx.ExecContext(ctx, "DELETE FROM signins WHERE hash = $1", hashText(hash))
		if err != nil {
			return err
		}
		if n, err := done.RowsAffected(); err != nil || n == 0 {
			return err
		}
		return writeDown(ctx, tx, a.Actor(), deed{action: "admin.signout", object: "admin " + a.Name})
	})
}
