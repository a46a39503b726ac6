package appliance

import (
	"context"
	"fmt"
	"net/netip"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/pawelmojski/inside/appliance/config"
	"github.com/pawelmojski/inside/appliance/observer"
	"github.com/pawelmojski/inside/netfilter"
	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/store"
)

const (
	// learnEvery is how often what was overheard is written down.
	learnEvery = 2 * time.Second
	// watchAgain is when a watch that failed is tried again.
	watchAgain = 5 * time.Second
	// mostUnwritten bounds what waits for a database that is away.
	mostUnwritten = 4096
)

// overhearing is the observer of this gate and what it has not written down yet.
type overhearing struct {
	mu        sync.Mutex
	observer  *observer.Observer
	seen      map[acquainted]store.Acquaintance
	keys      map[shown]store.SeenKey
	watchLost error // why nothing is learned now
}

type acquainted struct {
	client   netip.Addr
	server   netip.AddrPort
	protocol policy.Protocol
}

type shown struct {
	server netip.AddrPort
	key    string
}

func newOverhearing() *overhearing {
	return &overhearing{observer: observer.New(), seen: map[acquainted]store.Acquaintance{}, keys: map[shown]store.SeenKey{}}
}

// problem is why nothing is learned of observed networks, nil when it is.
func (o *overhearing) problem() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.watchLost
}

// observe learns about the observed networks, for as long as there are any.
// Whether it does, or fails, what people send there passes.
func (a *Appliance) observe(ctx context.Context) {
	for ctx.Err() == nil {
		c, changed := a.settings.now()
		if c.Intercept == nil || len(c.Intercept.Observe) == 0 {
			a.overhearing.lost(nil)
			select {
			case <-ctx.Done():
			case <-changed:
			}
			continue
		}
		watching, stop := context.WithCancel(ctx)
		var learning sync.WaitGroup
		learning.Go(func() { a.learn(watching) })
		learning.Go(func() {
			defer stop()
			select {
			case <-watching.Done():
			case <-changed:
			}
		})
		err := a.watchObserved(watching, c.Intercept)
		stop()
		learning.Wait()
		if err == nil {
			continue
		}
		if before := a.overhearing.lost(err); before == nil || before.Error() != err.Error() {
			a.log.Warn("nothing is learned of the observed networks; people reach them as before", "error", err)
		}
		select {
		case <-ctx.Done():
		case <-changed:
		case <-time.After(watchAgain):
		}
	}
}

func (o *overhearing) lost(err error) (before error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	before, o.watchLost = o.watchLost, err
	return before
}

func (a *Appliance) watchObserved(ctx context.Context, c *config.Intercept) (err error) {
	defer func() {
		if r := recover(); r != nil {
			a.log.Error("observer crashed", "panic", r, "stack", string(debug.Stack()))
			err = fmt.Errorf("the observer crashed: %v", r)
		}
	}()
	return a.gate.Observe(ctx, func(g netfilter.Glimpse) {
		protocol := policy.SSH
		switch port := g.Server.Port(); {
		case slices.Contains(c.RDPPorts, port):
			protocol = policy.RDP
		case !slices.Contains(c.SSHPorts, port):
			return
		}
		o := a.overhearing
		o.mu.Lock()
		defer o.mu.Unlock()
		o.watchLost = nil
		o.observer.See(observer.Glimpse{Person: g.Person, Server: g.Server, FromServer: g.FromServer, Protocol: protocol, Said: g.Said}, time.Now())
	})
}

// learn writes down what was overheard, until ctx ends.
func (a *Appliance) learn(ctx context.Context) {
	tick := time.NewTicker(learnEvery)
	defer tick.Stop()
	for failed := false; ; {
		select {
		case <-ctx.Done():
			a.writeLearned(context.WithoutCancel(ctx))
			return
		case <-tick.C:
		}
		err := a.writeLearned(ctx)
		if err != nil && !failed {
			a.log.Warn("what was learned of observed networks is not written down", "error", err)
		}
		failed = err != nil
	}
}

func (a *Appliance) writeLearned(ctx context.Context) error {
	seen, keys := a.overhearing.take(a.clock.now())
	if len(seen) == 0 && len(keys) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, writeDown)
	defer cancel()
	err := a.store.Observe(ctx, seen, keys, a.clock.now())
	if err != nil {
		a.overhearing.putBack(seen, keys)
	}
	return err
}

// take gathers what was overheard since the last time.
func (o *overhearing) take(now time.Time) (seen []store.Acquaintance, keys []store.SeenKey) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, s := range o.observer.Take(time.Now()) {
		a := store.Acquaintance{
			Client: s.Person.Addr(), Server: s.Server, Protocol: s.Protocol, ClientVersion: s.ClientVersion,
			ServerVersion: s.ServerVersion, Login: s.Login, First: now, Last: now,
		}
		if s.First {
			a.Times = 1
		}
		o.add(a)
		if s.Key != nil {
			o.addKey(store.SeenKey{Server: s.Server, Type: s.Key.Type(), Key: s.Key.Marshal(), First: now, Last: now})
		}
	}
	for _, a := range o.seen {
		seen = append(seen, a)
	}
	for _, k := range o.keys {
		keys = append(keys, k)
	}
	clear(o.seen)
	clear(o.keys)
	return seen, keys
}

func (o *overhearing) putBack(seen []store.Acquaintance, keys []store.SeenKey) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, a := range seen {
		o.add(a)
	}
	for _, k := range keys {
		o.addKey(k)
	}
}

func (o *overhearing) add(a store.Acquaintance) {
	k := acquainted{a.Client, a.Server, a.Protocol}
	had, known := o.seen[k]
	if known {
		a.Times += had.Times
		a.First = had.First
	} else if len(o.seen) >= mostUnwritten {
		return
	}
	o.seen[k] = a
}

func (o *overhearing) addKey(k store.SeenKey) {
	at := shown{k.Server, string(k.Key)}
	if had, known := o.keys[at]; known {
		k.First = had.First
	} else if len(o.keys) >= mostUnwritten {
		return
	}
	o.keys[at] = k
}
