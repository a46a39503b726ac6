package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pawelmojski/inside/appliance/api"
)

func (c *cli) serverMaintenance() *cobra.Command {
	var m api.NewMaintenance
	var at, until string
	cmd := &cobra.Command{
		Use: "maintenance NAME", Short: "let nobody new in, and end the sessions there at a set time", Args: args(1, 1),
		Long: `Lets nobody new enter the server from now on. Who is inside is warned and has
until --at, or for --in, to finish; without either that is 15 minutes. It ends
by itself at --until, or else by --off. Persons named with --exempt come and go
as their grants let them. Given again, it changes the maintenance that is on.`,
		Example: `  inside server maintenance prod-db-01 --in 30m --reason "new disks" --exempt alice
  inside server maintenance prod-db-01 --at 18:00 --until 22:00
  inside server maintenance prod-db-01 --off`,
		ValidArgsFunction: c.complete(c.serverNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			now := time.Now()
			if m.At, err = parseWhen("--at", at, time.Local, now); err == nil {
				m.Until, err = parseWhen("--until", until, time.Local, now)
			}
			if err != nil {
				return &usage{cmd, err}
			}
			s, err := c.house().Server(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			m.Version = s.Version
			if s, err = c.house().Maintain(cmd.Context(), s.Name, m); err != nil {
				return err
			}
			if s.Maintenance == nil {
				return c.say(s, nil, "server %s is no longer under maintenance", s.Name)
			}
			return c.say(s, nil, "%s", maintained(s.Name, s.Maintenance, m.In == "" && m.At.IsZero()))
		},
	}
	cmd.Flags().StringVar(&m.In, "in", "", "end the sessions so much later: 30m; 0s at once (default 15m)")
	cmd.Flags().StringVar(&at, "at", "", `end the sessions then: 18:00 today, "2026-12-24 18:00"`)
	cmd.Flags().StringVar(&until, "until", "", "let people in again then (default when --off says so)")
	cmd.Flags().StringSliceVar(&m.Exempt, "exempt", nil, "a person it does not concern; may be repeated")
	cmd.Flags().StringVar(&m.Reason, "reason", "", "why, for those who read it later")
	cmd.Flags().BoolVar(&m.Off, "off", false, "end the maintenance")
	c.completeFlag(cmd, "exempt", c.personNames)
	return cmd
}

// maintained says what is so now on a server under maintenance.
func maintained(server string, m *api.Maintenance, usual bool) string {
	var b strings.Builder
	nobody := "nobody"
	if len(m.Exempt) > 0 {
		nobody = "nobody but " + strings.Join(m.Exempt, " and ")
	}
	fmt.Fprintf(&b, "server %s is under maintenance: %s enters; sessions end at %s", server, nobody, moment(m.Clear))
	if usual {
		b.WriteString(" (15 minutes, as no time was given)")
	}
	if !m.Until.IsZero() {
		fmt.Fprintf(&b, "; over at %s", moment(m.Until))
	}
	return b.String()
}

// serverState is one word about a server.
func serverState(s api.Server) string {
	if m := s.Maintenance; !s.Disabled && m != nil && m.State != "over" {
		return "maintenance"
	}
	return state(s.Disabled)
}
