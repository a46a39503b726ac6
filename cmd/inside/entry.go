package main

import (
	"github.com/spf13/cobra"

	"github.com/pawelmojski/inside/appliance/api"
)

func (c *cli) entriesCommand() *cobra.Command {
	var f api.EntryFilter
	cmd := &cobra.Command{
		Use: "entries", Short: "attempts to get in, allowed and denied, the newest first", Args: args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			entries, err := c.house().Entries(cmd.Context(), f)
			if err != nil {
				return err
			}
			l := list{head: []string{"TIME", "ANSWER", "PERSON", "SERVER", "AS", "BY", "FROM", "TO", "GRANT", "SESSION", "DETAIL"}}
			for _, e := range entries {
				l.add(e.Time, firstOf(e.Denial, "allowed"), e.Person, e.Server, e.Login, e.Protocol, e.Client, e.Dest, e.Grant, sessionID(e.Session), e.Detail)
			}
			return c.list(entries, l)
		},
	}
	cmd.Flags().IntVar(&f.Limit, "limit", 0, "the newest so many (default 100)")
	return c.csvFlag(cmd)
}
