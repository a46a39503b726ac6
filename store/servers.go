package store

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/pawelmojski/inside/policy"
)

const serverColumns = `id, name, prefix, ssh_port, rdp_port, disabled,
	kept_from, kept_clear, kept_until, kept_exempt, kept_reason, sensitive, native_graphics, version`

// AddServer adds a server and gives its id. Its prefix may lie within that of
// another server, or around it, but only a disabled one may have the same.
func (s *Store) AddServer(ctx context.Context, by string, v policy.Server) (policy.Server, error) {
	if err := policy.CheckName(v.Name); err != nil {
		return policy.Server{}, refuse(ErrInvalid, "%v", err)
	}
	if err := checkPrefix("address of the server "+v.Name, v.Prefix); err != nil {
		return policy.Server{}, err
	}
	if v.Maintenance != nil {
		return policy.Server{}, refuse(ErrInvalid, "server %s is to be added under maintenance: add it, then maintain it", v.Name)
	}
	if v.Sensitive {
		return policy.Server{}, refuse(ErrInvalid, "server %s is to be added as a sensitive one: add it, then mark it", v.Name)
	}
	v.ID = policy.ServerID(newID())
	err := s.change(ctx, by, func(ctx context.Context, tx *sql.Tx) (deed, error) {
		taken, err := number(tx.QueryRowContext(ctx, "SELECT COUNT(*) FROM servers WHERE name = $1", v.Name))
		if err != nil {
			return deed{}, err
		}
		if taken > 0 {
			return deed{}, refuse(ErrConflict, "there is a server named %s already: choose another name", v.Name)
		}
		if err := serverPrefixFree(ctx, tx, v); err != nil {
			return deed{}, err
		}
		_, err = tx.ExecContext(ctx, "INSERT INTO servers ("+serverColumns+") VALUES ($1, $2, $3, $4, $5, $6, 0, 0, 0, '', '', false, $7, 0)",
			v.ID, v.Name, prefixText(v.Prefix), v.SSHPort, v.RDPPort, v.Disabled, v.NativeGraphics)
		if err != nil {
			return deed{}, err
		}
		if v.Version, err = touched(ctx, tx, "servers", v.ID, by); err != nil {
			return deed{}, err
		}
		detail := fmt.Sprintf("added, address %s, ssh port %s, rdp port %s", v.Prefix, portText(v.SSHPort), portText(v.RDPPort))
		if v.Disabled {
			detail += ", disabled"
		}
		if v.NativeGraphics {
			detail += ", native graphics"
		}
		return deed{action: "server.add", object: "server " + v.Name, detail: detail, became: knownServer(v)}, nil
	})
	if err != nil {
		return policy.Server{}, err
	}
	return v, nil
}

// serverPrefixFree checks that no other enabled server has v's prefix: which
// of the two is meant could not be told. A disabled one is replaced by it, so
// that an address can be used again.
func serverPrefixFree(ctx context.Context, tx *sql.Tx, v policy.Server) error {
	if v.Disabled {
		return nil
	}
	others, err := all(ctx, tx, readServer, "SELECT "+serverColumns+" FROM servers WHERE prefix = $1 AND disabled = false AND id <> $2",
		prefixText(v.Prefix), v.ID)
	if err != nil {
		return err
	}
	for _, other := range others {
		return refuse(ErrConflict, "the address %s of the server %s is that of the server %s: disable that one first", v.Prefix, v.Name, other.Name)
	}
	return nil
}

func portText(p uint16) string {
	if p == 0 {
		return "any"
	}
	return fmt.Sprint(p)
}

// DisableServer disables or enables a server. One that has changed since the
// revision base is ErrConflict, and so is enabling one whose prefix is that of
// another by now.
func (s *Store) DisableServer(ctx context.Context, by string, id policy.ServerID, base int64, disabled bool) error {
	return s.editServer(ctx, by, id, base, func(ctx context.Context, tx *sql.Tx, v *policy.Server) (deed, error) {
		if v.Disabled == disabled {
			return deed{}, errUnchanged
		}
		v.Disabled = disabled
		if err := serverPrefixFree(ctx, tx, *v); err != nil {
			return deed{}, err
		}
		_, err := tx.ExecContext(ctx, "UPDATE servers SET disabled = $2 WHERE id = $1", id, disabled)
		return switched("server", "", disabled, nil, nil), err
	})
}

// editServer changes a server that nobody has changed since the revision base.
// edit changes v and its row and says by action and detail what it did; the
// rest of the deed is what v was and became.
func (s *Store) editServer(ctx context.Context, by string, id policy.ServerID, base int64, edit func(ctx context.Context, tx *sql.Tx, v *policy.Server) (deed, error)) error {
	return s.change(ctx, by, func(ctx context.Context, tx *sql.Tx) (deed, error) {
		v, err := server(ctx, tx, id)
		if err != nil {
			return deed{}, err
		}
		if err := upToDate(ctx, tx, "servers", id, "server "+v.Name, base); err != nil {
			return deed{}, err
		}
		was := knownServer(v)
		d, err := edit(ctx, tx, &v)
		if err != nil {
			return deed{}, err
		}
		d.object, d.was, d.became = "server "+v.Name, was, knownServer(v)
		return d, touch(ctx, tx, "servers", id, by)
	})
}

func server(ctx context.Context, tx *sql.Tx, id policy.ServerID) (policy.Server, error) {
	return one(ctx, tx, readServer, refuse(ErrNotFound, "there is no server with the id %q", id),
		"SELECT "+serverColumns+" FROM servers WHERE id = $1", id)
}

func readServer(r row) (v policy.Server, err error) {
	var prefix, exempt, reason string
	var from, clear, until int64
	if err := r.Scan(&v.ID, &v.Name, &prefix, &v.SSHPort, &v.RDPPort, &v.Disabled,
		&from, &clear, &until, &exempt, &reason, &v.Sensitive, &v.NativeGraphics, &v.Version); err != nil {
		return v, err
	}
	if from != 0 {
		v.Maintenance = &policy.Maintenance{
			From: moment(from), Clear: moment(clear), Until: moment(until),
			Exempt: fromLines[policy.PersonID](exempt), Reason: reason,
		}
	}
	v.Prefix, err = parsePrefix(prefix)
	return v, err
}
