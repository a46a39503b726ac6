package appliance

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pawelmojski/inside/appliance/api"
	"github.com/pawelmojski/inside/appliance/config"
	pages "github.com/pawelmojski/inside/appliance/web"
)

// serveAPI serves the socket the inside command talks to, and the port, until
// ctx ends.
func (a *Appliance) serveAPI(ctx context.Context, stop context.CancelCauseFunc, keepers *sync.WaitGroup) {
	house := a.house()
	keepers.Go(func() {
		if err := api.Serve(ctx, a.socket, house); err != nil && ctx.Err() == nil {
			stop(fmt.Errorf("api: %w", err))
		}
	})
	keepers.Go(func() { a.bearers.Keep(ctx) })
	keepers.Go(func() { a.serveTokens(ctx, house) })
}

// portPause is how long the gate waits before it tries again to get the port
// of the API.
const portPause = 10 * time.Second

// serveTokens serves the API on the port until ctx ends. A port that is taken
// does not keep the gate from its work: it is tried again. Another port, or
// other names of it, count at once; who is connected connects again.
func (a *Appliance) serveTokens(ctx context.Context, house *House) {
	for said := ""; ctx.Err() == nil; {
		c, changed := a.settings.now()
		while, stop := context.WithCancel(ctx)
		var watching sync.WaitGroup
		watching.Go(func() {
			defer stop()
			for next := c; next.API.Listen == c.API.Listen && slices.Equal(next.API.Names, c.API.Names); {
				select {
				case <-changed:
					next, changed = a.settings.now()
				case <-while.Done():
					return
				}
			}
		})
		err := a.serveTokensAt(while, house, c.API)
		if err != nil && while.Err() == nil && err.Error() != said {
			said = err.Error()
			a.log.Error("api does not serve tokens; the socket does, and it is tried again", "listen", c.API.Listen, "error", err)
		}
		select {
		case <-while.Done():
		case <-time.After(portPause):
		}
		stop()
		watching.Wait()
	}
}

// serveTokensAt serves at a port until ctx ends, or nowhere.
func (a *Appliance) serveTokensAt(ctx context.Context, house *House, at config.API) error {
	if at.Listen == "" {
		<-ctx.Done()
		return nil
	}
	l, err := api.ListenTCP(ctx, at.Listen)
	if err != nil {
		return err
	}
	a.log.Info("api serves tokens", "listen", l.Addr().String())
	return api.ServeTCP(ctx, l, house, a.bearers, at.Names, pages.New(ctx, api.NewLocalClient(ctx, house), a.signins))
}

// house is what the API is answered by.
func (a *Appliance) house() *House {
	h := &House{
		Gate: a.cfg.Gate.Name, Store: a.store, Book: a.book.Load, Refresh: a.refresh,
		Live: a.live, Keys: a.hostKeys, Certs: a.certs, Vault: a.vault, Errands: a, Notary: a.notary, Records: a.records.root, Renders: a.renders, Now: a.clock.now, Bus: a.news,
		Numbers: a.metrics, Lookout: a.lookout, Around: a.surroundings, ReadAgain: a.reload,
		Tailscale: a.asksTailscale, WhoComes: a.whoComes,
	}
	if a.program != "" {
		h.Succeed = a.upgrade
	}
	if a.gate != nil {
		h.Dial, h.Overheard = a.dialByItself, a.overhearing.problem
	}
	if a.cfg.Intercept != nil {
		h.Intercept = func() config.Intercept {
			c, _ := a.settings.now()
			return *c.Intercept
		}
	}
	return h
}

// Status says of each part of the gate whether it works.
func (l *live) Status(ctx context.Context) api.Status {
	a := l.house
	s := api.Status{Version: version(), Started: a.started}
	free, share := a.records.free()
	s.Free, s.Share = int64(free), share
	if a.before.there() {
		before := a.before.carried()
		s.Draining = &api.Draining{Sessions: len(before.Sessions), Until: before.Until}
	}
	s.Recorder = part(a.records.ready())
	s.Database = part(a.ledger.problem())
	s.Doors = part(a.doorsOpen())
	s.Rules = part(a.rulesRight())
	if a.gate == nil {
		s.Rules.Detail = "not intercepting: this box is a tower"
	} else if absent, err := a.gate.Absent(); s.Rules.OK && err == nil && len(absent) > 0 {
		s.Rules.Detail = "nobody comes by " + strings.Join(absent, " and ") + ", which is not there now"
	}
	return s
}

// rulesRight says why the kernel's rules are not as they should be, or nil.
func (a *Appliance) rulesRight() error {
	if a.gate == nil {
		return nil
	}
	return a.gate.Healthy()
}

// doorsOpen says why connections are not taken, or nil.
func (a *Appliance) doorsOpen() error {
	if n := a.doors.standing(); n >= doorsInAll {
		return fmt.Errorf("%d connections stand at the door and no more are taken: `ss -tn` shows where they come from", n)
	}
	if a.gate == nil {
		return nil
	}
	var failing []error
	for _, e := range a.gate.Config().Entries {
		failing = append(failing, a.gate.Listener(e.Name).Failing())
	}
	return errors.Join(failing...)
}

func part(err error) api.Part {
	if err != nil {
		return api.Part{Detail: err.Error()}
	}
	return api.Part{OK: true}
}

// version is what the build was made of.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return s.Value[:min(12, len(s.Value))]
		}
	}
	return info.Main.Version
}
