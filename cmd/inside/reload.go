package main

import (
	"strings"

	"github.com/spf13/cobra"
)

func (c *cli) reloadCommand() *cobra.Command {
	return &cobra.Command{
		Use: "reload", Short: "have the daemon read its configuration again", Args: args(0, 0),
		Long: `Reload has the daemon read its configuration again, and check it first: where it
has a mistake, nothing changes and the exit code says so. Whoever is inside stays
inside. What counts after a restart only is named.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := c.house().Reload(cmd.Context())
			if err != nil {
				return err
			}
			var notes []string
			if len(r.Restart) > 0 {
				notes = append(notes, "this counts after a restart only: "+strings.Join(r.Restart, ", ")+"; systemctl restart inside")
			}
			if len(r.Changed) == 0 {
				return c.say(r, notes, "nothing changed that can change now")
			}
			return c.say(r, notes, "in force: %s", strings.Join(r.Changed, ", "))
		},
	}
}
