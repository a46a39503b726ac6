package store

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/pawelmojski/inside/policy"
)

// A ServerLogin says what the gate may do at a server beyond passing people's
// logins on.
type ServerLogin struct {
	Server    policy.ServerID
	Enrolling bool // it may add its own key to an account after a login there
	UserCA    bool // the server trusts certificates of the gate's user CA
}

const serverLoginColumns = "server, enrolling, user_ca"

// ServerLogins are those that allow something.
func (s *Store) ServerLogins(ctx context.Context) (ls []ServerLogin, err error) {
	err = s.reading(ctx, func(ctx context.Context, tx *sql.Tx) (err error) {
		ls, err = all(ctx, tx, readServerLogin, "SELECT "+serverLoginColumns+" FROM server_logins WHERE enrolling OR user_ca ORDER BY server")
		return err
	})
	return ls, err
}

// SetEnrolling says whether the gate may enrol people at a server.
func (s *Store) SetEnrolling(ctx context.Context, by string, id policy.ServerID, may bool) error {
	return s.setServerLogin(ctx, by, id, func(l *ServerLogin) (action, detail string) {
		l.Enrolling = may
		if may {
			return "server.enrolling", "the gate may add its keys to people's accounts"
		}
		return "server.enrolling", "the gate adds its keys to no account any more"
	})
}

// SetTrustsUserCA says whether a server trusts the gate's user CA.
func (s *Store) SetTrustsUserCA(ctx context.Context, by string, id policy.ServerID, trusts bool) error {
	return s.setServerLogin(ctx, by, id, func(l *ServerLogin) (action, detail string) {
		l.UserCA = trusts
		if trusts {
			return "server.user-ca", "trusts the user CA"
		}
		return "server.user-ca", "does not trust the user CA any more"
	})
}

type serverLoginFact struct {
	Server    string `json:"server"`
	Enrolling bool   `json:"enrolling"`
	UserCA    bool   `json:"user_ca"`
}

func (s *Store) setServerLogin(ctx context.Context, by string, id policy.ServerID, set func(*ServerLogin) (action, detail string)) error {
	return s.change(ctx, by, func(ctx context.Context, tx *sql.Tx) (deed, error) {
		name, err := serverName(ctx, tx, id)
		if err != nil {
			return deed{}, err
		}
		l, err := serverLogin(ctx, tx, id)
		if err != nil {
			return deed{}, err
		}
		was := l
		action, detail := set(&l)
		if l == was {
			return deed{}, errUnchanged
		}
		_, err = tx.ExecContext(ctx, "INSERT INTO server_logins ("+serverLoginColumns+`) VALUES ($1, $2, $3)
			ON CONFLICT (server) DO UPDATE SET enrolling = excluded.enrolling, user_ca = excluded.user_ca`, id, l.Enrolling, l.UserCA)
		return deed{
			action: action, object: "server " + name, detail: detail,
			was: serverLoginFact{name, was.Enrolling, was.UserCA}, became: serverLoginFact{name, l.Enrolling, l.UserCA},
		}, err
	})
}

func serverLogin(ctx context.Context, tx *sql.Tx, id policy.ServerID) (ServerLogin, error) {
	ls, err := all(ctx, tx, readServerLogin, "SELECT "+serverLoginColumns+" FROM server_logins WHERE server = $1", id)
	if err != nil || len(ls) == 0 {
		return ServerLogin{Server: id}, err
	}
	return ls[0], nil
}

func readServerLogin(r row) (l ServerLogin, err error) {
	return l, r.Scan(&l.Server, &l.Enrolling, &l.UserCA)
}

func serverName(ctx context.Context, tx *sql.Tx, id policy.ServerID) (string, error) {
	return one(ctx, tx, text, refuse(ErrNotFound, "there is no server with the id %q", id), "SELECT name FROM servers WHERE id = $1", id)
}

// IssueCertificate gives a certificate its serial number and writes down what
// it is for; whoever gets the number may sign.
func (s *Store) IssueCertificate(ctx context.Context, by, detail string) (serial uint64, err error) {
	if err := checkText("who issues the certificate", by, maxName); err != nil {
		return 0, err
	}
	err = s.writing(ctx, func(ctx context.Context, tx *sql.Tx) error {
		n, err := next(ctx, tx, "certificate")
		if err != nil {
			return err
		}
		serial = uint64(n)
		return writeDown(ctx, tx, by, deed{action: "certificate.issue", object: fmt.Sprintf("certificate %d", serial), detail: detail})
	})
	return serial, err
}
