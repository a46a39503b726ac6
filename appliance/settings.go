package appliance

import (
	"context"
	"crypto/sha256"
	"fmt"

	"github.com/pawelmojski/inside/appliance/config"
)

// noteSettings writes the settings down, as far as they differ from those of
// the last start or reload. Who changed the file, nobody knows here.
func (a *Appliance) noteSettings(ctx context.Context, by, when string) error {
	c, _ := a.settings.now()
	return a.store.AuditState(ctx, by, "settings.change", "settings of "+c.Gate.Name, when, shownSettings(c, a.store.Database()))
}

// shownSettings are the settings without their secrets. That a secret is
// another one can be seen.
func shownSettings(c config.Config, database string) config.Config {
	c.Store.URL = database
	if c.Alerts.Webhook != "" {
		sum := sha256.Sum256([]byte(c.Alerts.Webhook))
		c.Alerts.Webhook = fmt.Sprintf("sha256:%x", sum[:8])
	}
	return c
}
