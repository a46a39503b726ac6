package appliance

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/pawelmojski/inside/appliance/api"
	"github.com/pawelmojski/inside/appliance/config"
	"github.com/pawelmojski/inside/policy"
)

// settings are the configuration in force. What may change while the gate runs
// is read from here each time; the rest stays as it was at the start.
type settings struct {
	read func() (config.Config, error) // nil: there is nothing to read again

	changing sync.Mutex // one reload at a time
	mu       sync.Mutex
	current  config.Config
	changed  chan struct{} // closed when there are others
}

func newSettings(c config.Config) *settings {
	return &settings{current: c, changed: make(chan struct{})}
}

func (s *settings) now() (config.Config, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current, s.changed
}

func (s *settings) set(c config.Config) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.current = c
	close(s.changed)
	s.changed = make(chan struct{})
}

// Reloads says where the configuration is read again.
func (a *Appliance) Reloads(read func() (config.Config, error)) { a.settings.read = read }

// Upgrades says which program an upgrade starts: the one that is installed where
// this one was.
func (a *Appliance) Upgrades(program string) { a.program = program }

// Hangup reads the configuration again because of a signal.
func (a *Appliance) Hangup(ctx context.Context) {
	if _, err := a.reload(ctx, a.itself()); err != nil {
		a.log.Error("configuration not read again: the one before stays in force", "error", err)
	}
}

// reload reads the configuration again and switches to what of it can change.
// Until everything of it is known to work, nothing has changed.
func (a *Appliance) reload(ctx context.Context, by string) (api.Reloaded, error) {
	if a.settings.read == nil {
		return api.Reloaded{}, api.NewProblem(api.CodeUnavailable, "this gate has no configuration to read again", "")
	}
	a.settings.changing.Lock()
	defer a.settings.changing.Unlock()
	next, err := a.settings.read()
	if err != nil {
		return api.Reloaded{}, api.NewProblem(api.CodeInvalid, "nothing has changed: "+strings.ReplaceAll(err.Error(), "\n", "; "), "insided --check-config")
	}
	before, _ := a.settings.now()
	out := api.Reloaded{Restart: withhold(before, &next)}
	out.Changed = differing(before, next)
	if len(out.Changed) == 0 {
		return out, nil
	}
	if err := a.switchTo(before, next); err != nil {
		return api.Reloaded{}, api.NewProblem(api.CodeUnavailable, "nothing has changed: "+err.Error(), "inside doctor")
	}
	a.settings.set(next)
	a.live.reconsider()
	a.settleBefore()
	a.log.Info("configuration read again", "by", by, "changed", out.Changed, "after a restart only", out.Restart)
	if err := a.noteSettings(ctx, by, "as read again"); err != nil {
		return out, unwritten("the configuration is in force", err)
	}
	return out, nil
}

// settleBefore has the process before obey the settings, now rather than when
// it is next looked after.
func (a *Appliance) settleBefore() {
	if err := a.settle(); err != nil && a.before.there() {
		a.log.Error("the process before has not acted on the settings yet", "error", err)
	}
}

// obey acts on the settings of the process that serves, where this one drains:
// the others concern nobody who is here.
func (a *Appliance) obey(to Concerning) {
	a.settings.changing.Lock()
	c, _ := a.settings.now()
	same := concerning(c).equal(to)
	if !same {
		c.Identity.Tailscale = to.Tailscale
		if c.Intercept != nil {
			changed := *c.Intercept
			changed.Warn = to.Warn
			c.Intercept = &changed
		}
		a.settings.set(c)
	}
	a.settings.changing.Unlock()
	if same {
		return
	}
	a.log.Info("settings of the successor are obeyed", "identity.tailscale", to.Tailscale, "intercept.warn", to.Warn)
	a.live.reconsider()
	a.settleBefore()
}

