package main

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/pawelmojski/inside/appliance/api"
)

func (c *cli) personCommand() *cobra.Command {
	return noun("person", "real human beings, known by their addresses",
		c.personAdd(), c.personList(), c.personShow(),
		c.personSwitch("disable", "let a person in nowhere any more; what was written down stays", true),
		c.personSwitch("enable", "undo disable", false),
		c.personSetAccount(),
		noun("ip", "the addresses a person comes from", c.personIPAdd(), c.personIPList(), c.personIPRemove()),
		c.personKeyCommand(),
	)
}

func (c *cli) personAdd() *cobra.Command {
	var asked api.NewPerson
	var ips []string
	cmd := &cobra.Command{
		Use:   "add NAME",
		Short: `add a person; "John Doe" becomes john.doe`,
		Args:  args(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			asked.Name = args[0]
			for _, ip := range ips {
				asked.Addresses = append(asked.Addresses, api.NewAddress{Address: ip})
			}
			p, err := c.house().AddPerson(cmd.Context(), asked)
			if err != nil {
				return err
			}
			if len(p.Addresses) == 0 {
				if p.Account != "" {
					return c.say(p, []string{"without an address, " + p.Account + " is known where [identity] tailscale = true"}, "person %s added", p.Name)
				}
				return c.say(p, []string{"nobody is known by no address: inside person ip add " + p.Name + " ADDRESS"}, "person %s added", p.Name)
			}
			return c.say(p, nil, "person %s added, comes from %s", p.Name, strings.Join(addressesOf(p), ", "))
		},
	}
	cmd.Flags().StringArrayVar(&ips, "ip", nil, "an address or prefix the person comes from; may be repeated")
	cmd.Flags().StringVar(&asked.FullName, "full-name", "", "as people write it")
	cmd.Flags().StringVar(&asked.Email, "email", "", "")
	cmd.Flags().StringVar(&asked.Account, "account", "", "their account elsewhere, such as at Tailscale or in a directory: jdoe@corp.example")
	return cmd
}

// addressesOf are those in use.
func addressesOf(p api.Person) []string {
	var in []string
	for _, a := range p.Addresses {
		if !a.Disabled {
			in = append(in, a.Address)
		}
	}
	return in
}

func (c *cli) personList() *cobra.Command {
	return c.csvFlag(&cobra.Command{
		Use: "list", Short: "list persons", Args: args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			persons, err := c.house().Persons(cmd.Context())
			if err != nil {
				return err
			}
			l := list{head: []string{"NAME", "FULL NAME", "EMAIL", "ACCOUNT", "COMES FROM", "GROUPS", "STATE"}}
			for _, p := range persons {
				l.add(p.Name, p.FullName, p.Email, p.Account, addressesOf(p), p.Groups, state(p.Disabled))
			}
			return c.list(persons, l)
		},
	})
}

func state(disabled bool) string {
	if disabled {
		return "disabled"
	}
	return "enabled"
}

func (c *cli) personShow() *cobra.Command {
	return &cobra.Command{
		Use: "show NAME", Short: "show a person", Args: args(1, 1), ValidArgsFunction: c.complete(c.personNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := c.house().Person(cmd.Context(), args[0])
			if err != nil || c.json {
				return c.orJSON(p, err)
			}
			var f fields
			f.add("name", p.Name)
			f.add("full name", p.FullName)
			f.add("email", p.Email)
			f.add("account", p.Account)
			f.add("state", state(p.Disabled))
			f.add("groups", p.Groups)
			for _, a := range p.Addresses {
				f.add("address "+a.ID, strings.TrimSpace(a.Address+" "+a.Label+yes(a.Disabled, " (removed)")))
			}
			return f.print(c.out)
		},
	}
}

// orJSON ends a command that failed or was asked for JSON.
func (c *cli) orJSON(answer any, err error) error {
	if err != nil {
		return err
	}
	return c.printJSON(answer)
}

func (c *cli) personSwitch(verb, short string, disabled bool) *cobra.Command {
	return &cobra.Command{
		Use: verb + " NAME", Short: short, Args: args(1, 1), ValidArgsFunction: c.complete(c.personNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := c.house().Person(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			p, err = c.house().SetPerson(cmd.Context(), p.Name, api.Switch{Version: p.Version, Disabled: disabled})
			if err != nil {
				return err
			}
			return c.say(p, nil, "person %s is %s", p.Name, state(p.Disabled))
		},
	}
}

func (c *cli) personSetAccount() *cobra.Command {
	return &cobra.Command{
		Use: "set-account NAME ACCOUNT", Short: `say what account a person has elsewhere; "" is none`, Args: args(2, 2),
		ValidArgsFunction: c.complete(c.personNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := c.house().Person(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			p, err = c.house().SetAccount(cmd.Context(), p.Name, api.NewAccount{Version: p.Version, Account: args[1]})
			if err != nil {
				return err
			}
			if p.Account == "" {
				return c.say(p, nil, "person %s has no account elsewhere", p.Name)
			}
			return c.say(p, nil, "person %s is %s elsewhere", p.Name, p.Account)
		},
	}
}

func (c *cli) personIPAdd() *cobra.Command {
	var asked api.NewAddress
	cmd := &cobra.Command{
		Use: "add PERSON CIDR", Short: "let a person come from an address or prefix too", Args: args(2, 2),
		ValidArgsFunction: c.complete(c.personNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			asked.Address = args[1]
			a, err := c.house().AddAddress(cmd.Context(), args[0], asked)
			if err != nil {
				return err
			}
			return c.say(a, nil, "person %s comes from %s too (address %s)", a.Person, a.Address, a.ID)
		},
	}
	cmd.Flags().StringVar(&asked.Label, "label", "", `what is there: "home", "office"`)
	return cmd
}

func (c *cli) personIPList() *cobra.Command {
	return c.csvFlag(&cobra.Command{
		Use: "list [PERSON]", Short: "list addresses, removed ones too", Args: args(0, 1), ValidArgsFunction: c.complete(c.personNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			var f api.AddressFilter
			if len(args) > 0 {
				f.Person = args[0]
			}
			addresses, err := c.house().Addresses(cmd.Context(), f)
			if err != nil {
				return err
			}
			l := list{head: []string{"ID", "PERSON", "ADDRESS", "LABEL", "STATE"}}
			for _, a := range addresses {
				in := "in use"
				if a.Disabled {
					in = "removed"
				}
				l.add(a.ID, a.Person, a.Address, a.Label, in)
			}
			return c.list(addresses, l)
		},
	})
}

func (c *cli) personIPRemove() *cobra.Command {
	return &cobra.Command{
		Use: "remove ID", Short: "let nobody come from an address any more", Args: args(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			a, err := c.house().RemoveAddress(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return c.say(a, nil, "person %s does not come from %s any more", a.Person, a.Address)
		},
	}
}
