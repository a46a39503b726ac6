package appliance

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"runtime/debug"
	"sync"

	"github.com/pawelmojski/inside/appliance/api"
	"github.com/pawelmojski/inside/proxy/recording"
)

// serveAPI opens the socket the inside command talks to and serves it until
// ctx ends.
func (a *Appliance) serveAPI(ctx context.Context, stop context.CancelCauseFunc, keepers *sync.WaitGroup) (net.Listener, error) {
	socket, err := api.Listen(filepath.Join(a.cfg.Paths.Run, "inside.sock"))
	if err != nil {
		return nil, err
	}
	house := &House{
		Gate: a.cfg.Gate.Name, Store: a.store, Book: a.book.Load, Refresh: a.refresh,
		Live: a.live, Keys: a.hostKeys, Records: a.records.root, Now: a.clock.now,
	}
	if a.cfg.Intercept != nil {
		house.Protect, house.SSHPorts, house.RDPPorts = a.cfg.Intercept.Protect, a.cfg.Intercept.SSHPorts, a.cfg.Intercept.RDPPorts
	}
	keepers.Go(func() {
		if err := api.Serve(ctx, socket, house); err != nil && ctx.Err() == nil {
			stop(fmt.Errorf("api: %w", err))
		}
	})
	return socket, nil
}

// Status says of each part of the gate whether it works.
func (l *live) Status(ctx context.Context) api.Status {
	a := l.house
	s := api.Status{Version: version(), Started: a.started}
	if free, share, err := recording.Free(a.records.root); err == nil {
		s.Free, s.Share = int64(free), share
	}
	s.Recorder = part(a.records.ready())
	s.Database = part(a.ledger.problem())
	if a.gate == nil {
		s.Rules = api.Part{OK: true, Detail: "not intercepting: this box is a tower"}
	} else {
		s.Rules = part(a.gate.Healthy())
	}
	return s
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
