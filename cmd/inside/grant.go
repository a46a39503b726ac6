package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pawelmojski/inside/appliance/api"
	"github.com/pawelmojski/inside/policy"
)

const grantExamples = `  inside grant alice --server prod-db-01 --duration 8h
  inside grant alice --group production --duration 14d --schedule "Mon-Fri 09:00-17:00" --timezone Europe/Warsaw
  inside grant --person-group dba --group databases --permanent --protocol ssh --ssh-login postgres
  inside grant carol --server web --template contractor --duration 3d
  inside grant bob --server win-01 --from "2026-12-24 08:00" --until "2026-12-24 12:00" --source-ip 10.0.0.7`

// grantCommand is the short spelling of `inside grant create` and holds the
// other commands; a person named like one of them needs the long spelling.
func (c *cli) grantCommand() *cobra.Command {
	cmd := c.grantCreate("grant [PERSON] --server S|--group G", "let a person in somewhere for some time")
	cmd.SuggestionsMinimumDistance = nearEnough
	cmd.AddCommand(c.grantCreate("create [PERSON] --server S|--group G", "the same as inside grant PERSON …"),
		c.grantList(), c.grantShow(), c.grantExtend(), c.grantRevoke(), c.grantApprove(), c.grantHistory())
	return cmd
}

// A grantForm is a grant as it is typed.
type grantForm struct {
	api.NewGrant
	from, until string
	schedules   []string
	zone        string
	noForward   bool
}

func (c *cli) grantCreate(use, title string) *cobra.Command {
	var form grantForm
	cmd := &cobra.Command{
		Use: use, Short: title, Example: grantExamples,
		Long: `Lets a person, or everybody in a person group, enter a server, or every server
of a group. Without a length a grant lasts 1 hour; a permanent one must be asked
for. Times without a zone are read in --timezone, else in the zone of this
machine.

A template (inside template --help) gives what no flag says; any length that is
given counts instead of its length and renewals. The grant gets a copy: no later change of
the template changes it.`,
		Args:              args(0, 1),
		ValidArgsFunction: c.complete(c.personNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				form.Person = args[0]
			}
			asked, err := form.read(cmd)
			if err != nil {
				return err
			}
			g, err := c.house().CreateGrant(cmd.Context(), asked)
			if err != nil {
				return suggestCommand(cmd, args, err)
			}
			return c.say(g, g.Notes, "grant %s: %s", g.ID, g.Words(moment))
		},
	}
	c.grantFlags(cmd, &form)
	return cmd
}

func (c *cli) grantFlags(cmd *cobra.Command, form *grantForm) {
	f := cmd.Flags()
	f.StringVar(&form.PersonGroup, "person-group", "", "for everybody in this group")
	f.StringVar(&form.Server, "server", "", "to this server")
	f.StringVar(&form.Group, "group", "", "to every server in this group")
	f.StringVar(&form.from, "from", "", `begin then: "2026-12-24 08:00" (default now)`)
	f.StringVar(&form.until, "until", "", `end then: "2026-12-24 12:00", 18:00 today`)
	f.StringVar(&form.SourceIP, "source-ip", "", "only from this one of the person's addresses")
	f.StringVar(&form.Template, "template", "", "as this template says, where no other flag does")
	c.optionFlags(cmd, form)
	c.completeFlag(cmd, "person-group", c.groupNames(api.PersonGroup))
	c.completeFlag(cmd, "server", c.serverNames)
	c.completeFlag(cmd, "group", c.groupNames(api.ServerGroup))
	c.completeFlag(cmd, "template", c.templateNames)
}

// optionFlags are what a grant and a template of grants have in common.
func (c *cli) optionFlags(cmd *cobra.Command, form *grantForm) {
	f := cmd.Flags()
	f.StringSliceVar(&form.Protocols, "protocol", nil, "by ssh, rdp, http (default all)")
	f.StringVar(&form.Duration, "duration", "", "how long from now: 8h, 14d, 1w, 1h30m (default 1h)")
	f.BoolVar(&form.Permanent, "permanent", false, "without an end")
	f.StringArrayVar(&form.schedules, "schedule", nil, `only then: "Mon-Fri 09:00-17:00"; may be repeated`)
	f.StringVar(&form.zone, "timezone", "", "the zone of --schedule, --from and --until: Europe/Warsaw")
	f.StringSliceVar(&form.Logins, "ssh-login", nil, "only as this login; may be repeated (default any)")
	f.StringSliceVar(&form.Forwarding, "allow-port-forwarding", nil, "local, remote, dynamic (default none)")
	f.BoolVar(&form.noForward, "no-port-forwarding", false, "forward nothing, which is the default")
	f.StringSliceVar(&form.Redirection, "allow-rdp", nil, "what RDP may reach of the person's machine: "+strings.Join(policy.RedirectionNames(), ", ")+" (default none)")
	f.StringVar(&form.Idle, "idle", "", "end sessions nobody has used for so long: 30m (default never)")
	f.IntVar(&form.MaxSessions, "max-sessions", 0, "how many sessions of one person at a time (default any number)")
	f.StringVar(&form.MaxEntries, "max-entries", "", "how often one person may enter: 5/m, 10/h, 40/d (default any number of times)")
	f.BoolVar(&form.Renew, "renew", false, "near its end, extend it by its --duration if somebody entered under it meanwhile")
	f.StringVar(&form.Reason, "reason", "", "why, for those who read it later")
	c.completeFlag(cmd, "protocol", fixed("ssh", "rdp", "http"))
	c.completeFlag(cmd, "duration", fixed("1h", "4h", "8h", "1d", "7d", "14d"))
	c.completeFlag(cmd, "allow-port-forwarding", fixed("local", "remote", "dynamic"))
	c.completeFlag(cmd, "allow-rdp", fixed(policy.RedirectionNames()...))
}

