package appliance

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/pawelmojski/inside/appliance/api"
	"github.com/pawelmojski/inside/policy"
)

func (h *House) Servers(ctx context.Context) ([]api.Server, error) {
	b, now := h.Book(), h.Now()
	facts := b.Facts()
	groups := membersGroups(facts.ServerGroups)
	servers := make([]api.Server, 0, len(facts.Servers))
	for i := range facts.Servers {
		servers = append(servers, wireServer(b, &facts.Servers[i], groups, now))
	}
	return servers, nil
}

func (h *House) Server(ctx context.Context, name string) (api.Server, error) {
	s, err := h.serverNamed(name)
	if err != nil {
		return api.Server{}, err
	}
	b := h.Book()
	return wireServer(b, s, membersGroups(b.Facts().ServerGroups), h.Now()), nil
}

func (h *House) AddServer(ctx context.Context, asked api.NewServer) (api.Server, error) {
	if err := policy.CheckName(asked.Name); err != nil {
		return api.Server{}, invalid("", "%v", err)
	}
	prefix, err := policy.ParsePrefix(asked.Address)
	if err != nil {
		return api.Server{}, invalid("", "%v", err)
	}
	native, err := nativeGraphics(asked.RDPGraphics)
	if err != nil {
		return api.Server{}, err
	}
	s, err := h.Store.AddServer(ctx, api.By(ctx), policy.Server{
		Name: asked.Name, Prefix: prefix, SSHPort: asked.SSHPort, RDPPort: asked.RDPPort, NativeGraphics: native,
	})
	if err != nil {
		return api.Server{}, asProblem(err, "inside server list")
	}
	if err := h.acted(ctx); err != nil {
		return api.Server{}, err
	}
	wire := wireServer(h.Book(), &s, nil, h.Now())
	if h.Intercept != nil {
		wire.Notes = h.serverNotes(&s)
	}
	return wire, nil
}

// serverNotes warns of what flows by the gate.
func (h *House) serverNotes(s *policy.Server) []string {
	var notes []string
	covers := func(p netip.Prefix) bool { return p.Bits() <= s.Prefix.Bits() && p.Contains(s.Prefix.Addr()) }
	switch i := h.intercept(); {
	case slices.ContainsFunc(i.Observe, covers):
		notes = append(notes, fmt.Sprintf("%s is only observed: people get there without passing the gate until it is in protect of inside.toml", prefixText(s.Prefix)))
	case slices.ContainsFunc(i.Warn, covers):
		notes = append(notes, fmt.Sprintf("nobody is denied at %s yet: it is in warn of inside.toml", prefixText(s.Prefix)))
	case !slices.ContainsFunc(i.Protect, covers):
		notes = append(notes, fmt.Sprintf("%s is not protected: add it to protect in inside.toml, or people get there without passing the gate", prefixText(s.Prefix)))
	}
	for _, in := range []struct {
		name  string
		port  uint16
		ports []uint16
	}{{"ssh", s.SSHPort, h.portsOf(policy.SSH)}, {"rdp", s.RDPPort, h.portsOf(policy.RDP)}} {
		if in.port != 0 && !slices.Contains(in.ports, in.port) {
			notes = append(notes, fmt.Sprintf("port %d is not intercepted: add it to %s_ports in inside.toml, or nobody enters there by %s", in.port, in.name, in.name))
		}
	}
	return notes
}

func (h *House) SetServer(ctx context.Context, name string, s api.Switch) (api.Server, error) {
	v, err := h.serverNamed(name)
	if err != nil {
		return api.Server{}, err
	}
	if err := versionGiven(s.Version, "inside server show "+v.Name); err != nil {
		return api.Server{}, err
	}
	if err := h.Store.DisableServer(ctx, api.By(ctx), v.ID, s.Version, s.Disabled); err != nil {
		return api.Server{}, asProblem(err, "inside server show "+v.Name)
	}
	if err := h.acted(ctx); err != nil {
		return api.Server{}, err
	}
	return h.Server(ctx, v.Name)
}

func wireServer(b *policy.Book, s *policy.Server, groups map[string][]string, now time.Time) api.Server {
	return api.Server{
		ID: string(s.ID), Name: s.Name, Address: prefixText(s.Prefix),
		SSHPort: s.SSHPort, RDPPort: s.RDPPort, Disabled: s.Disabled,
		Groups: append([]string{}, groups[string(s.ID)]...), Version: s.Version,
		Maintenance: wireMaintenance(b, s.Maintenance, now), Sensitive: s.Sensitive, NeedsApproval: b.NeedsApproval(s.ID),
		RDPGraphics: graphicsOf(s.NativeGraphics),
	}
}
