package store

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"

	"github.com/pawelmojski/inside/policy"
)

// AddServer adds a server and gives its id. Its prefix may lie within that of
// another server, or around it, but not be the same.
func (s *Store) AddServer(ctx context.Context, by string, v policy.Server) (policy.Server, error) {
	if err := policy.CheckName(v.Name); err != nil {
		return policy.Server{}, refuse(ErrInvalid, "%v", err)
	}
	if err := cmp.Or(checkText("name of the server", v.Name, maxName), checkPrefix("address of "+v.Name, v.Prefix)); err != nil {
		return policy.Server{}, err
	}
	err := s.change(ctx, by, func(ctx context.Context, tx *sql.Tx) (deed, error) {
		taken, err := all(ctx, tx, readServer, `SELECT id, name, prefix, ssh_port, rdp_port, disabled FROM servers
			WHERE name = $1 OR prefix = $2`, v.Name, prefixText(v.Prefix))
		if err != nil {
			return deed{}, err
		}
		for _, t := range taken {
			if t.Name == v.Name {
				return deed{}, refuse(ErrConflict, "there is a server named %s already: choose another name", v.Name)
			}
			return deed{}, refuse(ErrConflict, "the address %s is that of the server %s already%s", v.Prefix, t.Name, wayOutOf(t))
		}
		v.ID = policy.ServerID(newID())
		_, err = tx.ExecContext(ctx, "INSERT INTO servers (id, name, prefix, ssh_port, rdp_port, disabled) VALUES ($1, $2, $3, $4, $5, $6)",
			v.ID, v.Name, prefixText(v.Prefix), v.SSHPort, v.RDPPort, v.Disabled)
		if err != nil {
			return deed{}, err
		}
		detail := fmt.Sprintf("added, address %s, ssh port %s, rdp port %s", v.Prefix, portText(v.SSHPort), portText(v.RDPPort))
		if v.Disabled {
			detail += ", disabled"
		}
		return deed{"server.add", "server " + v.Name, detail}, nil
	})
	if err != nil {
		return policy.Server{}, err
	}
	return v, nil
}

func wayOutOf(taken policy.Server) string {
	if taken.Disabled {
		return ", which is disabled: enable that one"
	}
	return ""
}

func portText(p uint16) string {
	if p == 0 {
		return "any"
	}
	return fmt.Sprint(p)
}

// DisableServer disables or enables a server.
func (s *Store) DisableServer(ctx context.Context, by string, id policy.ServerID, disabled bool) error {
	return s.change(ctx, by, func(ctx context.Context, tx *sql.Tx) (deed, error) {
		v, err := server(ctx, tx, id)
		if err != nil {
			return deed{}, err
		}
		if v.Disabled == disabled {
			return deed{}, errUnchanged
		}
		if _, err := tx.ExecContext(ctx, "UPDATE servers SET disabled = $2 WHERE id = $1", id, disabled); err != nil {
			return deed{}, err
		}
		return switched("server", "server "+v.Name, disabled), nil
	})
}

func server(ctx context.Context, tx *sql.Tx, id policy.ServerID) (policy.Server, error) {
	return one(ctx, tx, readServer, refuse(ErrNotFound, "there is no server with the id %q", id),
		"SELECT id, name, prefix, ssh_port, rdp_port, disabled FROM servers WHERE id = $1", id)
}

func readServer(r row) (v policy.Server, err error) {
	var prefix string
	if err := r.Scan(&v.ID, &v.Name, &prefix, &v.SSHPort, &v.RDPPort, &v.Disabled); err != nil {
		return v, err
	}
	v.Prefix, err = parsePrefix(prefix)
	return v, err
}
