package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/pawelmojski/inside/appliance/api"
)

func (c *cli) statusCommand() *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "the gate on one screen; exit code 1 where something does not work", Args: args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := c.house().Status(cmd.Context())
			if err != nil {
				return err
			}
			if err := c.printStatus(s); err != nil || s.Well() {
				return err
			}
			return &saidNo{code: exitError}
		},
	}
}

func (c *cli) printStatus(s api.Status) error {
	if c.json {
		return c.printJSON(s)
	}
	var f fields
	f.add("gate", s.Gate)
	f.add("version", s.Version)
	f.add("started", s.Started)
	f.add("rules", part(s.Rules))
	f.add("database", part(s.Database))
	f.add("recorder", part(s.Recorder))
	f.add("doors", part(s.Doors))
	f.add("free", fmt.Sprintf("%s for recordings (%.1f%%)", size(s.Free), s.Share*100))
	f.add("inside", fmt.Sprintf("%d stays, %d sessions", s.Stays, s.Sessions))
	f.add("knows", fmt.Sprintf("%d persons, %d servers, %d grants in force", s.Persons, s.Servers, s.Grants))
	return f.print(c.out)
}

func part(p api.Part) string {
	switch {
	case !p.OK:
		return "DOES NOT WORK: " + p.Detail
	case p.Detail != "":
		return "ok, " + p.Detail
	}
	return "ok"
}
