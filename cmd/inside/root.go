package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/pawelmojski/inside/appliance/api"
)

const usualSocket = "/run/inside/inside.sock"

// nearEnough is by how many letters a misspelt command may differ from the one
// that is suggested.
const nearEnough = 2

// A cli is one run of the command.
type cli struct {
	out, err io.Writer

	socket     string
	socketFlag *pflag.Flag
	json       bool
	csv        bool
	running    bool // the command line was understood; errors are no longer of usage
}

func (c *cli) run(ctx context.Context, args []string) int {
	root := c.root()
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	if err != nil && !c.running {
		err = asUsage(cmd, err)
	}
	return c.report(err)
}

func (c *cli) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "inside",
		Short: "who may be inside, when and for how long",
		Long: `Inside is a gateway that decides who may be inside your infrastructure, when
and for how long. This command is for its admins: root, and members of the
group inside. With a token it works elsewhere too: INSIDE_URL says where the
gate is, INSIDE_TOKEN_FILE where the token is.

  inside person add "John Doe" --ip 100.64.0.20
  inside server add prod-db-01 --ip 10.30.0.140
  inside grant john.doe --server prod-db-01 --duration 8h
  inside stays`,
		Version:           version(),
		SilenceErrors:     true,
		SilenceUsage:      true,
		PersistentPreRunE: c.begin,

		SuggestionsMinimumDistance: nearEnough,
		Args:                       noSuchCommand,
		RunE:                       func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetOut(c.out)
	root.SetErr(c.err)
	root.SetUsageTemplate(root.UsageTemplate() + exitCodes)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return err })
	flags := root.PersistentFlags()
	flags.StringVar(&c.socket, "socket", firstOf(os.Getenv("INSIDE_SOCKET"), usualSocket), "the daemon's socket; also INSIDE_SOCKET")
	c.socketFlag = flags.Lookup("socket")
	flags.BoolVar(&c.json, "json", false, "print JSON")
	root.AddCommand(
		c.personCommand(), c.serverCommand(), c.groupCommand(api.ServerGroup), c.groupCommand(api.PersonGroup),
		c.grantCommand(), c.templateCommand(), c.staysCommand(), c.stayCommand(), c.sessionsCommand(), c.sessionCommand(),
		c.adminCommand(), c.tokenCommand(), c.eventsCommand(),
		c.entriesCommand(), c.searchCommand(), c.exportCommand(), c.explainCommand(), c.watchCommand(), c.playCommand(), c.statusCommand(), c.observeCommand(),
		c.credentialCommand(), c.caCommand(),
		c.alertsCommand(), c.doctorCommand(),
		c.auditCommand(),
		c.doctorCommand(), c.setupCommand(), c.reloadCommand(), c.upgradeCommand(), c.bugreportCommand(),
		c.backupCommand(), c.restoreCommand(),
		c.generateCommand(),
	)
	root.SetHelpCommand(helpCommand())
	root.InitDefaultCompletionCmd()
	if completion, _, err := root.Find([]string{"completion"}); err == nil {
		completion.Short = "print what completes commands and names in your shell"
	}
	return root
}

// helpCommand is cobra's, but for its answer to what there is no help for.
func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use: "help [COMMAND]", Short: "help about any command",
		RunE: func(cmd *cobra.Command, args []string) error {
			about, rest, _ := cmd.Root().Find(args)
			if len(rest) > 0 {
				return asUsage(about, noSuchCommand(about, rest))
			}
			return about.Help()
		},
	}
}

func (c *cli) begin(*cobra.Command, []string) error {
	if c.json && c.csv {
		return errors.New("--json and --csv exclude each other")
	}
	c.running = true
	return nil
}

// noun is a command that only holds others.
func noun(use, short string, commands ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Args: noSuchCommand, SuggestionsMinimumDistance: nearEnough, RunE: func(cmd *cobra.Command, _ []string) error {
		var names []string
		for _, sub := range commands {
			names = append(names, sub.Name())
		}
		return &usage{cmd, fmt.Errorf("%s: what? %s", cmd.CommandPath(), strings.Join(names, ", "))}
	}}
	cmd.AddCommand(commands...)
	return cmd
}

func noSuchCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		return fmt.Errorf("unknown command %q for %s: did you mean %s?", args[0], cmd.CommandPath(), near[0])
	}
	return fmt.Errorf("unknown command %q for %s", args[0], cmd.CommandPath())
}

// args checks how many arguments there are, by the words of the usage line.
func args(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		_, words, _ := strings.Cut(cmd.Use, " ")
		switch {
		case len(args) < least:
			return fmt.Errorf("%s needs %s", cmd.CommandPath(), words)
		case len(args) > most && most == 0:
			return fmt.Errorf("%s takes no arguments, not %q", cmd.CommandPath(), args[0])
		case len(args) > most:
			return fmt.Errorf("%s takes %s and nothing more, not %q", cmd.CommandPath(), words, args[most])
		}
		return nil
	}
}

// csvFlag gives a list the choice of CSV.
func (c *cli) csvFlag(cmd *cobra.Command) *cobra.Command {
	cmd.Flags().BoolVar(&c.csv, "csv", false, "print CSV, times in UTC")
	return cmd
}

func firstOf(texts ...string) string {
	for _, s := range texts {
		if s != "" {
			return s
		}
	}
	return ""
}

func version() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		return info.Main.Version
	}
	return "unknown"
}
