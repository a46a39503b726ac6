package appliance

import (
	"context"
	"fmt"
	"io"

	"github.com/pawelmojski/inside/appliance/api"
)

// Dump sends the database bit by bit. That somebody took a copy is written down
// first, and is in it.
func (h *House) Dump(ctx context.Context) (io.ReadCloser, error) {
	if err := h.Store.Audit(ctx, api.By(ctx), "backup.make", "database of "+h.Gate, ""); err != nil {
		return nil, asProblem(err, "inside status")
	}
	r, w := io.Pipe()
	go func() {
		defer func() {
			if r := recover(); r != nil {
				w.CloseWithError(fmt.Errorf("dump: %v", r))
			}
		}()
		w.CloseWithError(h.Store.Dump(ctx, w))
	}()
	return r, nil
}
