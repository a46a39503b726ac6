package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pawelmojski/inside/appliance/api"
)

// completionTime is how long a person at a prompt waits for names.
const completionTime = 2 * time.Second

// names asks the daemon for the names of one noun.
type names func(ctx context.Context) ([]string, error)

// complete completes the arguments of a command, each by its own names. A
// daemon that is not there completes nothing: the prompt is not the place for
// errors.
func (c *cli) complete(of ...names) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) >= len(of) {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(contextOf(cmd)), completionTime)
		defer cancel()
		all, _ := of[len(args)](ctx)
		var fit []cobra.Completion
		for _, name := range all {
			if strings.HasPrefix(name, typed) {
				fit = append(fit, name)
			}
		}
		return fit, cobra.ShellCompDirectiveNoFileComp
	}
}

func contextOf(cmd *cobra.Command) context.Context {
	if ctx := cmd.Context(); ctx != nil {
		return ctx
	}
	return context.Background()
}

// completeFlag completes the value of a flag.
func (c *cli) completeFlag(cmd *cobra.Command, flag string, of names) {
	err := cmd.RegisterFlagCompletionFunc(flag, func(cmd *cobra.Command, _ []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
		return c.complete(of)(cmd, nil, typed)
	})
	if err != nil {
		panic(fmt.Sprintf("%s --%s: %v", cmd.CommandPath(), flag, err))
	}
}

func anyOf(several ...names) names {
	return func(ctx context.Context) (all []string, err error) {
		for _, of := range several {
			some, err := of(ctx)
			if err != nil {
				return all, err
			}
			all = append(all, some...)
		}
		return all, nil
	}
}

func fixed(words ...string) names {
	return func(context.Context) ([]string, error) { return words, nil }
}

func (c *cli) personNames(ctx context.Context) ([]string, error) {
	persons, err := c.house().Persons(ctx)
	return each(persons, func(p api.Person) string { return p.Name }), err
}

func (c *cli) serverNames(ctx context.Context) ([]string, error) {
	servers, err := c.house().Servers(ctx)
	return each(servers, func(s api.Server) string { return s.Name }), err
}

func (c *cli) groupNames(k api.Kind) names {
	return func(ctx context.Context) ([]string, error) {
		groups, err := c.house().Groups(ctx, k)
		return each(groups, func(g api.Group) string { return g.Name }), err
	}
}

func (c *cli) grantIDs(ctx context.Context) ([]string, error) {
	grants, err := c.house().Grants(ctx, api.GrantFilter{Active: true})
	return each(grants, func(g api.Grant) string { return g.ID + "\t" + g.Who() + " to " + g.Where() }), err
}

func (c *cli) stayIDs(ctx context.Context) ([]string, error) {
	stays, err := c.house().Stays(ctx, api.StayFilter{})
	return each(stays, func(s api.Stay) string { return s.ID + "\t" + s.Person + " in " + s.Where }), err
}

func (c *cli) sessionIDs(all bool) names {
	return func(ctx context.Context) ([]string, error) {
		sessions, err := c.house().Sessions(ctx, api.SessionFilter{All: all})
		return each(sessions, func(s api.Session) string { return short(s.ID) + "\t" + s.Person + " on " + s.Server }), err
	}
}

func each[T any](all []T, text func(T) string) []string {
	texts := make([]string, len(all))
	for i, one := range all {
		texts[i] = text(one)
	}
	return texts
}
