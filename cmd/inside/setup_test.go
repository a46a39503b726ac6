package main

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pawelmojski/inside/appliance/config"
	"github.com/pawelmojski/inside/packaging/conf"
)

func prefixes(texts ...string) (all []netip.Prefix) {
	for _, text := range texts {
		all = append(all, netip.MustParsePrefix(text))
	}
	return all
}

func route(to, by string) nearRoute { return nearRoute{netip.MustParsePrefix(to), by} }

func TestSetupProposesWherePeopleComeFromAndWhatIsBehind(t *testing.T) {
	lan := nearLink{name: "eth1", kind: "device", up: true, addresses: prefixes("10.30.0.1/16", "fe80::1/64")}
	wan := nearLink{name: "eth0", kind: "device", up: true, addresses: prefixes("192.0.2.7/24")}
	tailscale := nearLink{name: "tailscale0", kind: "tuntap", up: true, addresses: prefixes("100.101.102.103/32")}
	wg := nearLink{name: "office", kind: "wireguard", up: true, addresses: prefixes("10.9.0.1/24")}
	docker := nearLink{name: "docker0", kind: "bridge", up: true, addresses: prefixes("172.17.0.1/16")}
	lanRoutes := []nearRoute{route("0.0.0.0/0", "eth0"), route("192.0.2.0/24", "eth0"), route("10.30.0.0/16", "eth1"), route("fe80::/64", "eth1"), route("fd30::/64", "eth1")}
	for _, c := range []struct {
		name       string
		near       nearby
		interfaces string
		networks   string
	}{
		{"nothing", nearby{}, "", ""},
		{"two legs", nearby{[]nearLink{wan, lan}, lanRoutes}, "eth0", "10.30.0.0/16,fd30::/64"},
		{"a subnet router of Tailscale", nearby{[]nearLink{wan, lan, tailscale}, append(lanRoutes, route("100.64.0.0/10", "tailscale0"))}, "tailscale0", "10.30.0.0/16,fd30::/64"},
		{"WireGuard, and networks behind a router", nearby{[]nearLink{wan, lan, wg}, append(lanRoutes, route("10.9.0.0/24", "office"), route("10.99.0.0/24", "eth1"))}, "office", "10.30.0.0/16,10.99.0.0/24,fd30::/64"},
		{"containers are nobody's servers", nearby{[]nearLink{wan, lan, docker}, append(lanRoutes, route("172.17.0.0/16", "docker0"))}, "eth0", "10.30.0.0/16,fd30::/64"},
		{"one leg: nothing is behind", nearby{[]nearLink{wan}, lanRoutes[:2]}, "eth0", ""},
	} {
		interfaces := c.near.interfaces()
		if got := strings.Join(interfaces, ","); got != c.interfaces {
			t.Errorf("%s: interfaces %s, want %s", c.name, got, c.interfaces)
		}
		if got := joinPrefixes(c.near.networks(interfaces)); got != c.networks {
			t.Errorf("%s: networks %s, want %s", c.name, got, c.networks)
		}
	}
}

func TestTailscaleWithoutAnInterfaceIsRecognised(t *testing.T) {
	with := nearby{links: []nearLink{{name: "tailscale0"}}}
	for _, c := range []struct {
		line string
		near nearby
		want bool
	}{
		{"/usr/sbin/tailscaled\x00--state=x\x00--tun=userspace-networking\x00", nearby{}, true},
		{"/usr/sbin/tailscaled\x00-tun\x00userspace-networking\x00", nearby{}, true},
		{"/usr/sbin/tailscaled\x00--tun=userspace-networking\x00", with, false},
		{"/usr/sbin/tailscaled\x00--port=41641\x00", with, false},
		{"vi\x00--tun=userspace-networking\x00", nearby{}, false},
		{"", nearby{}, false},
	} {
		if got := userspaceTailscale([]string{c.line}, c.near); got != c.want {
			t.Errorf("%q: %v", c.line, got)
		}
	}
}

