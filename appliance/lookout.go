package appliance

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/pawelmojski/inside/appliance/api"
	"github.com/pawelmojski/inside/policy"
)

// A Lookout keeps the alerts of one gate: it is told what happens, looks
// around once a second, and tells when an alert begins and ends. The rules are
// in alert_rules.go.
type Lookout struct {
	gate string
	log  *slog.Logger
	tell func(api.Alert)

	mu      sync.Mutex
	active  map[alertKey]api.Alert
	ended   []api.Alert // the newest last
	denials denialMinutes
	repairs happening
	servers map[netip.AddrPort]*unreached
	changed map[netip.AddrPort]keySign
	ending  deadlines
}

// unreached counts how often in a row a server could not be reached.
type unreached struct {
	server policy.ServerID
	sign   serverSign
}

const (
	lookEvery   = time.Second
	endedKept   = 200  // alerts that have ended
	serversKept = 1000 // servers that cannot be reached, or have changed their key
)

// NewLookout makes a lookout that has seen nothing. tell is told each alert
// when it begins and when it ends.
func NewLookout(gate string, log *slog.Logger, tell func(api.Alert)) *Lookout {
	return &Lookout{
		gate: gate, log: log, tell: tell, active: map[alertKey]api.Alert{},
		servers: map[netip.AddrPort]*unreached{}, changed: map[netip.AddrPort]keySign{},
	}
}

// denied notes a denied entry.
func (l *Lookout) denied(d policy.Denial, dest netip.AddrPort, s *policy.Server, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.denials.add(d, now)
	if d == policy.HostKeyChanged && s != nil && len(l.changed) < serversKept {
		l.changed[dest] = keySign{object: serverObject(s.Name, dest), server: s.Name}
	}
}

// keyRight notes that a server shows the key it is known by, or that an admin
// has said which that is.
func (l *Lookout) keyRight(dest netip.AddrPort) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.changed, dest)
}

// repaired notes that the kernel's rules had to be put back.
func (l *Lookout) repaired(what string, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.repairs = happening{now, what}
}

// dialled notes whether a server could be reached.
func (l *Lookout) dialled(dest netip.AddrPort, s *policy.Server, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil {
		delete(l.servers, dest)
		return
	}
	u := l.servers[dest]
	if u == nil {
		if len(l.servers) >= serversKept {
			return
		}
		u = &unreached{server: s.ID, sign: serverSign{object: serverObject(s.Name, dest)}}
		l.servers[dest] = u
	}
	u.sign.failed++
	u.sign.why = err.Error()
}

func serverObject(name string, dest netip.AddrPort) string {
	return fmt.Sprintf("server %s (%s)", name, dest)
}

// look weighs what there is to see and tells what has begun and ended. s has
// what the lookout is not told of.
func (l *Lookout) look(s signs, b *policy.Book) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ending.book != b {
		l.ending = deadlinesOf(b)
		l.forgetServers(b)
	}
	s.ending = l.ending.within(s.now, s.now.Add(endingWithin))
	s.denials, s.repairs = l.denials.count(s.now), l.repairs
	for _, u := range l.servers {
		s.servers = append(s.servers, u.sign)
	}
	for _, k := range l.changed {
		s.changed = append(s.changed, k)
	}
	now := alertsBy(s, func(k alertKey) bool { _, was := l.active[k]; return was })
	for key, text := range now {
		if _, was := l.active[key]; !was {
			l.begin(key, text, s.now)
		}
	}
	for key := range l.active {
		if _, is := now[key]; !is {
			l.end(key, s.now)
		}
	}
}

// forgetServers drops what is known of servers nobody can dial any more.
func (l *Lookout) forgetServers(b *policy.Book) {
	for dest, u := range l.servers {
		if s := b.Server(u.server); s == nil || s.Disabled {
			delete(l.servers, dest)
		}
	}
}

func (l *Lookout) begin(key alertKey, text string, now time.Time) {
	a := api.Alert{Gate: l.gate, Kind: key.kind, Object: key.object, Text: text, Begin: now}
	l.active[key] = a
	l.log.Warn("alert began", "alert", a.Kind, "object", a.Object, "text", a.Text)
	l.tell(a)
}

func (l *Lookout) end(key alertKey, now time.Time) {
	a := l.active[key]
	delete(l.active, key)
	a.End = now
	l.ended = append(l.ended, a)
	if len(l.ended) > endedKept {
		l.ended = slices.Delete(l.ended, 0, 1)
	}
	l.log.Info("alert ended", "alert", a.Kind, "object", a.Object, "began", a.Begin)
	l.tell(a)
}

// Alerts are those there are, the newest first, and on demand the last ones
// that have ended.
func (l *Lookout) Alerts(all bool) []api.Alert {
	l.mu.Lock()
	defer l.mu.Unlock()
	alerts := make([]api.Alert, 0, len(l.active))
	for _, a := range l.active {
		alerts = append(alerts, a)
	}
	if all {
		alerts = append(alerts, l.ended...)
	}
	slices.SortFunc(alerts, func(x, y api.Alert) int {
		return cmp.Or(y.Begin.Compare(x.Begin), cmp.Compare(x.Kind, y.Kind), cmp.Compare(x.Object, y.Object))
	})
	return alerts
}

// count is how many alerts of a kind there are.
func (l *Lookout) count(kind string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for key := range l.active {
		if key.kind == kind {
			n++
		}
	}
	return n
}

// lookOut looks around until ctx ends.
func (a *Appliance) lookOut(ctx context.Context) {
	pulse := time.NewTicker(lookEvery)
	defer pulse.Stop()
	for {
		a.lookout.look(a.signs(), a.book.Load())
		select {
		case <-ctx.Done():
			return
		case <-pulse.C:
		}
	}
}

// signs are what can be seen of the gate's own parts.
func (a *Appliance) signs() signs {
	s := signs{
		now: a.clock.now(), recordings: a.records.ready(), database: a.ledger.problem(),
		rules: a.rulesRight(), doors: a.doorsOpen(),
	}
	if a.notary != nil && s.database == nil { // else it is the database's alert
		s.unsigned = a.notary.Problem()
	}
	if bytes, share := a.records.free(); bytes > 0 {
		s.used = 1 - share
	}
	return s
}
