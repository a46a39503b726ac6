package netfilter

import (
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pawelmojski/inside/netfilter/nettest"
)

var update = flag.Bool("update", false, "write the golden files")

// goldens are the configs of testdata/*.rules.
func goldens() map[string]Config {
	prefixes := func(list ...string) (ps []netip.Prefix) {
		for _, s := range list {
			ps = append(ps, netip.MustParsePrefix(s))
		}
		return ps
	}
	plain := config()
	strict := config()
	strict.Other, strict.Source = Drop, Client
	v4only := config()
	v4only.Protect = v4only.Protect[:1]
	wide := Config{
		Interfaces: []string{"tailscale0", "eth1", "wg.people-01", "eth1"},
		Protect: prefixes("10.30.7.0/24", "10.0.0.0/8", "10.30.0.0/16", "192.0.2.1/32", "224.0.0.0/3",
			"fd30::/64", "fd30::/16", "2001:db8::1/128", "8000::/1"),
		Entries: []Entry{
			{Name: "ssh", Ports: []uint16{2222, 22, 23}, Listen: 7022},
			{Name: "rdp", Ports: []uint16{3389, 3390}, Listen: 7389, NoUDP: true},
			{Name: "http", Listen: 7080},
		},
		Other: Forward, Source: Client,
	}
	observing := config()
	observing.Observe = prefixes("10.40.0.0/16", "fd40::/64")
	observing.Entries = append(observing.Entries, Entry{Name: "rdp", Ports: []uint16{3389}, Listen: 7389, NoUDP: true})
	observing.Passing = true
	everything := config()
	everything.Protect = prefixes("0.0.0.0/0", "::/0")
	everything.Other = Drop
	return map[string]Config{"plain": plain, "strict": strict, "v4only": v4only, "wide": wide, "observing": observing, "everything": everything}
}

// egress stands for what the kernel's routes would say.
var egress = []string{"b0"}

func TestTheRulesOfAConfigAreThoseOfTheGoldenFile(t *testing.T) {
	for name, c := range goldens() {
		r, err := Desired(c, egress...)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		file := filepath.Join("testdata", name+".rules")
		if *update {
			if err := os.WriteFile(file, []byte(r.String()), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(string(want), r.String()); d != "" {
			t.Errorf("%s (-golden +computed; accept with -update):\n%s", name, d)
		}
	}
}

func TestEveryTproxyRuleHasTheMarkBeforeItAndARefusalOfTheSameMatchBehindIt(t *testing.T) {
	files, _ := filepath.Glob("testdata/*.rules")
	seen := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(string(text), "\n")
		for i, line := range lines {
			match, rest, found := strings.Cut(line, " meta mark set meta mark | 0x01000000 tproxy ")
			if strings.Contains(line, "tproxy") != found {
				t.Errorf("%s:%d: tproxy without the mark before it", file, i+1)
			}
			if found && (!strings.HasPrefix(lines[i+1], match+" counter reject with tcp reset") || !strings.Contains(rest, "counter accept")) {
				t.Errorf("%s:%d: no refusal of the same match behind", file, i+1)
			}
			if found {
				seen++
			}
		}
	}
	if seen == 0 {
		t.Error("no tproxy rule in any golden file")
	}
}

// The library builds bytes; nft(8) and ip(8) read the golden files by their
// own code. If the kernel then lists the same, no byte order is wrong
// (CVE-2024-6284 was one).
func TestTheKernelHoldsWhatTheGoldenFileSays(t *testing.T) {
	nettest.Need(t, "nft", "ip")
	for name, c := range goldens() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			lab := nettest.For(t, nettest.Options{})
			c, err := c.checked()
			if err != nil {
				t.Fatal(err)
			}
			err = lab.Gateway.Do(func() error {
				k, err := openKernel()
				if err != nil {
					return err
				}
				defer k.close()
				return (&Gate{kernel: k}).apply(desired(c, egress))
			})
			if err != nil {
				t.Fatal(err)
			}
			golden, err := os.ReadFile(filepath.Join("testdata", name+".rules"))
			if err != nil {
				t.Fatal(err)
			}
			table, commands, _ := strings.Cut(string(golden), "\n}\n")
			script := "set -e\nnft -f - <<'EOF'\n" + table + "\n}\nEOF\n" + commands
			if _, err := lab.Backend.Run(soon(t), "sh", "-c", script); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(list(t, lab.Backend), list(t, lab.Gateway)); d != "" {
				t.Errorf("-nft and ip  +installed:\n%s", d)
			}
		})
	}
}

// list is what the tools say about our part of a kernel.
func list(t *testing.T, ns *nettest.Namespace) string {
	t.Helper()
	out, err := ns.Run(soon(t), "sh", "-c", `nft list table inet inside
		for f in -4 -6; do ip $f rule; ip $f route show table 2600 2>/dev/null || true; done`)
	if err != nil {
		t.Fatal(err)
	}
	return withoutCounts(out)
}

// withoutCounts drops what differs between namespaces and moments: counters,
// whether an interface is there, and who made a route.
func withoutCounts(listing string) string {
	return regexp.MustCompile(`packets \d+ bytes \d+| \[detached\]| proto static`).ReplaceAllString(listing, "")
}

func TestAConfigThatCannotWorkIsRefusedWithTheWayOut(t *testing.T) {
	for want, change := range map[string]func(*Config){
		"no interfaces":                      func(c *Config) { c.Interfaces = nil },
		`interface "": give the exact name`:  func(c *Config) { c.Interfaces = []string{""} },
		`interface "lo"`:                     func(c *Config) { c.Interfaces = []string{"lo"} },
		`interface "eth*"`:                   func(c *Config) { c.Interfaces = []string{"eth*"} },
		`interface "sixteen-letters-"`:       func(c *Config) { c.Interfaces = []string{"sixteen-letters-"} },
		"no protected prefixes":              func(c *Config) { c.Protect = nil },
		"protected prefix 10.30.0.1/24":      func(c *Config) { c.Protect[0] = netip.MustParsePrefix("10.30.0.1/24") },
		"protected prefix ::ffff:10.0.0.0/8": func(c *Config) { c.Protect[0] = netip.PrefixFrom(netip.MustParseAddr("::ffff:10.0.0.0"), 8) },
		"protected prefix invalid Prefix":    func(c *Config) { c.Protect[0] = netip.Prefix{} },
		"prefix 10.30.0.0/30 cannot be observed: 10.30.0.0/24 is protected": func(c *Config) { c.Observe = []netip.Prefix{netip.MustParsePrefix("10.30.0.0/30")} },
		`other = ""`:                      func(c *Config) { c.Other = "" },
		`source = "server"`:               func(c *Config) { c.Source = "server" },
		`entry "SSH"`:                     func(c *Config) { c.Entries[0].Name = "SSH" },
		"entry ssh: no port to listen on": func(c *Config) { c.Entries[0].Listen = 0 },
		"entry ssh: 0 is no port":         func(c *Config) { c.Entries[0].Ports = []uint16{0} },
		"no entry has a port":             func(c *Config) { c.Entries[0].Ports = nil },
		"port 22 belongs to both ssh and rdp": func(c *Config) {
			c.Entries = append(c.Entries, Entry{Name: "rdp", Ports: []uint16{22}, Listen: 7389})
		},
		"entries ssh and rdp both listen on port 7022": func(c *Config) {
			c.Entries = append(c.Entries, Entry{Name: "rdp", Ports: []uint16{3389}, Listen: 7022})
		},
	} {
		c := config()
		change(&c)
		if _, err := Desired(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want an error with %q, got %v", want, err)
		}
	}
}