// switchTo does what can fail first, and the rules last of that.
func (a *Appliance) switchTo(before, next config.Config) error {
	hook := a.webhook.Load()
	if next.Alerts != before.Alerts {
		var err error
		if hook, err = newWebhook(next.Alerts, a.log, a.metrics.hookEnded); err != nil {
			return err
		}
	}
	if a.gate != nil && slices.ContainsFunc(differing(before, next), func(key string) bool { return strings.HasPrefix(key, "intercept.") }) {
		rules := rulesOf(next.Intercept)
		if err := a.gate.Reload(rules); err != nil {
			return err
		}
		if err := keepGuard(next.Paths.State, rules); err != nil {
			return errors.Join(err, a.gate.Reload(rulesOf(before.Intercept)))
		}
	}
	if err := a.removals.Keep(next.Recordings.Keep); err != nil {
		return err // config has checked it
	}
	a.records.keepFree(next.Recordings.MinFree)
	if old := a.webhook.Swap(hook); old != hook {
		hook.inherit(old)
	}
	return nil
}

// withhold puts back what of the next configuration counts after a restart
// only, and names it.
func withhold(before config.Config, next *config.Config) []string {
	kept := *next
	kept.Gate, kept.Store, kept.Paths = before.Gate, before.Store, before.Paths
	if !sameEntries(before.Intercept, next.Intercept) {
		kept.Intercept = before.Intercept
	}
	names := differing(kept, *next)
	*next = kept
	return names
}

// sameEntries reports whether a gate can go from one to the other: it has the
// same listeners.
func sameEntries(a, b *config.Intercept) bool {
	if a == nil || b == nil {
		return a == b
	}
	return (len(a.SSHPorts) > 0) == (len(b.SSHPorts) > 0) && (len(a.RDPPorts) > 0) == (len(b.RDPPorts) > 0) && maps.Equal(families(a), families(b))
}

func families(i *config.Intercept) map[bool]bool {
	is := map[bool]bool{}
	for _, p := range slices.Concat(i.Protect, i.Warn, i.Observe) {
		is[p.Addr().Is4()] = true
	}
	return is
}

// differing names the keys in which two configurations differ.
func differing(a, b config.Config) []string {
	names := []string{}
	was, is := values(a), values(b)
	for _, key := range slices.Sorted(maps.Keys(is)) {
		if was[key] != is[key] {
			names = append(names, key)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(was)) {
		if _, there := is[key]; !there {
			names = append(names, key)
		}
	}
	return names
}

// values are the values of all keys, to be compared.
func values(c config.Config) map[string]string {
	v := map[string]string{
		"gate.name": c.Gate.Name, "identity.tailscale": fmt.Sprint(c.Identity.Tailscale), "store.url": c.Store.URL, "paths.state": c.Paths.State, "paths.run": c.Paths.Run,
		"recordings.keep": c.Recordings.Keep, "recordings.min_free": fmt.Sprint(c.Recordings.MinFree),
		"api.listen": c.API.Listen, "api.names": fmt.Sprint(c.API.Names),
		"upgrade.max_drain": c.Upgrade.MaxDrain,
		"alerts.webhook":    c.Alerts.Webhook, "alerts.webhook_token_file": c.Alerts.WebhookTokenFile,
	}
	if i := c.Intercept; i != nil {
		v["intercept.interfaces"], v["intercept.protect"] = fmt.Sprint(i.Interfaces), fmt.Sprint(i.Protect)
		v["intercept.warn"], v["intercept.observe"] = fmt.Sprint(i.Warn), fmt.Sprint(i.Observe)
		v["intercept.ssh_ports"], v["intercept.rdp_ports"] = fmt.Sprint(i.SSHPorts), fmt.Sprint(i.RDPPorts)
		v["intercept.other"], v["intercept.source"], v["intercept.on_stop"] = i.Other, i.Source, i.OnStop
	}
	return v
}

// Reload implements api.Reloading.
func (h *House) Reload(ctx context.Context) (api.Reloaded, error) {
	if h.ReadAgain == nil {
		return api.Reloaded{}, api.NewProblem(api.CodeUnavailable, "this gate has no configuration to read again", "")
	}
	return h.ReadAgain(ctx, api.By(ctx))
}

// portsOf returns the intercepted ports of a protocol.
func (h *House) portsOf(p policy.Protocol) []uint16 {
	if p == policy.RDP {
		return h.intercept().RDPPorts
	}
	return h.intercept().SSHPorts
}

// intercept is what is intercepted now; nothing on a tower.
func (h *House) intercept() config.Intercept {
	if h.Intercept == nil {
		return config.Intercept{}
	}
	return h.Intercept()
}
