package netfilter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
)

// A Gate keeps the kernel's rules in place and hands out what they intercept.
type Gate struct {
	log      *slog.Logger
	repaired func(what string)
	kernel   *kernel
	events   *events

	listeners map[string]*Listener

	mu        sync.Mutex // guards what follows, and changes of the kernel's rules
	config    Config
	egress    map[string]bool // interfaces towards protected prefixes, for Source Client
	rules     Rules
	stand     uint32 // preference of our deliverers
	overtaken bool   // when that was last looked at, it was not where they ought to be
	checked   uint32 // generation of nftables in which our table was right
	failed    error  // why the last repair did not succeed
	resting   bool   // the rules are another process's, see Rest

	told chan string // losses on their way to repaired

	watching sync.Mutex // held while the watch is begun or ended
	stop     context.CancelFunc
	closed   bool
	wg       sync.WaitGroup
}

// Open installs the rules and starts to listen. From the moment it returns,
// and should it fail halfway too, connections to protected addresses on an
// entry's port reach the gate or nobody.
//
// A predecessor's leftovers are replaced without a moment in which neither
// its rules nor ours hold, and its listeners, as far as they were held, go on
// being listened on; Open takes held over and closes what it has no use for.
// A [*Namesake] is left alone, and then nothing is installed.
// repaired is called with words for the audit trail
// each time somebody else's change has been undone; it may block, but Close
// waits for it. Open works on the network namespace of the calling thread; the
// end of ctx ends the watch, as Close does.
func Open(ctx context.Context, c Config, held Held, log *slog.Logger, repaired func(what string)) (_ *Gate, err error) {
	defer held.close()
	if c, err = c.checked(); err != nil {
		return nil, err
	}
	g := &Gate{
		log:       log,
		repaired:  repaired,
		listeners: map[string]*Listener{},
		config:    c,
		egress:    map[string]bool{},
		told:      make(chan string, 256),
	}
	ctx, g.stop = context.WithCancel(ctx)
	defer func() {
		if err != nil {
			g.Close(false)
		}
	}()
	if g.kernel, err = openKernel(); err != nil {
		return nil, err
	}
	var other *Namesake
	if err := g.kernel.namesake(); errors.As(err, &other) {
		return nil, err // whatever else is wrong with nftables, the routing rules close
	}
	for _, name := range g.towardsServers() {
		g.egress[name] = true
	}
	have, _, err := g.kernel.ipRules()
	if err != nil {
		return nil, err
	}
	// A predecessor's exception for connections that began untouched stays.
	g.config.Passing = slices.ContainsFunc(have, func(r ipRule) bool { return r.spares })
	// Before anything else that can fail; what is lost until the watch begins,
	// its first look finds.
	if err := g.apply(desired(g.config, g.egressNames())); err != nil {
		return nil, err
	}
	if g.events, err = subscribe(); err != nil {
		return nil, err
	}
	for _, e := range c.Entries {
		if g.listeners[e.Name], err = listen(e, c.families(), held, log); err != nil {
			return nil, err
		}
	}
	g.wg.Go(func() { g.watch(ctx) })
	g.wg.Go(func() { g.tell(ctx) })
	return g, nil
}

// Reload changes what is intercepted, in one transaction. Entries cannot
// come, go or move to other listeners; their ports can change.
//
// Nothing that runs is cut when a prefix goes from Observe to Protect or back:
// connections that began untouched stay so, and those the gate carries stay
// with it.
func (g *Gate) Reload(c Config) error {
	c, err := c.checked()
	if err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	same := slices.EqualFunc(c.Entries, g.config.Entries, func(a, b Entry) bool { return a.Name == b.Name && a.Listen == b.Listen })
	if !same || !slices.Equal(c.families(), g.config.families()) {
		return errors.New("entries and address families change with a restart only: systemctl restart inside")
	}
	before, rules := g.config, g.rules
	c.Passing = before.Passing || len(before.Observe) > 0
	g.config = c
	for _, name := range g.towardsServers() {
		g.egress[name] = true
	}
	if err := g.apply(desired(c, g.egressNames())); err != nil {
		g.config = before
		return errors.Join(err, g.apply(rules))
	}
	return nil
}

// Config returns what is intercepted, in its canonical form.
func (g *Gate) Config() Config {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.config
}

// Listener returns the listener of an entry, nil when there is none.
func (g *Gate) Listener(entry string) *Listener { return g.listeners[entry] }

// mostOvertaken bounds how often rules are put in place again because others
// put some before them meanwhile, as VPNs may when the router boots.
const mostOvertaken = 20

// apply brings the kernel from any state to these rules. g.mu is held, or g not
// shared yet.
func (g *Gate) apply(r Rules) (err error) {
	for range mostOvertaken {
		if err = g.put(r); !g.overtaken {
			break
		}
	}
	return err
}

