package main

import (
	"errors"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/pawelmojski/inside/appliance/api"
)

// from is where somebody came from, and how they were known if the address did
// not say.
func from(client, account, node string) string {
	switch {
	case account == "" && node == "":
		return client
	case node == "":
		return client + " (" + account + ")"
	}
	return client + " (" + firstOf(account, "nobody") + " on " + node + ")"
}

func (c *cli) entriesCommand() *cobra.Command {
	var f api.EntryFilter
	var allowed, denied, warned bool
	cmd := &cobra.Command{
		Use: "entries", Short: "attempts to get in, allowed and denied, the newest first", Args: args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case allowed && denied, allowed && warned, denied && warned:
				return asUsage(cmd, errors.New("--allowed, --denied and --warned exclude each other"))
			case allowed:
				f.Answer = "allowed"
			case denied:
				f.Answer = "denied"
			case warned:
				f.Answer = "warned"
			}
			if c.csv {
				return printPages(c, api.EveryEntry(cmd.Context(), c.house(), f))
			}
			entries, err := c.house().Entries(cmd.Context(), f)
			if err != nil {
				return err
			}
			l := list{head: []string{"TIME", "ANSWER", "PERSON", "SERVER", "AS", "BY", "FROM", "TO", "GRANT", "SESSION", "DETAIL"}}
			for _, e := range entries {
				l.add(e.Time, answered(e), whole(e.Person), e.Server, e.Login, e.Protocol, whole(from(e.Client, e.Account, e.Node)), e.Dest, e.Grant, sessionID(e.Session), e.Detail)
			}
			if err := c.list(entries, l); err != nil {
				return err
			}
			c.cut(len(entries), f.Limit, func() string { return strconv.FormatInt(entries[len(entries)-1].ID, 10) })
			return nil
		},
	}
	cmd.Flags().BoolVar(&allowed, "allowed", false, "only those")
	cmd.Flags().BoolVar(&denied, "denied", false, "only those")
	cmd.Flags().BoolVar(&warned, "warned", false, "only those that were allowed because their network only warns")
	cmd.Flags().StringVar(&f.Person, "person", "", "of this person")
	cmd.Flags().StringVar(&f.Server, "server", "", "to this server")
	cmd.Flags().StringVar(&f.After, "after", "", "older ones than this entry, its number")
	cmd.Flags().IntVar(&f.Limit, "limit", 0, "the newest so many (default 100; with --csv all)")
	c.completeFlag(cmd, "person", c.personNames)
	c.completeFlag(cmd, "server", c.serverNames)
	return c.csvFlag(cmd)
}

// answered is what an entry was answered: "allowed", a denial, or the one that
// was waived.
func answered(e api.Entry) string {
	if e.Waived != "" {
		return "warned: " + e.Waived
	}
	return firstOf(e.Denial, "allowed")
}
