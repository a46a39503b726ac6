package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/spf13/cobra"

	"github.com/pawelmojski/inside/appliance/api"
)

func TestEveryErrorHasItsExitCode(t *testing.T) {
	refused := func(errno syscall.Errno) error {
		return &api.Unreachable{Socket: "/run/inside/inside.sock", Err: &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", errno)}}
	}
	for _, c := range []struct {
		err  error
		want int
		says string
	}{
		{nil, exitOK, ""},
		{errors.New("broken"), exitError, "inside: error: broken\n"},
		{context.Canceled, exitError, "inside: error: interrupted\n"},
		{fmt.Errorf("asking: %w", api.NewProblem(api.CodeNotFound, "unknown person", "look")), exitNotFound, "inside: error: asking: unknown person\ninside: hint: look\n"},
		{api.NewProblem(api.CodeInvalid, "cannot be", ""), exitUsage, "inside: error: cannot be\n"},
		{api.NewProblem(api.CodeBadRequest, "odd", ""), exitUsage, "inside: error: odd\n"},
		{api.NewProblem(api.CodeConflict, "taken", ""), exitError, "inside: error: taken\n"},
		{api.NewProblem(api.CodeUnavailable, "gone", "inside status"), exitError, "inside: error: gone\ninside: hint: inside status\n"},
		{api.NewProblem(api.CodeForbidden, "not you", ""), exitDenied, "inside: error: not you\n"},
		{api.NewProblem("expired", "a denial", ""), exitError, "inside: error: a denial\n"},
		{&usage{&cobra.Command{Use: "inside"}, errors.New("what?")}, exitUsage, "inside: error: what?\ninside: hint: inside --help\n"},
		{&saidNo{exitDenied, "inside grant list"}, exitDenied, "inside: hint: inside grant list\n"},
		{&saidNo{code: exitError}, exitError, ""},
		{refused(syscall.ECONNREFUSED), exitUnreachable, "inside: error: cannot reach the daemon on /run/inside/inside.sock: dial: connect: connection refused\n" +
			"inside: hint: start insided, or name its socket with --socket PATH or INSIDE_SOCKET\n"},
		{refused(syscall.EACCES), exitDenied, "inside: error: cannot reach the daemon on /run/inside/inside.sock: dial: connect: permission denied\n" +
			"inside: hint: be root or a member of the group inside\n"},
	} {
		var errs bytes.Buffer
		if got := (&cli{err: &errs}).report(c.err); got != c.want || errs.String() != c.says {
			t.Errorf("%v: exit %d, want %d; it says\n%s\nnot\n%s", c.err, got, c.want, &errs, c.says)
		}
	}
}
