package main

import (
	"context"
	"errors"
	"fmt"
	"image"
	"image/png"
	"os"
	"path/filepath"

	"github.com/pawelmojski/inside/appliance/api"
	"github.com/pawelmojski/inside/proxy/recording/desktop"
)

// desktopProblem says where a desktop is looked at: a terminal shows none.
func desktopProblem(s api.Session) error {
	p := api.NewProblem(api.CodeConflict, fmt.Sprintf("session %s is a desktop, which a terminal does not show", short(s.ID)),
		"inside export "+short(s.ID)+" --mp4 makes a video of it")
	if s.Live {
		p.Hint = "inside watch " + short(s.ID) + " --picture FILE.png keeps a picture of it as it is; inside export " + short(s.ID) + " --mp4 makes a video of it when it has ended"
	}
	return p
}

// watchDesktop keeps the picture of a desktop in a file, as it is now, until
// the session ends or Ctrl-C, which is a way out and no error.
func (c *cli) watchDesktop(ctx context.Context, session, file string) error {
	s, err := c.house().Session(ctx, session)
	if err != nil {
		return err
	}
	body, err := c.house().LiveDesktop(ctx, s.ID)
	if err != nil {
		return err
	}
	defer body.Close()
	why, err := desktop.Watch(body, func(p *image.RGBA) error { return writePicture(file, p) })
	switch {
	case ctx.Err() != nil:
		return nil
	case err != nil:
		return fmt.Errorf("watching session %s: %w", short(s.ID), err)
	}
	return c.say(map[string]string{"session": s.ID, "file": file, "why": why}, nil, "the desktop in %s is over: %s", file, why)
}

var pictures = png.Encoder{CompressionLevel: png.BestSpeed}

// writePicture puts a whole picture where there was another: who looks at the
// file never sees half of one.
func writePicture(file string, p *image.RGBA) error {
	f, err := os.CreateTemp(filepath.Dir(file), ".inside-")
	if err != nil {
		return err
	}
	err = errors.Join(pictures.Encode(f, p), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}
