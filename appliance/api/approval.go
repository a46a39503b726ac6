package api

import (
	"context"
	"net/http"

	"github.com/pawelmojski/inside/policy"
)

// Sensitivity says whether grants for a server, or for the servers of a group,
// need approval. Version is that of the server or group, see Switch.
type Sensitivity struct {
	Version   int64 `json:"version"`
	Sensitive bool  `json:"sensitive"`
}

// An Approval is of a grant as it was when whoever approves looked at it: if it
// has changed since, this is a conflict.
type Approval struct {
	Version int64 `json:"version"`
}

// Waiting says that a grant waits, and what it waits for; "" when it does not.
func (g Grant) Waiting() string {
	switch {
	case !g.Waits:
		return ""
	case g.Group != "" && g.Denial != string(policy.NotApproved):
		return "for sensitive servers of " + g.Group + " it waits for approval by another admin: inside grant approve " + g.ID
	}
	return "waits for approval by another admin: inside grant approve " + g.ID
}

// Approvals are four eyes: a grant serves for a sensitive server when another
// than who made it, or gave it a later end, has approved it. Until then who
// comes by it is denied, and who is inside by it does not stay.
type Approvals interface {
	SetServerSensitive(ctx context.Context, name string, s Sensitivity) (Server, error)
	// SetGroupSensitive marks all servers of a group, those of groups inside it too.
	SetGroupSensitive(ctx context.Context, name string, s Sensitivity) (Group, error)
	ApproveGrant(ctx context.Context, id string, a Approval) (Grant, error)
}

var approvalRoutes = []route{
	{"PATCH", "/servers/{name}/approval", toChange, tell(func(h House, r *http.Request, s Sensitivity) (Server, error) {
		return h.SetServerSensitive(r.Context(), r.PathValue("name"), s)
	})},
	{"PATCH", "/groups/{name}/approval", toChange, tell(func(h House, r *http.Request, s Sensitivity) (Group, error) {
		return h.SetGroupSensitive(r.Context(), r.PathValue("name"), s)
	})},
	{"POST", "/grants/{id}/approve", toOperate, tell(func(h House, r *http.Request, a Approval) (Grant, error) {
		return h.ApproveGrant(r.Context(), r.PathValue("id"), a)
	})},
}

func (c *Client) SetServerSensitive(ctx context.Context, name string, s Sensitivity) (Server, error) {
	return send[Server](ctx, c, "PATCH", path("servers", name, "approval"), s)
}

func (c *Client) SetGroupSensitive(ctx context.Context, name string, s Sensitivity) (Group, error) {
	return send[Group](ctx, c, "PATCH", path("groups", name, "approval"), s)
}

func (c *Client) ApproveGrant(ctx context.Context, id string, a Approval) (Grant, error) {
	return send[Grant](ctx, c, "POST", path("grants", id, "approve"), a)
}
