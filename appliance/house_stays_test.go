package appliance

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pawelmojski/inside/appliance/api"
	"github.com/pawelmojski/inside/policy"
)

// Whatever zone the gate and a schedule are in.
func TestTimesInJSONAreUTC(t *testing.T) {
	h, gate, ctx := newHouse(t)
	tokyo, err := time.LoadLocation("Asia/Tokyo")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().In(tokyo)
	noon := time.Date(now.Year(), now.Month(), now.Day(), 12, 0, 0, 0, tokyo)
	h.Now = func() time.Time { return noon }
	must[api.Person](t)(h.AddPerson(ctx, api.NewPerson{Name: "alice", Addresses: []api.NewAddress{{Address: "10.0.0.1"}}}))
	must[api.Server](t)(h.AddServer(ctx, api.NewServer{Name: "db", Address: "10.30.0.1"}))
	must[api.Grant](t)(h.CreateGrant(ctx, api.NewGrant{
		Person: "alice", Server: "db", Start: noon.Add(-time.Hour), End: noon.Add(24 * time.Hour),
		Schedules: []api.Schedule{{Windows: "Mon-Sun 09:00-17:00", Zone: "Asia/Tokyo"}},
	}))
	se, _, err := h.Store.Enter(ctx, policy.Session{
		Person: h.Book().PersonNamed("alice").ID, Server: h.Book().ServerNamed("db").ID, Grant: "1", Protocol: policy.SSH, Login: "root",
		Client: netip.MustParseAddrPort("10.0.0.1:5000"), Dest: netip.MustParseAddrPort("10.30.0.1:22"), Gate: "gate-1", Start: noon,
	})
	if err != nil {
		t.Fatal(err)
	}
	gate.sessions[se.ID] = Traffic{Recordings: 2}
	until := noon.Add(5 * time.Hour).UTC().Format(time.RFC3339)
	grants := must[[]api.Grant](t)(h.Grants(ctx, api.GrantFilter{}))
	stays := must[[]api.Stay](t)(h.Stays(ctx, api.StayFilter{}))
	sessions := must[[]api.Session](t)(h.Sessions(ctx, api.SessionFilter{}))
	ended := must[api.Stay](t)(h.EndStay(ctx, "1"))
	for _, answer := range []any{grants, stays, sessions, ended, must[api.Page](t)(h.Search(ctx, api.Search{}))} {
		text, err := json.Marshal(answer)
		if err != nil || strings.Contains(string(text), "+09:00") {
			t.Errorf("%T: %v %s", answer, err, text)
		}
	}
	if got := stays[0].Until.Format(time.RFC3339); got != until {
		t.Errorf("the stay ends at %s, want %s", got, until)
	}
	if stays[0].Recordings != 2 || stays[0].Live != 1 {
		t.Errorf("a live session's recordings are not counted: %+v", stays[0])
	}
}

func TestThoseWithinAGroupAreFoundOnceHoweverDeep(t *testing.T) {
	groups := []policy.Group{
		{ID: "outer", Members: []string{"a"}, Groups: []policy.GroupID{"inner", "other"}},
		{ID: "inner", Members: []string{"b", "a"}, Groups: []policy.GroupID{"other"}},
		{ID: "other", Members: []string{"c", "b"}, Groups: []policy.GroupID{"outer"}}, // a cycle ends too
		{ID: "else", Members: []string{"d"}},
	}
	if diff := cmp.Diff([]policy.ServerID{"a", "b", "c"}, within[policy.ServerID](groups, &groups[0])); diff != "" {
		t.Error(diff)
	}
	if got := within[policy.ServerID](groups, &policy.Group{ID: "empty"}); got == nil || len(got) != 0 {
		t.Errorf("in an empty group: %v, want none and not nil, which is everybody", got)
	}
}

func TestWhatASessionWasIsSeenInItsEvents(t *testing.T) {
	h, _, ctx := newHouse(t)
	se := entered(t, h, ctx, "gate-1")
	at := folder(se)
	log := `{"kind":"exec","command":"x"}` + "\n" + `{"kind":"file","op":"upload"}` + "\nbroken\n" +
		`{"kind":"exit","in":5,"out":7}` + "\n" + `{"kind":"forward","to":"x","in":1,"out":1,"detail":"closed"}` + "\n" + `{"kind":"ex`
	if err := h.Records.MkdirAll(at, 0o750); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"0.cast": "{}", "1.cast": "{}", "desktop.rdpr": "x", "events.jsonl": log} {
		if err := h.Records.WriteFile(at+"/"+name, []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	dir, err := h.Records.OpenRoot(at)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	got, err := carriedIn(dir)
	want := Traffic{In: 6, Out: 8, Recordings: 3, Forwarding: true, Files: true}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Error(diff, err)
	}
}
