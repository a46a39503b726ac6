package appliance

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pawelmojski/inside/appliance/api"
	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/store"
	"github.com/pawelmojski/inside/store/storetest"
)

// A quietGate carries what a test puts there and does nothing else.
type quietGate struct {
	sessions map[policy.SessionID]Traffic
	ended    []policy.SessionID
	status   api.Status
}

func (q *quietGate) Sessions() map[policy.SessionID]Traffic { return q.sessions }
func (q *quietGate) EndSession(id policy.SessionID, _ policy.EndCause) bool {
	_, here := q.sessions[id]
	delete(q.sessions, id)
	q.ended = append(q.ended, id)
	return here
}
func (q *quietGate) EndStay(policy.StayID, policy.EndCause) {}
func (q *quietGate) Status(context.Context) api.Status      { return q.status }

// newHouse is a house over a new database, and the context of an admin.
func newHouse(t testing.TB) (*House, *quietGate, context.Context) {
	t.Helper()
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	s := storetest.Open(t, storetest.SQLite(t))
	var book *policy.Book
	gate := &quietGate{sessions: map[policy.SessionID]Traffic{}}
	notary, err := OpenNotary(t.TempDir(), "gate-1", s, root, time.Now, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { notary.Close() })
	h := &House{
		Notary: notary,
		Gate:   "gate-1", Store: s, Live: gate, Numbers: NewMetrics(), Lookout: NewLookout("gate-1", slog.New(slog.DiscardHandler), func(api.Alert) {}), Records: root, Now: time.Now,
		Book: func() *policy.Book { return book },
		Refresh: func(ctx context.Context) error {
			facts, err := s.Facts(ctx)
			if err == nil {
				book, err = policy.NewBook(facts)
			}
			return err
		},
	}
	ctx := api.WithActor(t.Context(), api.Actor{Name: "root", Role: api.Admin})
	if err := h.Refresh(ctx); err != nil {
		t.Fatal(err)
	}
	return h, gate, ctx
}

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func codeOf(err error) string {
	var p *api.Problem
	if errors.As(err, &p) {
		return p.Code
	}
	return ""
}

func TestTheNearestNameIsSuggested(t *testing.T) {
	names := []string{"alice", "bob", "john.doe", "web", "db"}
	for typed, want := range map[string]string{
		"alise": "alice", "alcie": "alice", "ALICE": "", "jon.doe": "john.doe", "john-doe": "john.doe", "wbe": "web",
		"bo": "bob", "zzz": "", "x": "", "d": "db", strings.Repeat("a", 100): "",
	} {
		if got := nearest(typed, names); got != want {
			t.Errorf("nearest(%.10q) = %q, want %q", typed, got, want)
		}
	}
}

func TestGroupsAroundAMemberAreFoundHoweverDeep(t *testing.T) {
	groups := []policy.Group{
		{ID: "outer", Groups: []policy.GroupID{"middle"}},
		{ID: "middle", Groups: []policy.GroupID{"inner", "other"}},
		{ID: "inner", Members: []string{"alice"}},
		{ID: "other", Members: []string{"bob"}},
	}
	want := map[policy.GroupID]bool{"inner": true, "middle": true, "outer": true}
	if diff := cmp.Diff(want, around(groups, "alice")); diff != "" {
		t.Error(diff)
	}
	if got := around(groups, "carol"); len(got) != 0 {
		t.Errorf("carol is in %v", got)
	}
}

func TestOnlyWholeLinesAreFollowed(t *testing.T) {
	f, err := os.Create(t.TempDir() + "/0.cast")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var out bytes.Buffer
	lines := lineCopier{w: &out, from: f, piece: make([]byte, 16)}
	for _, step := range []struct{ write, want string }{
		{"one\ntw", "one\n"},
		{"", "one\n"},
		{"o\n", "one\ntwo\n"},
		{"three\nfour\nfive\nsix\n", "one\ntwo\nthree\nfour\nfive\nsix\n"},
	} {
		if _, err := f.WriteString(step.write); err != nil {
			t.Fatal(err)
		}
		if err := lines.copy(); err != nil || out.String() != step.want {
			t.Errorf("after %q: %q, %v", step.write, out.String(), err)
		}
	}
	// A line that was begun and taken back leaves no trace.
	if _, err := f.WriteString("never"); err != nil {
		t.Fatal(err)
	}
	lines.copy()
	info, _ := f.Stat()
	if err := errors.Join(f.Truncate(info.Size()-5), lines.copy()); err != nil || strings.Contains(out.String(), "never") {
		t.Errorf("%q, %v", out.String(), err)
	}
}

