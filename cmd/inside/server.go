package main

import (
	"github.com/spf13/cobra"

	"github.com/pawelmojski/inside/appliance/api"
)

func (c *cli) serverCommand() *cobra.Command {
	return noun("server", "the backends people want to reach",
		c.serverAdd(), c.serverList(), c.serverShow(),
		c.serverSwitch("disable", "let nobody in there any more", true),
		c.serverSwitch("enable", "undo disable", false),
		c.serverMaintenance(),
		c.serverGraphics(),
		c.approvalSwitch("server", c.serverNames, c.serverSensitive),
		c.hostKeyCommand(),
		c.certificateCommand(),
	)
}

func (c *cli) serverAdd() *cobra.Command {
	var asked api.NewServer
	cmd := &cobra.Command{
		Use:   "add NAME --ip CIDR",
		Short: "add a server: one address, or a prefix full of them",
		Args:  args(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if asked.Address == "" {
				return &usage{cmd, errMissing("--ip", "the address people dial, or a prefix")}
			}
			asked.Name = args[0]
			s, err := c.house().AddServer(cmd.Context(), asked)
			if err != nil {
				return err
			}
			return c.say(s, s.Notes, "server %s added at %s", s.Name, s.Address)
		},
	}
	cmd.Flags().StringVar(&asked.Address, "ip", "", "its address or prefix")
	cmd.Flags().Uint16Var(&asked.SSHPort, "ssh-port", 0, "its only SSH port (default every intercepted one)")
	cmd.Flags().Uint16Var(&asked.RDPPort, "rdp-port", 0, "its only RDP port (default every intercepted one)")
	cmd.Flags().StringVar(&asked.RDPGraphics, "rdp-graphics", "", "what it draws with over RDP, see inside server graphics (default bitmaps)")
	return cmd
}

func (c *cli) serverList() *cobra.Command {
	return c.csvFlag(&cobra.Command{
		Use: "list", Short: "list servers", Args: args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			servers, err := c.house().Servers(cmd.Context())
			if err != nil {
				return err
			}
			l := list{head: []string{"NAME", "ADDRESS", "SSH PORT", "RDP PORT", "GROUPS", "STATE"}}
			for _, s := range servers {
				l.add(s.Name, s.Address, port(s.SSHPort), port(s.RDPPort), s.Groups, serverState(s))
			}
			return c.list(servers, l)
		},
	})
}

func port(p uint16) any {
	if p == 0 {
		return ""
	}
	return p
}

func (c *cli) serverShow() *cobra.Command {
	return &cobra.Command{
		Use: "show NAME", Short: "show a server", Args: args(1, 1), ValidArgsFunction: c.complete(c.serverNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := c.house().Server(cmd.Context(), args[0])
			if err != nil || c.json {
				return c.orJSON(s, err)
			}
			var f fields
			f.add("name", s.Name)
			f.add("address", s.Address)
			f.add("ssh port", port(s.SSHPort))
			f.add("rdp port", port(s.RDPPort))
			f.add("rdp graphics", s.RDPGraphics)
			f.add("state", serverState(s))
			f.add("groups", s.Groups)
			f.add("approval", yes(s.NeedsApproval, firstOf(yes(s.Sensitive, "needed"), "needed, as a group of it or a server around it is sensitive")))
			if m := s.Maintenance; m != nil {
				f.add("maintenance from", m.From)
				f.add("sessions end", m.Clear)
				f.add("maintenance until", m.Until)
				f.add("exempt", m.Exempt)
				f.add("maintenance for", m.Reason)
			}
			return f.print(c.out)
		},
	}
}

func (c *cli) serverSwitch(verb, short string, disabled bool) *cobra.Command {
	return &cobra.Command{
		Use: verb + " NAME", Short: short, Args: args(1, 1), ValidArgsFunction: c.complete(c.serverNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := c.house().Server(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			s, err = c.house().SetServer(cmd.Context(), s.Name, api.Switch{Version: s.Version, Disabled: disabled})
			if err != nil {
				return err
			}
			return c.say(s, nil, "server %s is %s", s.Name, state(s.Disabled))
		},
	}
}
