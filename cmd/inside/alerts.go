package main

import (
	"github.com/spf13/cobra"

	"github.com/pawelmojski/inside/appliance/api"
)

func (c *cli) alertsCommand() *cobra.Command {
	var f api.AlertFilter
	cmd := &cobra.Command{
		Use: "alerts", Short: "what an admin should look at", Args: args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			alerts, err := c.house().Alerts(cmd.Context(), f)
			if err != nil {
				return err
			}
			l := list{head: []string{"BEGAN", "ENDED", "ALERT", "OBJECT", "TEXT"}, wide: true}
			for _, a := range alerts {
				l.add(a.Begin, a.End, a.Kind, a.Object, a.Text)
			}
			return c.list(alerts, l)
		},
	}
	cmd.Flags().BoolVar(&f.All, "all", false, "also the last ones that have ended")
	return c.csvFlag(cmd)
}
