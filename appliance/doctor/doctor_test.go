package doctor

import (
	"errors"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pawelmojski/inside/appliance/api"
	"github.com/pawelmojski/inside/appliance/tailscale"
	"github.com/pawelmojski/inside/netfilter"
)

func well() Facts {
	return Facts{
		Gate: &Gate{
			Interfaces: []string{"eth1"},
			Protect:    []netip.Prefix{netip.MustParsePrefix("10.30.0.0/16")},
			RDP:        true,
			Links:      []netfilter.Link{{Name: "eth0", Up: true}, {Name: "eth1", Up: true}},
			Forwards:   map[bool]Answer{true: {Yes: true}},
			Ways:       []Way{{Prefix: netip.MustParsePrefix("10.30.0.0/16"), Host: netip.MustParseAddr("10.30.0.1"), By: "eth0"}},
			Senders:    []Sender{{Person: "alice", Address: netip.MustParseAddr("10.50.0.2")}},
		},
		Free: 50 << 30, Share: 0.5, MinFree: 0.05,
		Database: Database{Name: "sqlite", Latency: time.Millisecond},
		Zones:    []Zone{{Name: "Europe/Warsaw"}},
		Servers:  []Server{{Name: "db-1", Tried: []string{"10.30.0.1:22"}}},
	}
}

func TestAllIsWell(t *testing.T) {
	checks := Examine(well())
	for _, c := range checks {
		if c.State != api.CheckOK || c.Hint != "" {
			t.Errorf("%+v", c)
		}
	}
	if len(checks) < 10 {
		t.Errorf("%d checks", len(checks))
	}
	for _, c := range Examine(Facts{Share: 1, Database: Database{Name: "sqlite"}}) {
		if c.State != api.CheckOK {
			t.Errorf("on a tower: %+v", c)
		}
	}
}

