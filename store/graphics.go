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
	return s.editServer(ctx, by, id, base, func(ctx context.Context, tx *sql.Tx, v *policy.Server) (deed, error) {
		if v.NativeGraphics == native {
			return deed{}, errUnchanged
		}
		d := deed{action: "server.graphics", detail: graphics(v.NativeGraphics) + " → " + graphics(native)}
		v.NativeGraphics = native
		_, err := tx.ExecContext(ctx, "UPDATE servers SET native_graphics = $2 WHERE id = $1", id, native)
		return d, err
	})
}

func graphics(native bool) string {
	if native {
		return "native"
	}
	return "bitmaps"
}
