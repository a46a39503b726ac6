package config

import (
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const shipped = "../../packaging/conf/inside.toml"

// least is a file that says what it must and nothing else.
const least = `[intercept]
interfaces = ["tailscale0", "eth1"]
protect = ["10.30.0.0/16"]
other = "forward"
`

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "inside.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func load(t *testing.T, path string) Config {
	t.Helper()
	c, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

var comparePrefixes = cmp.Comparer(func(x, y netip.Prefix) bool { return x == y })

func TestDefaults(t *testing.T) {
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	want := Config{
		Gate: Gate{Name: host},
		Intercept: &Intercept{
			Interfaces: []string{"tailscale0", "eth1"},
			Protect:    []netip.Prefix{netip.MustParsePrefix("10.30.0.0/16")},
			SSHPorts:   []uint16{22},
			RDPPorts:   []uint16{3389},
			Other:      "forward",
			Source:     "gateway",
			OnStop:     "block",
		},
		Paths:      Paths{State: "/var/lib/inside", Run: "/run/inside"},
		Recordings: Recordings{Keep: "90d", MinFree: 0.05},
		API:        API{Listen: "127.0.0.1:5000", Names: []string{}},
		Upgrade:    Upgrade{MaxDrain: "12h"},
	}
	if diff := cmp.Diff(want, load(t, write(t, least)), comparePrefixes); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestTheShippedFileSaysTheDefaults(t *testing.T) {
	if diff := cmp.Diff(load(t, write(t, least)), load(t, shipped), comparePrefixes); diff != "" {
		t.Errorf("(-defaults +shipped):\n%s", diff)
	}
}

func TestTheShippedFileHasEveryKey(t *testing.T) {
	text, err := os.ReadFile(shipped)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	table := ""
	for _, line := range strings.Split(string(text), "\n") {
		if m := regexp.MustCompile(`^\[(\w+)\]$`).FindStringSubmatch(line); m != nil {
			table = m[1]
		}
		if m := regexp.MustCompile(`^#?(\w+) = `).FindStringSubmatch(line); m != nil {
			found = append(found, table+"."+m[1])
		}
	}
	if diff := cmp.Diff(keys, found); diff != "" {
		t.Errorf("(-keys +shipped):\n%s", diff)
	}
}

func TestWithoutInterceptItIsATower(t *testing.T) {
	c := load(t, write(t, "[gate]\nname = \"tower\"\n"))
	if c.Intercept != nil || c.Gate.Name != "tower" {
		t.Errorf("%+v", c)
	}
}

func TestEveryKeyIsRead(t *testing.T) {
	c := load(t, write(t, `
gate.name = "gate-1"
store = { url = "postgres://inside:p%40ss@db/inside" }
[intercept]
interfaces = ["wg0"]
protect = ["10.0.0.0/8", "fd00::/8", "192.0.2.7"]
ssh_ports = [22, 2222]
rdp_ports = []
other = "drop"
source = "client"
on_stop = "open"
warn = ["192.0.2.8"]
observe = ["198.51.100.0/24", "2001:db8::/32"]
[identity]
tailscale = true
[paths]
state = "/srv/inside"
run = "/tmp/inside"
[recordings]
keep = "2w"
min_free = "12.5%"
[api]
listen = ""
names = ["inside.example.com"]
[alerts]
webhook = "https://hooks.example/services/x"
webhook_token_file = "/etc/inside/webhook.token"
[upgrade]
max_drain = "1h30m"
`))
	want := Config{
		Gate: Gate{Name: "gate-1"},
		Intercept: &Intercept{
			Interfaces: []string{"wg0"},
			Protect:    []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8"), netip.MustParsePrefix("192.0.2.7/32")},
			Warn:       []netip.Prefix{netip.MustParsePrefix("192.0.2.8/32")},
			Observe:    []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("2001:db8::/32")},
			SSHPorts:   []uint16{22, 2222},
			RDPPorts:   []uint16{},
			Other:      "drop",
			Source:     "client",
			OnStop:     "open",
		},
		Identity:   Identity{Tailscale: true},
		Store:      Store{URL: "postgres://inside:p%40ss@db/inside"},
		Paths:      Paths{State: "/srv/inside", Run: "/tmp/inside"},
		Recordings: Recordings{Keep: "2w", MinFree: 0.125},
		API:        API{Names: []string{"inside.example.com"}},
		Alerts:     Alerts{Webhook: "https://hooks.example/services/x", WebhookTokenFile: "/etc/inside/webhook.token"},
		Upgrade:    Upgrade{MaxDrain: "1h30m"},
	}
	if diff := cmp.Diff(want, c, comparePrefixes); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestMistakesNameTheLineAndTheWayOut(t *testing.T) {
	intercept := func(line string) string { return least + line + "\n" } // line 5
	for _, c := range []struct{ name, text, want string }{
		{"no TOML", "[gate]\nname = gate-1\n", ":2:8: not TOML: "},
		{"an open quote", "[gate]\nname = \"x\n", ":2:"},
		{"a key twice", "[gate]\nname = \"a\"\nname = \"b\"\n", "not TOML: "},
		{"a table twice", "[gate]\n[gate]\n", "not TOML: "},
		{"not UTF-8", "[gate]\nname = \"\xff\"\n", ":2:9: not TOML: "},

		{"unknown key", intercept(`ssh_port = [22]`), `:5: unknown key "intercept.ssh_port": did you mean intercept.ssh_ports?`},
		{"unknown key, spelled otherwise", intercept(`sshports = [22]`), `:5: unknown key "intercept.sshports": did you mean intercept.ssh_ports?`},
		{"key of another table", "[gate]\nlisten = \"\"\n", `:2: unknown key "gate.listen": did you mean api.listen?`},
		{"key without a table", "listen = \"\"\n", `:1: unknown key "listen": did you mean api.listen?`},
		{"unknown table", "[gate]\n\n[recording]\nkeep = \"90d\"\n", `:3: unknown key "recording": did you mean [recordings]?`},
		{"list of tables", "[[gate]]\nname = \"x\"\n", `:1: gate must be a table: write [gate] on a line of its own, and its keys under it`},
		{"value for a table", "intercept = true\n", `:1: intercept must be a table`},
		{"unknown key in a table on one line", "\ngate = { nam = \"x\" }\n", `:2: unknown key "gate.nam": did you mean gate.name?`},
		{"unknown dotted key", "[intercept]\nother.default = 1\n", `:2: intercept.other must be a text in quotes`},

		{"identity, in quotes", "[identity]\ntailscale = \"yes\"\n", `:2: identity.tailscale must be true or false, without quotes`},
		{"identity, a number", "[identity]\ntailscale = 1\n", `:2: identity.tailscale must be true or false, without quotes`},

		{"gate name", "[gate]\nname = \"my gate\"\n", `:2: gate.name: ' ' (U+0020) in the name "my gate" cannot be used: use letters`},
		{"gate name, empty", "[gate]\nname = \"\"\n", `:2: gate.name: the name is empty`},
		{"gate name, a number", "[gate]\nname = 1\n", `:2: gate.name must be a text in quotes`},

		{"interfaces missing", "[gate]\n\n[intercept]\nprotect = [\"10.0.0.0/8\"]\nother = \"drop\"\n", `:3: intercept.interfaces is missing: name the interfaces that people come from`},
		{"protect missing", "[intercept]\ninterfaces = [\"eth0\"]\nother = \"drop\"\n", `:1: intercept.protect is missing: name the networks behind the gate`},
		{"other missing", "[intercept]\ninterfaces = [\"eth0\"]\nprotect = [\"10.0.0.0/8\"]\n", `:1: intercept.other is missing: choose "forward" (what people send to protected addresses on other ports than those of ssh and rdp passes as if there were no gate) or "drop" (it is refused)`},
		{"other", strings.Replace(least, `"forward"`, `"pass"`, 1), `:4: intercept.other: "pass" is not one of its choices: write "forward" or "drop"`},
		{"source", intercept(`source = "server"`), `:5: intercept.source: "server" is not one of its choices: write "gateway" or "client"`},
		{"on_stop", intercept(`on_stop = ""`), `:5: intercept.on_stop: "" is not one of its choices: write "block" or "open"`},
		{"no interfaces", strings.Replace(least, `"tailscale0", "eth1"`, ``, 1), `:2: intercept.interfaces: the list is empty: name the interfaces that people come from, or leave out [intercept] for a tower`},
		{"interface, not a list", strings.Replace(least, `["tailscale0", "eth1"]`, `"eth1"`, 1), `:2: intercept.interfaces must be a list of texts, such as ["a", "b"]`},
		{"interface, a number", strings.Replace(least, `"eth1"`, `1`, 1), `:2: intercept.interfaces must be a list of texts`},
		{"interface name", strings.Replace(least, `"eth1"`, `"eth 1"`, 1), "`ip link` lists them"},
		{"interface name, too long", strings.Replace(least, `"eth1"`, `"sixteen-letters-"`, 1), `"sixteen-letters-" is no name of a network interface`},
		{"loopback interface", strings.Replace(least, `"eth1"`, `"lo"`, 1), `:2: intercept.interfaces: nobody comes from lo, the loopback interface: leave it out`},
		{"interface twice", strings.Replace(least, `"eth1"`, `"tailscale0"`, 1), `"tailscale0" is named twice: leave out one`},
		{"no prefixes", strings.Replace(least, `"10.30.0.0/16"`, ``, 1), `:3: intercept.protect: the list is empty`},
		{"prefix", strings.Replace(least, `10.30.0.0/16`, `10.30.0.0/33`, 1), `:3: intercept.protect: "10.30.0.0/33": the length after the slash must be from 0 to 32`},
		{"prefix with host bits", strings.Replace(least, `10.30.0.0/16`, `10.30.0.1/16`, 1), `:3: intercept.protect: 10.30.0.1/16 has bits beyond its length: write 10.30.0.0/16`},
		{"no prefixes in any mode", strings.Replace(least, `"10.30.0.0/16"`, ``, 1) + "warn = []\nobserve = []\n", `:3: intercept.protect: the list is empty`},
		{"two modes", intercept(`observe = ["10.30.7.0/24"]`), `:5: intercept.observe and protect share addresses, 10.30.7.0/24 and 10.30.0.0/16: a network has one mode, leave it out of one of them`},
		{"two other modes", intercept("warn = [\"10.40.0.0/16\"]\nobserve = [\"10.0.0.0/8\"]"), `:6: intercept.observe and warn share addresses, 10.0.0.0/8 and 10.40.0.0/16`},
		{"port 0", intercept(`ssh_ports = [0]`), `:5: intercept.ssh_ports cannot hold 0: ports are from 1 to 65535`},
		{"port 65536", intercept(`rdp_ports = [65536]`), `:5: intercept.rdp_ports cannot hold 65536: ports are from 1 to 65535`},
		{"port twice", intercept(`ssh_ports = [22, 22]`), `:5: intercept.ssh_ports holds 22 twice: leave out one`},
		{"port, not a list", intercept(`ssh_ports = 22`), `:5: intercept.ssh_ports must be a list of ports: write [22]`},
		{"port, a text", intercept(`rdp_ports = ["3389"]`), `:5: intercept.rdp_ports must be a list of numbers without quotes: write [3389]`},
		{"port of both", intercept(`rdp_ports = [22]`), `:5: intercept.rdp_ports holds 22, as ssh_ports does: a port has one protocol, leave it out of one of them`},
		{"no ports", least + "ssh_ports = []\nrdp_ports = []\n", `:1: intercept has no ports, so that nothing is let in`},

		{"store URL of another kind", "[store]\nurl = \"mysql://u:geheim@h/d\"\n", `:2: store.url: only PostgreSQL has a URL: write postgres://user@host/database, or "" for the embedded SQLite`},
		{"store URL that is none", "[store]\nurl = \"postgres://u:geh%eim@h/d\"\n", `:2: store.url: it is not a URL: write postgres://user@host/database, percent-encode`},
		{"path", "[paths]\nstate = \"var/lib\"\n", `:2: paths.state: "var/lib" is not an absolute path: begin it with a slash`},
		{"path, empty", "[paths]\n\nrun = \"\"\n", `:3: paths.run: "" is not an absolute path`},
		{"path with a NUL", "[paths]\nrun = \"/run\\u0000\"\n", `:2: paths.run: "/run\x00" is not an absolute path`},
		{"keep", "[recordings]\nkeep = \"90\"\n", `:2: recordings.keep: "90" is not a duration: it takes whole numbers, each with its unit, write for example 8h, 1h30m, 14d or 1w, or forever`},
		{"keep, nothing", "[recordings]\nkeep = \"0d\"\n", `:2: recordings.keep: "0d" is not a duration: it must be longer than nothing`},
		{"min_free", "[recordings]\nmin_free = \"5\"\n", `:2: recordings.min_free: "5" is not a share of the disk: write a percentage under 100, such as 5%`},
		{"min_free, a number", "[recordings]\nmin_free = 5\n", `:2: recordings.min_free must be a text in quotes`},
		{"min_free, all", "[recordings]\nmin_free = \"100%\"\n", `"100%" is not a share of the disk`},
		{"min_free, negative", "[recordings]\nmin_free = \"-1%\"\n", `"-1%" is not a share of the disk`},
		{"max_drain", "[upgrade]\nmax_drain = \"forever\"\n", `:2: upgrade.max_drain: "forever" is not a duration`},
		{"min_free, not a number", "[recordings]\nmin_free = \"NaN%\"\n", `"NaN%" is not a share of the disk`},
		{"webhook", "[alerts]\nwebhook = \"hooks.example\"\n", `:2: alerts.webhook: it is not a URL: write https://host/path`},
		{"webhook in the clear", "[alerts]\nwebhook = \"http://hooks.example/geheim\"\n", `:2: alerts.webhook: alerts say who is where, so they are not sent in the clear`},
		{"webhook in the clear to localhost", "[alerts]\nwebhook = \"http://localhost/x\"\n", `not sent in the clear`},
		{"webhook with a password", "[alerts]\nwebhook = \"https://me:geheim@hooks.example/x\"\n", `it has a user or password in it: put a token into a file`},
		{"webhook with a fragment", "[alerts]\nwebhook = \"https://hooks.example/x#geheim\"\n", `it has a part after #`},
		{"webhook by ftp", "[alerts]\nwebhook = \"ftp://hooks.example/geheim\"\n", `it is neither https:// nor http:// to 127.0.0.1`},
		{"webhook with a line in it", "[alerts]\nwebhook = \"https://hooks.example/\\ngeheim\"\n", `it is not a URL`},
		{"a token without a webhook", "[alerts]\nwebhook_token_file = \"/etc/inside/token\"\n", `:2: alerts.webhook_token_file is for a webhook, and there is none`},
		{"a token file without a path", "[alerts]\nwebhook = \"https://h/x\"\nwebhook_token_file = \"token\"\n", `:3: alerts.webhook_token_file: "token" is not an absolute path`},
		{"name of the api with a port", "[api]\nnames = [\"inside.example.com:443\"]\n", `:2: api.names: "inside.example.com:443" is no host name: write it without scheme, port and path, such as inside.example.com`},
		{"name of the api, empty", "[api]\nnames = [\"\"]\n", `:2: api.names: "" is no host name`},
		{"name of the api twice", "[api]\nnames = [\"a\", \"a\"]\n", `:2: api.names: "a" is named twice: leave out one`},
		{"listen everywhere", "[api]\nlisten = \"0.0.0.0:5000\"\n", `:2: api.listen: 0.0.0.0:5000 can be reached from outside: listen on 127.0.0.1 or [::1] and put a reverse proxy with TLS in front`},
		{"listen on a name", "[api]\nlisten = \"localhost:5000\"\n", `:2: api.listen: "localhost:5000" is not an address with a port: write 127.0.0.1:5000, [::1]:5000 or "" for the socket only`},
		{"listen without a port", "[api]\nlisten = \"127.0.0.1:0\"\n", `"127.0.0.1:0" is not an address with a port`},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := write(t, c.text)
			got, err := Load(path)
			if err == nil {
				t.Fatalf("read as %+v, want an error with %s", got, c.want)
			}
			line := ""
			for _, l := range strings.Split(err.Error(), "\n") {
				if strings.HasPrefix(l, path) && strings.Contains(l, c.want) {
					line = l
				}
			}
			if line == "" {
				t.Errorf("error %s\nwant %s%s", err, path, c.want)
			}
			if strings.Contains(err.Error(), "geh") {
				t.Errorf("the error repeats a password: %s", err)
			}
			if diff := cmp.Diff(Config{}, got); diff != "" {
				t.Errorf("an error and a config: %s", diff)
			}
		})
	}
}

