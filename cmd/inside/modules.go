package main

import (
	"context"
	"os"
	"strings"

	"github.com/pawelmojski/inside/appliance/api"
)

// ruleModules are what the kernel loads for the gate's rules, where they are not
// built in.
var ruleModules = []string{"nf_tables", "nft_tproxy", "nft_socket", "nft_fib_inet", "nft_reject_inet"}

// modulesCheck looks for what the rules need, where no rules are that could
// show it. It loads nothing.
func modulesCheck(ctx context.Context) api.Check {
	var unknown, obstacles []string
	for _, name := range ruleModules {
		if _, err := os.Stat("/sys/module/" + name); err == nil {
			continue
		}
		out, err := output(ctx, "modprobe", "--show-depends", name)
		if err != nil {
			unknown = append(unknown, name)
		} else if why := obstacleOf(out, os.Stat); why != "" {
			obstacles = append(obstacles, name+": "+why)
		}
	}
	switch {
	case len(obstacles) > 0:
		hint := "apt-get install --reinstall linux-image-$(uname -r)"
		if strings.Contains(strings.Join(obstacles, ""), modprobeD) {
			hint = "grep -rwE 'install' " + modprobeD
		}
		return api.Check{Name: "kernel-modules", State: api.CheckFailed, Text: strings.Join(obstacles, "; "), Hint: hint}
	case len(unknown) > 0:
		return api.Check{Name: "kernel-modules", State: api.CheckWarning, Hint: "modprobe -a " + strings.Join(unknown, " "),
			Text: "not found: " + strings.Join(unknown, ", ") + "; a kernel that has them built in is fine"}
	}
	return api.Check{Name: "kernel-modules", State: api.CheckOK, Text: "found"}
}

const modprobeD = "/etc/modprobe.d"

// obstacleOf reads what modprobe would do for a module, line by line
// (modprobe(8), --show-depends), and says why it would not work.
func obstacleOf(plan string, stat func(string) (os.FileInfo, error)) string {
	for line := range strings.Lines(plan) {
		verb, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch verb {
		case "install":
			return "`" + rest + "` is done in its place, says a file in " + modprobeD
		case "insmod":
			file, _, _ := strings.Cut(rest, " ")
			if _, err := stat(file); err != nil {
				return file + " is not there"
			}
		}
	}
	return ""
}
