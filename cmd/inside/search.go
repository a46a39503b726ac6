package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pawelmojski/inside/appliance/api"
)

// usualLimit is how many lines a list has for which no limit was given.
const usualLimit = 100

func (c *cli) searchCommand() *cobra.Command {
	var s api.Search
	var when timeRange
	cmd := &cobra.Command{
		Use: "search [WORD…]", Short: "find sessions and denied entries", Args: args(0, 100),
		Long: `Finds sessions and denied entries, the newest first. All that is given must fit.
A word is an address or a prefix (of the client or the one dialled), #42 (grant,
stay or entry 42), a protocol, active, ended or denied, a denial such as
no-grant, the beginning of a session's id, or else a part of the name of a
person, a server or a group (as the group is now), or of a login.

  inside search p.mojski prod --since 7d
  inside search 100.64.0.0/10 denied
  inside search --group production --from 2026-10-01 --to 2026-11-01 --csv`,
		ValidArgsFunction: c.complete(anyOf(c.personNames, c.serverNames, c.groupNames(api.ServerGroup))),
		RunE: func(cmd *cobra.Command, words []string) (err error) {
			s.Query = strings.Join(words, " ")
			if s.From, s.To, err = when.times(time.Now()); err != nil {
				return asUsage(cmd, err)
			}
			if c.csv {
				return printPages(c, api.EveryFound(cmd.Context(), c.house(), s))
			}
			page, err := c.found(cmd, s)
			if err != nil {
				return err
			}
			return c.printFound(page)
		},
	}
	f := cmd.Flags()
	f.StringVar(&s.Person, "person", "", "of this person")
	f.StringVar(&s.PersonGroup, "person-group", "", "of somebody in this group of persons")
	f.StringVar(&s.Server, "server", "", "on this server")
	f.StringVar(&s.Group, "group", "", "on a server of this group")
	f.StringVar(&s.Login, "login", "", "as this login, whatever its case")
	f.StringVar(&s.Address, "address", "", "from or to this address or prefix")
	f.StringVar(&s.Protocol, "protocol", "", "ssh, rdp or http")
	f.StringVar(&s.Status, "status", "", "active, ended or denied")
	f.StringVar(&s.Denial, "denial", "", "denied for this reason, such as no-grant")
	f.StringVar(&s.Grant, "grant", "", "by this grant")
	f.StringVar(&s.Stay, "stay", "", "within this stay")
	f.StringVar(&s.Session, "session", "", "this session; the beginning of its id is enough")
	when.flags(cmd)
	f.StringVar(&s.Longer, "longer", "", "lasted at least so long: 8h")
	f.StringVar(&s.Shorter, "shorter", "", "lasted at most so long: 30s")
	f.BoolVar(&s.Forwarding, "forwarding", false, "with a forwarded port")
	f.BoolVar(&s.Files, "files", false, "with files moved")
	f.StringVar(&s.After, "after", "", "go on where a page ended")
	f.IntVar(&s.Limit, "limit", 0, "so many (default 100; with --csv all)")
	c.completeFlag(cmd, "person", c.personNames)
	c.completeFlag(cmd, "person-group", c.groupNames(api.PersonGroup))
	c.completeFlag(cmd, "server", c.serverNames)
	c.completeFlag(cmd, "group", c.groupNames(api.ServerGroup))
	c.completeFlag(cmd, "protocol", fixed("ssh", "rdp", "http"))
	c.completeFlag(cmd, "status", fixed(api.StatusActive, api.StatusEnded, api.StatusDenied))
	c.completeFlag(cmd, "grant", c.grantIDs)
	c.completeFlag(cmd, "stay", c.stayIDs)
	return c.csvFlag(cmd)
}

// found fills one page; the daemon may need several tries for it.
func (c *cli) found(cmd *cobra.Command, s api.Search) (api.Page, error) {
	limit := s.Limit
	if limit == 0 {
		limit = usualLimit
	}
	all := api.Page{Results: []api.Found{}}
	for {
		s.Limit = min(limit-len(all.Results), 1000)
		page, err := c.house().Search(cmd.Context(), s)
		if err != nil {
			return api.Page{}, err
		}
		all.Results, all.Next, all.Reached = append(all.Results, page.Results...), page.Next, page.Reached
		if page.Next == "" || len(all.Results) >= limit {
			return all, nil
		}
		s.After = page.Next
	}
}

func (c *cli) printFound(page api.Page) error {
	l := list{head: []string{"START", "STATUS", "PERSON", "SERVER", "AS", "BY", "FROM", "LASTED", "GRANT", "STAY", "SESSION", "WHY", "WITH"}}
	for _, f := range page.Results {
		lasted := ""
		if f.Status != api.StatusDenied {
			lasted = brief(f.Seconds)
		}
		l.add(f.Start, f.Status, whole(f.Person), f.Server, f.Login, f.Protocol, whole(from(f.Client, f.Account, f.Node)), lasted, f.Grant, f.Stay, sessionID(f.Session),
			why(f), with(f.Carried))
	}
	if err := c.list(page, l); err != nil {
		return err
	}
	if page.Next != "" && !c.json {
		c.note("there is more: --after " + page.Next + ", --limit N, or --csv for all of it")
	}
	return nil
}

// why says why it was refused, or ended, and what would have refused it.
func why(f api.Found) string {
	if f.Waived != "" {
		return strings.TrimSuffix("warned: "+f.Waived+", "+f.Cause, ", ")
	}
	return firstOf(f.Denial, f.Cause)
}

// with says what a session had beside its terminal.
func with(c api.Carried) []string {
	var words []string
	if c.Recordings > 0 {
		words = append(words, api.Count(c.Recordings, "recording"))
	}
	if c.Forwarding {
		words = append(words, "forwarding")
	}
	if c.Files {
		words = append(words, "files")
	}
	return words
}

// brief is a length for a table: 45s, 12m, 3h05m, 2d03h.
func brief(seconds int64) string {
	switch {
	case seconds < 60:
		return fmt.Sprintf("%ds", seconds)
	case seconds < 3600:
		return fmt.Sprintf("%dm", seconds/60)
	case seconds < 86400:
		return fmt.Sprintf("%dh%02dm", seconds/3600, seconds%3600/60)
	}
	return fmt.Sprintf("%dd%02dh", seconds/86400, seconds%86400/3600)
}
