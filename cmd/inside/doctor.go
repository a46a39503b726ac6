package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/pawelmojski/inside/appliance/api"
)

const usualConfig = "/etc/inside/inside.toml"

func (c *cli) doctorCommand() *cobra.Command {
	var q api.Examination
	config := usualConfig
	cmd := &cobra.Command{
		Use: "doctor", Short: "what keeps people out or lets them past the gate, and the command that helps; exit code 1 where something fails",
		Long: `Doctor looks at what the gate stands on and what other programs on the router
do to it: rules, forwarding, firewalls, routes, clock, disk and database.
Where something is not well it prints the command that makes it so; what a
firewall's own configuration is to keep has to be written there, too.`,
		Args: noSuchCommand,
		RunE: func(cmd *cobra.Command, _ []string) error {
			checks, err := c.examine(cmd.Context(), q, config)
			if err != nil {
				return err
			}
			return c.printChecks(checks)
		},
	}
	cmd.Flags().BoolVar(&q.Servers, "servers", false, "also dial each server")
	cmd.Flags().StringVar(&config, "config", config, "the configuration to check, a `FILE`")
	cmd.AddCommand(c.doctorRDP())
	return c.csvFlag(cmd)
}

// examine asks the daemon, and looks at what the daemon cannot see: itself
// when it does not run, and what its unit hides from it.
func (c *cli) examine(ctx context.Context, q api.Examination, config string) ([]api.Check, error) {
	checks, err := c.house().Examine(ctx, q)
	if c.remote() {
		return checks, err
	}
	var unreachable *api.Unreachable
	switch {
	case errors.As(err, &unreachable) && !errors.Is(err, fs.ErrPermission):
		return append([]api.Check{serviceCheck(ctx, err)}, append(localChecks(ctx, config), modulesCheck(ctx))...), nil
	case err != nil:
		return nil, err
	}
	return append(checks, localChecks(ctx, config)...), nil
}

func localChecks(ctx context.Context, config string) []api.Check {
	checks := []api.Check{clockCheck(unix.Adjtimex)}
	// Whoever may not read the file cannot check it either.
	if f, err := os.Open(config); !errors.Is(err, fs.ErrPermission) {
		if err == nil {
			f.Close()
		}
		checks = append(checks, configCheck(ctx, config))
	}
	return checks
}

// programPatience is how long another program may take.
const programPatience = 10 * time.Second

// output runs a program and returns what it printed, on both streams.
func output(ctx context.Context, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, programPatience)
	defer cancel()
	out, err := exec.CommandContext(ctx, program(name), args...).CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// program finds programs that root's PATH may lack.
func program(name string) string {
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	for _, dir := range []string{"/usr/sbin", "/sbin"} {
		if path := filepath.Join(dir, name); isProgram(path) {
			return path
		}
	}
	return name
}

func isProgram(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o111 != 0
}

// serviceCheck says that the daemon does not run, and the last that it said.
func serviceCheck(ctx context.Context, unreachable error) api.Check {
	c := api.Check{Name: "service", State: api.CheckFailed, Text: unreachable.Error(), Hint: "systemctl start inside"}
	if last, err := output(ctx, "journalctl", "-u", "inside", "-t", "insided", "-n", "1", "-o", "cat", "--no-pager"); err == nil && last != "" && !strings.HasPrefix(last, "-- ") {
		c.Text += "; its last line in the log: " + last
		c.Hint = "journalctl -u inside -n 20"
	}
	return c
}

func configCheck(ctx context.Context, file string) api.Check {
	out, err := output(ctx, "insided", "--check-config", "--config", file)
	switch {
	case errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist):
		return api.Check{Name: "config", State: api.CheckWarning, Text: file + " is not checked: there is no insided in the PATH", Hint: "apt-get install --reinstall inside"}
	case err != nil:
		return api.Check{Name: "config", State: api.CheckFailed, Text: strings.TrimPrefix(out, "insided: error: "), Hint: "insided --check-config --config " + file}
	}
	return api.Check{Name: "config", State: api.CheckOK, Text: file}
}

// clockCheck says whether anything keeps the clock right: grants begin and end
// by it, and the record says when things happened.
func clockCheck(adjtimex func(*unix.Timex) (int, error)) api.Check {
	var t unix.Timex
	state, err := adjtimex(&t)
	const timeError = 5 // TIME_ERROR of adjtimex(2): not synchronized
	switch {
	case err != nil:
		return api.Check{Name: "clock", State: api.CheckWarning, Text: fmt.Sprintf("the kernel does not say whether it is synchronized: %v", err)}
	case state == timeError || t.Status&unix.STA_UNSYNC != 0:
		return api.Check{Name: "clock", State: api.CheckWarning, Text: "nothing keeps it right, and grants begin and end by it", Hint: "timedatectl set-ntp true || apt-get install -y systemd-timesyncd"}
	}
	return api.Check{Name: "clock", State: api.CheckOK, Text: "synchronized"}
}

func (c *cli) printChecks(checks []api.Check) error {
	fails := false
	var lines strings.Builder
	wide := 0
	for _, check := range checks {
		wide = max(wide, len(check.Name))
	}
	for _, check := range checks {
		fails = fails || check.State == api.CheckFailed
		fmt.Fprintf(&lines, "%-7s  %-*s  %s\n", api.Escape(check.State), wide, api.Escape(check.Name), api.Escape(check.Text))
		if check.Hint != "" {
			fmt.Fprintf(&lines, "%-7s  %-*s  # %s\n", "", wide, "", api.Escape(check.Hint))
		}
	}
	var err error
	switch {
	case c.json || c.csv:
		err = c.list(checks, list{})
	default:
		_, err = fmt.Fprint(c.out, lines.String())
	}
	if err == nil && fails {
		return &saidNo{code: exitError}
	}
	return err
}