// read turns what was typed into what the API takes.
func (form *grantForm) read(cmd *cobra.Command) (api.NewGrant, error) {
	asked := form.NewGrant
	if form.noForward && len(form.Forwarding) > 0 {
		return asked, &usage{cmd, errors.New("--no-port-forwarding and --allow-port-forwarding exclude each other")}
	}
	if form.noForward {
		asked.Forwarding = []string{"none"} // whatever a template says
	}
	for _, limit := range []string{"protocol", "ssh-login", "idle", "max-sessions", "max-entries"} {
		if f := cmd.Flags().Lookup(limit); form.Template != "" && f.Changed && f.Value.String() == f.DefValue {
			return asked, &usage{cmd, fmt.Errorf("--%s is empty: a grant by a template has this limit or another; for none leave the template out", limit)}
		}
	}
	if len(form.schedules) > 0 && form.zone == "" {
		return asked, &usage{cmd, errMissing("--timezone", "the hours of --schedule are those of a place, such as Europe/Warsaw")}
	}
	zone, err := zoneOf(form.zone)
	if err != nil {
		return asked, &usage{cmd, err}
	}
	for _, s := range form.schedules {
		asked.Schedules = append(asked.Schedules, api.Schedule{Windows: s, Zone: form.zone})
	}
	now := time.Now()
	if asked.Start, err = parseWhen("--from", form.from, zone, now); err == nil {
		asked.End, err = parseWhen("--until", form.until, zone, now)
	}
	if err != nil {
		return asked, &usage{cmd, err}
	}
	return asked, nil
}

// suggestCommand helps where a command was misspelt and taken for a person: a
// grant that is meant to be one says where.
func suggestCommand(cmd *cobra.Command, args []string, err error) error {
	var p *api.Problem
	if len(args) == 0 || cmd.Flags().Changed("server") || cmd.Flags().Changed("group") || !errors.As(err, &p) {
		return err
	}
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		meant := *p
		meant.Hint = fmt.Sprintf("did you mean inside grant %s?", near[0])
		return &meant
	}
	return err
}

func (c *cli) grantList() *cobra.Command {
	var f api.GrantFilter
	cmd := &cobra.Command{
		Use: "list [PERSON]", Short: "list grants; those of a person through groups too", Args: args(0, 1),
		ValidArgsFunction: c.complete(c.personNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				f.Person = args[0]
			}
			grants, err := c.house().Grants(cmd.Context(), f)
			if err != nil {
				return err
			}
			waits := 0
			l := list{head: []string{"ID", "WHO", "WHERE", "BY", "AS", "STATE", "END", "HOURS", "REASON"}}
			if f.Unused != "" {
				l.head = append(l.head, "LAST USED")
			}
			for _, g := range grants {
				cells := []any{g.ID, g.Who(), g.Where(), g.Protocols, g.Logins, listedState(g), end(g), api.Hours(g.Schedules), g.Reason}
				if f.Unused != "" {
					cells = append(cells, lastUse(g))
				}
				l.add(cells...)
				if g.Waits {
					waits++
				}
			}
			if waits > 0 && !c.json && !c.csv {
				c.note(count(waits, "grant") + " waiting for approval by another admin: inside grant approve ID")
			}
			return c.list(grants, l)
		},
	}
	cmd.Flags().BoolVar(&f.Waiting, "waiting", false, "only those that wait for approval by another admin")
	cmd.Flags().BoolVar(&f.Active, "active", false, "leave out what is over: expired and revoked")
	cmd.Flags().StringVar(&f.Unused, "unused", "", "only those in force under which nobody has entered for so long: 30d")
	c.completeFlag(cmd, "unused", fixed("30d", "90d", "180d"))
	return c.csvFlag(cmd)
}

func lastUse(g api.Grant) any {
	if g.LastUsed.IsZero() {
		return "never"
	}
	return g.LastUsed
}

func grantState(g api.Grant) string {
	if g.Waits {
		return "waits for approval"
	}
	return firstOf(g.Denial, "serves")
}

