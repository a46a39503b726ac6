package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/pawelmojski/inside/appliance/api"
)

// approvalSwitch is `inside server approval` or `inside group approval`.
func (c *cli) approvalSwitch(noun string, of names, set func(ctx context.Context, name string, on bool) error) *cobra.Command {
	each := map[string]string{"server": "the server", "group": "every server in the group, and in groups inside it,"}[noun]
	return &cobra.Command{
		Use: "approval NAME on|off", Short: "let people in only by grants that another admin has approved", Args: args(2, 2),
		Long: `From on, ` + each + ` is entered only by grants that somebody
else than who made or extended them has approved: inside grant approve ID. That
counts at once: sessions there that run by a grant nobody has approved end. To
let them go on, approve their grants before (inside grant list shows them); any
grant can be approved at any time.`,
		ValidArgsFunction: c.complete(of, fixed("on", "off")),
		RunE: func(cmd *cobra.Command, args []string) error {
			if args[1] != "on" && args[1] != "off" {
				return &usage{cmd, errors.New("approval is on or off")}
			}
			return set(cmd.Context(), args[0], args[1] == "on")
		},
	}
}

func (c *cli) serverSensitive(ctx context.Context, name string, on bool) error {
	s, err := c.house().Server(ctx, name)
	if err != nil {
		return err
	}
	if s, err = c.house().SetServerSensitive(ctx, s.Name, api.Sensitivity{Version: s.Version, Sensitive: on}); err != nil {
		return err
	}
	var notes []string
	if s.NeedsApproval && !on {
		notes = []string{"a group that holds it or a server around it is sensitive, so they still do: inside group show NAME and inside server show NAME tell"}
	}
	return c.say(s, notes, "grants for the server %s %s", s.Name, needApproval(on))
}

func (c *cli) groupSensitive(ctx context.Context, name string, on bool) error {
	g, err := c.house().Group(ctx, api.ServerGroup, name)
	if err != nil {
		return err
	}
	if g, err = c.house().SetGroupSensitive(ctx, g.Name, api.Sensitivity{Version: g.Version, Sensitive: on}); err != nil {
		return err
	}
	return c.say(g, nil, "grants for servers of the group %s %s", g.Name, needApproval(on))
}

func needApproval(on bool) string {
	if on {
		return "need approval by another admin"
	}
	return "need no approval"
}

func (c *cli) grantApprove() *cobra.Command {
	return &cobra.Command{
		Use: "approve ID", Short: "let a grant serve for servers that need approval", Args: args(1, 1),
		Long: `Approves a grant that somebody else has made or extended; nobody approves their
own, nor by a token of their own: a token counts as the admin who made it. It
matters for servers marked with inside server approval or inside group
approval, and does no harm elsewhere. A later end must be approved again. What
waits is listed by inside grant list --waiting.`,
		ValidArgsFunction: c.complete(c.grantIDs),
		RunE: func(cmd *cobra.Command, args []string) error {
			g, err := c.house().Grant(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if g, err = c.house().ApproveGrant(cmd.Context(), g.ID, api.Approval{Version: g.Version}); err != nil {
				return err
			}
			return c.say(g, g.Notes, "grant %s is approved: %s", g.ID, g.Words(moment))
		},
	}
}
