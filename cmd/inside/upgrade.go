package main

import (
	"github.com/spf13/cobra"
)

func (c *cli) upgradeCommand() *cobra.Command {
	return &cobra.Command{
		Use: "upgrade", Short: "have the installed insided take over from the one that runs", Args: args(0, 0),
		Long: `Upgrade has the insided that is installed now take over from the one that runs:
new connections go to it at once, and whoever is inside stays, in the process
before, until they leave or upgrade.max_drain has passed. Where it does not come
up, the one that runs goes on, and the exit code says so. The package does this
when it is upgraded while somebody is inside.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			u, err := c.house().Upgrade(cmd.Context())
			if err != nil {
				return err
			}
			if u.Sessions == 0 {
				return c.say(u, nil, "the new insided serves, after %d ms", u.Milliseconds)
			}
			return c.say(u, nil, "the new insided serves, after %d ms; %d sessions go on in the one before, until %s at the latest",
				u.Milliseconds, u.Sessions, u.Until.Local().Format("2006-01-02 15:04"))
		},
	}
}
