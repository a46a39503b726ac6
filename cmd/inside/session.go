package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pawelmojski/inside/appliance/api"
)

func (c *cli) sessionsCommand() *cobra.Command {
	var f api.SessionFilter
	var live bool
	cmd := &cobra.Command{
		Use: "sessions", Short: "connections, the newest first", Args: args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			f.All = !live
			if c.csv {
				return printPages(c, api.EverySession(cmd.Context(), c.house(), f))
			}
			sessions, err := c.house().Sessions(cmd.Context(), f)
			if err != nil {
				return err
			}
			if err := c.list(sessions, sessionTable(sessions)); err != nil {
				return err
			}
			c.cut(len(sessions), f.Limit, func() string { return sessions[len(sessions)-1].ID })
			return nil
		},
	}
	cmd.Flags().BoolVar(&live, "live", false, "only those that run")
	cmd.Flags().StringVar(&f.Stay, "stay", "", "only those of this stay")
	cmd.Flags().StringVar(&f.After, "after", "", "older ones than this session, its whole id")
	cmd.Flags().IntVar(&f.Limit, "limit", 0, "the newest so many (default 100; with --csv all)")
	c.completeFlag(cmd, "stay", c.stayIDs)
	return c.csvFlag(cmd)
}

func sessionTable(sessions []api.Session) list {
	l := list{head: []string{"ID", "STATE", "PERSON", "SERVER", "AS", "BY", "FROM", "START", "END", "WHY", "STAY"}}
	for _, s := range sessions {
		l.add(sessionID(s.ID), sessionState(s), whole(s.Person), s.Server, s.Login, s.Protocol, whole(from(s.Client, s.Account, s.Node)), s.Start, s.End, s.Cause, s.Stay)
	}
	return l
}

// A sessionID is long: tables show its beginning, and every command takes that.
type sessionID string

func short(id string) string { return id[:min(len(id), 8)] }

func sessionState(s api.Session) string {
	switch {
	case s.Live:
		return "live"
	case s.End.IsZero():
		return "open" // on another gate, or its end is not written down yet
	}
	return "ended"
}

func (c *cli) sessionCommand() *cobra.Command {
	return noun("session", "one connection", c.sessionShow(), c.sessionKill())
}

func (c *cli) sessionKill() *cobra.Command {
	return &cobra.Command{
		Use: "kill ID", Short: "end a session at once; the person may connect again", Args: args(1, 1),
		ValidArgsFunction: c.complete(c.sessionIDs(false)),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := c.house().KillSession(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return c.say(s, []string{"the stay goes on: inside stay end " + s.Stay + ", inside grant revoke " + s.Grant},
				"session %s of %s on %s ended", short(s.ID), s.Person, s.Server)
		},
	}
}

// shownSession is a session with all that was recorded of it.
type shownSession struct {
	api.Session
	Recordings []api.Recording `json:"recordings"`
	Events     []api.Event     `json:"events"`
}

func (c *cli) sessionShow() *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use: "show ID", Short: "show a session, its commands, files and recordings", Args: args(1, 1),
		ValidArgsFunction: c.complete(c.sessionIDs(true)),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := c.house().Session(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			shown := shownSession{Session: s, Recordings: []api.Recording{}, Events: []api.Event{}}
			left, err := c.addRecords(cmd.Context(), &shown, limit)
			if err != nil {
				return err
			}
			if c.json {
				return c.printJSON(shown)
			}
			return c.printSession(shown, left)
		},
	}
	cmd.Flags().IntVar(&limit, "limit", 1000, "the newest so many events")
	return cmd
}

