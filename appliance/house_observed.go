package appliance

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/pawelmojski/inside/appliance/api"
	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/store"
)

// Acquaintances implements api.Observed.
func (h *House) Acquaintances(ctx context.Context) ([]api.Acquaintance, error) {
	seen, keys, err := h.Store.Observed(ctx)
	if err != nil {
		return nil, asProblem(err, "")
	}
	b := h.Book()
	wire := []api.Acquaintance{}
	for _, a := range seen {
		w := api.Acquaintance{
			From: a.Client.String(), To: a.Server.String(), Protocol: string(a.Protocol), Login: a.Login,
			Client: a.ClientVersion, Serves: a.ServerVersion, Keys: []string{}, First: a.First, Last: a.Last, Times: a.Times,
		}
		if p := b.PersonAt(a.Client); p != nil {
			w.Person = p.Name
		}
		if s := b.ServerAt(a.Server.Addr()); s != nil {
			w.Server = s.Name
		}
		for _, k := range keysOf(keys, a.Server) {
			w.Keys = append(w.Keys, k.Type()+" "+ssh.FingerprintSHA256(k))
		}
		wire = append(wire, w)
	}
	return wire, nil
}

// keysOf are the keys a server was seen to show.
func keysOf(seen []store.SeenKey, server netip.AddrPort) (keys []ssh.PublicKey) {
	for _, k := range seen {
		if k.Server != server {
			continue
		}
		if key, err := ssh.ParsePublicKey(k.Key); err == nil {
			keys = append(keys, key)
		}
	}
	return keys
}

// networks are the prefixes behind the gate, those on their way in first.
func (h *House) networks() []api.Network {
	i, all := h.intercept(), []api.Network{}
	for _, in := range []struct {
		mode     string
		prefixes []netip.Prefix
	}{{api.ModeObserve, i.Observe}, {api.ModeWarn, i.Warn}, {api.ModeProtect, i.Protect}} {
		for _, p := range in.prefixes {
			all = append(all, api.Network{Prefix: p.String(), Mode: in.mode})
		}
	}
	return all
}

// Proposals implements api.Observed.
func (h *House) Proposals(ctx context.Context) (api.Proposals, error) {
	seen, keys, err := h.Store.Observed(ctx)
	if err != nil {
		return api.Proposals{}, asProblem(err, "")
	}
	warned, err := h.Store.Entries(ctx, store.EntryFilter{Waived: true, Limit: mostWarned})
	if err != nil {
		return api.Proposals{}, asProblem(err, "")
	}
	d := draft{book: h.Book(), now: h.Now(), names: map[netip.Addr]string{}, taken: map[string]bool{}, grants: map[allowance]*need{}}
	for _, a := range slices.Backward(seen) { // as they became known
		d.learn(a)
	}
	for _, e := range slices.Backward(warned) {
		d.learnEntry(e)
	}
	for _, server := range d.keyed {
		pinned, err := h.Store.HostKeys(ctx, server)
		if err != nil {
			return api.Proposals{}, asProblem(err, "")
		}
		d.pin(server, keysOf(keys, server), pinned)
	}
	p := api.Proposals{Networks: h.networks(), Commands: d.commands(), Notes: append([]string{}, d.notes...)}
	if h.Overheard != nil {
		if err := h.Overheard(); err != nil {
			p.Trouble = err.Error()
		}
	}
	return p, nil
}

// A draft gathers what would have to be known.
type draft struct {
	book  *policy.Book
	now   time.Time
	names map[netip.Addr]string // that are proposed
	taken map[string]bool
	keyed []netip.AddrPort // servers of SSH

	servers, pins, persons []api.Proposal
	grants                 map[allowance]*need
	order                  []allowance
	notes                  []string
}

type allowance struct{ person, server string }

// A need is what one grant would have to cover.
type need struct {
	protocols []string
	denial    policy.Denial
	times     int
	last      time.Time
}

// grantLength is that of proposed grants.
const grantLength = "30d"

// mostWarned bounds how many entries are looked at.
const mostWarned = 10_000

// learnEntry takes an entry into account that would have been denied. Its
// server's key was pinned when it was seen.
func (d *draft) learnEntry(e store.Entry) {
	d.need(store.Acquaintance{
		Client: e.Client.Addr(), Server: e.Dest, Protocol: e.Protocol, Login: e.Login, First: e.Time, Last: e.Time, Times: 1,
	}, e.Identity)
}

// learn takes one acquaintance into account.
func (d *draft) learn(a store.Acquaintance) {
	if a.Protocol == policy.SSH && !slices.Contains(d.keyed, a.Server) {
		d.keyed = append(d.keyed, a.Server)
	}
	d.need(a, policy.Identity{})
}

