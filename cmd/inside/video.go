package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/term"

	"github.com/pawelmojski/inside/appliance/api"
)

// videoLook is how often a video that is being made is asked about.
const videoLook = 500 * time.Millisecond

// exportVideo waits for the video of a session and writes it.
func (c *cli) exportVideo(ctx context.Context, w io.Writer, session string, anew bool) error {
	v, err := c.house().AskVideo(ctx, session, api.NewVideo{Anew: anew})
	if err != nil {
		return err
	}
	if v, err = c.awaitVideo(ctx, v); err != nil {
		return err
	}
	if v.State == "failed" {
		return api.NewProblem(api.CodeInternal, fmt.Sprintf("no video of session %s after %d attempts: %s", short(session), v.Attempts, v.Detail),
			"the recording is as it was; asking again tries again")
	}
	if v.Detail != "" {
		c.note(v.Detail)
	}
	body, err := c.house().VideoFile(ctx, session)
	if err != nil {
		return err
	}
	defer body.Close()
	if _, err := io.Copy(w, body); err != nil {
		return fmt.Errorf("video of session %s: %w", short(session), err)
	}
	return nil
}

// awaitVideo waits until a video is done or has failed, and tells people how
// far it is.
func (c *cli) awaitVideo(ctx context.Context, v api.Video) (api.Video, error) {
	file, isFile := c.err.(*os.File)
	shown := isFile && !c.json && term.IsTerminal(int(file.Fd()))
	last := ""
	for v.State == "queued" || v.State == "running" {
		said := "waiting for other videos, or for room on the disk"
		if v.State == "running" {
			said = fmt.Sprintf("making the video: %d %%", int(v.Progress*100))
		}
		if shown && said != last {
			fmt.Fprintf(c.err, "\r\x1b[K%s", said)
			last = said
		}
		select {
		case <-ctx.Done():
			if shown {
				fmt.Fprintln(c.err)
			}
			c.note("the gate goes on making it: the same command fetches it")
			return v, context.Cause(ctx)
		case <-time.After(videoLook):
		}
		var err error
		if v, err = c.house().Video(ctx, v.Session); err != nil {
			return v, err
		}
	}
	if last != "" {
		fmt.Fprint(c.err, "\r\x1b[K")
	}
	return v, nil
}