func TestExplainOfAPrefixAsksAboutAnAddressOfItsOwn(t *testing.T) {
	h, _, ctx := newHouse(t)
	must[api.Person](t)(h.AddPerson(ctx, api.NewPerson{Name: "alice", Addresses: []api.NewAddress{{Address: "10.0.0.0/24"}}}))
	must[api.Server](t)(h.AddServer(ctx, api.NewServer{Name: "lab", Address: "10.30.8.0/24"}))
	must[api.Server](t)(h.AddServer(ctx, api.NewServer{Name: "first", Address: "10.30.8.0"}))
	must[api.Server](t)(h.AddServer(ctx, api.NewServer{Name: "second", Address: "10.30.8.1"}))
	must[api.Grant](t)(h.CreateGrant(ctx, api.NewGrant{Person: "alice", Server: "lab", Permanent: true}))
	if e := must[api.Explanation](t)(h.Explain(ctx, api.Question{Person: "alice", Server: "lab"})); !e.Allowed || e.Grant != "1" {
		t.Errorf("lab: %+v", e)
	}
	if e := must[api.Explanation](t)(h.Explain(ctx, api.Question{Person: "alice", Server: "first"})); e.Allowed || e.Denial != string(policy.NoGrant) {
		t.Errorf("first: %+v", e)
	}
}

func TestExplainWeighsGrantsThroughGroups(t *testing.T) {
	h, _, ctx := newHouse(t)
	must[api.Person](t)(h.AddPerson(ctx, api.NewPerson{Name: "alice", Addresses: []api.NewAddress{{Address: "10.0.0.1"}}}))
	must[api.Person](t)(h.AddPerson(ctx, api.NewPerson{Name: "bob", Addresses: []api.NewAddress{{Address: "10.0.0.2"}}}))
	must[api.Server](t)(h.AddServer(ctx, api.NewServer{Name: "db", Address: "10.30.0.1"}))
	must[api.Server](t)(h.AddServer(ctx, api.NewServer{Name: "web", Address: "10.30.0.2"}))
	must[api.Group](t)(h.CreateGroup(ctx, api.PersonGroup, api.NewGroup{Name: "dba"}))
	must[api.Group](t)(h.AddMember(ctx, api.PersonGroup, "dba", api.Member{Member: "alice"}))
	must[api.Group](t)(h.CreateGroup(ctx, api.ServerGroup, api.NewGroup{Name: "prod"}))
	must[api.Group](t)(h.CreateGroup(ctx, api.ServerGroup, api.NewGroup{Name: "all"}))
	must[api.Group](t)(h.AddMember(ctx, api.ServerGroup, "prod", api.Member{Member: "db"}))
	must[api.Group](t)(h.AddMember(ctx, api.ServerGroup, "all", api.Member{Member: "prod"}))
	must[api.Grant](t)(h.CreateGrant(ctx, api.NewGrant{PersonGroup: "dba", Group: "all", Logins: []string{"postgres"}, Duration: "1h"}))
	must[api.Grant](t)(h.CreateGrant(ctx, api.NewGrant{Person: "bob", Group: "all", Permanent: true}))
	must[api.Grant](t)(h.CreateGrant(ctx, api.NewGrant{Person: "alice", Server: "web", Permanent: true}))
	e := must[api.Explanation](t)(h.Explain(ctx, api.Question{Person: "alice", Server: "db", Login: "root"}))
	want := []api.Weighed{{Grant: "1", Who: "dba", Where: "all > prod", Denial: string(policy.WrongLogin), Sentence: policy.WrongLogin.Sentence()}}
	if diff := cmp.Diff(want, e.Grants); diff != "" || e.Denial != string(policy.WrongLogin) {
		t.Errorf("%s: %s", e.Denial, diff)
	}
}

