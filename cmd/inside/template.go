package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pawelmojski/inside/appliance/api"
)

func (c *cli) templateCommand() *cobra.Command {
	cmd := noun("template", "options of grants under a name", c.templateCreate(), c.templateList(), c.templateShow(), c.templateRemove())
	cmd.Long = `A template is a named set of options that grants are made with again and again:

  inside template create contractor --protocol ssh --duration 14d --max-sessions 2
  inside grant alice --server db --template contractor
  inside grant bob --server db --template contractor --duration 3d

A flag of the grant counts instead of what the template says; --renew of a
template goes with its length. The options are copied when the grant is created: removing the template, or making another of
its name, changes no grant.`
	return cmd
}

func (c *cli) templateCreate() *cobra.Command {
	var form grantForm
	cmd := &cobra.Command{
		Use: "create NAME", Short: "keep options of grants under a name", Args: args(1, 1),
		Long: `Keeps options under a name, for inside grant … --template NAME. To change a
template, remove it and create it again; that changes no grant.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			g, err := form.read(cmd)
			if err != nil {
				return err
			}
			t, err := c.house().CreateTemplate(cmd.Context(), api.NewTemplate{
				Name: args[0], Protocols: g.Protocols, Logins: g.Logins, Forwarding: g.Forwarding, Redirection: g.Redirection, Duration: g.Duration, Permanent: g.Permanent,
				Schedules: g.Schedules, Idle: g.Idle, MaxSessions: g.MaxSessions, MaxEntries: g.MaxEntries, Renew: g.Renew, Reason: g.Reason,
			})
			if err != nil {
				return err
			}
			return c.say(t, nil, "template %s is kept: inside grant PERSON --server SERVER --template %s", t.Name, t.Name)
		},
	}
	c.optionFlags(cmd, &form)
	cmd.Flags().Lookup("timezone").Usage = "the zone of --schedule: Europe/Warsaw"
	return cmd
}

func (c *cli) templateList() *cobra.Command {
	return c.csvFlag(&cobra.Command{
		Use: "list", Short: "list templates", Args: args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			templates, err := c.house().Templates(cmd.Context())
			if err != nil {
				return err
			}
			l := list{head: []string{"NAME", "BY", "AS", "LENGTH", "HOURS", "REASON"}}
			for _, t := range templates {
				l.add(t.Name, t.Protocols, t.Logins, templateLength(t), api.Hours(t.Schedules), t.Reason)
			}
			return c.list(templates, l)
		},
	})
}

func templateLength(t api.Template) string {
	if t.Permanent {
		return "permanent"
	}
	return t.Duration + yes(t.Renew, ", renews itself")
}

func (c *cli) templateShow() *cobra.Command {
	return &cobra.Command{
		Use: "show NAME", Short: "show a template", Args: args(1, 1), ValidArgsFunction: c.complete(c.templateNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			t, err := c.house().Template(cmd.Context(), args[0])
			if err != nil || c.json {
				return c.orJSON(t, err)
			}
			var f fields
			f.add("template", t.Name)
			f.add("by", firstOf(strings.Join(t.Protocols, ", "), "any protocol"))
			f.add("as", firstOf(strings.Join(t.Logins, ", "), "any login"))
			f.add("forwarding", firstOf(strings.Join(t.Forwarding, ", "), "none"))
			f.add("over rdp", strings.Join(t.Redirection, ", "))
			f.add("length", firstOf(templateLength(t), "1h, unless the grant says otherwise"))
			f.add("hours", api.Hours(t.Schedules))
			f.add("idle", t.Idle)
			f.add("sessions", yes(t.MaxSessions > 0, fmt.Sprintf("at most %d of a person at a time", t.MaxSessions)))
			most, period := api.Often(t.MaxEntries)
			f.add("entries", yes(t.MaxEntries != "", "at most "+most+" of a person in any "+period))
			f.add("renews", yes(t.Renew, "itself by "+t.Duration+" while it is used"))
			f.add("reason", t.Reason)
			f.add("created", clock(t.Created)+" by "+t.CreatedBy)
			return f.print(c.out)
		},
	}
}

func (c *cli) templateRemove() *cobra.Command {
	return &cobra.Command{
		Use: "remove NAME", Short: "forget a template; grants made by it stay as they are", Args: args(1, 1),
		ValidArgsFunction: c.complete(c.templateNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			t, err := c.house().RemoveTemplate(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return c.say(t, nil, "template %s is removed; grants made by it stay as they are", t.Name)
		},
	}
}

func (c *cli) templateNames(ctx context.Context) ([]string, error) {
	templates, err := c.house().Templates(ctx)
	return each(templates, func(t api.Template) string { return t.Name }), err
}
