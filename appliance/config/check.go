package config

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/pawelmojski/inside/policy"
)

// The checks say what is wrong with a value; the key stands before it.

func oneOf(choices ...string) func(string) error {
	return func(v string) error {
		if slices.Contains(choices, v) {
			return nil
		}
		quoted := make([]string, len(choices))
		for i, c := range choices {
			quoted[i] = strconv.Quote(c)
		}
		return fmt.Errorf("%.40q is not one of its choices: write %s", v, strings.Join(quoted, " or "))
	}
}

// checkInterfaces refuses what the kernel would not take for an interface's
// name (dev_valid_name in net/core/dev.c) or what people do not come from.
func checkInterfaces(names []string) error {
	if len(names) == 0 {
		return errors.New(`the list is empty: name the interfaces that people come from, or leave out [intercept] for a tower`)
	}
	for i, name := range names {
		switch {
		case name == "" || len(name) > 15 || name == "." || name == ".." || strings.ContainsFunc(name, notInInterfaceName):
			return fmt.Errorf("%.40q is no name of a network interface: `ip link` lists them", name)
		case name == "lo":
			return errors.New("nobody comes from lo, the loopback interface: leave it out")
		case slices.Contains(names[:i], name):
			return fmt.Errorf("%q is named twice: leave out one", name)
		}
	}
	return nil
}

func notInInterfaceName(r rune) bool {
	return r <= ' ' || r > '~' || strings.ContainsRune(`/:"\*`, r)
}

func checkPrefixes(prefixes []string) error {
	for _, p := range prefixes {
		if _, err := policy.ParsePrefix(p); err != nil {
			return err
		}
	}
	return nil
}

// prefixes returns those of a key.
func (d *document) prefixes(key string) (prefixes []netip.Prefix) {
	for _, text := range value(d, key, nil, checkPrefixes) {
		if p, err := policy.ParsePrefix(text); err == nil {
			prefixes = append(prefixes, p)
		}
	}
	return prefixes
}

// checkModes looks at the three lists of networks together.
func (d *document) checkModes(i *Intercept) {
	type list struct {
		key      string
		prefixes []netip.Prefix
	}
	lists := []list{{"protect", i.Protect}, {"warn", i.Warn}, {"observe", i.Observe}}
	for n, later := range lists {
		for _, earlier := range lists[:n] {
			for _, p := range later.prefixes {
				if at := slices.IndexFunc(earlier.prefixes, p.Overlaps); at >= 0 {
					d.fail("intercept."+later.key, " and %s share addresses, %s and %s: a network has one mode, leave it out of one of them", earlier.key, p, earlier.prefixes[at])
				}
			}
		}
	}
	named := func(l list) bool {
		found, there := d.find("intercept." + l.key)
		texts, isList := found.([]any)
		return there && (!isList || len(texts) > 0)
	}
	switch {
	case slices.ContainsFunc(lists, named):
	case d.has("intercept.protect"):
		d.fail("intercept.protect", `: the list is empty: name the networks behind the gate, or leave out [intercept] for a tower`)
	default:
		d.need("intercept.protect", `name the networks behind the gate, such as ["10.30.0.0/16"]`)
	}
}

// checkStoreURL never repeats the URL, which may hold a password.
func checkStoreURL(v string) error {
	if v == "" {
		return nil
	}
	u, err := url.Parse(v)
	if err != nil {
		return errors.New("it is not a URL: write postgres://user@host/database, percent-encode special characters in a password")
	}
	if u.Scheme != "postgres" && u.Scheme != "postgresql" {
		return errors.New(`only PostgreSQL has a URL: write postgres://user@host/database, or "" for the embedded SQLite`)
	}
	return nil
}

func checkAbsolute(v string) error {
	if !filepath.IsAbs(v) || strings.ContainsRune(v, 0) {
		return fmt.Errorf("%.80q is not an absolute path: begin it with a slash", v)
	}
	return nil
}

// Forever is the recordings.keep that keeps them all.
const Forever = "forever"

func checkKeep(v string) error {
	if v == Forever {
		return nil
	}
	if _, err := policy.ParseDuration(v); err != nil {
		return fmt.Errorf("%w, or %s", err, Forever)
	}
	return nil
}

func checkDuration(v string) error {
	_, err := policy.ParseDuration(v)
	return err
}

// checkHosts takes the host names of reverse proxies, as a browser sends them:
// without scheme, port and path.
func checkHosts(names []string) error {
	for i, name := range names {
		switch {
		case name == "" || len(name) > 253 || strings.Trim(strings.ToLower(name), "abcdefghijklmnopqrstuvwxyz0123456789.-") != "":
			return fmt.Errorf("%.80q is no host name: write it without scheme, port and path, such as inside.example.com", name)
		case slices.Contains(names[:i], name):
			return fmt.Errorf("%q is named twice: leave out one", name)
		}
	}
	return nil
}

