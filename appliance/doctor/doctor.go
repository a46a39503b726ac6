// Package doctor judges what keeps people from getting in, or lets them past
// the gate: the surroundings of the gate, which other programs and admins
// change. It looks at nothing itself: the appliance collects the facts, and
// cmd/inside those that only it can see; a judgement is a check with the
// command that makes it well.
package doctor

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/pawelmojski/inside/appliance/api"
	"github.com/pawelmojski/inside/appliance/tailscale"
	"github.com/pawelmojski/inside/netfilter"
)

// Facts are what was seen. An error among them stands for what could not be
// looked at.
type Facts struct {
	Gate     *Gate     // nil on a tower
	Identity *Identity // nil: no network is asked who comes
	Free     float64
	Share    float64
	MinFree  float64 // share that must stay free
	NoRoom   error   // why nothing can be recorded
	Database Database
	Servers  []Server // those that were dialled
	Skipped  int      // servers that are whole networks, and cannot be
	Zones    []Zone
}

// A Gate is what a box that intercepts has around it.
type Gate struct {
	Interfaces []string
	Protect    []netip.Prefix // Warn among them
	Warn       []netip.Prefix
	Observe    []netip.Prefix
	Deaf       error // why nothing is learned of those
	RDP        bool
	Forward    bool // other = "forward"

	Rules     error
	Doors     error
	Links     []netfilter.Link
	LinksErr  error
	Forwards  map[bool]Answer // by whether it is IPv4's
	Obstacles []netfilter.Obstacle
	Unread    error // why the rules of others could not be read
	MarkLost  []string
	UDPOpen   bool
	Ways      []Way
	Senders   []Sender
	Tailscale bool // tailscaled's socket is there
}

// An Identity is what says who comes from an address of Tailscale's.
type Identity struct {
	Status   tailscale.Status
	Err      error // tailscaled does not answer
	Accounts int   // persons who have one
}

// An Answer is a yes, a no, or why there is none.
type Answer struct {
	Yes bool
	Err error
}

// A Way is where a protected prefix lies.
type Way struct {
	Prefix netip.Prefix
	Host   netip.Addr // one in it
	By     string     // an interface
	Err    error
}

// A Sender is somebody's address, and whether the kernel would deliver what
// comes from there, at an interface of theirs at least.
type Sender struct {
	Person  string
	Address netip.Addr
	Err     error
}

// A Database is where the facts are kept.
type Database struct {
	Name    string // without its secrets
	Err     error
	Latency time.Duration
}

// A Server is a server that was dialled.
type Server struct {
	Name  string
	Tried []string // addresses with ports
	Err   error    // none of them answered
}

// A Zone is a time zone of a schedule.
type Zone struct {
	Name string
	Err  error
}

// Examine judges the facts.
func Examine(f Facts) []api.Check {
	var checks []api.Check
	if g := f.Gate; g == nil {
		checks = append(checks, ok("rules", "not intercepting: this box is a tower"))
	} else {
		checks = append(checks, g.rules(), g.interfaces())
		checks = append(checks, g.modes()...)
		checks = append(checks, g.forwarding()...)
		checks = append(checks, g.routes()...)
		checks = append(checks, g.senders())
		checks = append(checks, g.firewall()...)
		checks = append(checks, g.marks(), g.other(), g.udp(), g.tailscale())
	}
	if f.Identity != nil {
		checks = append(checks, f.Identity.check())
	}
	checks = append(checks, f.disk(), f.database())
	checks = append(checks, f.zones())
	return append(checks, f.servers()...)
}

func ok(name, format string, args ...any) api.Check {
	return api.Check{Name: name, State: api.CheckOK, Text: fmt.Sprintf(format, args...)}
}

func warning(name, hint, format string, args ...any) api.Check {
	return api.Check{Name: name, State: api.CheckWarning, Text: fmt.Sprintf(format, args...), Hint: hint}
}

func failed(name, hint, format string, args ...any) api.Check {
	return api.Check{Name: name, State: api.CheckFailed, Text: fmt.Sprintf(format, args...), Hint: hint}
}