// listedState says too what a list has no column for.
func listedState(g api.Grant) string {
	if d := policy.Denial(g.Denial); g.Renew != "" && d != policy.Expired && d != policy.Revoked {
		return grantState(g) + ", renews by " + g.Renew
	}
	return grantState(g)
}

func end(g api.Grant) any {
	if g.Permanent {
		return "permanent"
	}
	return g.End
}

func (c *cli) grantShow() *cobra.Command {
	return &cobra.Command{
		Use: "show ID", Short: "show a grant", Args: args(1, 1), ValidArgsFunction: c.complete(c.grantIDs),
		RunE: func(cmd *cobra.Command, args []string) error {
			g, err := c.house().Grant(cmd.Context(), args[0])
			if err != nil || c.json {
				return c.orJSON(g, err)
			}
			var f fields
			f.add("grant", g.ID)
			f.add("who", g.Who())
			f.add("where", g.Where())
			f.add("by", firstOf(strings.Join(g.Protocols, ", "), "any protocol"))
			f.add("as", firstOf(strings.Join(g.Logins, ", "), "any login"))
			f.add("from", firstOf(g.SourceIP, "any address of the person"))
			f.add("forwarding", firstOf(strings.Join(g.Forwarding, ", "), "none"))
			f.add("over rdp", firstOf(strings.Join(g.Redirection, ", "), "screen, input and sound only"))
			f.add("start", g.Start)
			f.add("end", end(g))
			f.add("renews", yes(g.Renew != "", "itself by "+g.Renew+" while it is used"))
			f.add("hours", api.Hours(g.Schedules))
			f.add("idle", g.Idle)
			f.add("sessions", yes(g.MaxSessions > 0, fmt.Sprintf("at most %d of a person at a time", g.MaxSessions)))
			most, period := api.Often(g.MaxEntries)
			f.add("entries", yes(g.MaxEntries != "", "at most "+most+" of a person in any "+period))
			f.add("state", grantState(g))
			f.add("approval", g.Waiting())
			f.add("approved", yes(!g.Approved.IsZero(), clock(g.Approved)+" by "+g.ApprovedBy))
			f.add("serves until", g.Until)
			f.add("revoked", g.Revoked)
			f.add("reason", g.Reason)
			f.add("created", clock(g.Created)+" by "+g.CreatedBy)
			return f.print(c.out)
		},
	}
}

func (c *cli) grantExtend() *cobra.Command {
	var e api.NewEnd
	var until string
	cmd := &cobra.Command{
		Use:   "extend ID --duration D|--by D|--until T|--permanent|--no-renew",
		Short: "give a grant another end, later or earlier; running sessions follow",
		Long: `Gives a grant another end. Running sessions follow. A later end of a grant for
a server that needs approval must be approved by another admin: until then the
grant does not serve there, and sessions there end.`,
		Args: args(1, 1), ValidArgsFunction: c.complete(c.grantIDs),
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			if e.Until, err = parseWhen("--until", until, time.Local, time.Now()); err != nil {
				return &usage{cmd, err}
			}
			g, err := c.house().Grant(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			e.Version = g.Version
			g, err = c.house().SetGrantEnd(cmd.Context(), g.ID, e)
			if err != nil {
				return err
			}
			return c.say(g, g.Notes, "grant %s: %s", g.ID, g.Words(moment))
		},
	}
	cmd.Flags().StringVar(&e.Duration, "duration", "", "how long from now on: 2h ends it 2 hours from now")
	cmd.Flags().StringVar(&e.By, "by", "", "how much longer than it is: 2h moves its end by 2 hours")
	cmd.Flags().StringVar(&until, "until", "", `end then: "2026-12-24 12:00", 18:00 today`)
	cmd.Flags().BoolVar(&e.Permanent, "permanent", false, "without an end")
	cmd.Flags().BoolVar(&e.NoRenew, "no-renew", false, "leave the end where it is, and let it come")
	return cmd
}

func (c *cli) grantRevoke() *cobra.Command {
	return &cobra.Command{
		Use: "revoke ID", Short: "end a grant for good, and the sessions under it at once", Args: args(1, 1),
		ValidArgsFunction: c.complete(c.grantIDs),
		RunE: func(cmd *cobra.Command, args []string) error {
			g, err := c.house().RevokeGrant(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return c.say(g, g.Notes, "grant %s is revoked: %s may no longer enter %s by it", g.ID, g.Who(), g.Where())
		},
	}
}

func (c *cli) grantHistory() *cobra.Command {
	return c.csvFlag(&cobra.Command{
		Use: "history ID", Short: "who changed a grant, when and how", Args: args(1, 1), ValidArgsFunction: c.complete(c.grantIDs),
		RunE: func(cmd *cobra.Command, args []string) error {
			changes, err := c.house().GrantHistory(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			l := list{head: []string{"TIME", "BY", "WHAT", "DETAIL"}, wide: true}
			for _, ch := range changes {
				l.add(ch.Time, ch.By, ch.Action, ch.Detail)
			}
			return c.list(changes, l)
		},
	})
}
