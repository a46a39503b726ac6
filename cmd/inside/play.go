package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/pawelmojski/inside/appliance/api"
	"github.com/pawelmojski/inside/proxy/recording"
)

func (c *cli) playCommand() *cobra.Command {
	speed, idle := 1.0, 2*time.Second
	cmd := &cobra.Command{
		Use: "play ID [CHANNEL]", Short: "replay what was recorded of a terminal", Args: args(1, 2),
		Long: `Replays a recorded terminal in this one. What could do more than draw (set the
clipboard or the title, make the terminal answer) is left out.`,
		ValidArgsFunction: c.complete(c.sessionIDs(true)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !(speed >= 0) {
				return &usage{cmd, fmt.Errorf("--speed %v: give a number such as 2, or 0 for no pauses at all", speed)}
			}
			return c.replay(cmd, args, false, speed, idle)
		},
	}
	cmd.Flags().Float64Var(&speed, "speed", speed, "so many times as fast; 0 makes no pauses")
	cmd.Flags().DurationVar(&idle, "idle", idle, "make no pause longer than this; 0 leaves them as they were")
	return cmd
}

func (c *cli) watchCommand() *cobra.Command {
	picture := ""
	cmd := &cobra.Command{
		Use: "watch ID [CHANNEL]", Short: "follow a live terminal, from its beginning, or a desktop", Args: args(1, 2),
		Long: `Shows what a terminal of a live session has shown so far and goes on with it
until the session ends or Ctrl-C. Nothing that is typed here reaches it.

With --picture the session is a desktop, and FILE.png is kept as it is now; a
viewer that looks again when a file changes shows it live.`,
		ValidArgsFunction: c.complete(c.sessionIDs(false)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if picture != "" {
				return c.watchDesktop(cmd.Context(), args[0], picture)
			}
			return c.replay(cmd, args, true, 0, 0)
		},
	}
	cmd.Flags().StringVar(&picture, "picture", "", "keep the picture of a desktop in this file")
	return cmd
}

func (c *cli) replay(cmd *cobra.Command, args []string, follow bool, speed float64, idle time.Duration) error {
	ctx := cmd.Context()
	s, err := c.house().Session(ctx, args[0])
	if err != nil {
		return err
	}
	channel, err := c.channel(cmd, s, args[1:])
	if err != nil {
		return err
	}
	body, err := c.house().Recording(ctx, s.ID, channel, api.Following{Follow: follow})
	if err != nil {
		return err
	}
	defer body.Close()
	if c.json { // the recording itself
		_, err := io.Copy(c.out, body)
		return err
	}
	switch {
	case follow && !s.Live:
		c.note("the session is over: this is what was recorded")
	case s.Live && !follow:
		c.note("the session still runs: this is what was recorded so far")
	}
	err = c.show(ctx, body, speed, idle)
	if errors.Is(err, recording.ErrTorn) {
		if !s.Live {
			c.note("the recording breaks off: its gate stopped without warning")
		}
		return nil
	}
	return err
}

// channel chooses the terminal that is meant, or the first there is.
func (c *cli) channel(cmd *cobra.Command, s api.Session, typed []string) (int, error) {
	if len(typed) > 0 {
		n, err := strconv.Atoi(typed[0])
		if err != nil || n < 0 {
			return 0, &usage{cmd, fmt.Errorf("channel %q: channels are numbers from 0", typed[0])}
		}
		return n, nil
	}
	recordings, err := c.house().Recordings(cmd.Context(), s.ID)
	if err != nil {
		return 0, err
	}
	if slices.ContainsFunc(recordings, func(r api.Recording) bool { return r.Desktop }) {
		return 0, desktopProblem(s)
	}
	if len(recordings) == 0 {
		return 0, api.NewProblem(api.CodeNotFound, fmt.Sprintf("session %s has no terminal", short(s.ID)),
			"inside session show "+short(s.ID)+" tells what was done")
	}
	if len(recordings) > 1 {
		c.note(fmt.Sprintf("this is channel %d of %d: inside session show %s lists them", recordings[0].Channel, len(recordings), short(s.ID)))
	}
	return recordings[0].Channel, nil
}

// show plays a recording on the terminal and leaves that as it was found,
// however it ends. Ctrl-C is a way out and no error.
func (c *cli) show(ctx context.Context, body io.Reader, speed float64, idle time.Duration) error {
	h, frames, err := recording.Read(body)
	if err != nil {
		return err
	}
	if out, ok := c.out.(*os.File); ok && term.IsTerminal(int(out.Fd())) {
		defer io.WriteString(out, recording.Reset+"\r\n")
		if w, l, err := term.GetSize(int(out.Fd())); err == nil && (w < h.Width || l < h.Height) {
			c.note(fmt.Sprintf("the recorded terminal has %d columns and %d lines, this one %d and %d", h.Width, h.Height, w, l))
		}
	}
	err = recording.Play(ctx, recording.NewFilter(c.out), frames, speed, idle)
	if ctx.Err() != nil {
		return nil
	}
	return err
}