func (g *Gate) rules() api.Check {
	switch {
	case g.Rules != nil && strings.Contains(g.Rules.Error(), "kernel lacks"):
		return failed("rules", "modprobe -a nf_tables nft_tproxy nft_socket nft_fib_inet nft_reject_inet", "%v", g.Rules)
	case g.Rules != nil:
		return failed("rules", "systemctl restart inside", "not in place: %v", g.Rules)
	case g.Doors != nil:
		return failed("rules", "systemctl restart inside", "in place, but connections are not taken: %v", g.Doors)
	}
	return ok("rules", "in place, and the kernel has all it needs for them")
}

func (g *Gate) interfaces() api.Check {
	if g.LinksErr != nil {
		return failed("interfaces", "", "%v", g.LinksErr)
	}
	var missing, down []string
	for _, name := range g.Interfaces {
		i := slices.IndexFunc(g.Links, func(l netfilter.Link) bool { return l.Name == name })
		switch {
		case i < 0:
			missing = append(missing, name)
		case !g.Links[i].Up:
			down = append(down, name)
		}
	}
	var names []string
	for _, l := range g.Links {
		names = append(names, l.Name)
	}
	switch {
	case len(missing) == len(g.Interfaces):
		return failed("interfaces", "ip -br link", "none of %s exists, so nobody comes in: there are %s", strings.Join(missing, ", "), strings.Join(names, ", "))
	case len(missing) > 0:
		return warning("interfaces", "ip -br link", "%s does not exist now, and counts as soon as it does: there are %s", strings.Join(missing, ", "), strings.Join(names, ", "))
	case len(down) > 0:
		return warning("interfaces", "ip link set "+down[0]+" up", "%s is down", strings.Join(down, ", "))
	}
	return ok("interfaces", "%s", strings.Join(g.Interfaces, ", "))
}

// modes remind of the networks that are not closed yet.
func (g *Gate) modes() (checks []api.Check) {
	if len(g.Observe) > 0 {
		checks = append(checks, warning("observed", "inside observe report", "everybody reaches %s past the gate, unrecorded: move it from observe to warn or protect in inside.toml when its servers and grants are known", list(g.Observe)))
	}
	if g.Deaf != nil {
		checks = append(checks, warning("observing", "", "nothing is learned of %s: %v", list(g.Observe), g.Deaf))
	}
	if len(g.Warn) > 0 {
		checks = append(checks, warning("warned", "inside observe report", "nobody is denied at %s: move it from warn to protect in inside.toml when everybody who should get in has a grant", list(g.Warn)))
	}
	return checks
}

func list(prefixes []netip.Prefix) string {
	texts := make([]string, len(prefixes))
	for i, p := range prefixes {
		texts[i] = p.String()
	}
	return strings.Join(texts, ", ")
}

func (g *Gate) forwarding() (checks []api.Check) {
	for _, is4 := range []bool{true, false} {
		a, needed := g.Forwards[is4]
		if !needed {
			continue
		}
		name, key := "forwarding-ipv4", "net.ipv4.ip_forward"
		if !is4 {
			name, key = "forwarding-ipv6", "net.ipv6.conf.all.forwarding"
		}
		hint := fmt.Sprintf("echo '%s = 1' > /etc/sysctl.d/61-inside.conf && sysctl -w %s=1", key, key)
		if !is4 {
			hint = strings.Replace(hint, "61-inside.conf", "61-inside-ipv6.conf", 1)
		}
		switch {
		case a.Err != nil:
			checks = append(checks, warning(name, "sysctl "+key, "%v", a.Err))
		case a.Yes:
			checks = append(checks, ok(name, "on"))
		case g.Forward:
			checks = append(checks, failed(name, hint, `off: sessions are carried, but what other = "forward" lets by goes nowhere`))
		default:
			checks = append(checks, ok(name, `off, and not needed: sessions are carried by the gate, and other = "drop" refuses the rest`))
		}
	}
	return checks
}

