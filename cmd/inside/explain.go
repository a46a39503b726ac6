package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pawelmojski/inside/appliance/api"
	"github.com/pawelmojski/inside/policy"
)

func (c *cli) explainCommand() *cobra.Command {
	var q api.Question
	var at string
	cmd := &cobra.Command{
		Use: "explain PERSON SERVER", Short: "could this person enter there, and if not, why not", Args: args(2, 2),
		Long: `Asks the same decision that every connection asks, for each address of the
person and each protocol, and says what it makes of every grant for the two.
Nothing is written down. The exit code is 0 for yes and 4 for no.`,
		ValidArgsFunction: c.complete(c.personNames, c.serverNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			q.Person, q.Server = args[0], args[1]
			if q.At, err = parseWhen("--at", at, time.Local, time.Now()); err != nil {
				return &usage{cmd, err}
			}
			e, err := c.house().Explain(cmd.Context(), q)
			if err != nil {
				return err
			}
			return c.explain(e)
		},
	}
	cmd.Flags().StringVar(&q.Login, "login", "", "as this login, by ssh")
	cmd.Flags().StringVar(&q.Protocol, "protocol", "", "by ssh, rdp or http (default ssh and rdp)")
	cmd.Flags().StringVar(&q.From, "from", "", "from this address (default each of the person's)")
	cmd.Flags().StringVar(&at, "at", "", `at this time: "2026-12-24 10:00" (default now)`)
	c.completeFlag(cmd, "protocol", fixed("ssh", "rdp", "http"))
	return cmd
}

func (c *cli) explain(e api.Explanation) error {
	no := &saidNo{exitDenied, e.Hint}
	if c.json {
		no.hint = ""
		if err := c.printJSON(e); err != nil || e.Allowed {
			return err
		}
		return no
	}
	fmt.Fprintln(c.out, api.Escape(answer(e)))
	if len(e.Ways) > 0 {
		l := list{head: []string{"FROM", "LABEL", "BY", "ANSWER", "GRANT", "UNTIL"}}
		for _, w := range e.Ways {
			l.add(w.From, w.Label, w.Protocol, firstOf(w.Denial, "yes"), w.Grant, w.Until)
		}
		fmt.Fprintln(c.out)
		if err := l.table(c.out); err != nil {
			return err
		}
	}
	if len(e.Grants) > 0 {
		l := list{head: []string{"GRANT", "FOR", "TO", "BY ITSELF", "UNTIL", "WHY NOT, AND LIMITS"}, wide: true}
		for _, g := range e.Grants {
			l.add(g.Grant, g.Who, g.Where, firstOf(g.Denial, "yes"), g.Until, limits(g))
		}
		fmt.Fprintln(c.out)
		if err := l.table(c.out); err != nil {
			return err
		}
	}
	if m := e.Maintenance; m != nil && m.State != "over" {
		fmt.Fprintf(c.out, "\n%s\n", api.Escape(maintained(e.Server, m, false)))
	}
	if e.Allowed {
		return nil
	}
	return no
}

// limits says why a grant does not serve, or else what ends its service, and
// then what it limits.
func limits(g api.Weighed) string {
	var parts []string
	switch {
	case g.Denial == string(policy.NotApproved):
		parts = append(parts, "waits for approval by another admin: inside grant approve "+g.Grant)
	case g.Sentence != "":
		parts = append(parts, g.Sentence)
	case g.Ends == string(policy.ScheduleClosed):
		parts = append(parts, "until its hours are over")
	case g.Ends == string(policy.ServerMaintained):
		parts = append(parts, "until maintenance of the server")
	}
	if g.MaxSessions > 0 {
		parts = append(parts, fmt.Sprintf("%d of %d sessions open", g.Open, g.MaxSessions))
	}
	if g.MaxEntries != "" {
		most, period := api.Often(g.MaxEntries)
		parts = append(parts, fmt.Sprintf("%d of %s in the last %s", g.Entries, most, period))
	}
	if g.Idle != "" {
		parts = append(parts, "for at most "+g.Idle+" unused")
	}
	if g.Renew != "" {
		parts = append(parts, "renews itself by "+g.Renew+" while it is used")
	}
	if len(g.Redirection) > 0 {
		parts = append(parts, "with "+strings.Join(g.Redirection, ", ")+" over RDP")
	}
	return strings.Join(parts, "; ")
}

// answer is the first line: yes or no, and why.
func answer(e api.Explanation) string {
	var b strings.Builder
	as := ""
	if e.Login != "" {
		as = " as " + e.Login
	}
	if e.Allowed {
		fmt.Fprintf(&b, "yes: %s may enter %s%s by %s from %s", e.Person, e.Server, as, e.Protocol, e.From)
		if e.Until.IsZero() {
			b.WriteString(" without an end")
		} else {
			fmt.Fprintf(&b, " until %s", moment(e.Until))
		}
		fmt.Fprintf(&b, " (grant %s)", e.Grant)
		return b.String()
	}
	fmt.Fprintf(&b, "no: %s may not enter %s%s: %s", e.Person, e.Server, as, e.Denial)
	if e.Grant != "" {
		fmt.Fprintf(&b, " (grant %s)", e.Grant)
	}
	fmt.Fprintf(&b, "; they are told: %s", e.Sentence)
	return b.String()
}
