package appliance

import (
	"bytes"
	"io"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/pawelmojski/inside/appliance/api"
	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/store"
)

// samples reads the numbers as Prometheus would: "name{labels}" and value.
func samples(t testing.TB, m *Metrics) map[string]string {
	t.Helper()
	text, err := m.text()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "} "); ok && line[0] != '#' {
			found[name+"}"] = value
		} else if name, value, ok := strings.Cut(strings.TrimSpace(line), " "); ok && line[0] != '#' {
			found[name] = value
		}
	}
	return found
}

func TestTheNumbersAreAsPrometheusWantsThem(t *testing.T) {
	a, _ := insider(t, policy.Grant{ID: "1", Start: time.Now().Add(-time.Hour)})
	a.doors = newDoors(func(netip.Addr) {})
	var err error
	if a.records, err = openRecords(t.TempDir(), 0); err != nil {
		t.Fatal(err)
	}
	h, _, ctx := newHouse(t)
	se, _ := desktopSession(t, h, ctx)
	must[store.Render](t)(h.Store.AskRender(ctx, "root", se, time.Now(), false))
	a.renders = NewRenders(h.Gate, h.Store, nil, nil, "", time.Now, nil)
	a.measure()
	a.metrics.answered("GET /api/v1/status", 200)
	text, err := a.metrics.text()
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.New(bytes.NewReader(text)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	got := samples(t, a.metrics)
	for name, want := range map[string]string{
		`inside_sessions{protocol="ssh"}`: "1",
		`inside_sessions{protocol="rdp"}`: "0",
		"inside_stays":                    "1",
		"inside_ledger_waiting":           "0",
		"inside_videos_waiting":           "1",
		`inside_up{part="database"}`:      "1",
		`inside_up{part="rules"}`:         "1",
		`inside_api_requests_total{route="GET /api/v1/status",status="200"}`: "1",
		"inside_book_revision": "0",
	} {
		if got[name] != want {
			t.Errorf("%s is %q, want %s", name, got[name], want)
		}
	}
	for _, name := range []string{"go_goroutines", "process_open_fds", "inside_recording_free_bytes", "inside_recording_free_ratio"} {
		if got[name] == "" || got[name] == "0" {
			t.Errorf("%s is %q", name, got[name])
		}
	}
}

func TestEveryDenialIsCountedAndStrangersMakeNoSeries(t *testing.T) {
	m := NewMetrics()
	before := len(samples(t, m))
	for _, d := range policy.Denials() {
		m.refused(policy.SSH, d)
	}
	m.entered(policy.SSH, false)
	m.entered(policy.SSH, true)
	for range 1000 {
		m.refused("gopher", "because")
		m.refused(policy.SSH, "because")
	}
	got := samples(t, m)
	if len(got) != before {
		t.Errorf("%d series became %d", before, len(got))
	}
	for _, d := range policy.Denials() {
		if name := `inside_entries_total{denial="` + string(d) + `",protocol="ssh",verdict="denied"}`; got[name] != "1" {
			t.Errorf("%s is %q", name, got[name])
		}
	}
	if got[`inside_entries_total{denial="",protocol="ssh",verdict="allowed"}`] != "2" || got["inside_stays_total"] != "1" {
		t.Errorf("two entries, one of them joined: %v", got)
	}
}

func TestReadyNamesWhatKeepsPeopleOut(t *testing.T) {
	h, gate, ctx := newHouse(t)
	for want, s := range map[string]api.Status{
		"": {Rules: api.Part{OK: true}, Database: api.Part{OK: true}, Recorder: api.Part{OK: true}, Doors: api.Part{OK: true}},
		"not ready: database": {Rules: api.Part{OK: true}, Database: api.Part{Detail: "database postgres://inside@db: gone"},
			Recorder: api.Part{OK: true}, Doors: api.Part{OK: true}},
		"not ready: rules, database, recordings, doors": {},
	} {
		gate.status = s
		err := h.Ready(ctx)
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestTheMetricsOfAHouseAreText(t *testing.T) {
	h, _, ctx := newHouse(t)
	body, err := h.Metrics(ctx)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(body)
	if err != nil || !bytes.Contains(text, []byte("\ninside_build_info{")) {
		t.Errorf("%v: %.200s", err, text)
	}
}

// BenchmarkCountedDecision is what the numbers cost on the hot path.
func BenchmarkCountedDecision(b *testing.B) {
	m := NewMetrics()
	for b.Loop() {
		began := time.Now()
		m.decided(time.Since(began))
		m.refused(policy.SSH, policy.NoGrant)
	}
}

func TestTheStatisticsNameServersAndStartAtMidnight(t *testing.T) {
	h, _, ctx := newHouse(t)
	if _, err := h.AddPerson(ctx, api.NewPerson{Name: "alice", Addresses: []api.NewAddress{{Address: "10.50.0.2"}}}); err != nil {
		t.Fatal(err)
	}
	if _, err := h.AddServer(ctx, api.NewServer{Name: "web", Address: "10.30.0.140"}); err != nil {
		t.Fatal(err)
	}
	g, err := h.CreateGrant(ctx, api.NewGrant{Person: "alice", Server: "web", Duration: "30m"})
	if err != nil {
		t.Fatal(err)
	}
	b := h.Book()
	local := time.Now().Local()
	midnight := time.Date(local.Year(), local.Month(), local.Day(), 0, 0, 0, 0, time.Local)
	se := policy.Session{
		Person: b.PersonNamed("alice").ID, Server: b.ServerNamed("web").ID, Grant: policy.GrantID(g.ID), Protocol: policy.SSH, Login: "root",
		Client: netip.MustParseAddrPort("10.50.0.2:1234"), Dest: dest, Gate: "gate-1", Start: midnight,
	}
	if _, _, err := h.Store.Enter(ctx, se); err != nil {
		t.Fatal(err)
	}
	h.Now = func() time.Time { return midnight.Add(time.Minute) }
	st, err := h.Stats(ctx)
	if err != nil {
		t.Fatal(err)
	}
	last := st.Hours[len(st.Hours)-1]
	if st.StaysToday != 1 || last.Allowed != 1 || last.Denied != 0 || len(st.Busiest) != 1 || st.Busiest[0] != (api.BusyServer{Server: "web", Entries: 1}) || !st.Recorded.Equal(midnight) {
		t.Errorf("%+v", st)
	}
	h.Now = func() time.Time { return midnight.Add(24 * time.Hour) }
	if st, err = h.Stats(ctx); err != nil || st.StaysToday != 0 || st.Hours[0].Allowed != 1 {
		t.Errorf("a day later: %+v, %v", st, err)
	}
	if s, err := h.Status(ctx); err != nil || s.Ending == nil || s.Alerts == nil {
		t.Errorf("status %+v, %v: lists must be lists in JSON", s, err)
	}
}

func TestTheShippedRulesAskForNumbersThereAre(t *testing.T) {
	a, _ := insider(t, policy.Grant{ID: "1", Start: time.Now().Add(-time.Hour)})
	a.doors = newDoors(func(netip.Addr) {})
	var err error
	if a.records, err = openRecords(t.TempDir(), 0); err != nil {
		t.Fatal(err)
	}
	h, _, _ := newHouse(t)
	a.renders = NewRenders(h.Gate, h.Store, nil, nil, "", time.Now, nil)
	a.measure()
	known := map[string]bool{}
	for name := range samples(t, a.metrics) {
		name, _, _ = strings.Cut(name, "{")
		known[name] = true
	}
	rules, err := os.ReadFile("../packaging/doc/prometheus-rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	asked := regexp.MustCompile(`\binside_\w+`).FindAllString(string(rules), -1)
	if len(asked) < 8 {
		t.Errorf("the rules ask for %q only", asked)
	}
	for _, name := range asked {
		if !known[name] {
			t.Errorf("there is no %s", name)
		}
	}
}
