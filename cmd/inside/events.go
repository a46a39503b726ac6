package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pawelmojski/inside/appliance/api"
)

func (c *cli) eventsCommand() *cobra.Command {
	var f api.NewsFilter
	cmd := &cobra.Command{
		Use: "events", Short: "follow what happens on the gate, a line for each thing", Args: args(0, 0),
		Long: `Shows what happens from now on, until Ctrl-C: entries (allowed and denied),
sessions, stays, alerts, and changes of the facts. What happened before is in
inside entries, sessions, stays and audit.

With --json each line is one JSON object.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			news, err := c.house().News(ctx, f)
			if err != nil {
				return err
			}
			for n, err := range news {
				switch {
				case ctx.Err() != nil:
					return nil // Ctrl-C is the way out
				case err != nil:
					return err
				}
				if err := c.printNews(n); err != nil {
					return err
				}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&f.Kinds, "kinds", "", "only these: "+strings.Join(api.NewsKinds, ","))
	cmd.Flags().StringVar(&f.After, "after", "", "begin after the piece with this id, as --json prints it, where the gate still knows it")
	c.completeFlag(cmd, "kinds", fixed(api.NewsKinds...))
	return cmd
}

func (c *cli) printNews(n api.News) error {
	if c.json {
		line, err := json.Marshal(n)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(c.out, api.EscapeJSON(string(line)))
		return err
	}
	text, err := newsText(n)
	if err != nil {
		return fmt.Errorf("news of kind %s: %w", n.Kind, err)
	}
	_, err = fmt.Fprintf(c.out, "%s  %-7s  %s\n", clock(n.Time), api.Escape(n.Kind), api.Escape(text))
	return err
}

// newsText says a piece of news in words.
func newsText(n api.News) (string, error) {
	switch n.Kind {
	case api.NewsEntry:
		return said(n, entryText)
	case api.NewsSession:
		return said(n, sessionText)
	case api.NewsStay:
		return said(n, func(s api.StayNews) string {
			return fmt.Sprintf("%s of %s in %s by grant %s: %s", s.ID, s.Person, s.Where, s.Grant, because(s.State, s.Sentence))
		})
	case api.NewsAlert:
		return said(n, func(a api.Alert) string {
			if !a.End.IsZero() {
				return a.Kind + ": over: " + a.Text
			}
			return a.Kind + ": " + a.Text
		})
	case api.NewsFacts:
		return said(n, func(f api.Facts) string { return fmt.Sprintf("the gate acts on revision %d", f.Revision) })
	case api.NewsReset:
		return said(n, func(l api.Lost) string {
			if l.Lost == 0 {
				return "news were missed: look at everything again"
			}
			return fmt.Sprintf("%d news were missed: look at everything again", l.Lost)
		})
	}
	return string(n.Data), nil
}

// said decodes what is told of and says it.
func said[T any](n api.News, in func(T) string) (string, error) {
	var data T
	if err := json.Unmarshal(n.Data, &data); err != nil {
		return "", errors.New("it cannot be read: is this command as new as the gate?")
	}
	return in(data), nil
}

func because(what, why string) string {
	if why == "" {
		return what
	}
	return what + ": " + why
}

func entryText(e api.Entry) string {
	who := fmt.Sprintf("%s to %s", firstOf(e.Person, "nobody known"), firstOf(e.Server, e.Dest))
	if e.Login != "" {
		who += " as " + e.Login
	}
	who += " by " + firstOf(e.Protocol, "?") + " from " + from(e.Client, e.Account, e.Node)
	if e.Allowed {
		return "allowed " + who + ", session " + short(e.Session)
	}
	return because("denied "+who+": "+e.Denial, firstOf(e.Sentence, e.Detail))
}

func sessionText(s api.Session) string {
	what := "runs"
	if !s.End.IsZero() {
		what = because("ended", firstOf(s.Sentence, s.Cause))
	}
	return fmt.Sprintf("%s of %s on %s as %s by grant %s: %s", short(s.ID), s.Person, s.Server, s.Login, s.Grant, what)
}
