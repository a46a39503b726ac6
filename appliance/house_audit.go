package appliance

import (
	"encoding/json"

	"github.com/pawelmojski/inside/appliance/api"
	"github.com/pawelmojski/inside/store"
)

func wireChanges(rows []store.AuditRow) []api.Change {
	changes := make([]api.Change, 0, len(rows))
	for _, r := range rows {
		changes = append(changes, api.Change{
			ID: r.ID, Time: r.Time, By: r.By, Action: r.Action, Object: r.Object, Detail: r.Detail,
			Before: json.RawMessage(r.Was), After: json.RawMessage(r.Became), Link: r.Link, Hash: r.Hash,
		})
	}
	return changes
}
