package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/pawelmojski/inside/appliance/api"
)

func (c *cli) caCommand() *cobra.Command {
	return noun("ca", "the gate's certificate authorities", c.caUser(), c.caRDP())
}

func (c *cli) caUser() *cobra.Command {
	var rotate bool
	cmd := &cobra.Command{
		Use:   "user",
		Short: "show the key that signs people's logins; servers that trust it need no other",
		Long: `Prints the public key of the user CA, which is made when it is first asked for.
Where a server trusts it, a person who proves a key the gate knows is logged in
with a certificate of minutes, made for that one session and usable from this
gateway only. On the server:

  inside ca user | ssh root@web 'cat >/etc/ssh/inside-user-ca.pub'
  echo 'TrustedUserCAKeys /etc/ssh/inside-user-ca.pub' >>/etc/ssh/sshd_config

and then here: inside ca user trust web

After --rotate both keys are printed: the new one signs, and the old one as well
for servers that do not know the new one, until the next --rotate.`,
		Args: noSuchCommand, SuggestionsMinimumDistance: nearEnough,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cas, err := c.house().UserCA(cmd.Context())
			if err == nil && (rotate || len(cas) == 0) {
				cas, err = c.house().MakeUserCA(cmd.Context(), api.NewUserCA{Rotate: rotate})
			}
			if err != nil || c.json {
				return c.orJSON(cas, err)
			}
			for _, ca := range cas {
				if _, err := fmt.Fprintln(c.out, api.Escape(ca.Key)); err != nil {
					return err
				}
			}
			if rotate {
				c.note("put both keys into TrustedUserCAKeys of every server; the older one stops signing at the next --rotate")
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&rotate, "rotate", false, "make a new key and sign with it from now on")
	cmd.AddCommand(
		c.caUserTrust("trust", "log people in at a server with certificates", true),
		c.caUserTrust("distrust", "undo trust", false),
		c.caUserServers(),
	)
	return cmd
}

func (c *cli) caUserTrust(verb, short string, trusts bool) *cobra.Command {
	return &cobra.Command{
		Use: verb + " SERVER", Short: short, Args: args(1, 1), ValidArgsFunction: c.complete(c.serverNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := c.house().SetTrustsUserCA(cmd.Context(), args[0], api.Allowance{Allowed: trusts})
			if err != nil {
				return err
			}
			if trusts {
				return c.say(l, nil, "people are logged in at %s with certificates of the user CA", l.Server)
			}
			return c.say(l, nil, "people are not logged in at %s with certificates any more", l.Server)
		},
	}
}

func (c *cli) caUserServers() *cobra.Command {
	return c.csvFlag(&cobra.Command{
		Use: "servers", Short: "list the servers that trust the user CA", Args: args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			logins, err := c.house().ServerLogins(cmd.Context())
			if err != nil {
				return err
			}
			l := list{head: []string{"SERVER", "CERTIFICATES", "ENROLLING"}}
			for _, s := range logins {
				l.add(s.Server, yes(s.UserCA, "yes"), yes(s.Enrolling, "yes"))
			}
			return c.list(logins, l)
		},
	})
}