// need notes what would have to be known for the two to go on.
func (d *draft) need(a store.Acquaintance, id policy.Identity) {
	v := d.book.Decide(policy.Flow{Client: netip.AddrPortFrom(a.Client, 1), Dest: a.Server, Protocol: a.Protocol, Login: a.Login, Identity: id}, d.now)
	if v.Denial == policy.AmbiguousPerson {
		d.note("more than one person is known by %s: see inside person ip list", a.Client)
		return
	}
	person, server := d.person(a, v.Person), d.server(a)
	switch v.Denial {
	case "":
		return
	case policy.UnknownPerson, policy.UnknownServer, policy.NoGrant, policy.WrongProtocol, policy.WrongSource, policy.WrongLogin, policy.Expired, policy.Revoked:
	default:
		d.note("%s by %s on %s would be denied: %s", person, a.Protocol, server, v.Denial.Sentence())
		return
	}
	k := allowance{person, server}
	n := d.grants[k]
	if n == nil {
		n = &need{denial: v.Denial}
		d.grants[k] = n
		d.order = append(d.order, k)
	}
	if !slices.Contains(n.protocols, string(a.Protocol)) {
		n.protocols = append(n.protocols, string(a.Protocol))
	}
	n.times += a.Times
	if a.Last.After(n.last) {
		n.last = a.Last
	}
}

func (d *draft) note(format string, args ...any) {
	if text := fmt.Sprintf(format, args...); !slices.Contains(d.notes, text) {
		d.notes = append(d.notes, text)
	}
}

// person names who comes, and proposes to add who is unknown.
func (d *draft) person(a store.Acquaintance, known *policy.Person) string {
	if known != nil {
		return known.Name
	}
	name, proposed := d.names[a.Client]
	if !proposed {
		name = d.free("person", a.Client, func(name string) bool { return d.book.PersonNamed(name) != nil })
		d.persons = append(d.persons, api.Proposal{
			For: "person", Why: fmt.Sprintf("nobody is known by %s%s: say who it is, under a name of their own", a.Client, with(a.ClientVersion)),
			Command: []string{"inside", "person", "add", name, "--ip", a.Client.String()},
		})
	}
	return name
}

func (d *draft) server(a store.Acquaintance) string {
	addr := a.Server.Addr()
	if s := d.book.ServerAt(addr); s != nil {
		return s.Name
	}
	name, proposed := d.names[addr]
	if !proposed {
		name = d.free("server", addr, func(name string) bool { return d.book.ServerNamed(name) != nil })
		d.servers = append(d.servers, api.Proposal{
			For: "server", Why: fmt.Sprintf("no server is known at %s%s", a.Server, with(a.ServerVersion)),
			Command: []string{"inside", "server", "add", name, "--ip", addr.String()},
		})
	}
	return name
}

func with(version string) string {
	if version == "" {
		return ""
	}
	return ", " + version
}

// free finds a name that nobody has.
func (d *draft) free(noun string, addr netip.Addr, exists func(string) bool) string {
	base := noun + "-" + strings.ReplaceAll(addr.String(), ":", "-")
	name := base
	for n := 2; exists(name) || d.taken[name]; n++ {
		name = fmt.Sprintf("%s-%d", base, n)
	}
	d.names[addr], d.taken[name] = name, true
	return name
}

// pin proposes the keys that a server was seen to show, where none is pinned.
func (d *draft) pin(server netip.AddrPort, seen []ssh.PublicKey, pinned []store.HostKey) {
	name := d.names[server.Addr()]
	if s := d.book.ServerAt(server.Addr()); s != nil {
		name = s.Name
	}
	byType := map[string][]ssh.PublicKey{}
	for _, key := range seen {
		byType[key.Type()] = append(byType[key.Type()], key)
	}
	var lines []string
	for _, key := range seen {
		switch same := byType[key.Type()]; {
		case len(same) > 1:
			d.note("%s showed %d different keys of type %s: find out why before you pin one", server, len(same), key.Type())
		case len(pinned) == 0:
			lines = append(lines, wireKey(key).Key)
		case !slices.ContainsFunc(pinned, func(p store.HostKey) bool { return p.Type == key.Type() && bytes.Equal(p.Key, key.Marshal()) }):
			d.note("%s showed %s %s, which is not pinned: inside server host-key show %s", server, key.Type(), ssh.FingerprintSHA256(key), name)
		}
	}
	if len(lines) == 0 {
		return
	}
	command := []string{"inside", "server", "host-key", "trust", name}
	if s := d.book.ServerAt(server.Addr()); server.Port() != 22 || s != nil && !s.Prefix.IsSingleIP() {
		command = append(command, "--address", server.String())
	}
	d.pins = append(d.pins, api.Proposal{
		For: "host-key", Why: fmt.Sprintf("%s showed this; compare it with what the server's admin says", server),
		Command: command, Input: strings.Join(lines, "\n"),
	})
}

func (d *draft) commands() []api.Proposal {
	all := append([]api.Proposal{}, slices.Concat(d.servers, d.pins, d.persons)...)
	for _, k := range d.order {
		n := d.grants[k]
		all = append(all, api.Proposal{
			For: "grant", Why: fmt.Sprintf("seen %d times, the last on %s; denied now: %s", n.times, n.last.UTC().Format("2006-01-02"), n.denial),
			Command: []string{"inside", "grant", k.person, "--server", k.server, "--protocol", strings.Join(n.protocols, ","), "--duration", grantLength, "--reason", "observed"},
		})
	}
	return all
}
