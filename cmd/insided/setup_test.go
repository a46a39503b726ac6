package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pawelmojski/inside/packaging/conf"
)

// From the shipped file to the first session: setup finds what is behind the
// router, writes what the real daemon takes, starts it, and the doctor has
// nothing to say against it.
func TestSetupLeadsToTheFirstSession(t *testing.T) {
	h := emptyHouse(t, settings{})
	h.config = filepath.Join(h.dir, "inside.toml")
	text := strings.NewReplacer(
		`state = "/var/lib/inside"`, fmt.Sprintf("state = %q", filepath.Join(h.dir, "state")),
		`run = "/run/inside"`, fmt.Sprintf("run = %q", h.run()),
		`listen = "127.0.0.1:5000"`, `listen = ""`,
		`min_free = "5%"`, `min_free = "0%"`,
	).Replace(string(conf.Shipped))
	h.write(h.config, text)
	programs := filepath.Join(h.dir, "bin")
	if err := os.Mkdir(programs, 0o755); err != nil {
		t.Fatal(err)
	}
	h.write(filepath.Join(programs, "systemctl"), fmt.Sprintf(`#!/bin/sh
[ "$1" = restart ] || exit 0
insided --guard --config %[1]s || exit
insided --config %[1]s >%[2]s/daemon.log 2>&1 &
while [ ! -S %[3]s ]; do sleep 0.1; done
`, h.config, h.dir, h.socket()))
	if err := os.Chmod(filepath.Join(programs, "systemctl"), 0o755); err != nil {
		t.Fatal(err)
	}
	c := h.Gateway.Command(t.Context(), filepath.Join(binaries, "inside"), "setup", "--config", h.config, "--socket", h.socket(), "--force", "--yes", "--interface", "c0", "--other", "forward")
	c.Env = append(os.Environ(), "PATH="+programs+":"+binaries+":"+os.Getenv("PATH"))
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	written, err := os.ReadFile(h.config)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{`interfaces = ["c0"]`, `protect = ["10.30.0.0/24", "fd30::/64"]`, `other = "forward"`, "# The interfaces people come from. They may appear and vanish later, as those"} {
		if !strings.Contains(string(written), "\n"+line+"\n") {
			t.Errorf("no line %s in\n%s", line, written)
		}
	}
	for _, says := range []string{"ok       firewall", "ok       rules", "warning  other", "inside server add prod-db-01 --ip 10.30.0.2"} {
		if !strings.Contains(string(out), says) {
			t.Errorf("not said: %s\n%s", says, out)
		}
	}
	h.know()
	h.grant("--ssh-login", "root")
	if r := h.ssh("root@10.30.0.140", "echo inside"); r.stdout != "inside\n" {
		t.Errorf("the first session: %+v", r)
	}
}