// entered writes a session of another gate or of this one.
func entered(t *testing.T, h *House, ctx context.Context, gate string) policy.Session {
	t.Helper()
	must[api.Person](t)(h.AddPerson(ctx, api.NewPerson{Name: "alice", Addresses: []api.NewAddress{{Address: "10.0.0.1"}}}))
	must[api.Server](t)(h.AddServer(ctx, api.NewServer{Name: "db", Address: "10.30.0.1"}))
	must[api.Grant](t)(h.CreateGrant(ctx, api.NewGrant{Person: "alice", Server: "db", Duration: "1h"}))
	se, _, err := h.Store.Enter(ctx, policy.Session{
		Person: h.Book().PersonNamed("alice").ID, Server: h.Book().ServerNamed("db").ID, Grant: "1", Protocol: policy.SSH, Login: "root",
		Client: netip.MustParseAddrPort("10.0.0.1:5000"), Dest: netip.MustParseAddrPort("10.30.0.1:22"), Gate: gate, Start: time.Now(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return se
}

func TestASessionOfAnotherGateIsShownAndNotEnded(t *testing.T) {
	h, _, ctx := newHouse(t)
	se := entered(t, h, ctx, "gate-2")
	all := must[[]api.Session](t)(h.Sessions(ctx, api.SessionFilter{}))
	if len(all) != 1 || all[0].Live || all[0].Gate != "gate-2" {
		t.Errorf("sessions: %+v", all)
	}
	if stays := must[[]api.Stay](t)(h.Stays(ctx, api.StayFilter{})); len(stays) != 1 || !stays[0].Present {
		t.Errorf("stays: %+v", stays)
	}
	if _, err := h.KillSession(ctx, string(se.ID)); codeOf(err) != api.CodeConflict || !strings.Contains(err.Error(), "gate-2") {
		t.Errorf("kill: %v", err)
	}
	if _, err := h.Recordings(ctx, string(se.ID)); codeOf(err) != api.CodeNotFound {
		t.Errorf("recordings: %v", err)
	}
}

// A session whose end waits for the database to be written down is not live.
func TestASessionThisGateNoLongerCarriesIsNotPresent(t *testing.T) {
	h, gate, ctx := newHouse(t)
	se := entered(t, h, ctx, "gate-1")
	gate.sessions[se.ID] = Traffic{In: 1, Out: 2}
	if all := must[[]api.Session](t)(h.Sessions(ctx, api.SessionFilter{})); len(all) != 1 || !all[0].Live || all[0].Out != 2 || all[0].Until.IsZero() {
		t.Errorf("carried: %+v", all)
	}
	delete(gate.sessions, se.ID)
	if all := must[[]api.Session](t)(h.Sessions(ctx, api.SessionFilter{})); len(all) != 0 {
		t.Errorf("not carried: %+v", all)
	}
	if stays := must[[]api.Stay](t)(h.Stays(ctx, api.StayFilter{})); len(stays) != 1 || stays[0].Present {
		t.Errorf("stays: %+v", stays)
	}
}

func TestAnAmbiguousPrefixEndsNobodyWithoutADatabase(t *testing.T) {
	h, gate, ctx := newHouse(t)
	gate.sessions["aaaabbbb"], gate.sessions["aaaacccc"] = Traffic{}, Traffic{}
	h.Store.Close()
	if _, err := h.KillSession(ctx, "aaaa"); codeOf(err) != api.CodeUnavailable || len(gate.ended) != 0 {
		t.Errorf("an ambiguous prefix ended %v: %v", gate.ended, err)
	}
	if _, err := h.KillSession(ctx, "aaaab"); codeOf(err) != api.CodeUnavailable || len(gate.ended) != 1 {
		t.Errorf("an unambiguous prefix ended %v: %v", gate.ended, err)
	}
}

func TestAChangeTheGateHasNotActedOnSaysSo(t *testing.T) {
	h, _, ctx := newHouse(t)
	must[api.Person](t)(h.AddPerson(ctx, api.NewPerson{Name: "alice"}))
	h.Refresh = func(context.Context) error { return errors.New("the database is gone") }
	_, err := h.SetPerson(ctx, "alice", api.Switch{Version: 1, Disabled: true})
	if codeOf(err) != api.CodeUnavailable || !strings.Contains(err.Error(), "the change is kept, but the gate has not acted on it yet") {
		t.Errorf("got %v", err)
	}
}

func TestWhoDidItIsWrittenDown(t *testing.T) {
	h, gate, ctx := newHouse(t)
	se := entered(t, h, ctx, "gate-1")
	jon := api.WithActor(ctx, api.Actor{Name: "jon", Role: api.Admin})
	gate.sessions[se.ID] = Traffic{}
	must[api.Session](t)(h.KillSession(jon, string(se.ID)[:8]))
	must[api.Stay](t)(h.EndStay(jon, "1"))
	must[api.Grant](t)(h.RevokeGrant(jon, "1"))
	dir := folder(se)
	if err := errors.Join(h.Records.MkdirAll(dir, 0o750), h.Records.WriteFile(dir+"/0.cast", []byte("{}\n"), 0o640)); err != nil {
		t.Fatal(err)
	}
	body, err := h.Recording(jon, string(se.ID), 0, api.Following{})
	if err != nil {
		t.Fatal(err)
	}
	body.Close()
	rows := must[[]store.AuditRow](t)(h.Store.AuditRows(ctx, store.AuditFilter{By: "jon"}))
	var got []string
	for _, row := range rows {
		got = append(got, row.By+" "+row.Action+" "+row.Object)
	}
	want := []string{
		"jon recording.play session " + string(se.ID), "jon grant.revoke grant 1",
		"jon stay.end stay 1", "jon session.kill session " + string(se.ID),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
