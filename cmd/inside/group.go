package main

import (
	"github.com/spf13/cobra"

	"github.com/pawelmojski/inside/appliance/api"
)

func (c *cli) groupCommand(k api.Kind) *cobra.Command {
	what, member := "servers", "SERVER"
	if k == api.PersonGroup {
		what, member = "persons", "PERSON"
	}
	cmd := noun(string(k), "groups of "+what+"; groups may hold groups",
		c.groupCreate(k), c.groupList(k), c.groupShow(k),
		c.groupMember(k, "add", member, "added to"), c.groupMember(k, "remove", member, "removed from"))
	if k == api.ServerGroup {
		cmd.AddCommand(c.approvalSwitch("group", c.groupNames(k), c.groupSensitive))
	}
	return cmd
}

func (c *cli) groupCreate(k api.Kind) *cobra.Command {
	var asked api.NewGroup
	cmd := &cobra.Command{
		Use: "create NAME", Short: "create an empty group", Args: args(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			asked.Name = args[0]
			g, err := c.house().CreateGroup(cmd.Context(), k, asked)
			if err != nil {
				return err
			}
			return c.say(g, nil, "%s %s created", k, g.Name)
		},
	}
	cmd.Flags().StringVar(&asked.Description, "description", "", "")
	return cmd
}

func (c *cli) groupList(k api.Kind) *cobra.Command {
	return c.csvFlag(&cobra.Command{
		Use: "list", Short: "list groups", Args: args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			groups, err := c.house().Groups(cmd.Context(), k)
			if err != nil {
				return err
			}
			l := list{head: []string{"NAME", "MEMBERS", "GROUPS", "DESCRIPTION"}}
			for _, g := range groups {
				l.add(g.Name, g.Members, g.Groups, g.Description)
			}
			return c.list(groups, l)
		},
	})
}

func (c *cli) groupShow(k api.Kind) *cobra.Command {
	return &cobra.Command{
		Use: "show NAME", Short: "show a group", Args: args(1, 1), ValidArgsFunction: c.complete(c.groupNames(k)),
		RunE: func(cmd *cobra.Command, args []string) error {
			g, err := c.house().Group(cmd.Context(), k, args[0])
			if err != nil || c.json {
				return c.orJSON(g, err)
			}
			var f fields
			f.add("name", g.Name)
			f.add("description", g.Description)
			f.add("members", g.Members)
			f.add("groups", g.Groups)
			f.add("approval", yes(g.Sensitive, "needed"))
			return f.print(c.out)
		},
	}
}

func (c *cli) groupMember(k api.Kind, verb, member, became string) *cobra.Command {
	names := c.serverNames
	if k == api.PersonGroup {
		names = c.personNames
	}
	return &cobra.Command{
		Use:   verb + " " + member + "|GROUP GROUP",
		Short: verb + " a member, which may be a group",
		Long: "The member may be a group itself. Where both have the same name, say which is\nmeant: group:NAME or " +
			map[api.Kind]string{api.ServerGroup: "server", api.PersonGroup: "person"}[k] + ":NAME.",
		Args:              args(2, 2),
		ValidArgsFunction: c.complete(anyOf(names, c.groupNames(k)), c.groupNames(k)),
		RunE: func(cmd *cobra.Command, args []string) error {
			change := c.house().AddMember
			if verb == "remove" {
				change = c.house().RemoveMember
			}
			g, err := change(cmd.Context(), k, args[1], api.Member{Member: args[0]})
			if err != nil {
				return err
			}
			return c.say(g, nil, "%s %s %s %s", args[0], became, k, g.Name)
		},
	}
}
