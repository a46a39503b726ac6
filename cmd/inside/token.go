package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/pawelmojski/inside/appliance/api"
)

func (c *cli) tokenCommand() *cobra.Command {
	cmd := noun("token", "what programs ask the gate by", c.tokenCreate(), c.tokenList(), c.tokenRevoke())
	cmd.Long = `A token lets a program, or this command on another machine, use the API on the
gate's port (127.0.0.1:5000 unless inside.toml says otherwise). Its role says
how much:

  viewer    reads persons, servers, grants, stays, sessions and entries
  operator  also sees recordings, grants and revokes, ends stays and sessions
  admin     may do everything

  umask 077; inside token create ci --role viewer > ci.token
  INSIDE_URL=http://127.0.0.1:5000 INSIDE_TOKEN_FILE=ci.token inside stays`
	return cmd
}

func (c *cli) tokenCreate() *cobra.Command {
	var asked api.NewToken
	cmd := &cobra.Command{
		Use: "create NAME", Short: "make a token and print it, this once", Args: args(1, 1),
		Long: `Prints the token and nothing else on standard output. The gate keeps a hash of
it, so nobody can show it again; who has lost it revokes it and makes another.
Names are not used twice: the audit trail calls who held the token by its name.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			asked.Name = args[0]
			t, err := c.house().CreateToken(cmd.Context(), asked)
			if err != nil {
				return err
			}
			if c.json {
				return c.printJSON(t)
			}
			if _, err := fmt.Fprintln(c.out, t.Secret); err != nil {
				return err
			}
			until := "until " + moment(t.Expires)
			if t.DefaultLength {
				until += ", 90 days because no --expires was given"
			}
			c.note(fmt.Sprintf("this is the token %s, with the role %s, %s; it is not shown again", t.Name, t.Role, until))
			return nil
		},
	}
	cmd.Flags().StringVar((*string)(&asked.Role), "role", "", "viewer, operator or admin")
	cmd.Flags().StringVar(&asked.Expires, "expires", "", "how long it is good, such as 30d (default 90d, at most 366d)")
	c.completeFlag(cmd, "role", fixed(string(api.Viewer), string(api.Operator), string(api.Admin)))
	return cmd
}

func (c *cli) tokenList() *cobra.Command {
	var f api.TokenFilter
	cmd := &cobra.Command{
		Use: "list", Short: "list tokens, who made them and when they were used last", Args: args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			tokens, err := c.house().Tokens(cmd.Context(), f)
			if err != nil {
				return err
			}
			l := list{head: []string{"NAME", "ROLE", "STATE", "EXPIRES", "USED", "CREATED", "BY", "REVOKED"}}
			for _, t := range tokens {
				l.add(t.Name, string(t.Role), t.State, t.Expires, t.Used, t.Created, t.By, t.Revoked)
			}
			return c.list(tokens, l)
		},
	}
	cmd.Flags().BoolVar(&f.All, "all", false, "revoked ones too")
	return c.csvFlag(cmd)
}

func (c *cli) tokenRevoke() *cobra.Command {
	return &cobra.Command{
		Use: "revoke NAME", Short: "make a token useless at once, and for ever", Args: args(1, 1),
		ValidArgsFunction: c.complete(c.tokenNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			t, err := c.house().RevokeToken(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return c.say(t, nil, "the token %s is revoked", t.Name)
		},
	}
}

func (c *cli) tokenNames(ctx context.Context) ([]string, error) {
	tokens, err := c.house().Tokens(ctx, api.TokenFilter{})
	return each(tokens, func(t api.Token) string { return t.Name + "\t" + string(t.Role) }), err
}