func TestANetworkMayBeInAnyMode(t *testing.T) {
	for _, key := range []string{"protect", "warn", "observe"} {
		c := load(t, write(t, strings.Replace(least, "protect", key, 1)))
		if n := len(c.Intercept.Protect) + len(c.Intercept.Warn) + len(c.Intercept.Observe); n != 1 {
			t.Errorf("%s: %+v", key, c.Intercept)
		}
	}
}

func TestAllMistakesAreNamedInOrder(t *testing.T) {
	path := write(t, "[gate]\nnme = \"x\"\n[intercept]\nother = \"x\"\n[api]\nlisten = \"x\"\n")
	_, err := Load(path)
	if err == nil {
		t.Fatal("no error")
	}
	var lines []string
	for _, l := range strings.Split(strings.ReplaceAll(err.Error(), path, ""), "\n") {
		lines = append(lines, strings.SplitN(l, ":", 3)[1])
	}
	if got := strings.Join(lines, " "); got != "2 3 3 4 6" {
		t.Errorf("lines %s, want 2 3 3 4 6:\n%v", got, err)
	}
}

func TestAFileThatIsNone(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "none.toml")
	if _, err := Load(missing); err == nil || !strings.Contains(err.Error(), missing) || !strings.Contains(err.Error(), "--config") {
		t.Errorf("missing: %v", err)
	}
	if _, err := Load(t.TempDir()); err == nil {
		t.Error("a folder was read")
	}
	if _, err := Load("/dev/zero"); err == nil || !strings.Contains(err.Error(), "larger than 64 KiB") {
		t.Errorf("endless: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	text, err := os.ReadFile(shipped)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(least))
	f.Add([]byte("gate.name = 1\n[intercept]\nother.x = {}\n[[api]]\n\"a.b\" = '''\n'''\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if len(text) > maxSize {
			return
		}
		c, err := Parse("inside.toml", text)
		if err != nil {
			for _, line := range strings.Split(err.Error(), "\n") {
				if !strings.HasPrefix(line, "inside.toml") {
					t.Fatalf("%q: an error without its place: %s", text, err)
				}
			}
			return
		}
		if i := c.Intercept; i != nil && (len(i.Interfaces) == 0 || len(i.Protect)+len(i.Warn)+len(i.Observe) == 0 || len(i.SSHPorts)+len(i.RDPPorts) == 0 ||
			i.Other != "forward" && i.Other != "drop" || i.Source == "" || i.OnStop == "") {
			t.Fatalf("%q was read as %+v", text, i)
		}
		if !filepath.IsAbs(c.Paths.State) || !filepath.IsAbs(c.Paths.Run) || c.Gate.Name == "" || c.Recordings.MinFree < 0 || c.Recordings.MinFree >= 1 {
			t.Fatalf("%q was read as %+v", text, c)
		}
	})
}

// Each part of a key would be noted with all that go before it.
func TestAKeyOfThousandsOfPartsCostsNothing(t *testing.T) {
	text := []byte(strings.Repeat("a.", 20_000) + "a = 1\n")
	n := testing.AllocsPerRun(1, func() {
		d := &document{lines: map[string]int{}}
		d.findLines(text)
		if len(d.lines) > 2 {
			t.Errorf("%d lines noted", len(d.lines))
		}
	})
	if n > 100 {
		t.Errorf("%v allocations", n)
	}
}