func (g *Gate) routes() (checks []api.Check) {
	var fine []string
	for _, w := range g.Ways {
		switch {
		case w.Err != nil:
			checks = append(checks, failed("routes", fmt.Sprintf("ip route add %s via ROUTER", w.Prefix), "%s leads nowhere: %v", w.Prefix, w.Err))
		case slices.Contains(g.Interfaces, w.By):
			checks = append(checks, warning("routes", "ip route get "+w.Host.String(),
				"%s lies behind %s, from where people come: whoever is there reaches it without the gate", w.Prefix, w.By))
		default:
			fine = append(fine, fmt.Sprintf("%s by %s", w.Prefix, w.By))
		}
	}
	if len(checks) == 0 {
		return []api.Check{ok("routes", "%s", strings.Join(fine, ", "))}
	}
	return checks
}

// senders is what rp_filter and routing rules of others do to people. With
// rules that name the interface, src_valid_mark does no harm.
func (g *Gate) senders() api.Check {
	const name = "reverse-path"
	for _, s := range g.Senders {
		if s.Err == nil {
			continue
		}
		hint := "ip rule"
		if strings.Contains(s.Err.Error(), netfilter.ErrForged.Error()) {
			hint = g.looser(s.Address)
		}
		return failed(name, hint, "what %s sends from %s never arrives: %v", s.Person, s.Address, s.Err)
	}
	return ok(name, "the kernel delivers what %d known addresses send; rp_filter and src_valid_mark do no harm", len(g.Senders))
}

// looser is the command that makes the kernel content with any route to a
// sender, whichever interface it leads out by (rp_filter = 2). Names of
// interfaces have dots.
func (g *Gate) looser(sender netip.Addr) string {
	var keys []string
	for _, l := range g.Links {
		if slices.Contains(g.Interfaces, l.Name) {
			keys = append(keys, "net/ipv4/conf/"+l.Name+"/rp_filter=2")
		}
	}
	if !sender.Is4() || len(keys) == 0 {
		return "ip route get " + sender.String() // IPv6 has no such switch
	}
	return fmt.Sprintf("printf '%%s\\n' %[1]s > /etc/sysctl.d/61-inside-rp-filter.conf && sysctl -w %[1]s", strings.Join(keys, " "))
}

func (g *Gate) firewall() (checks []api.Check) {
	const name = "firewall"
	if g.Unread != nil {
		return []api.Check{warning(name, "nft list ruleset", "the rules of others cannot be read: %v", g.Unread)}
	}
	for _, o := range g.Obstacles {
		what := strings.Join(o.What[:min(len(o.What), 3)], ", ")
		if more := len(o.What) - 3; more > 0 {
			what += fmt.Sprintf(" and %d more", more)
		}
		if o.Certain {
			checks = append(checks, failed(name, o.Cure, "%s drops what goes to the gate: %s", o.Chain, what))
		} else {
			checks = append(checks, warning(name, o.Cure, "%s may drop what goes to the gate: %s", o.Chain, what))
		}
	}
	if len(checks) == 0 {
		return []api.Check{ok(name, "no rule of others stops what goes to the gate")}
	}
	return checks
}

func (g *Gate) marks() api.Check {
	if len(g.MarkLost) > 0 {
		return failed("marks", "nft -a list ruleset", "%s takes the mark 0x01000000 off, without which nothing is delivered: let it set its own bits only (meta mark set meta mark or …), or run before priority -140",
			strings.Join(g.MarkLost, ", "))
	}
	return ok("marks", "nobody takes the gate's mark off")
}

// noOther is the command that closes what other = "forward" leaves open.
const noOther = `sed -i 's/^other = "forward"/other = "drop"/' /etc/inside/inside.toml && inside reload`

func (g *Gate) other() api.Check {
	if !g.Forward {
		return ok("other", "what is not on a port of SSH or RDP is refused")
	}
	return warning("other", noOther, `other = "forward": what people send to protected networks on other ports passes without being asked or recorded, an sshd on port 2222 too`)
}

// rdpUDP is the port of RDP over UDP (MS-RDPEUDP).
const rdpUDP = 3389

func (g *Gate) udp() api.Check {
	const name = "udp-3389"
	switch {
	case !g.RDP || !g.UDPOpen:
		return ok(name, "RDP over UDP does not get past the gate")
	}
	var rules []string
	for _, i := range g.Interfaces {
		rules = append(rules, fmt.Sprintf("iifname %q udp dport %d drop;", i, rdpUDP))
	}
	return warning(name, fmt.Sprintf("nft 'table inet no-rdp-udp { chain forward { type filter hook forward priority -5; %s }; }'", strings.Join(rules, " ")),
		"RDP over UDP passes to the protected networks without being asked or recorded")
}