// addRecords fetches what was recorded and says how many older events were
// left out. A session whose records are gone is shown without them.
func (c *cli) addRecords(ctx context.Context, s *shownSession, limit int) (left int, err error) {
	if limit < 1 {
		return 0, errors.New("--limit must be at least 1")
	}
	var p *api.Problem
	recordings, err := c.house().Recordings(ctx, s.ID)
	if errors.As(err, &p) && p.Code == api.CodeNotFound {
		c.note(p.Detail)
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	s.Recordings = recordings
	events, err := c.house().Events(ctx, s.ID)
	if errors.As(err, &p) && p.Code == api.CodeNotFound {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer events.Close()
	s.Events, left, err = lastEvents(events, limit)
	return left, err
}

// longestEvent is longer than any line of an event log.
const longestEvent = 1 << 20

// lastEvents reads an event log and keeps the newest. A line that is no event,
// as a crash may leave one, is not an error.
func lastEvents(r io.Reader, limit int) (events []api.Event, left int, err error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, longestEvent)
	events = []api.Event{}
	for lines.Scan() {
		var e api.Event
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			continue
		}
		if len(events) == 2*limit {
			events = append(events[:0], events[limit:]...)
			left += limit
		}
		events = append(events, e)
	}
	if over := len(events) - limit; over > 0 {
		events, left = events[over:], left+over
	}
	return events, left, lines.Err()
}

func (c *cli) printSession(s shownSession, left int) error {
	var f fields
	f.add("session", s.ID)
	f.add("state", sessionState(s.Session))
	f.add("person", s.Person)
	f.add("server", s.Server)
	f.add("as", s.Login)
	f.add("by", s.Protocol)
	f.add("from", from(s.Client, s.Account, s.Node))
	f.add("to", s.Dest)
	f.add("grant", s.Grant)
	f.add("stay", s.Stay)
	f.add("gate", s.Gate)
	f.add("start", s.Start)
	f.add("end", s.End)
	f.add("ends", s.Until)
	f.add("why", s.Cause)
	for _, m := range s.Moved {
		f.add("moved", fmt.Sprintf("at %s from grant %s, stay %s", moment(m.Time), m.Grant, m.Stay))
	}
	if s.Live || s.In+s.Out > 0 {
		f.add("traffic", fmt.Sprintf("%s to the server, %s from it", size(s.In), size(s.Out)))
	}
	f.add("with", with(api.Carried{Forwarding: s.Forwarding, Files: s.Files}))
	f.add("removed", s.Removed)
	for _, r := range s.Recordings {
		if r.Desktop {
			f.add("recording", fmt.Sprintf("desktop, %s: inside export %s --mp4", size(r.Size), short(s.ID)))
			continue
		}
		f.add("recording", fmt.Sprintf("channel %d, %s: inside play %s %d", r.Channel, size(r.Size), short(s.ID), r.Channel))
	}
	if err := f.print(c.out); err != nil || len(s.Events) == 0 {
		return err
	}
	if left > 0 {
		c.note(fmt.Sprintf("%d older events left out: --limit", left))
	}
	l := list{head: []string{"TIME", "CHANNEL", "WHAT", "DETAIL"}, wide: true}
	for _, e := range s.Events {
		l.add(e.Time, e.Channel, e.Kind, eventText(e))
	}
	fmt.Fprintln(c.out)
	return l.table(c.out)
}

// eventText says an event in words.
func eventText(e api.Event) string {
	var words []string
	add := func(format string, values ...any) { words = append(words, fmt.Sprintf(format, values...)) }
	if e.Op != "" {
		add("%s", e.Op)
	}
	if e.Command != "" {
		add("%s", e.Command)
	}
	if e.Path != "" {
		add("%s", e.Path)
	}
	if e.To != "" {
		add("→ %s", e.To)
	}
	if e.Exit != nil {
		add("exit %d", *e.Exit)
	}
	if e.Signal != "" {
		add("signal %s", e.Signal)
	}
	if e.In > 0 {
		add("%s in", size(e.In))
	}
	if e.Out > 0 {
		add("%s out", size(e.Out))
	}
	if e.SHA256 != "" {
		add("sha256 %s", e.SHA256)
	}
	if e.Detail != "" {
		add("%s", e.Detail)
	}
	return strings.Join(words, " ")
}

// size is a number of bytes for people.
func size(n int64) string {
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	unit, value := 0, float64(n)
	for value >= 1024 && unit < 4 {
		value /= 1024
		unit++
	}
	return fmt.Sprintf("%.1f %ciB", value, " KMGT"[unit])
}
