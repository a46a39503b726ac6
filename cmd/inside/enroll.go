package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/pawelmojski/inside/appliance/api"
)

func (c *cli) credentialEnroll() *cobra.Command {
	return &cobra.Command{
		Use:   "enroll SERVER on|off",
		Short: "let the gate add keys of its own to people's accounts on a server",
		Long: `Once a person has logged in to an account of the server with a forwarded agent
or a password, the gate adds a key of its own for this person to the account's
authorized_keys, usable from the gateway only, and says so once. From then on a
key the gate knows (the one the agent signed with, or inside person key add) is
enough there, without a password or an agent.

Do not allow it where accounts have forced commands: the gate would have them
run once. inside credential unenroll takes a key out again; off adds no more.`,
		Args: args(2, 2), ValidArgsFunction: c.complete(c.serverNames, fixed("on", "off")),
		RunE: func(cmd *cobra.Command, args []string) error {
			if args[1] != "on" && args[1] != "off" {
				return &usage{cmd, fmt.Errorf("%q is neither on nor off", args[1])}
			}
			l, err := c.house().SetEnrolling(cmd.Context(), args[0], api.Allowance{Allowed: args[1] == "on"})
			if err != nil {
				return err
			}
			if l.Enrolling {
				return c.say(l, nil, "the gate may add its keys to accounts of %s", l.Server)
			}
			return c.say(l, []string{"accounts that are enrolled stay so: inside credential enrolled"}, "the gate adds its keys to no account of %s any more", l.Server)
		},
	}
}

func (c *cli) credentialEnrolled() *cobra.Command {
	return c.csvFlag(&cobra.Command{
		Use: "enrolled [PERSON]", Short: "list the accounts the gate has added its keys to, or has tried to", Args: args(0, 1),
		ValidArgsFunction: c.complete(c.personNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			var f api.CredentialFilter
			if len(args) > 0 {
				f.Person = args[0]
			}
			enrolments, err := c.house().Enrolments(cmd.Context(), f)
			if err != nil {
				return err
			}
			return c.list(enrolments, enrolmentList(enrolments))
		},
	})
}

func enrolmentList(enrolments []api.Enrolment) list {
	l := list{head: []string{"PERSON", "LOGIN", "SERVER", "ADDRESS", "STATE", "SINCE", "DETAIL"}, wide: true}
	for _, e := range enrolments {
		l.add(e.Person, e.Login, e.Server, e.Address, e.State, e.Since, e.Detail)
	}
	return l
}

func (c *cli) credentialUnenroll() *cobra.Command {
	var u api.Unenrolment
	cmd := &cobra.Command{
		Use:   "unenroll PERSON SERVER",
		Short: "have the gate take its key out of a person's accounts on a server, now",
		Long: `The gate logs in to the account with its own key and takes its lines out of
authorized_keys. It does not enrol this account again. A server that does not
answer stays enrolled: try again, or take the line that ends in inside:PERSON
out by hand and say --forget, after which the account may be enrolled again.`,
		Args: args(2, 2), ValidArgsFunction: c.complete(c.personNames, c.serverNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			u.Person, u.Server = args[0], args[1]
			enrolments, err := c.house().Unenroll(cmd.Context(), u)
			if err != nil {
				return err
			}
			if err := c.list(enrolments, enrolmentList(enrolments)); err != nil {
				return err
			}
			for _, e := range enrolments {
				if e.State != "ended" && e.State != "forgotten" {
					return &saidNo{exitError, "when the server answers: inside credential unenroll " + e.Person + " " + e.Server}
				}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&u.Login, "login", "", "only this account")
	cmd.Flags().BoolVar(&u.Forget, "forget", false, "do not go there; the account may be enrolled again")
	return cmd
}
