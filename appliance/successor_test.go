package appliance

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"net/rpc/jsonrpc"
	"testing"

	"github.com/pawelmojski/inside/appliance/config"
	"github.com/pawelmojski/inside/policy"
)

// succeeding is an appliance whose process before is another.
func succeeding(t *testing.T, before *Appliance, c config.Config) *Appliance {
	t.Helper()
	near, far := net.Pipe()
	s := &successor{a: before, ctx: t.Context(), over: true, gone: make(chan struct{})}
	go s.answer(far)
	b := &Before{log: slog.New(slog.DiscardHandler), client: jsonrpc.NewClient(near), gone: make(chan struct{})}
	t.Cleanup(func() { b.client.Close(); <-s.gone })
	a := &Appliance{before: b, log: b.log, settings: newSettings(c)}
	return a
}

func TestWhoIsInTheProcessBeforeObeysTheSettingsOfItsSuccessor(t *testing.T) {
	by := func(c config.Config) *visit {
		first, v := insider(t, policy.Grant{ID: "1"})
		join(t, first)
		seated(t, first, v, "100.64.0.2:1", policy.Identity{Account: "alice@corp.test"}, "p")
		// There may be two before: who serves speaks to the younger.
		second := succeeding(t, first, config.Config{Identity: config.Identity{Tailscale: true}})
		second.live = newLive(second)
		third := succeeding(t, second, c)
		for range 2 {
			if err := third.settle(); err != nil {
				t.Fatal(err)
			}
		}
		return v
	}
	if v := by(config.Config{Identity: config.Identity{Tailscale: true}}); v.ctx.Err() != nil {
		t.Errorf("nothing has changed: %v", context.Cause(v.ctx))
	}
	if v := by(config.Config{}); !errors.Is(context.Cause(v.ctx), policy.NoLongerAllowed) {
		t.Errorf("identity.tailscale is off: %v", context.Cause(v.ctx))
	}
}

func TestAProcessBeforeWarnsOnlyWhereItsSuccessorDoes(t *testing.T) {
	a, v := insider(t, policy.Grant{ID: "1"})
	network := []netip.Prefix{netip.MustParsePrefix("10.30.0.0/16")}
	was := config.Config{Intercept: &config.Intercept{Warn: network, SSHPorts: []uint16{22}}}
	a.settings.set(was)
	after := succeeding(t, a, config.Config{Intercept: &config.Intercept{Protect: network}})
	if !a.warns(v.flow.Dest) {
		t.Fatal("the network only warns")
	}
	if err := after.settle(); err != nil {
		t.Fatal(err)
	}
	if a.warns(v.flow.Dest) {
		t.Error("the network still only warns in the process before")
	}
	if now, _ := a.settings.now(); len(now.Intercept.SSHPorts) != 1 || len(was.Intercept.Warn) != 1 {
		t.Errorf("other settings have changed: %+v, %+v", now.Intercept, was.Intercept)
	}
}
