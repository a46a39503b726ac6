package appliance

import (
	"context"
	"fmt"
	"slices"

	"github.com/pawelmojski/inside/appliance/api"
	"github.com/pawelmojski/inside/policy"
)

func (h *House) Servers(ctx context.Context) ([]api.Server, error) {
	b := h.Book()
	servers := make([]api.Server, 0, len(b.Facts().Servers))
	for i := range b.Facts().Servers {
		servers = append(servers, wireServer(b, &b.Facts().Servers[i]))
	}
	return servers, nil
}

func (h *House) Server(ctx context.Context, name string) (api.Server, error) {
	s, err := h.serverNamed(name)
	if err != nil {
		return api.Server{}, err
	}
	return wireServer(h.Book(), s), nil
}

func (h *House) AddServer(ctx context.Context, asked api.NewServer) (api.Server, error) {
	if err := policy.CheckName(asked.Name); err != nil {
		return api.Server{}, invalid("", "%v", err)
	}
	prefix, err := policy.ParsePrefix(asked.Address)
	if err != nil {
		return api.Server{}, invalid("", "%v", err)
	}
	s, err := h.Store.AddServer(ctx, api.By(ctx), policy.Server{
		Name: asked.Name, Prefix: prefix, SSHPort: asked.SSHPort, RDPPort: asked.RDPPort,
	})
	if err != nil {
		return api.Server{}, asProblem(err, "inside server list")
	}
	if err := h.acted(ctx); err != nil {
		return api.Server{}, err
	}
	wire := wireServer(h.Book(), &s)
	wire.Notes = append(notIntercepted("ssh", s.SSHPort, h.SSHPorts), notIntercepted("rdp", s.RDPPort, h.RDPPorts)...)
	return wire, nil
}

// notIntercepted warns of a port that flows by the gate.
func notIntercepted(protocol string, port uint16, ports []uint16) []string {
	if port == 0 || slices.Contains(ports, port) {
		return nil
	}
	return []string{fmt.Sprintf("port %d is not intercepted: add it to %s_ports in inside.toml, or nobody enters there by %s", port, protocol, protocol)}
}

func (h *House) SetServer(ctx context.Context, name string, s api.Switch) (api.Server, error) {
	v, err := h.serverNamed(name)
	if err != nil {
		return api.Server{}, err
	}
	if err := h.Store.DisableServer(ctx, api.By(ctx), v.ID, s.Disabled); err != nil {
		return api.Server{}, asProblem(err, "inside server show "+v.Name)
	}
	if err := h.acted(ctx); err != nil {
		return api.Server{}, err
	}
	return h.Server(ctx, v.Name)
}

func wireServer(b *policy.Book, s *policy.Server) api.Server {
	return api.Server{
		ID: string(s.ID), Name: s.Name, Address: prefixText(s.Prefix),
		SSHPort: s.SSHPort, RDPPort: s.RDPPort, Disabled: s.Disabled,
		Groups: groupsOf(b.Facts().ServerGroups, string(s.ID)),
	}
}
