package api

import (
	"context"
	"io"
	"strconv"
)

// The client's calls, one for each route, in the order of the table.

func (c *Client) Persons(ctx context.Context) ([]Person, error) {
	return get[[]Person](ctx, c, path("persons"), none{})
}

func (c *Client) AddPerson(ctx context.Context, p NewPerson) (Person, error) {
	return send[Person](ctx, c, "POST", path("persons"), p)
}

func (c *Client) Person(ctx context.Context, name string) (Person, error) {
	return get[Person](ctx, c, path("persons", name), none{})
}

func (c *Client) SetPerson(ctx context.Context, name string, s Switch) (Person, error) {
	return send[Person](ctx, c, "PATCH", path("persons", name), s)
}

func (c *Client) SetAccount(ctx context.Context, name string, a NewAccount) (Person, error) {
	return send[Person](ctx, c, "POST", path("persons", name, "account"), a)
}

func (c *Client) Addresses(ctx context.Context, f AddressFilter) ([]Address, error) {
	return get[[]Address](ctx, c, path("addresses"), f)
}

func (c *Client) AddAddress(ctx context.Context, person string, a NewAddress) (Address, error) {
	return send[Address](ctx, c, "POST", path("persons", person, "addresses"), a)
}

func (c *Client) RemoveAddress(ctx context.Context, id string) (Address, error) {
	return send[Address](ctx, c, "DELETE", path("addresses", id), nil)
}

func (c *Client) Servers(ctx context.Context) ([]Server, error) {
	return get[[]Server](ctx, c, path("servers"), none{})
}

func (c *Client) AddServer(ctx context.Context, s NewServer) (Server, error) {
	return send[Server](ctx, c, "POST", path("servers"), s)
}

func (c *Client) Server(ctx context.Context, name string) (Server, error) {
	return get[Server](ctx, c, path("servers", name), none{})
}

func (c *Client) SetServer(ctx context.Context, name string, s Switch) (Server, error) {
	return send[Server](ctx, c, "PATCH", path("servers", name), s)
}

func (c *Client) Maintain(ctx context.Context, name string, m NewMaintenance) (Server, error) {
	return send[Server](ctx, c, "POST", path("servers", name, "maintenance"), m)
}

func (c *Client) HostKeys(ctx context.Context, server string, f HostKeyFilter) (HostKeyList, error) {
	return get[HostKeyList](ctx, c, path("servers", server, "host-keys"), f)
}

func (c *Client) ImportHostKey(ctx context.Context, server string, k ImportedKey) (HostKeyList, error) {
	return send[HostKeyList](ctx, c, "POST", path("servers", server, "host-keys", "import"), k)
}

func (c *Client) TrustHostKeys(ctx context.Context, server string, k TrustedKeys) (HostKeyList, error) {
	return send[HostKeyList](ctx, c, "POST", path("servers", server, "host-keys", "trust"), k)
}

func (c *Client) ForgetHostKeys(ctx context.Context, server string, f HostKeyFilter) (HostKeyList, error) {
	return send[HostKeyList](ctx, c, "POST", path("servers", server, "host-keys", "forget"), f)
}

// folder is where the groups of a kind live.
func (k Kind) folder() string { return string(k) + "s" }

func (c *Client) Groups(ctx context.Context, k Kind) ([]Group, error) {
	return get[[]Group](ctx, c, path(k.folder()), none{})
}

func (c *Client) CreateGroup(ctx context.Context, k Kind, g NewGroup) (Group, error) {
	return send[Group](ctx, c, "POST", path(k.folder()), g)
}

func (c *Client) Group(ctx context.Context, k Kind, name string) (Group, error) {
	return get[Group](ctx, c, path(k.folder(), name), none{})
}

func (c *Client) AddMember(ctx context.Context, k Kind, group string, m Member) (Group, error) {
	return send[Group](ctx, c, "POST", path(k.folder(), group, "members"), m)
}

func (c *Client) RemoveMember(ctx context.Context, k Kind, group string, m Member) (Group, error) {
	return send[Group](ctx, c, "DELETE", path(k.folder(), group, "members", m.Member), nil)
}

func (c *Client) Grants(ctx context.Context, f GrantFilter) ([]Grant, error) {
	return get[[]Grant](ctx, c, path("grants"), f)
}

func (c *Client) CreateGrant(ctx context.Context, g NewGrant) (Grant, error) {
	return send[Grant](ctx, c, "POST", path("grants"), g)
}

func (c *Client) Grant(ctx context.Context, id string) (Grant, error) {
	return get[Grant](ctx, c, path("grants", id), none{})
}

func (c *Client) SetGrantEnd(ctx context.Context, id string, e NewEnd) (Grant, error) {
	return send[Grant](ctx, c, "PATCH", path("grants", id), e)
}

func (c *Client) RevokeGrant(ctx context.Context, id string) (Grant, error) {
	return send[Grant](ctx, c, "POST", path("grants", id, "revoke"), nil)
}

func (c *Client) GrantHistory(ctx context.Context, id string) ([]Change, error) {
	return get[[]Change](ctx, c, path("grants", id, "history"), none{})
}

func (c *Client) Stays(ctx context.Context, f StayFilter) ([]Stay, error) {
	return get[[]Stay](ctx, c, path("stays"), f)
}

func (c *Client) Stay(ctx context.Context, id string) (Stay, error) {
	return get[Stay](ctx, c, path("stays", id), none{})
}

func (c *Client) EndStay(ctx context.Context, id string) (Stay, error) {
	return send[Stay](ctx, c, "POST", path("stays", id, "end"), nil)
}

func (c *Client) Sessions(ctx context.Context, f SessionFilter) ([]Session, error) {
	return get[[]Session](ctx, c, path("sessions"), f)
}

func (c *Client) Session(ctx context.Context, id string) (Session, error) {
	return get[Session](ctx, c, path("sessions", id), none{})
}

func (c *Client) KillSession(ctx context.Context, id string) (Session, error) {
	return send[Session](ctx, c, "POST", path("sessions", id, "kill"), nil)
}

func (c *Client) Search(ctx context.Context, s Search) (Page, error) {
	return get[Page](ctx, c, path("search"), s)
}

func (c *Client) Entries(ctx context.Context, f EntryFilter) ([]Entry, error) {
	return get[[]Entry](ctx, c, path("entries"), f)
}

func (c *Client) Events(ctx context.Context, session string) (io.ReadCloser, error) {
	return c.do(ctx, "GET", path("sessions", session, "events"), nil)
}

func (c *Client) Export(ctx context.Context, session string) (io.ReadCloser, error) {
	return c.do(ctx, "GET", path("sessions", session, "export"), nil)
}

func (c *Client) Recordings(ctx context.Context, session string) ([]Recording, error) {
	return get[[]Recording](ctx, c, path("sessions", session, "recordings"), none{})
}

func (c *Client) Recording(ctx context.Context, session string, channel int, f Following) (io.ReadCloser, error) {
	return c.do(ctx, "GET", withQuery(path("sessions", session, "recordings", strconv.Itoa(channel)), f), nil)
}

func (c *Client) Explain(ctx context.Context, q Question) (Explanation, error) {
	return get[Explanation](ctx, c, path("explain"), q)
}

func (c *Client) Status(ctx context.Context) (Status, error) {
	return get[Status](ctx, c, path("status"), none{})
}
