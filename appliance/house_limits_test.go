package appliance

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/pawelmojski/inside/appliance/api"
	"github.com/pawelmojski/inside/policy"
)

// granted is a house with alice, the server db and grant 1 for an hour.
func granted(t *testing.T, h *House, ctx context.Context, asked api.NewGrant) api.Grant {
	t.Helper()
	must[api.Person](t)(h.AddPerson(ctx, api.NewPerson{Name: "alice", Addresses: []api.NewAddress{{Address: "10.0.0.1"}}}))
	must[api.Server](t)(h.AddServer(ctx, api.NewServer{Name: "db", Address: "10.30.0.1"}))
	asked.Person, asked.Server, asked.Duration = "alice", "db", "1h"
	return must[api.Grant](t)(h.CreateGrant(ctx, asked))
}

func TestOfTwoAdminsTheSecondIsToldWhoWasFirst(t *testing.T) {
	h, _, ctx := newHouse(t)
	g := granted(t, h, ctx, api.NewGrant{})
	p, v := must[api.Person](t)(h.Person(ctx, "alice")), must[api.Server](t)(h.Server(ctx, "db"))
	anna := api.WithActor(ctx, api.Actor{Name: "anna", Role: api.Admin})
	must[api.Grant](t)(h.SetGrantEnd(anna, g.ID, api.NewEnd{Version: g.Version, Duration: "2h"}))
	must[api.Person](t)(h.SetPerson(anna, "alice", api.Switch{Version: p.Version, Disabled: true}))
	must[api.Server](t)(h.Maintain(anna, "db", api.NewMaintenance{Version: v.Version}))
	late := map[string]func() error{
		"grant 1": func() error {
			_, err := h.SetGrantEnd(ctx, g.ID, api.NewEnd{Version: g.Version, Duration: "3h"})
			return err
		},
		"person alice": func() error {
			_, err := h.SetPerson(ctx, "alice", api.Switch{Version: p.Version, Disabled: false})
			return err
		},
		"server db": func() error {
			_, err := h.SetServer(ctx, "db", api.Switch{Version: v.Version, Disabled: true})
			return err
		},
	}
	for what, change := range late {
		want := what + " has changed since you looked at it: anna did that at " + time.Now().UTC().Format("2006-01-02T")
		if err := change(); codeOf(err) != api.CodeConflict || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v, want a conflict that begins %q", what, err, want)
		}
	}
	unsaid := map[string]error{}
	_, unsaid["end"] = h.SetGrantEnd(ctx, g.ID, api.NewEnd{Duration: "3h"})
	_, unsaid["person"] = h.SetPerson(ctx, "alice", api.Switch{})
	_, unsaid["server"] = h.SetServer(ctx, "db", api.Switch{})
	_, unsaid["maintenance"] = h.Maintain(ctx, "db", api.NewMaintenance{Off: true})
	for what, err := range unsaid {
		if codeOf(err) != api.CodeInvalid || !strings.Contains(err.Error(), "version is missing") {
			t.Errorf("%s without a version: %v", what, err)
		}
	}
	// Shutting a door is never late.
	must[api.Grant](t)(h.RevokeGrant(ctx, g.ID))
}

func TestASessionShowsTheEndThatComesFirst(t *testing.T) {
	h, gate, ctx := newHouse(t)
	se := entered(t, h, ctx, "gate-1")
	gate.sessions[se.ID] = Traffic{}
	v := must[api.Server](t)(h.Server(ctx, "db"))
	at := h.Now().Add(10 * time.Minute).Truncate(time.Second)
	must[api.Server](t)(h.Maintain(ctx, "db", api.NewMaintenance{Version: v.Version, At: at}))
	if s := must[api.Session](t)(h.Session(ctx, string(se.ID))); !s.Until.Equal(at) {
		t.Errorf("until %s, want the maintenance at %s", s.Until, at)
	}
	s := must[api.Status](t)(h.Status(ctx))
	if len(s.Maintained) != 1 || s.Maintained[0] != "db" {
		t.Errorf("maintained are %q", s.Maintained)
	}
}

func TestMaintenanceGivenAgainKeepsItsBeginning(t *testing.T) {
	h, _, ctx := newHouse(t)
	granted(t, h, ctx, api.NewGrant{})
	v := must[api.Server](t)(h.Server(ctx, "db"))
	first := must[api.Server](t)(h.Maintain(ctx, "db", api.NewMaintenance{Version: v.Version, In: "1h"}))
	again := must[api.Server](t)(h.Maintain(ctx, "db", api.NewMaintenance{Version: first.Version, In: "2h", Exempt: []string{"alice"}}))
	if !again.Maintenance.From.Equal(first.Maintenance.From) || !again.Maintenance.Clear.After(first.Maintenance.Clear) {
		t.Errorf("%+v, then %+v", first.Maintenance, again.Maintenance)
	}
	off := must[api.Server](t)(h.Maintain(ctx, "db", api.NewMaintenance{Version: again.Version, Off: true}))
	if off.Maintenance != nil {
		t.Errorf("still %+v", off.Maintenance)
	}
}

func TestExplainCountsTheSessionsThatAreOpen(t *testing.T) {
	h, gate, ctx := newHouse(t)
	granted(t, h, ctx, api.NewGrant{MaxSessions: 1, Idle: "30m"})
	se, _, err := h.Store.Enter(ctx, policy.Session{
		Person: h.Book().PersonNamed("alice").ID, Server: h.Book().ServerNamed("db").ID, Grant: "1", Protocol: policy.SSH, Login: "root",
		Client: netip.MustParseAddrPort("10.0.0.1:5000"), Dest: netip.MustParseAddrPort("10.30.0.1:22"), Gate: "gate-1", Start: time.Now(),
	})
	if err != nil {
		t.Fatal(err)
	}
	gate.sessions[se.ID] = Traffic{}
	e := must[api.Explanation](t)(h.Explain(ctx, api.Question{Person: "alice", Server: "db"}))
	if g := e.Grants[0]; e.Denial != string(policy.TooManySessions) || g.Open != 1 || g.MaxSessions != 1 || g.Idle != "30m" || g.Denial != e.Denial {
		t.Errorf("%+v", e)
	}
	if e := must[api.Explanation](t)(h.Explain(ctx, api.Question{Person: "alice", Server: "db", At: h.Now().Add(time.Minute)})); !e.Allowed || e.Ends != string(policy.GrantExpired) {
		t.Errorf("in a minute: %+v", e)
	}
}
