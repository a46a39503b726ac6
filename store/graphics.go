package store

import (
	"context"
	"database/sql"

	"github.com/pawelmojski/inside/policy"
)

// SetServerGraphics says whether a server's graphics pipeline passes the gate,
// for sessions that begin from now on. One that has changed since the revision
// base is ErrConflict.
func (s *Store) SetServerGraphics(ctx context.Context, by string, id policy.ServerID, base int64, native bool) error {
	return s.change(ctx, by, func(ctx context.Context, tx *sql.Tx) (deed, error) {
		v, err := server(ctx, tx, id)
		if err != nil {
			return deed{}, err
		}
		if err := upToDate(ctx, tx, "servers", id, "server "+v.Name, base); err != nil {
			return deed{}, err
		}
		if v.NativeGraphics == native {
			return deed{}, errUnchanged
		}
		if _, err := tx.ExecContext(ctx, "UPDATE servers SET native_graphics = $2 WHERE id = $1", id, native); err != nil {
			return deed{}, err
		}
		d := deed{action: "server.graphics", object: "server " + v.Name, detail: graphics(v.NativeGraphics) + " → " + graphics(native), was: knownServer(v)}
		v.NativeGraphics = native
		d.became = knownServer(v)
		return d, touch(ctx, tx, "servers", id, by)
	})
}

func graphics(native bool) string {
	if native {
		return "native"
	}
	return "bitmaps"
}
