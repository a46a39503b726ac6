package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pawelmojski/inside/appliance/api"
)

// examine runs `inside doctor` on the gateway and returns the checks by name,
// the worst of each name, and whether the command said that all is well.
func (h *house) examine(args ...string) (map[string]api.Check, bool) {
	h.t.Helper()
	c := h.Gateway.Command(h.t.Context(), filepath.Join(binaries, "inside"), append([]string{"doctor", "--json", "--socket", h.socket(), "--config", h.config}, args...)...)
	c.Env = append(os.Environ(), "PATH="+binaries+":"+os.Getenv("PATH"))
	out, err := c.Output()
	var checks []api.Check
	if jsonErr := json.Unmarshal(out, &checks); jsonErr != nil {
		h.t.Fatalf("inside doctor: %v, %v\n%s", err, jsonErr, out)
	}
	worst := map[string]api.Check{}
	weight := map[string]int{api.CheckOK: 1, api.CheckWarning: 2, api.CheckFailed: 3}
	for _, check := range checks {
		if weight[check.State] > weight[worst[check.Name].State] {
			worst[check.Name] = check
		}
	}
	return worst, err == nil
}

func TestTheDoctorNamesWhatIsWrongAndItsCommandHelps(t *testing.T) {
	h := newHouse(t, settings{})
	h.inside("person", "add", "alice", "--ip", "10.50.0.2")
	h.inside("server", "add", "backend", "--ip", "10.30.0.140")
	h.inside("server", "add", "gone", "--ip", "10.30.0.141")
	checks, well := h.examine("--servers")
	for name, check := range checks {
		if check.State == api.CheckFailed {
			t.Errorf("%s: %+v", name, check)
		}
	}
	if !well {
		t.Error("all is well, and the exit code says no")
	}
	if checks["servers"].State != api.CheckWarning || !strings.HasPrefix(checks["servers"].Text, "gone does not answer at 10.30.0.141:22") {
		t.Errorf("servers: %+v", checks["servers"])
	}
	if checks["config"].State != api.CheckOK || checks["other"].State != api.CheckWarning {
		t.Errorf("config %+v, other %+v", checks["config"], checks["other"])
	}

	for _, c := range []struct{ name, spoil, says string }{
		{"forwarding-ipv4", "sysctl -qw net.ipv4.ip_forward=0", "off"},
		{"forwarding-ipv6", "sysctl -qw net.ipv6.conf.all.forwarding=0", "off"},
		{"firewall", "nft 'table inet filter { chain input { type filter hook input priority 0; policy drop; meta l4proto ipv6-icmp accept; }; }'", "chain input of table inet filter drops what goes to the gate"},
		{"routes", "ip route del 10.30.0.0/24", "10.30.0.0/24 leads nowhere"},
		{"reverse-path", "ip rule add pref 50 iif c0 lookup main", "what alice sends from 10.50.0.2 never arrives"},
	} {
		h.gateway(c.spoil)
		checks, well := h.examine()
		check := checks[c.name]
		if check.State != api.CheckFailed || !strings.Contains(check.Text, c.says) || well {
			t.Errorf("%s: %+v, well %v", c.spoil, check, well)
			continue
		}
		switch c.name { // where the command depends on what the admin wants
		case "routes":
			check.Hint = "ip route add 10.30.0.0/24 dev b0"
		case "reverse-path":
			check.Hint = "ip rule del pref 50"
		default: // the file that keeps it is not the test's to write
			check.Hint = check.Hint[strings.LastIndex(check.Hint, "&& ")+1:]
			check.Hint = strings.TrimPrefix(check.Hint, "& ")
		}
		h.gateway(check.Hint)
		if checks, well := h.examine(); !well {
			t.Errorf("after %s: %+v", check.Hint, checks[c.name])
		}
	}

	h.gateway("nft flush ruleset")
	h.until("the doctor says that the rules are back", func() bool {
		checks, _ := h.examine()
		return checks["rules"].State == api.CheckOK
	})
	h.daemon.Stop()
	checks, well = h.examine()
	if well || checks["service"].State != api.CheckFailed || !strings.Contains(checks["service"].Text, "inside.sock") || checks["config"].State != api.CheckOK {
		t.Errorf("stopped: %+v", checks)
	}
}

// gateway runs a shell command on the gateway.
func (h *house) gateway(command string) {
	h.t.Helper()
	if _, err := h.Gateway.Run(h.t.Context(), "sh", "-c", command); err != nil {
		h.t.Fatal(err)
	}
}
