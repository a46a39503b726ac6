// Package config reads inside.toml, strictly: an unknown key or a value that
// cannot work is an error that names the line and the way out. It checks what
// can be checked by looking at the file alone; whether an interface exists or
// the database answers, its users find out. The daemon and its --check-config
// call it.
package config

import (
	"net/netip"
	"os"

	"github.com/pawelmojski/inside/policy"
)

// A Config is the whole file, defaults filled in.
type Config struct {
	Gate       Gate
	Intercept  *Intercept // nil: this box is a tower
	Identity   Identity
	Store      Store
	Paths      Paths
	Recordings Recordings
	API        API
	Alerts     Alerts
	Upgrade    Upgrade
}

// Gate is [gate].
type Gate struct {
	Name string
}

// Intercept is [intercept].
type Intercept struct {
	Interfaces []string
	Protect    []netip.Prefix // who has no grant is denied
	Warn       []netip.Prefix // carried and recorded, but nobody is denied for want of a grant
	Observe    []netip.Prefix // passes untouched, and is looked at from aside
	SSHPorts   []uint16
	RDPPorts   []uint16
	Other      string // "forward" or "drop"
	Source     string // "gateway" or "client"
	OnStop     string // "block" or "open"
}

// Identity is [identity].
type Identity struct {
	Tailscale bool // tailscaled is asked who comes
}

// Store is [store].
type Store struct {
	URL string // "" is embedded SQLite in Paths.State
}

// Paths is [paths].
type Paths struct {
	State string
	Run   string
}

// Recordings is [recordings].
type Recordings struct {
	Keep    string  // duration text, "90d", or Forever
	MinFree float64 // share of the disk, 0.05 is "5%"
}

// API is [api].
type API struct {
	Listen string
	Names  []string // hosts that requests to it may name, of reverse proxies
}

// Alerts is [alerts].
type Alerts struct {
	Webhook          string // "": nobody is told; may hold a secret
	WebhookTokenFile string
}

// Upgrade is [upgrade].
type Upgrade struct {
	MaxDrain string // duration text, "12h": how long the version before may carry who is inside
}

// keys are all keys there are.
var keys = []string{
	"gate.name",
	"intercept.interfaces", "intercept.protect", "intercept.warn", "intercept.observe", "intercept.ssh_ports", "intercept.rdp_ports",
	"intercept.other", "intercept.source", "intercept.on_stop",
	"identity.tailscale",
	"store.url",
	"paths.state", "paths.run",
	"recordings.keep", "recordings.min_free",
	"api.listen", "api.names",
	"alerts.webhook", "alerts.webhook_token_file",
	"upgrade.max_drain",
}

// Load reads and checks a file. Its error names every mistake, one on a line,
// each as FILE:LINE: what is wrong: what to do.
func Load(path string) (Config, error) {
	text, err := read(path)
	if err != nil {
		return Config{}, err
	}
	return Parse(path, text)
}

// Parse is Load of a text that is to be that file.
func Parse(path string, text []byte) (Config, error) {
	d, err := newDocument(path, text)
	if err != nil {
		return Config{}, err
	}
	d.refuseUnknown()
	c := Config{
		Gate:     Gate{Name: d.gateName()},
		Identity: Identity{Tailscale: d.flag("identity.tailscale")},
		Store: Store{
			URL: value(d, "store.url", "", checkStoreURL),
		},
		Paths: Paths{
			State: value(d, "paths.state", "/var/lib/inside", checkAbsolute),
			Run:   value(d, "paths.run", "/run/inside", checkAbsolute),
		},
		Recordings: Recordings{
			Keep: value(d, "recordings.keep", "90d", checkKeep),
		},
		API: API{
			Listen: value(d, "api.listen", "127.0.0.1:5000", checkListen),
			Names:  value(d, "api.names", []string{}, checkHosts),
		},
		Upgrade: Upgrade{
			MaxDrain: value(d, "upgrade.max_drain", "12h", checkDuration),
		},
	}
	c.Alerts = d.alerts()
	c.Recordings.MinFree, _ = parseShare(value(d, "recordings.min_free", "5%", checkShare))
	if _, isTable := d.root["intercept"].(map[string]any); isTable {
		c.Intercept = d.intercept()
	}
	if err := d.err(); err != nil {
		return Config{}, err
	}
	return c, nil
}

func (d *document) gateName() string {
	if d.has("gate.name") {
		return value(d, "gate.name", "", policy.CheckName)
	}
	name, err := os.Hostname()
	if err == nil {
		err = policy.CheckName(name)
	}
	if err != nil {
		d.fail("gate.name", " is missing, and the host name cannot be it (%v): give the gate a name", err)
	}
	return name
}

func (d *document) intercept() *Intercept {
	i := &Intercept{
		Interfaces: value(d, "intercept.interfaces", nil, checkInterfaces),
		SSHPorts:   d.ports("intercept.ssh_ports", 22),
		RDPPorts:   d.ports("intercept.rdp_ports", 3389),
		Other:      value(d, "intercept.other", "", oneOf("forward", "drop")),
		Source:     value(d, "intercept.source", "gateway", oneOf("gateway", "client")),
		OnStop:     value(d, "intercept.on_stop", "block", oneOf("block", "open")),
	}
	i.Protect, i.Warn, i.Observe = d.prefixes("intercept.protect"), d.prefixes("intercept.warn"), d.prefixes("intercept.observe")
	d.checkModes(i)
	d.need("intercept.interfaces", `name the interfaces that people come from, such as ["tailscale0", "eth1"]`)
	d.need("intercept.other", `choose "forward" (what people send to protected addresses on other ports than those of ssh and rdp passes as if there were no gate) or "drop" (it is refused)`)
	d.checkPorts(i)
	return i
}
