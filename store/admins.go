package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/pawelmojski/inside/policy"
)

// An Admin signs in on the pages with a name and a password. The password is
// not kept, only what argon2id makes of it.
type Admin struct {
	ID         string
	Name       string
	Role       string
	Password   string // as argon2id has it
	PasswordBy string // who set it last: the admin, once they have chosen their own
	Disabled   bool
	Created    time.Time
	By         string
	Used       time.Time // signed in last; zero: never
}

// adminActor stands before the name of an admin that did something: not every
// account of the machine is an admin of the same name.
const adminActor = "admin:"

// Actor is who does what an admin asks for on the pages.
func (a Admin) Actor() string { return adminActor + a.Name }

// maxPassword bounds what argon2id makes of a password.
const maxPassword = 512

// adminFact is what the audit trail keeps of an admin.
type adminFact struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	Role     string `json:"role"`
	Disabled bool   `json:"disabled"`
}

func knownAdmin(a Admin) adminFact { return adminFact{a.ID, a.Name, a.Role, a.Disabled} }

const adminColumns = "id, name, role, password, password_by, disabled, created, created_by, used"

// AddAdmin keeps an admin and gives its id. Name, Role, Password and Created
// are set.
func (s *Store) AddAdmin(ctx context.Context, by string, a Admin) (Admin, error) {
	if err := policy.CheckName(a.Name); err != nil {
		return Admin{}, refuse(ErrInvalid, "%v", err)
	}
	if err := checkText("role of the admin "+a.Name, a.Role, maxName); err != nil {
		return Admin{}, err
	}
	if err := checkText("password of the admin "+a.Name, a.Password, maxPassword); err != nil {
		return Admin{}, err
	}
	a.Created, a.By, a.PasswordBy, a.Used, a.Disabled = kept(a.Created), by, by, time.Time{}, false
	err := s.change(ctx, by, func(ctx context.Context, tx *sql.Tx) (deed, error) {
		taken, err := number(tx.QueryRowContext(ctx, "SELECT COUNT(*) FROM admins WHERE name = $1", a.Name))
		if err != nil {
			return deed{}, err
		}
		if taken > 0 {
			return deed{}, refuse(ErrConflict, "there is or was an admin named %s already, and the audit trail speaks of them: choose another name", a.Name)
		}
		id, err := next(ctx, tx, "admin")
		if err != nil {
			return deed{}, err
		}
		a.ID = numberID(id)
		_, err = tx.ExecContext(ctx, "INSERT INTO admins ("+adminColumns+", removed) VALUES ($1, $2, $3, $4, $5, false, $6, $7, 0, 0)",
			id, a.Name, a.Role, a.Password, by, micros(a.Created), by)
		return deed{action: "admin.create", object: "admin " + a.Name, detail: "role " + a.Role, became: knownAdmin(a)}, err
	})
	if err != nil {
		return Admin{}, err
	}
	return a, nil
}

// Admins are all there are, the oldest first.
func (s *Store) Admins(ctx context.Context) ([]Admin, error) {
	var admins []Admin
	err := s.reading(ctx, func(ctx context.Context, tx *sql.Tx) (err error) {
		admins, err = all(ctx, tx, readAdmin, "SELECT "+adminColumns+" FROM admins WHERE removed = 0 ORDER BY id")
		return err
	})
	return admins, err
}

// Admin is the one of a name.
func (s *Store) Admin(ctx context.Context, name string) (a Admin, err error) {
	err = s.reading(ctx, func(ctx context.Context, tx *sql.Tx) (err error) {
		a, err = adminNamed(ctx, tx, name)
		return err
	})
	return a, err
}

