package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/pawelmojski/inside/appliance/api"
)

func (c *cli) staysCommand() *cobra.Command {
	var f api.StayFilter
	var when timeRange
	var words bool
	cmd := &cobra.Command{
		Use: "stays", Short: "who is inside, and until when; who was", Args: args(0, 0),
		Long: `Lists who is inside. A stay begins with the first entry of a person under a
grant and lasts until the grant ends, is revoked, its hours are over or an admin
ends it, not until the connection closes: who is absent may come back in.

With --from, --to or --since: who was inside at any moment between. This is
everybody who was inside production in October:

  inside stays --group production --from 2026-10-01 --to 2026-11-01 --csv

A group is what it is now; a server counts from the first session on it.`,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if f.From, f.To, err = when.times(time.Now()); err != nil {
				return asUsage(cmd, err)
			}
			if c.csv {
				return printPages(c, api.EveryStay(cmd.Context(), c.house(), f))
			}
			stays, err := c.house().Stays(cmd.Context(), f)
			if err != nil {
				return err
			}
			if words && !c.json {
				return c.sentences(stays)
			}
			if err := c.list(stays, stayTable(stays)); err != nil {
				return err
			}
			if bounded := f.All || f.Limit > 0 || !f.From.IsZero() || !f.To.IsZero(); bounded {
				c.cut(len(stays), f.Limit, func() string { return stays[len(stays)-1].ID })
			}
			return nil
		},
	}
	fl := cmd.Flags()
	fl.BoolVar(&f.All, "all", false, "those that ended too")
	fl.StringVar(&f.Person, "person", "", "of this person")
	fl.StringVar(&f.PersonGroup, "person-group", "", "of somebody in this group of persons")
	fl.StringVar(&f.Server, "server", "", "who entered this server")
	fl.StringVar(&f.Group, "group", "", "who entered a server of this group")
	fl.StringVar(&f.Grant, "grant", "", "by this grant")
	when.flags(cmd)
	fl.BoolVar(&words, "words", false, "a sentence for each")
	fl.StringVar(&f.After, "after", "", "older ones than this stay")
	fl.IntVar(&f.Limit, "limit", 0, "the newest so many (default all that last; of others 100, with --csv all)")
	c.completeFlag(cmd, "person", c.personNames)
	c.completeFlag(cmd, "person-group", c.groupNames(api.PersonGroup))
	c.completeFlag(cmd, "server", c.serverNames)
	c.completeFlag(cmd, "group", c.groupNames(api.ServerGroup))
	c.completeFlag(cmd, "grant", c.grantIDs)
	return c.csvFlag(cmd)
}

func stayTable(stays []api.Stay) list {
	l := list{head: []string{"ID", "PERSON", "WHERE", "GRANT", "SINCE", "UNTIL", "STATE", "FOR", "SESSIONS", "RECORDINGS", "WHY"}}
	for _, s := range stays {
		l.add(s.ID, s.Person, places(s), s.Grant, s.Start, stayEnd(s), stayState(s), brief(s.Seconds), s.Sessions, s.Recordings, s.Cause)
	}
	return l
}

// places are the servers that were entered.
func places(s api.Stay) any {
	if len(s.Servers) == 0 {
		return s.Where
	}
	return s.Servers
}

// sentences says stays in words, a line each.
func (c *cli) sentences(stays []api.Stay) error {
	now := time.Now()
	for _, s := range stays {
		if _, err := fmt.Fprintln(c.out, api.Escape(s.Words(now, time.Local))); err != nil {
			return err
		}
	}
	return nil
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
	return noun("stay", "show or end a stay (inside stays lists them)", c.stayShow(), c.stayEnd())
}

// shownStay is a stay with its sessions.
type shownStay struct {
	api.Stay
	Connections []api.Session `json:"connections"`
}

func (c *cli) stayShow() *cobra.Command {
	cmd := &cobra.Command{
		Use: "show ID", Short: "say a stay in words, with its sessions", Args: args(1, 1), ValidArgsFunction: c.complete(c.stayIDs),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := c.house().Stay(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			shown := shownStay{s, []api.Session{}}
			for page, err := range api.EverySession(cmd.Context(), c.house(), api.SessionFilter{Stay: s.ID, All: true}) {
				if err != nil {
					return err
				}
				shown.Connections = append(shown.Connections, page...)
			}
			switch {
			case c.json:
				return c.printJSON(shown)
			case c.csv:
				return api.NewCSV(c.out).Write([]api.Stay{s})
			}
			if err := c.sentences([]api.Stay{s}); err != nil {
				return err
			}
			if s.Sentence != "" {
				fmt.Fprintf(c.out, "it ended at %s: %s\n", moment(s.End), s.Sentence)
			}
			fmt.Fprintln(c.out)
			return sessionTable(shown.Connections).table(c.out)
		},
	}
	return c.csvFlag(cmd)
}

func (c *cli) stayEnd() *cobra.Command {
	return &cobra.Command{
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
	}
}
