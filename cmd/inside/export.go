package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/spf13/cobra"
)

func (c *cli) exportCommand() *cobra.Command {
	var mp4, anew bool
	cmd := &cobra.Command{
		Use: "export ID [FILE]", Short: "write everything that is kept of a session into one tar", Args: args(1, 2),
		Long: `Writes a tar with the folder of a session, its recordings and its event log, and
session.json, what the database says of it. FILE is the whole id and .tar if
none is named, standard output if it is -. That it was exported is written down.

With --mp4 it is a video of a desktop session that has ended, FILE the id and
.mp4. The gate makes one video at a time and gives way to people for it; Ctrl-C
does not stop it, and the same command fetches it later.`,
		ValidArgsFunction: c.complete(c.sessionIDs(true)),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := c.house().Session(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			name, export := s.ID+".tar", c.exportTo
			if mp4 {
				name = s.ID + ".mp4"
				export = func(cmd *cobra.Command, w io.Writer, session string) error {
					return c.exportVideo(cmd.Context(), w, session, anew)
				}
			}
			if len(args) > 1 {
				name = args[1]
			}
			if name == "-" {
				return export(cmd, c.out, s.ID)
			}
			// Opened first: nothing is exported that could not be kept.
			f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
			if errors.Is(err, fs.ErrExist) {
				return fmt.Errorf("%s is there already: name another file", name)
			}
			if err != nil {
				return err
			}
			if err := errors.Join(export(cmd, f, s.ID), f.Close()); err != nil {
				os.Remove(name) // half of it must not pass for the whole
				return err
			}
			return c.say(map[string]string{"session": s.ID, "file": name}, nil, "session %s of %s on %s is in %s", short(s.ID), s.Person, s.Server, name)
		},
	}
	cmd.Flags().BoolVar(&mp4, "mp4", false, "a desktop session as a video")
	cmd.Flags().BoolVar(&anew, "anew", false, "with --mp4: make the video again")
	return cmd
}

func (c *cli) exportTo(cmd *cobra.Command, w io.Writer, session string) error {
	body, err := c.house().Export(cmd.Context(), session)
	if err != nil {
		return err
	}
	defer body.Close()
	if _, err := io.Copy(w, body); err != nil {
		return fmt.Errorf("export of session %s: %w", short(session), err)
	}
	return nil
}