// inKernel is the command that gives tailscaled an interface.
const inKernel = `sed -i 's/--tun=userspace-networking//' /etc/default/tailscaled && systemctl restart tailscaled`

func (g *Gate) tailscale() api.Check {
	const name = "tailscale"
	if !g.Tailscale {
		return ok(name, "not running here")
	}
	for _, l := range g.Links {
		if tailscale.IsInterface(l.Name, l.Addresses) {
			return ok(name, "kernel mode, %s", l.Name)
		}
	}
	return failed(name, inKernel,
		"tailscaled runs without an interface (userspace networking): what comes by it never passes the kernel, so it cannot be intercepted")
}

func (i *Identity) check() api.Check {
	const name = "identity"
	switch {
	case i.Err != nil:
		return failed(name, "systemctl restart tailscaled", "nobody new is known by Tailscale: %v", i.Err)
	case i.Status.State != "Running":
		return failed(name, "tailscale up", "nobody new is known by Tailscale: tailscaled is in the state %s", i.Status.State)
	case !i.Status.TUN:
		return failed(name, inKernel, "nobody is known by Tailscale: tailscaled runs without an interface (userspace networking)")
	case i.Accounts == 0:
		return warning(name, "inside person set-account PERSON LOGIN", "no person has an account, so nobody is known by Tailscale")
	}
	return ok(name, "tailscaled answers; %d persons have an account", i.Accounts)
}

func (f Facts) disk() api.Check {
	const name, hint = "disk", "du -xh --max-depth=2 /var/lib/inside | sort -h | tail"
	left := fmt.Sprintf("%d MiB (%.1f%%) free for recordings", int64(f.Free)>>20, 100*f.Share)
	switch {
	case f.NoRoom != nil:
		return failed(name, hint, "nobody new gets in: %v", f.NoRoom)
	case f.Share < 2*f.MinFree:
		return warning(name, hint, "%s, at %.1f%% nobody new gets in", left, 100*f.MinFree)
	}
	return ok(name, "%s", left)
}

// slowDatabase is when everybody who enters begins to notice.
const slowDatabase = 200 * time.Millisecond

func (f Facts) database() api.Check {
	const name = "database"
	d := f.Database
	switch {
	case d.Err != nil:
		return failed(name, "journalctl -u inside -n 20", "%s does not take entries, so nobody new gets in: %v", d.Name, d.Err)
	case d.Latency > slowDatabase:
		return warning(name, "", "%s takes %s to answer, and everybody who enters waits for it", d.Name, d.Latency.Round(time.Millisecond))
	}
	return ok(name, "%s, answers in %s", d.Name, d.Latency.Round(10*time.Microsecond))
}

func (f Facts) zones() api.Check {
	for _, z := range f.Zones {
		if z.Err != nil {
			return failed("time-zones", "apt-get install tzdata", "%s: %v", z.Name, z.Err)
		}
	}
	return ok("time-zones", "%d in use, all known", len(f.Zones))
}

// mostShown bounds the servers that are told one by one.
const mostShown = 20

func (f Facts) servers() (checks []api.Check) {
	reached := 0
	for _, s := range f.Servers {
		switch {
		case s.Err == nil:
			reached++
		case len(checks) < mostShown:
			checks = append(checks, warning("servers", "nc -vz "+strings.ReplaceAll(s.Tried[0], ":", " "), "%s does not answer at %s: %v", s.Name, strings.Join(s.Tried, ", "), s.Err))
		}
	}
	if len(f.Servers)+f.Skipped == 0 {
		return nil
	}
	all := fmt.Sprintf("%d of %d answer", reached, len(f.Servers))
	if f.Skipped > 0 {
		all += fmt.Sprintf("; %d are whole networks and were not tried", f.Skipped)
	}
	if unshown := len(f.Servers) - reached - len(checks); unshown > 0 {
		return append(checks, warning("servers", "", "%s, %d more do not", all, unshown))
	}
	return append(checks, ok("servers", "%s", all))
}
