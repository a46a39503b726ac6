package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pawelmojski/inside/appliance/api"
)

// observeCommand is `inside observe`.
func (c *cli) observeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "observe", Short: "who talks to which server in networks that are only observed", Args: noSuchCommand,
		Long: `Lists what was learned of the networks named in observe of inside.toml: people
reach them as if there were no gate, and it only looks at how conversations
begin. See also inside observe report.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			seen, err := c.house().Acquaintances(cmd.Context())
			if err != nil {
				return err
			}
			l := list{head: []string{"LAST", "TIMES", "FROM", "PERSON", "TO", "SERVER", "BY", "LOGIN", "CLIENT", "SERVES", "KEYS"}}
			for _, a := range seen {
				l.add(a.Last, a.Times, a.From, a.Person, a.To, a.Server, a.Protocol, a.Login, a.Client, a.Serves, a.Keys)
			}
			return c.list(seen, l)
		},
	}
	cmd.AddCommand(c.observeReport())
	return c.csvFlag(cmd)
}

func (c *cli) observeReport() *cobra.Command {
	return &cobra.Command{
		Use: "report", Short: "propose the servers, pins, persons and grants that observed networks need", Args: args(0, 0),
		Long: `Prints the commands that would let people go on as they do when the networks are
protected, as a script to read, to change and to run:

  inside observe report > draft.sh

Names that begin with person- and server- are to be changed. What is in
comments only a human can settle.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := c.house().Proposals(cmd.Context())
			if err != nil {
				return err
			}
			if c.json {
				return c.printJSON(p)
			}
			c.printProposals(p)
			return nil
		},
	}
}

func (c *cli) printProposals(p api.Proposals) {
	comment := func(text string) { fmt.Fprintf(c.out, "# %s\n", api.Escape(text)) }
	for _, n := range p.Networks {
		comment(n.Mode + " " + n.Prefix)
	}
	if p.Trouble != "" {
		comment("NOTHING IS LEARNED NOW: " + p.Trouble)
	}
	for _, note := range p.Notes {
		comment("NOTE: " + note)
	}
	for _, proposal := range p.Commands {
		fmt.Fprintln(c.out)
		comment(proposal.Why)
		words := make([]string, len(proposal.Command))
		for i, word := range proposal.Command {
			words[i] = shellWord(word)
		}
		line := strings.Join(words, " ")
		if proposal.Input != "" {
			var lines []string
			for text := range strings.Lines(proposal.Input) {
				lines = append(lines, shellWord(strings.TrimSuffix(text, "\n")))
			}
			line = "printf '%s\\n' " + strings.Join(lines, " ") + " | " + line
		}
		fmt.Fprintln(c.out, line)
	}
	if len(p.Commands) == 0 {
		comment("nothing to propose")
	}
}

// shellWord quotes a word for a POSIX shell.
func shellWord(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._/:@=+,-", r)
	}
	if s != "" && !strings.ContainsFunc(s, func(r rune) bool { return !plain(r) }) {
		return s
	}
	return "'" + strings.ReplaceAll(api.Escape(s), "'", `'\''`) + "'"
}
