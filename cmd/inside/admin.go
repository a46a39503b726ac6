package main

import (
	"bytes"
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/pawelmojski/inside/appliance/api"
)

func (c *cli) adminCommand() *cobra.Command {
	cmd := noun("admin", "who signs in on the pages", c.adminAdd(), c.adminList(), c.adminRole(), c.adminPassword(),
		c.adminSwitch("disable", true), c.adminSwitch("enable", false), c.adminRemove())
	cmd.Long = `Admins sign in on the pages, http://127.0.0.1:5000 unless inside.toml says
otherwise, with a name and a password. Their role says how much:

  viewer    looks at persons, servers, grants, stays, sessions and entries
  operator  also sees recordings, grants and revokes, ends stays and sessions
  admin     may do everything

  inside admin add jon --role operator

The page is on the gate's own machine only. From elsewhere it is reached through
a tunnel, ssh -L 5000:127.0.0.1:5000 the-gate, or a reverse proxy with TLS.`
	return cmd
}

func (c *cli) adminAdd() *cobra.Command {
	var asked api.NewNamedAdmin
	cmd := &cobra.Command{
		Use: "add NAME", Short: "add an admin, with a first password", Args: args(1, 1),
		Long: `Asks for the password on the terminal, or reads it from standard input. The
admin chooses another one on the pages: until then, who has set the password
counts as the same pair of eyes where a grant needs approval.`,
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if asked.Role == "" {
				return &usage{cmd, errors.New("--role says what the admin may do: viewer, operator or admin")}
			}
			asked.Name = args[0]
			if asked.Password, err = c.newPassword(cmd); err != nil {
				return err
			}
			defer clear(asked.Password)
			a, err := c.house().AddAdmin(cmd.Context(), asked)
			if err != nil {
				return err
			}
			return c.say(a, nil, "%s may sign in on the pages, with the role %s", a.Name, a.Role)
		},
	}
	cmd.Flags().StringVar((*string)(&asked.Role), "role", "", "viewer, operator or admin")
	c.completeFlag(cmd, "role", fixed(string(api.Viewer), string(api.Operator), string(api.Admin)))
	return cmd
}

// newPassword reads a password, on a terminal twice.
func (c *cli) newPassword(cmd *cobra.Command) (api.Secret, error) {
	password, err := readPassword(cmd.InOrStdin(), c.err)
	if err != nil || !isTerminal(cmd.InOrStdin()) {
		return password, err
	}
	c.note("the same once more")
	again, err := readPassword(cmd.InOrStdin(), c.err)
	defer clear(again)
	if err == nil && !bytes.Equal(password, again) {
		err = errors.New("the two passwords are not the same")
	}
	return password, err
}

func (c *cli) adminList() *cobra.Command {
	cmd := &cobra.Command{
		Use: "list", Short: "list admins and when they signed in last", Args: args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			admins, err := c.house().Admins(cmd.Context())
			if err != nil {
				return err
			}
			l := list{head: []string{"NAME", "ROLE", "STATE", "SIGNED IN", "PASSWORD", "CREATED", "BY"}}
			for _, a := range admins {
				state, password := "enabled", "first"
				if a.Disabled {
					state = "disabled"
				}
				if a.OwnPassword {
					password = "own"
				}
				l.add(a.Name, string(a.Role), state, a.Used, password, a.Created, a.By)
			}
			return c.list(admins, l)
		},
	}
	return c.csvFlag(cmd)
}

func (c *cli) adminRole() *cobra.Command {
	return &cobra.Command{
		Use: "role NAME ROLE", Short: "give an admin another role, which counts at once", Args: args(2, 2),
		ValidArgsFunction: c.complete(c.adminNames, fixed(string(api.Viewer), string(api.Operator), string(api.Admin))),
		RunE: func(cmd *cobra.Command, args []string) error {
			was, err := c.adminNamed(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			a, err := c.house().SetAdmin(cmd.Context(), args[0], api.AdminChange{Role: api.Role(args[1]), Disabled: was.Disabled})
			if err != nil {
				return err
			}
			return c.say(a, nil, "%s has the role %s", a.Name, a.Role)
		},
	}
}

func (c *cli) adminPassword() *cobra.Command {
	return &cobra.Command{
		Use: "password NAME", Short: "set an admin's password, and sign them out", Args: args(1, 1),
		ValidArgsFunction: c.complete(c.adminNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			password, err := c.newPassword(cmd)
			if err != nil {
				return err
			}
			defer clear(password)
			a, err := c.house().SetAdminPassword(cmd.Context(), args[0], api.NewPassword{Password: password})
			if err != nil {
				return err
			}
			return c.say(a, nil, "%s has another password; who was signed in with the old one no longer is", a.Name)
		},
	}
}

func (c *cli) adminSwitch(verb string, disabled bool) *cobra.Command {
	short := "let an admin sign in again"
	if disabled {
		short = "sign an admin out, and let them in no more"
	}
	return &cobra.Command{
		Use: verb + " NAME", Short: short, Args: args(1, 1), ValidArgsFunction: c.complete(c.adminNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			a, err := c.house().SetAdmin(cmd.Context(), args[0], api.AdminChange{Disabled: disabled})
			if err != nil {
				return err
			}
			return c.say(a, nil, "%s is %sd", a.Name, verb)
		},
	}
}

func (c *cli) adminRemove() *cobra.Command {
	return &cobra.Command{
		Use: "remove NAME", Short: "remove an admin for ever, and sign them out", Args: args(1, 1),
		Long:              "The audit trail keeps the name, so nobody else gets it.",
		ValidArgsFunction: c.complete(c.adminNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			a, err := c.house().RemoveAdmin(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return c.say(a, nil, "%s is no admin any more", a.Name)
		},
	}
}

func (c *cli) adminNamed(ctx context.Context, name string) (api.NamedAdmin, error) {
	admins, err := c.house().Admins(ctx)
	for _, a := range admins {
		if a.Name == name {
			return a, nil
		}
	}
	return api.NamedAdmin{Name: name}, err // of an unknown one the daemon says so
}

func (c *cli) adminNames(ctx context.Context) ([]string, error) {
	admins, err := c.house().Admins(ctx)
	return each(admins, func(a api.NamedAdmin) string { return a.Name + "\t" + string(a.Role) }), err
}