// checkListen takes loopback addresses only: who has a token for the API has
// the whole house, and it speaks plain HTTP.
func checkListen(v string) error {
	if v == "" {
		return nil
	}
	a, err := netip.ParseAddrPort(v)
	if err != nil || a.Port() == 0 {
		return fmt.Errorf(`%.80q is not an address with a port: write 127.0.0.1:5000, [::1]:5000 or "" for the socket only`, v)
	}
	if !a.Addr().Unmap().IsLoopback() || a.Addr().Zone() != "" {
		return fmt.Errorf("%s can be reached from outside: listen on 127.0.0.1 or [::1] and put a reverse proxy with TLS in front", a)
	}
	return nil
}

func checkShare(v string) error {
	_, err := parseShare(v)
	return err
}

// parseShare reads a share of the disk, "5%".
func parseShare(v string) (float64, error) {
	number, ok := strings.CutSuffix(v, "%")
	plain := strings.Trim(number, "0123456789.") == "" // no sign, exponent, Inf
	percent, err := strconv.ParseFloat(number, 64)
	if !ok || !plain || err != nil || percent >= 100 {
		return 0, fmt.Errorf("%.40q is not a share of the disk: write a percentage under 100, such as 5%%", v)
	}
	return percent / 100, nil
}

// ports returns the ports of a key, or the usual one when the file does not
// say.
func (d *document) ports(key string, usual uint16) []uint16 {
	found, ok := d.find(key)
	if !ok {
		return []uint16{usual}
	}
	list, ok := found.([]any)
	if !ok {
		d.fail(key, " must be a list of ports: write [%d]", usual)
		return nil
	}
	ports := []uint16{}
	for _, e := range list {
		n, isNumber := e.(int64)
		switch {
		case !isNumber:
			d.fail(key, " must be a list of numbers without quotes: write [%d]", usual)
			return nil
		case n < 1 || n > 65535:
			d.fail(key, " cannot hold %d: ports are from 1 to 65535", n)
		case slices.Contains(ports, uint16(n)):
			d.fail(key, " holds %d twice: leave out one", n)
		default:
			ports = append(ports, uint16(n))
		}
	}
	return ports
}

// checkPorts looks at both lists together.
func (d *document) checkPorts(i *Intercept) {
	for _, p := range i.RDPPorts {
		if slices.Contains(i.SSHPorts, p) {
			d.fail("intercept.rdp_ports", " holds %d, as ssh_ports does: a port has one protocol, leave it out of one of them", p)
		}
	}
	if len(i.SSHPorts) == 0 && len(i.RDPPorts) == 0 {
		d.fail("intercept", " has no ports, so that nothing is let in: give ssh_ports or rdp_ports one, or leave out [intercept] for a tower")
	}
}

func (d *document) alerts() Alerts {
	a := Alerts{
		Webhook:          value(d, "alerts.webhook", "", checkWebhook),
		WebhookTokenFile: value(d, "alerts.webhook_token_file", "", checkOptionalPath),
	}
	if a.WebhookTokenFile != "" && a.Webhook == "" {
		d.fail("alerts.webhook_token_file", " is for a webhook, and there is none: give alerts.webhook, or leave this out")
	}
	return a
}

// checkWebhook never repeats the URL: many have a secret in their path.
func checkWebhook(v string) error {
	if v == "" {
		return nil
	}
	u, err := url.Parse(v)
	switch {
	case err != nil || u.Host == "" || strings.ContainsFunc(v, func(r rune) bool { return r <= ' ' || r > '~' }):
		return errors.New("it is not a URL: write https://host/path")
	case u.User != nil:
		return errors.New("it has a user or password in it: put a token into a file and name it as alerts.webhook_token_file")
	case u.Fragment != "":
		return errors.New("it has a part after #, which is never sent: leave it out")
	case u.Scheme == "https":
		return nil
	case u.Scheme == "http":
		if a, err := netip.ParseAddr(u.Hostname()); err == nil && a.IsLoopback() {
			return nil
		}
		return errors.New("alerts say who is where, so they are not sent in the clear: write https:// (http:// is for 127.0.0.1 and [::1])")
	}
	return errors.New("it is neither https:// nor http:// to 127.0.0.1: write https://host/path")
}

func checkOptionalPath(v string) error {
	if v == "" {
		return nil
	}
	return checkAbsolute(v)
}
