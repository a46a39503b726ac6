package appliance

import (
	"context"

	"github.com/pawelmojski/inside/appliance/api"
)

func (h *House) SetServerSensitive(ctx context.Context, name string, s api.Sensitivity) (api.Server, error) {
	v, err := h.serverNamed(name)
	if err != nil {
		return api.Server{}, err
	}
	look := "inside server show " + v.Name
	if err := versionGiven(s.Version, look); err != nil {
		return api.Server{}, err
	}
	if err := h.Store.SetServerSensitive(ctx, api.By(ctx), v.ID, s.Version, s.Sensitive); err != nil {
		return api.Server{}, asProblem(err, look)
	}
	if err := h.acted(ctx); err != nil {
		return api.Server{}, err
	}
	return h.Server(ctx, v.Name)
}

func (h *House) SetGroupSensitive(ctx context.Context, name string, s api.Sensitivity) (api.Group, error) {
	g, err := h.groupNamed(api.ServerGroup, name)
	if err != nil {
		return api.Group{}, err
	}
	look := "inside group show " + g.Name
	if err := versionGiven(s.Version, look); err != nil {
		return api.Group{}, err
	}
	if err := h.Store.SetGroupSensitive(ctx, api.By(ctx), g.ID, s.Version, s.Sensitive); err != nil {
		return api.Group{}, asProblem(err, look)
	}
	if err := h.acted(ctx); err != nil {
		return api.Group{}, err
	}
	return h.Group(ctx, api.ServerGroup, g.Name)
}

func (h *House) ApproveGrant(ctx context.Context, id string, a api.Approval) (api.Grant, error) {
	g, err := h.grantNumbered(id)
	if err != nil {
		return api.Grant{}, err
	}
	look := "inside grant show " + string(g.ID)
	if err := versionGiven(a.Version, look); err != nil {
		return api.Grant{}, err
	}
	if err := h.Store.ApproveGrant(ctx, api.By(ctx), g.ID, a.Version, h.Now()); err != nil {
		return api.Grant{}, asProblem(err, look)
	}
	if err := h.acted(ctx); err != nil {
		return api.Grant{}, err
	}
	return h.Grant(ctx, string(g.ID))
}

// waitNotes says that a grant that was just made or extended waits.
func waitNotes(g api.Grant) []string {
	if !g.Waits {
		return nil
	}
	return []string{g.Waiting()}
}
