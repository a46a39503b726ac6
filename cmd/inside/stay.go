package main

import (
	"github.com/spf13/cobra"

	"github.com/pawelmojski/inside/appliance/api"
)

func (c *cli) staysCommand() *cobra.Command {
	var f api.StayFilter
	cmd := &cobra.Command{
		Use: "stays", Short: "who is inside, and until when", Args: args(0, 0),
		Long: `Lists who is inside. A stay begins with the first entry of a person under a
grant and lasts until the grant ends, is revoked, its hours are over or an admin
ends it, not until the connection closes: who is absent may come back in.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			stays, err := c.house().Stays(cmd.Context(), f)
			if err != nil {
				return err
			}
			l := list{head: []string{"ID", "PERSON", "WHERE", "GRANT", "SINCE", "UNTIL", "STATE", "SESSIONS", "WHY"}}
			for _, s := range stays {
				l.add(s.ID, s.Person, s.Where, s.Grant, s.Start, stayEnd(s), stayState(s), s.Sessions, s.Cause)
			}
			return c.list(stays, l)
		},
	}
	cmd.Flags().BoolVar(&f.All, "all", false, "those that ended too")
	cmd.Flags().IntVar(&f.Limit, "limit", 0, "the newest so many (default all that last; with --all 100)")
	return c.csvFlag(cmd)
}

func stayEnd(s api.Stay) any {
	switch {
	case !s.End.IsZero():
		return s.End
	case s.Until.IsZero():
		return "no end"
	}
	return s.Until
}

func stayState(s api.Stay) string {
	switch {
	case !s.End.IsZero():
		return "ended"
	case s.Present:
		return "present"
	}
	return "absent"
}

func (c *cli) stayCommand() *cobra.Command {
	return noun("stay", "end a stay (inside stays lists them)", &cobra.Command{
		Use: "end ID", Short: "end a stay and its sessions; the grant is left as it is", Args: args(1, 1),
		ValidArgsFunction: c.complete(c.stayIDs),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := c.house().EndStay(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return c.say(s, []string{"the grant still serves, if it did: inside grant revoke " + s.Grant + " keeps " + s.Person + " out"},
				"stay %s of %s ended", s.ID, s.Person)
		},
	})
}