// SetAdminPassword gives an admin another password; whoever is signed in as
// them has to sign in again, but for the one sign-in that is kept ("": none).
func (s *Store) SetAdminPassword(ctx context.Context, by, name, password string, keep [32]byte) (Admin, error) {
	if err := checkText("password of the admin", password, maxPassword); err != nil {
		return Admin{}, err
	}
	return s.changeAdmin(ctx, by, name, func(ctx context.Context, tx *sql.Tx, a *Admin) (deed, error) {
		a.Password, a.PasswordBy = password, by
		n, _ := idNumber(a.ID)
		if _, err := tx.ExecContext(ctx, "UPDATE admins SET password = $2, password_by = $3 WHERE id = $1", n, password, by); err != nil {
			return deed{}, err
		}
		_, err := tx.ExecContext(ctx, "DELETE FROM signins WHERE admin = $1 AND hash <> $2", n, hashText(keep))
		return deed{action: "admin.password", detail: "set; who was signed in with the old one no longer is"}, err
	})
}

// SetAdmin changes an admin's role and whether they may sign in. Whoever is
// signed in as them has the new role at once, and is signed out where they may
// not.
func (s *Store) SetAdmin(ctx context.Context, by, name, role string, disabled bool) (Admin, error) {
	if err := checkText("role of the admin", role, maxName); err != nil {
		return Admin{}, err
	}
	return s.changeAdmin(ctx, by, name, func(ctx context.Context, tx *sql.Tx, a *Admin) (deed, error) {
		if a.Role == role && a.Disabled == disabled {
			return deed{}, errUnchanged
		}
		d := deed{action: "admin.change", detail: fmt.Sprintf("%s → %s", adminState(a.Role, a.Disabled), adminState(role, disabled))}
		a.Role, a.Disabled = role, disabled
		n, _ := idNumber(a.ID)
		if _, err := tx.ExecContext(ctx, "UPDATE admins SET role = $2, disabled = $3 WHERE id = $1", n, role, disabled); err != nil || !disabled {
			return d, err
		}
		_, err := tx.ExecContext(ctx, "DELETE FROM signins WHERE admin = $1", n)
		return d, err
	})
}

func adminState(role string, disabled bool) string {
	if disabled {
		return role + ", disabled"
	}
	return role
}

// RemoveAdmin removes an admin, for ever.
func (s *Store) RemoveAdmin(ctx context.Context, by, name string, now time.Time) (Admin, error) {
	return s.changeAdmin(ctx, by, name, func(ctx context.Context, tx *sql.Tx, a *Admin) (deed, error) {
		n, _ := idNumber(a.ID)
		if _, err := tx.ExecContext(ctx, "UPDATE admins SET removed = $2, password = '' WHERE id = $1", n, micros(now)); err != nil {
			return deed{}, err
		}
		_, err := tx.ExecContext(ctx, "DELETE FROM signins WHERE admin = $1", n)
		return deed{action: "admin.remove", detail: "role " + a.Role}, err
	})
}

// changeAdmin runs f over the admin of a name, and completes its deed.
func (s *Store) changeAdmin(ctx context.Context, by, name string, f func(context.Context, *sql.Tx, *Admin) (deed, error)) (a Admin, err error) {
	err = s.change(ctx, by, func(ctx context.Context, tx *sql.Tx) (deed, error) {
		if a, err = adminNamed(ctx, tx, name); err != nil {
			return deed{}, err
		}
		was := knownAdmin(a)
		d, err := f(ctx, tx, &a)
		d.object, d.was = "admin "+a.Name, was
		if d.action != "admin.remove" {
			d.became = knownAdmin(a)
		}
		return d, err
	})
	if err != nil {
		return Admin{}, err
	}
	return a, nil
}

func adminNamed(ctx context.Context, tx *sql.Tx, name string) (Admin, error) {
	missing := refuse(ErrNotFound, "there is no admin %.80q", name)
	if policy.CheckName(name) != nil {
		return Admin{}, missing
	}
	return one(ctx, tx, readAdmin, missing, "SELECT "+adminColumns+" FROM admins WHERE name = $1 AND removed = 0", name)
}

func readAdmin(r row) (a Admin, err error) {
	var id, created, used int64
	err = r.Scan(&id, &a.Name, &a.Role, &a.Password, &a.PasswordBy, &a.Disabled, &created, &a.By, &used)
	a.ID, a.Created, a.Used = numberID(id), moment(created), moment(used)
	return a, err
}
