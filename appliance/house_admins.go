package appliance

import (
	"context"
	"fmt"
	"slices"

	"github.com/pawelmojski/inside/appliance/api"
	"github.com/pawelmojski/inside/store"
)

// How long a password is, in bytes. NIST SP 800-63B-4 asks for 15 characters
// where there is nothing else, and for no rules about which.
const (
	shortestPassword = 15
	longestPassword  = 1024
)

func (h *House) Admins(ctx context.Context) ([]api.NamedAdmin, error) {
	admins, err := h.Store.Admins(ctx)
	if err != nil {
		return nil, asProblem(err, "")
	}
	wire := make([]api.NamedAdmin, 0, len(admins))
	for _, a := range admins {
		wire = append(wire, wireAdmin(a))
	}
	return wire, nil
}

func (h *House) AddAdmin(ctx context.Context, asked api.NewNamedAdmin) (api.NamedAdmin, error) {
	if err := checkRole("an admin", asked.Role); err != nil {
		return api.NamedAdmin{}, err
	}
	hash, err := h.newPassword(ctx, asked.Name, asked.Password)
	if err != nil {
		return api.NamedAdmin{}, err
	}
	a, err := h.Store.AddAdmin(ctx, api.By(ctx), store.Admin{Name: asked.Name, Role: string(asked.Role), Password: hash, Created: h.Now()})
	return h.admin(a, err)
}

func (h *House) SetAdmin(ctx context.Context, name string, c api.AdminChange) (api.NamedAdmin, error) {
	was, err := h.Store.Admin(ctx, name)
	if err != nil {
		return h.admin(was, err)
	}
	if c.Role == "" {
		c.Role = api.Role(was.Role)
	}
	if err := checkRole("an admin", c.Role); err != nil {
		return api.NamedAdmin{}, err
	}
	return h.admin(h.Store.SetAdmin(ctx, api.By(ctx), name, string(c.Role), c.Disabled))
}

func (h *House) SetAdminPassword(ctx context.Context, name string, p api.NewPassword) (api.NamedAdmin, error) {
	hash, err := h.newPassword(ctx, name, p.Password)
	if err != nil {
		return api.NamedAdmin{}, err
	}
	return h.admin(h.Store.SetAdminPassword(ctx, api.By(ctx), name, hash, [32]byte{}))
}

func (h *House) RemoveAdmin(ctx context.Context, name string) (api.NamedAdmin, error) {
	return h.admin(h.Store.RemoveAdmin(ctx, api.By(ctx), name, h.Now()))
}

func (h *House) admin(a store.Admin, err error) (api.NamedAdmin, error) {
	if err != nil {
		return api.NamedAdmin{}, asProblem(err, "inside admin list")
	}
	return wireAdmin(a), nil
}

// newPassword is what is kept of a password.
func (h *House) newPassword(ctx context.Context, name string, password api.Secret) (string, error) {
	if err := checkNewPassword(name, password); err != nil {
		return "", err
	}
	return hashPassword(ctx, password)
}

func checkNewPassword(name string, password []byte) error {
	switch {
	case len(password) < shortestPassword:
		return invalid("a few words make a good one", "the password has %s, and needs %d", api.Count(len(password), "character"), shortestPassword)
	case len(password) > longestPassword:
		return invalid("", "the password is longer than %d bytes", longestPassword)
	case string(password) == name:
		return invalid("", "the password is the name")
	}
	return nil
}

func checkRole(whose string, role api.Role) error {
	if !slices.Contains(api.Roles, role) {
		return invalid("", "%s", fmt.Sprintf("role %.40q of %s: roles are %s", role, whose, rolesInWords()))
	}
	return nil
}

func wireAdmin(a store.Admin) api.NamedAdmin {
	return api.NamedAdmin{
		Name: a.Name, Role: api.Role(a.Role), Disabled: a.Disabled, Created: a.Created, By: a.By, Used: a.Used, OwnPassword: a.PasswordBy == a.Actor(),
	}
}
