package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pawelmojski/inside/appliance/api"
)

func (c *cli) statusCommand() *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "the gate on one screen; exit code 1 where something does not work", Args: args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := c.house().Status(cmd.Context())
			if err != nil {
				return err
			}
			if err := c.printStatus(s, time.Now()); err != nil || s.Well() {
				return err
			}
			return &saidNo{code: exitError}
		},
	}
}

// A screen is 80 columns and 24 lines; statusMost is how many of a list stand
// on it, widest how long a line behind its name may be.
const (
	statusMost = 5
	widest     = 80 - len("recordings  ")
)

func (c *cli) printStatus(s api.Status, now time.Time) error {
	if c.json {
		return c.printJSON(s)
	}
	var f fields
	line := func(name, format string, args ...any) {
		f.add(name, cut(fmt.Sprintf(format, args...), widest))
	}
	line("gate", "%s, version %s, up %s", s.Gate, s.Version, length(now.Sub(s.Started)))
	line("rules", "%s", part(s.Rules))
	line("doors", "%s", part(s.Doors))
	line("database", "%s", part(s.Database))
	line("recordings", "%s", part(s.Recorder))
	line("disk", "%s free for recordings, %.1f%% used", size(s.Free), 100*(1-s.Share))
	if s.Database.OK {
		line("inside", "%s, %s, %s", count(s.Inside, "person"), count(s.Stays, "stay"), count(s.Sessions, "session"))
		line("last hour", "%d entered, %d denied", s.LastHour.Allowed, s.LastHour.Denied)
	} else {
		line("inside", "%s at this gate", count(s.Sessions, "session"))
	}
	if d := s.Draining; d != nil {
		line("draining", "%s in the version before the upgrade, until %s", count(d.Sessions, "session"), d.Until.Local().Format("2006-01-02 15:04"))
	}
	line("knows", "%s, %s, %s in force", count(s.Persons, "person"), count(s.Servers, "server"), count(s.Grants, "grant"))
	if len(s.Maintained) > 0 {
		line("maintained", "%s", strings.Join(s.Maintained, ", "))
	}
	for i, n := range s.Open[:min(len(s.Open), statusMost)] {
		line(first(i, "NOT CLOSED"), "%s: %s", n.Prefix, map[string]string{
			api.ModeObserve: "only observed, everybody passes unrecorded", api.ModeWarn: "recorded, but nobody is denied",
		}[n.Mode])
	}
	if more := len(s.Open) - statusMost; more > 0 {
		line(" ", "and %d more networks: inside doctor", more)
	}
	alerts := slices.DeleteFunc(slices.Clone(s.Alerts), func(a api.Alert) bool { return a.Kind == api.AlertGrantEnding })
	for i, a := range alerts[:min(len(alerts), statusMost)] {
		line(first(i, "alerts"), "%s  %s  %s: %s", a.Begin.Local().Format("15:04"), a.Kind, a.Object, a.Text)
	}
	if more := len(alerts) - statusMost; more > 0 {
		line(" ", "and %d more: inside alerts", more)
	}
	for i, e := range s.Ending[:min(len(s.Ending), statusMost)] {
		line(first(i, "ending"), "%s  grant %s, %s on %s, in %s", e.End.Local().Format("15:04"), e.Grant, e.Who, e.Where, length(e.End.Sub(now)))
	}
	if more := len(s.Ending) - statusMost; more > 0 {
		line(" ", "and %d more grants within the hour: inside grant list --active", more)
	}
	return f.print(c.out)
}

// first names the first line of a list only.
func first(i int, name string) string {
	if i == 0 {
		return name
	}
	return " "
}

func part(p api.Part) string {
	switch {
	case !p.OK:
		return "DOES NOT WORK: " + p.Detail
	case p.Detail != "":
		return "ok, " + p.Detail
	}
	return "ok"
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// length is a duration in its largest unit that says enough.
func length(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return count(int(d/(24*time.Hour)), "day")
	case d >= 2*time.Hour:
		return count(int(d/time.Hour), "hour")
	case d >= time.Minute:
		return count(int(d/time.Minute), "minute")
	}
	return count(int(max(d, 0)/time.Second), "second")
}

// cut makes a line fit, by runes: what is wider than one column each is rare
// here.
func cut(s string, most int) string {
	if runes := []rune(api.Escape(s)); len(runes) > most {
		return string(runes[:most-1]) + "…"
	}
	return s
}
