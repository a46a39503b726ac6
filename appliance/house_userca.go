package appliance

import (
	"context"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/pawelmojski/inside/appliance/api"
	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/store"
)

func (h *House) UserCA(ctx context.Context) ([]api.UserCA, error) {
	rows, err := h.Store.UserCAs(ctx)
	if err != nil {
		return nil, asProblem(err, "")
	}
	cas := []api.UserCA{}
	for i, row := range rows {
		key, err := ssh.ParsePublicKey(row.Public)
		if err != nil {
			return nil, conflict("inside ca user --rotate", "user CA %s cannot be read: %v", row.ID, err)
		}
		cas = append(cas, api.UserCA{
			ID: row.ID, Fingerprint: ssh.FingerprintSHA256(key), Signs: i == 0, Created: row.Created, By: row.By,
			Key: strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key))) + " inside-user-ca-" + row.ID,
		})
	}
	return cas, nil
}

func (h *House) MakeUserCA(ctx context.Context, n api.NewUserCA) ([]api.UserCA, error) {
	public, private, err := newUserCA()
	if err != nil {
		return nil, err
	}
	defer clear(private)
	seal, err := h.sealer(ctx, private)
	if err != nil {
		return nil, err
	}
	err = h.Store.AddUserCA(ctx, api.By(ctx), n.Rotate, public, func(ca store.UserCA) ([]byte, error) {
		return seal(purposeOfCA(ca)...)
	})
	if err != nil {
		return nil, asProblem(err, "inside ca user")
	}
	if err := h.acted(ctx); err != nil {
		return nil, err
	}
	return h.UserCA(ctx)
}

func (h *House) ServerLogins(ctx context.Context) ([]api.ServerLogin, error) {
	rows, err := h.Store.ServerLogins(ctx)
	if err != nil {
		return nil, asProblem(err, "")
	}
	logins := []api.ServerLogin{}
	for _, l := range rows {
		logins = append(logins, api.ServerLogin{Server: namer{h.Book()}.server(l.Server), Enrolling: l.Enrolling, UserCA: l.UserCA})
	}
	return logins, nil
}

func (h *House) SetTrustsUserCA(ctx context.Context, server string, a api.Allowance) (api.ServerLogin, error) {
	return h.setServerLogin(ctx, server, a, h.Store.SetTrustsUserCA)
}

func (h *House) SetEnrolling(ctx context.Context, server string, a api.Allowance) (api.ServerLogin, error) {
	return h.setServerLogin(ctx, server, a, h.Store.SetEnrolling)
}

func (h *House) setServerLogin(ctx context.Context, server string, a api.Allowance, set func(context.Context, string, policy.ServerID, bool) error) (api.ServerLogin, error) {
	s, err := h.serverNamed(server)
	if err != nil {
		return api.ServerLogin{}, err
	}
	if err := set(ctx, api.By(ctx), s.ID, a.Allowed); err != nil {
		return api.ServerLogin{}, asProblem(err, "inside server list")
	}
	if err := h.acted(ctx); err != nil {
		return api.ServerLogin{}, err
	}
	all, err := h.ServerLogins(ctx)
	for _, l := range all {
		if l.Server == s.Name {
			return l, err
		}
	}
	return api.ServerLogin{Server: s.Name}, err
}