func TestPersonsAreKnownByTailscaleWhereTheyComeFromIt(t *testing.T) {
	ts := nearLink{name: "ts0", kind: "tuntap", up: true, addresses: prefixes("100.101.102.103/32", "fd7a:115c:a1e0::7/128")}
	nat := nearLink{name: "wwan0", kind: "device", up: true, addresses: prefixes("100.70.1.9/20")}
	near := nearby{links: []nearLink{ts, nat}}
	for interfaces, want := range map[string]bool{"ts0": true, "eth1 ts0": true, "wwan0": false, "eth1": false, "": false} {
		if got := near.fromTailscale(splitList(interfaces)); got != want {
			t.Errorf("%q: %v", interfaces, got)
		}
	}
}

func TestSettingsGoIntoTheShippedFileAndItsCommentsStay(t *testing.T) {
	text := edited(conf.Shipped, []setting{
		{"gate", "name", `"edge"`}, {"intercept", "interfaces", `["wg0"]`}, {"intercept", "protect", `["10.1.0.0/16", "fd00::/64"]`}, {"intercept", "other", `"drop"`}, {"intercept", "source", `"client"`},
		{"identity", "tailscale", "true"},
	})
	file := filepath.Join(t.TempDir(), "inside.toml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := config.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	if got.Gate.Name != "edge" || got.Intercept.Interfaces[0] != "wg0" || got.Intercept.Protect[1].String() != "fd00::/64" || got.Intercept.Other != "drop" || got.Intercept.Source != "client" || !got.Identity.Tailscale {
		t.Errorf("%+v %+v", got.Gate, got.Intercept)
	}
	before, after := strings.Split(string(conf.Shipped), "\n"), strings.Split(string(text), "\n")
	changed := 0
	for i := range before {
		if before[i] != after[i] {
			changed++
		}
	}
	if len(before) != len(after) || changed != 6 {
		t.Errorf("%d of %d lines changed:\n%s", changed, len(before), cmp.Diff(before, after))
	}
}

func TestAKeyIsFoundWhereverItStands(t *testing.T) {
	for _, c := range []struct{ name, before, after string }{
		{"nothing", "", "\n[t]\nk = 1\n"},
		{"no table", "[other]\nk = 2\n", "[other]\nk = 2\n\n[t]\nk = 1\n"},
		{"no last newline", "[other]\nk = 2", "[other]\nk = 2\n\n[t]\nk = 1\n"},
		{"in the table", "[t]\na = 1\nk=2 # two\n[u]\nk = 3\n", "[t]\na = 1\nk = 1\n[u]\nk = 3\n"},
		{"not in the table", "[t]\nkk = 2\n[u]\nk = 3\n", "[t]\nk = 1\nkk = 2\n[u]\nk = 3\n"},
		{"commented out", "[t]\n# k is a key\n#k = 5\n", "[t]\n# k is a key\nk = 1\n"},
		{"commented out, and there", "[t]\n#k = 5\nk = 6\n", "[t]\n#k = 5\nk = 1\n"},
		{"a list over lines", "[t]\nk = [\n\"a\",\n\"b\",\n]\nz = 1\n", "[t]\nk = 1\nz = 1\n"},
		{"a list that never ends", "[t]\nk = [\n\"a\"\n", "[t]\nk = 1\n"},
		{"a header with a comment", "[t] # the table\nk = 2\n", "[t] # the table\nk = 1\n"},
	} {
		if got := string(edited([]byte(c.before), []setting{{"t", "k", "1"}})); got != c.after {
			t.Errorf("%s:\n got %q\nwant %q", c.name, got, c.after)
		}
	}
}

func FuzzEditedIsReadAsItWasMeant(f *testing.F) {
	f.Add(conf.Shipped, "gate-1")
	f.Add([]byte("[gate]\nname = [\n"), `a"b\`)
	f.Fuzz(func(t *testing.T, text []byte, name string) {
		value, err := tomlText(name)
		if err != nil || len(text) > 1<<16 {
			return
		}
		out := edited(text, []setting{{"gate", "name", value}})
		if !strings.Contains(string(out), "name = "+value+"\n") {
			t.Errorf("%q of %q is not in %q", value, text, out)
		}
	})
}
