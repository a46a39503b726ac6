package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/spf13/cobra"

	"github.com/pawelmojski/inside/appliance/api"
)

// Exit codes.
const (
	exitOK          = 0
	exitError       = 1
	exitUsage       = 2
	exitNotFound    = 3
	exitDenied      = 4
	exitUnreachable = 5
)

// exitCodes stands at the end of every help text.
const exitCodes = `
Exit codes:
  0  ok
  1  error; the daemon said no, or something does not work
  2  usage: an unknown command or flag, a value that cannot be
  3  not found: nothing has this name or id
  4  denied: explain says no, or you or your token may not do this
  5  the daemon cannot be reached
`

// A usage error is a command line that was not understood.
type usage struct {
	cmd *cobra.Command
	err error
}

func (u *usage) Error() string { return u.err.Error() }
func (u *usage) Unwrap() error { return u.err }

func asUsage(cmd *cobra.Command, err error) error {
	var u *usage
	if errors.As(err, &u) {
		return err
	}
	return &usage{cmd, err}
}

// saidNo is the end of a command that has printed a no and has a way out.
type saidNo struct {
	code int
	hint string
}

func (s *saidNo) Error() string { return "no" }

// report prints an error in the voice of output.go and chooses the exit code.
func (c *cli) report(err error) int {
	var (
		problem     *api.Problem
		unreachable *api.Unreachable
		misuse      *usage
		no          *saidNo
	)
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &no):
		c.hint(no.hint)
		return no.code
	case errors.As(err, &problem):
		c.error(err.Error())
		c.hint(problem.Hint)
		return exitOf(problem)
	case errors.As(err, &unreachable):
		c.error(err.Error())
		if errors.Is(err, fs.ErrPermission) {
			c.hint("be root or a member of the group inside")
			return exitDenied
		}
		if c.remote() {
			c.hint("is insided running there, and INSIDE_URL right? On the gate itself: inside --socket " + usualSocket)
		} else {
			c.hint("start insided, or name its socket with --socket PATH or INSIDE_SOCKET")
		}
		return exitUnreachable
	case errors.As(err, &misuse):
		c.error(err.Error())
		c.hint(misuse.cmd.CommandPath() + " --help")
		return exitUsage
	case errors.Is(err, context.Canceled):
		c.error("interrupted")
	default:
		c.error(err.Error())
	}
	return exitError
}

func exitOf(p *api.Problem) int {
	switch p.Code {
	case api.CodeNotFound:
		return exitNotFound
	case api.CodeInvalid, api.CodeBadRequest:
		return exitUsage
	case api.CodeForbidden, api.CodeUnknown:
		return exitDenied
	}
	return exitError
}

func (c *cli) error(text string) { fmt.Fprintf(c.err, "inside: error: %s\n", api.Escape(text)) }

func (c *cli) hint(text string) {
	if text != "" {
		fmt.Fprintf(c.err, "inside: hint: %s\n", api.Escape(text))
	}
}