// put does so once. What closes is added before anything is taken away.
func (g *Gate) put(r Rules) error {
	g.overtaken = false
	have, others, err := g.kernel.ipRules()
	if err != nil {
		return err
	}
	want := ahead(r.ipRules, others)
	lacking := missing(want, have)
	// Guards first: until everything stands, nothing passes.
	slices.SortStableFunc(lacking, func(a, b ipRule) int { return int(b.pref) - int(a.pref) })
	for _, rule := range lacking {
		if err := g.kernel.addIPRule(rule); err != nil {
			return err
		}
	}
	for _, f := range r.routes {
		if err := g.kernel.addRoute(f); err != nil {
			return err
		}
	}
	if err := g.kernel.replaceTable(r); err != nil {
		return err
	}
	for _, rule := range missing(have, want) {
		if err := g.kernel.deleteIPRule(rule); err != nil {
			return err
		}
	}
	g.rules, g.stand = r, standing(others)
	g.checked = 0
	lost, err := g.losses()
	if err == nil && len(lost) > 0 {
		err = fmt.Errorf("the kernel did not take the rules as they were given: %s", strings.Join(lost, "; "))
	}
	return err
}

// losses compares the kernel with the rules, and tells in words what differs.
func (g *Gate) losses() ([]string, error) {
	var lost []string
	have, others, err := g.kernel.ipRules()
	if err != nil {
		return nil, err
	}
	stand := standing(others)
	g.overtaken = stand != g.stand
	switch {
	case stand < g.stand:
		lost = append(lost, fmt.Sprintf("a routing rule of somebody else's stands before ours, which go to preference %d", stand))
	case stand > g.stand:
		lost = append(lost, fmt.Sprintf("no routing rule of others stands before ours any more, which go back to preference %d", stand))
	default:
		want := ahead(g.rules.ipRules, others)
		for _, r := range missing(want, have) {
			lost = append(lost, fmt.Sprintf("a routing rule was deleted: %s", r))
		}
		for _, r := range missing(have, want) {
			lost = append(lost, fmt.Sprintf("a routing rule was added at our preference: %s", r))
		}
	}
	for _, f := range g.rules.routes {
		ok, err := g.kernel.hasRoute(f)
		if err != nil {
			return nil, err
		}
		if !ok {
			lost = append(lost, fmt.Sprintf("the %s route of table %d was deleted", f, routeTable))
		}
	}
	generation, err := g.kernel.generation()
	if err != nil {
		return nil, err
	}
	if generation == g.checked {
		return lost, nil // nobody has changed nftables since
	}
	table, err := g.kernel.compareTable(g.rules)
	if err != nil {
		return nil, err
	}
	if len(table) == 0 {
		g.checked = generation
	}
	return append(lost, table...), nil
}

// Healthy reports what is wrong with the kernel's rules at this moment.
func (g *Gate) Healthy() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.failed != nil {
		return g.failed
	}
	lost, err := g.losses()
	if err == nil && len(lost) > 0 {
		err = errors.New(strings.Join(lost, "; "))
	}
	return err
}

// towardsServers asks the kernel's routes for the interfaces that lead to the
// protected prefixes. Only Source Client needs them.
func (g *Gate) towardsServers() []string {
	if g.config.Source != Client {
		return nil
	}
	var names []string
	for _, p := range g.config.all() {
		// Both ends: one of them may be the gateway's own address.
		for _, a := range []netip.Addr{p.Addr(), lastOf(p)} {
			if name, err := g.kernel.interfaceTo(a); err == nil {
				names = append(names, name)
			}
		}
	}
	return unique(names)
}

// expectAnswers makes sure that what comes from servers by an interface is
// delivered here when it belongs to a connection in a client's name. One that
// was learned is never forgotten: running sessions may use it. g.mu is held.
func (g *Gate) expectAnswers(name string) error {
	if g.egress[name] || g.config.Source != Client {
		return nil
	}
	g.egress[name] = true
	g.rules = desired(g.config, g.egressNames())
	if g.resting {
		return nil // the successor sees to it
	}
	for _, r := range g.rules.ipRules {
		if r.iif == name && r.delivers() {
			r.pref = g.stand
			if err := g.kernel.addIPRule(r); err != nil {
				return err
			}
		}
	}
	return nil
}

func (g *Gate) egressNames() []string { return slices.Sorted(maps.Keys(g.egress)) }

// Close stops listening and watching. The rules stay, so that everything
// stays closed; with open they are removed, and people reach the servers as
// if there were no gate. Only the first call does something.
func (g *Gate) Close(open bool) (err error) {
	g.watching.Lock()
	defer g.watching.Unlock()
	if g.closed {
		return nil
	}
	g.closed = true
	g.endWatch()
	if open {
		err = g.kernel.cleanup()
	}
	for _, l := range g.listeners {
		if l != nil {
			l.Close()
		}
	}
	if g.kernel != nil {
		g.kernel.close()
	}
	return err
}

// endWatch needs watching.
func (g *Gate) endWatch() {
	g.stop()
	if g.events != nil {
		g.events.close()
	}
	g.wg.Wait()
}

// Cleanup removes everything a gate may have left in the kernel, and no table
// of somebody else's.
func Cleanup() error {
	k, err := openKernel()
	if err != nil {
		return err
	}
	defer k.close()
	return k.cleanup()
}

func (k *kernel) cleanup() error {
	var errs []error
	var other *Namesake
	if err := k.namesake(); !errors.As(err, &other) {
		errs = append(errs, err, k.deleteTable())
	}
	rules, _, err := k.ipRules()
	errs = append(errs, err)
	for _, r := range rules {
		errs = append(errs, k.deleteIPRule(r))
	}
	for _, f := range []family{v4, v6} {
		if ok, _ := k.hasRoute(f); ok {
			errs = append(errs, k.deleteRoute(f))
		}
	}
	return errors.Join(errs...)
}
