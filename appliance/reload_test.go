package appliance

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/pawelmojski/inside/appliance/config"
)

func TestWhatCountsAfterARestartOnlyIsWithheldAndNamed(t *testing.T) {
	whole := func() config.Config {
		return config.Config{
			Gate: config.Gate{Name: "gate-1"}, Store: config.Store{URL: "postgres://u:secret@h/d"}, Paths: config.Paths{State: "/s", Run: "/r"},
			Recordings: config.Recordings{Keep: "90d", MinFree: 0.05}, API: config.API{Listen: "127.0.0.1:5000"},
			Intercept: &config.Intercept{Interfaces: []string{"eth1"}, Protect: []netip.Prefix{netip.MustParsePrefix("10.30.0.0/16")},
				SSHPorts: []uint16{22}, RDPPorts: []uint16{3389}, Other: "forward", Source: "gateway", OnStop: "block"},
		}
	}
	for _, c := range []struct {
		name             string
		change           func(*config.Config)
		changed, restart string
	}{
		{"nothing", func(*config.Config) {}, "", ""},
		{"interfaces and ports", func(c *config.Config) {
			c.Intercept.Interfaces, c.Intercept.SSHPorts = []string{"eth1", "wg0"}, []uint16{22, 2222}
		}, "intercept.interfaces intercept.ssh_ports", ""},
		{"another prefix of the same family", func(c *config.Config) {
			c.Intercept.Protect = []netip.Prefix{netip.MustParsePrefix("10.31.0.0/16")}
		}, "intercept.protect", ""},
		{"the first prefix of IPv6", func(c *config.Config) {
			c.Intercept.Protect = append(c.Intercept.Protect, netip.MustParsePrefix("fd00::/64"))
			c.Recordings.Keep = "30d"
		}, "recordings.keep", "intercept.protect"},
		{"no RDP any more", func(c *config.Config) { c.Intercept.RDPPorts = nil }, "", "intercept.rdp_ports"},
		{"a tower", func(c *config.Config) { c.Intercept = nil }, "", "intercept.interfaces intercept.observe intercept.on_stop intercept.other intercept.protect intercept.rdp_ports intercept.source intercept.ssh_ports intercept.warn"},
		{"name, store and paths", func(c *config.Config) { c.Gate.Name, c.Store.URL, c.Paths.Run = "x", "", "/x" }, "", "gate.name paths.run store.url"},
		{"what has no listener", func(c *config.Config) {
			c.Intercept.Other, c.Intercept.Source, c.Intercept.OnStop, c.API.Names = "drop", "client", "open", []string{"h"}
			c.Recordings.MinFree, c.Alerts.Webhook, c.API.Listen = 0.1, "https://h/x", ""
		}, "alerts.webhook api.listen api.names intercept.on_stop intercept.other intercept.source recordings.min_free", ""},
	} {
		before, next := whole(), whole()
		c.change(&next)
		restart := strings.Join(withhold(before, &next), " ")
		changed := strings.Join(differing(before, next), " ")
		if changed != c.changed || restart != c.restart {
			t.Errorf("%s: changed %q, after a restart %q; want %q, %q", c.name, changed, restart, c.changed, c.restart)
		}
		if (next.Intercept == nil) != (before.Intercept == nil) || next.Gate != before.Gate || next.Store != before.Store || next.Paths != before.Paths {
			t.Errorf("%s: not withheld: %+v", c.name, next)
		}
	}
}