func TestEachFactIsJudged(t *testing.T) {
	broken := errors.New("broken")
	for _, c := range []struct {
		name    string
		spoil   func(*Facts)
		check   string
		state   string
		text    string // in it
		command string // in its hint; every hint is a command that a shell can read
	}{
		{"rules", func(f *Facts) { f.Gate.Rules = errors.New("the nftables table inet inside was deleted") }, "rules", "failed", "table inet inside was deleted", "systemctl restart inside"},
		{"modules", func(f *Facts) {
			f.Gate.Rules = errors.New("nftables: no such file: the kernel lacks something; load nft_tproxy")
		}, "rules", "failed", "kernel lacks", "modprobe -a nf_tables nft_tproxy nft_socket"},
		{"doors", func(f *Facts) { f.Gate.Doors = broken }, "rules", "failed", "connections are not taken: broken", "systemctl"},
		{"no interface", func(f *Facts) { f.Gate.Links = f.Gate.Links[:1] }, "interfaces", "failed", "none of eth1 exists, so nobody comes in: there are eth0", "ip -br link"},
		{"an interface that is not there now", func(f *Facts) { f.Gate.Interfaces = []string{"eth1", "wg0"} }, "interfaces", "warning", "wg0 does not exist now", "ip -br link"},
		{"an interface that is down", func(f *Facts) { f.Gate.Links[1].Up = false }, "interfaces", "warning", "eth1 is down", "ip link set eth1 up"},
		{"forwarding off, needed", func(f *Facts) { f.Gate.Forwards[true] = Answer{}; f.Gate.Forward = true }, "forwarding-ipv4", "failed", "off", "sysctl -w net.ipv4.ip_forward=1"},
		{"forwarding off, not needed", func(f *Facts) { f.Gate.Forwards[true] = Answer{} }, "forwarding-ipv4", "ok", "not needed", ""},
		{"IPv6 forwarding off", func(f *Facts) { f.Gate.Forwards[false] = Answer{}; f.Gate.Forward = true }, "forwarding-ipv6", "failed", "off", "/etc/sysctl.d/61-inside-ipv6.conf && sysctl -w net.ipv6.conf.all.forwarding=1"},
		{"forwarding unknown", func(f *Facts) { f.Gate.Forwards[true] = Answer{Err: broken} }, "forwarding-ipv4", "warning", "broken", "sysctl net.ipv4.ip_forward"},
		{"no route", func(f *Facts) { f.Gate.Ways[0] = Way{Prefix: f.Gate.Protect[0], Err: broken} }, "routes", "failed", "10.30.0.0/16 leads nowhere: broken", "ip route add 10.30.0.0/16 via"},
		{"back to where people are", func(f *Facts) { f.Gate.Ways[0].By = "eth1" }, "routes", "warning", "behind eth1, from where people come", "ip route get 10.30.0.1"},
		{"forged", func(f *Facts) { f.Gate.Senders[0].Err = netfilter.ErrForged }, "reverse-path", "failed", "what alice sends from 10.50.0.2 never arrives", "sysctl -w net/ipv4/conf/eth1/rp_filter=2"},
		{"forged, by IPv6", func(f *Facts) {
			f.Gate.Senders[0] = Sender{Person: "alice", Address: netip.MustParseAddr("fd50::2"), Err: netfilter.ErrForged}
		}, "reverse-path", "failed", "what alice sends from fd50::2 never arrives", "ip route get fd50::2"},
		{"a rule before ours", func(f *Facts) { f.Gate.Senders[0].Err = errors.New("another routing rule") }, "reverse-path", "failed", "another", "ip rule"},
		{"input dropped", func(f *Facts) {
			f.Gate.Obstacles = []netfilter.Obstacle{{Chain: "chain input of table inet f", Certain: true, What: []string{"a", "b", "c", "d"}, Cure: "nft insert rule inet f input accept"}}
		}, "firewall", "failed", "drops what goes to the gate: a, b, c and 1 more", "nft insert rule"},
		{"input perhaps dropped", func(f *Facts) {
			f.Gate.Obstacles = []netfilter.Obstacle{{Chain: "chain input of table inet f", What: []string{"a"}, Cure: "nft insert"}}
		}, "firewall", "warning", "may drop", "nft insert"},
		{"rules of others unread", func(f *Facts) { f.Gate.Unread = broken }, "firewall", "warning", "broken", "nft list ruleset"},
		{"marks", func(f *Facts) { f.Gate.MarkLost = []string{"chain x of table ip mangle"} }, "marks", "failed", "chain x of table ip mangle takes the mark", "nft -a list ruleset"},
		{"forward", func(f *Facts) { f.Gate.Forward = true }, "other", "warning", "passes without being asked or recorded", `other = "drop"`},
		{"UDP", func(f *Facts) { f.Gate.UDPOpen = true }, "udp-3389", "warning", "RDP over UDP", `iifname "eth1" udp dport 3389 drop`},
		{"UDP, without RDP", func(f *Facts) { f.Gate.UDPOpen, f.Gate.RDP = true, false }, "udp-3389", "ok", "", ""},
		{"userspace Tailscale", func(f *Facts) { f.Gate.Tailscale = true }, "tailscale", "failed", "userspace networking", "systemctl restart tailscaled"},
		{"kernel Tailscale", func(f *Facts) {
			f.Gate.Tailscale = true
			f.Gate.Links = append(f.Gate.Links, netfilter.Link{Name: "ts0", Up: true, Addresses: []netip.Prefix{netip.MustParsePrefix("100.101.1.2/32")}})
		}, "tailscale", "ok", "kernel mode, ts0", ""},
		{"carrier-grade NAT is no Tailscale", func(f *Facts) {
			f.Gate.Tailscale = true
			f.Gate.Links = append(f.Gate.Links, netfilter.Link{Name: "wan", Up: true, Addresses: []netip.Prefix{netip.MustParsePrefix("100.101.1.2/20")}})
		}, "tailscale", "failed", "", "systemctl"},
		{"tailscaled, asked who comes", func(f *Facts) {
			f.Identity = &Identity{Status: tailscale.Status{State: "Running", TUN: true}, Accounts: 2}
		}, "identity", "ok", "2 persons have an account", ""},
		{"asked, and gone", func(f *Facts) { f.Identity = &Identity{Err: broken} }, "identity", "failed", "nobody new is known by Tailscale: broken", "systemctl restart tailscaled"},
		{"asked, and logged out", func(f *Facts) {
			f.Identity = &Identity{Status: tailscale.Status{State: "NeedsLogin", TUN: true}, Accounts: 2}
		}, "identity", "failed", "in the state NeedsLogin", "tailscale up"},
		{"asked, in userspace mode", func(f *Facts) {
			f.Identity = &Identity{Status: tailscale.Status{State: "Running"}, Accounts: 2}
		}, "identity", "failed", "userspace networking", "systemctl restart tailscaled"},
		{"asked, and nobody has an account", func(f *Facts) {
			f.Identity = &Identity{Status: tailscale.Status{State: "Running", TUN: true}}
		}, "identity", "warning", "no person has an account", "inside person set-account"},
		{"no room", func(f *Facts) { f.NoRoom = broken }, "disk", "failed", "nobody new gets in: broken", "du "},
		{"little room", func(f *Facts) { f.Share = 0.08 }, "disk", "warning", "at 5.0% nobody new gets in", "du "},
		{"database", func(f *Facts) { f.Database.Err = broken }, "database", "failed", "sqlite does not take entries", "journalctl"},
		{"slow database", func(f *Facts) { f.Database.Latency = time.Second }, "database", "warning", "takes 1s to answer", ""},
		{"zone", func(f *Facts) { f.Zones[0].Err = broken }, "time-zones", "failed", "Europe/Warsaw: broken", "tzdata"},
		{"server", func(f *Facts) { f.Servers[0].Err = broken }, "servers", "warning", "db-1 does not answer at 10.30.0.1:22: broken", "nc -vz 10.30.0.1 22"},
		{"prefix", func(f *Facts) { f.Skipped = 2 }, "servers", "ok", "1 of 1 answer; 2 are whole networks", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := well()
			c.spoil(&f)
			found := slices.ContainsFunc(Examine(f), func(k api.Check) bool {
				return k.Name == c.check && k.State == c.state && strings.Contains(k.Text, c.text) && strings.Contains(k.Hint, c.command) && (c.command != "" || k.Hint == "")
			})
			if !found {
				t.Errorf("%+v", Examine(f))
			}
			for _, k := range Examine(f) {
				if out, err := exec.Command("sh", "-n", "-c", k.Hint).CombinedOutput(); err != nil {
					t.Errorf("%s: %s", k.Hint, out)
				}
				if strings.Contains(k.Text, "\n") {
					t.Errorf("more than a line: %q", k.Text)
				}
			}
		})
	}
}

func TestManyServersOutOfReachAreNotAllTold(t *testing.T) {
	f := well()
	f.Servers = nil
	for range 500 {
		f.Servers = append(f.Servers, Server{Name: "x", Tried: []string{"10.30.0.1:22"}, Err: errors.New("refused")})
	}
	n := 0
	for _, c := range Examine(f) {
		if c.Name == "servers" {
			n++
		}
	}
	if last := Examine(f)[len(Examine(f))-1]; n != mostShown+1 || !strings.Contains(last.Text, "480 more do not") {
		t.Errorf("%d lines, the last %+v", n, last)
	}
}
