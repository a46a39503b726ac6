package appliance

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pawelmojski/inside/appliance/api"
	"github.com/pawelmojski/inside/policy"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func TestTheRulesOfAlerts(t *testing.T) {
	never := func(alertKey) bool { return false }
	always := func(alertKey) bool { return true }
	for sentence, c := range map[string]struct {
		signs
		was  func(alertKey) bool
		want string // kinds and objects
	}{
		"a quiet gate has none": {want: ""},
		"a grant that ends in 59 minutes": {signs: signs{ending: []ending{{"42", "alice on web", noon.Add(59 * time.Minute)}}},
			want: "grant-ending grant 42"},
		"a grant that ends in exactly an hour":               {signs: signs{ending: []ending{{"42", "", noon.Add(time.Hour)}}}, want: "grant-ending grant 42"},
		"a grant that ends a microsecond later is early yet": {signs: signs{ending: []ending{{"42", "", noon.Add(time.Hour + 1000)}}}},
		"a grant that ends now has ended":                    {signs: signs{ending: []ending{{"42", "", noon}}}},
		"a disk used by 80% is no alert yet":                 {signs: signs{used: 0.80}},
		"a disk used by more is":                             {signs: signs{used: 0.801}, want: "recordings-filling recordings"},
		"it goes on at 79%":                                  {signs: signs{used: 0.79}, was: always, want: "recordings-filling recordings"},
		"and is over at 78%":                                 {signs: signs{used: 0.78}, was: always},
		"recordings that cannot be written":                  {signs: signs{recordings: errors.New("x")}, want: "recordings-failing recordings"},
		"a database that is away":                            {signs: signs{database: errors.New("x")}, want: "database-away database"},
		"rules that cannot be put right":                     {signs: signs{rules: errors.New("x")}, want: "rules-wrong rules"},
		"a record that is not signed":                        {signs: signs{unsigned: "x"}, want: "record-unsigned audit trail"},
		"doors that are closed":                              {signs: signs{doors: errors.New("x")}, want: "doors-closed doors"},
		"20 denials are no spike":                            {signs: signs{denials: denialCount{recent: 20}}},
		"21 after an hour without any are":                   {signs: signs{denials: denialCount{recent: 21}}, want: "denials-spike entries"},
		"40 where 10 are usual are none":                     {signs: signs{denials: denialCount{recent: 40, usual: 10}}},
		"41 are":                                             {signs: signs{denials: denialCount{recent: 41, usual: 10}}, want: "denials-spike entries"},
		"a spike goes on until there are half as many":       {signs: signs{denials: denialCount{recent: 21, usual: 10}}, was: always, want: "denials-spike entries"},
		"and is over then":                                   {signs: signs{denials: denialCount{recent: 20, usual: 10}}, was: always},
		"a repair ten minutes ago is over":                   {signs: signs{repairs: happening{noon.Add(-10 * time.Minute), "x"}}},
		"a repair before that is not":                        {signs: signs{repairs: happening{noon.Add(-10*time.Minute + 1), "x"}}, want: "rules-repaired rules"},
		"two failed dials in a row are no alert":             {signs: signs{servers: []serverSign{{"server web", 2, "x"}}}},
		"three are":                                          {signs: signs{servers: []serverSign{{"server web", 3, "x"}}}, want: "server-unreachable server web"},
		"another host key":                                   {signs: signs{changed: []keySign{{"server web", "web"}}}, want: "host-key-changed server web"},
	} {
		t.Run(sentence, func(t *testing.T) {
			if c.was == nil {
				c.was = never
			}
			c.now = noon
			var got []string
			for key, text := range alertsBy(c.signs, c.was) {
				got = append(got, key.kind+" "+key.object)
				if text == "" || strings.ContainsAny(text, "\n\r") {
					t.Errorf("text %q", text)
				}
				if !slices.Contains(api.AlertKinds, key.kind) {
					t.Errorf("%s is no kind", key.kind)
				}
			}
			if s := strings.Join(got, ", "); s != c.want {
				t.Errorf("%q, want %q", s, c.want)
			}
		})
	}
}

func TestATextOfElsewhereStaysShort(t *testing.T) {
	text := alertsBy(signs{now: noon, database: errors.New(strings.Repeat("gone\n", 10_000))}, func(alertKey) bool { return false })
	for _, s := range text {
		if len(s) > 400 || strings.Contains(s, "\n") {
			t.Errorf("%d bytes: %q", len(s), s)
		}
	}
}

func TestTheUsualIsTheHourBefore(t *testing.T) {
	var m denialMinutes
	now := noon
	step := func(minutes, each int, d policy.Denial) {
		for range minutes {
			for range each {
				m.add(d, now)
			}
			now = now.Add(time.Minute)
		}
	}
	check := func(sentence string, want denialCount) {
		t.Helper()
		if diff := cmp.Diff(want, m.count(now.Add(-time.Second)), cmp.AllowUnexported(denialCount{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", sentence, diff)
		}
	}
	step(5, 3, policy.NoGrant)
	check("five minutes old, nothing is usual yet", denialCount{recent: 15, most: "no-grant"})
	step(60, 2, policy.UnknownPerson)
	got := m.count(now.Add(-time.Second))
	if got.recent != 10 || got.usual < 9 || got.usual > 11 || got.most != "unknown-person" {
		t.Errorf("two a minute for an hour: %+v, want 10 and about 10", got)
	}
	step(4, 50, policy.WrongLogin)
	if got = m.count(now.Add(-time.Second)); got.recent != 202 || float64(got.recent) <= got.least() || got.most != "login" {
		t.Errorf("fifty a minute: %+v, want a spike of login", got)
	}
	now = now.Add(3 * time.Hour)
	check("hours later nothing is left", denialCount{})
	now = now.Add(-2 * time.Hour)
	m.add(policy.NoGrant, now) // the clock was set back
	if got := m.count(now); got.recent != 1 {
		t.Errorf("after the clock was set back: %+v", got)
	}
}

// bookOf makes a book of grants of alice for web, which end then.
func bookOf(t testing.TB, ends ...time.Time) *policy.Book {
	t.Helper()
	f := policy.Facts{Persons: []policy.Person{{ID: "p", Name: "alice"}}, Servers: []policy.Server{{ID: "v", Name: "web"}}}
	f.Servers[0].Prefix = webAt
	for i, end := range ends {
		f.Grants = append(f.Grants, policy.Grant{ID: policy.GrantID(fmt.Sprint(i + 1)), Person: "p", Server: "v", Start: noon.Add(-time.Hour), End: end})
	}
	b, err := policy.NewBook(f)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestOnlyGrantsThatEndSoonAreLookedAt(t *testing.T) {
	b := bookOf(t, time.Time{}, noon.Add(-time.Minute), noon, noon.Add(1), noon.Add(time.Hour), noon.Add(time.Hour+1), noon.Add(24*time.Hour))
	var got []string
	for _, e := range deadlinesOf(b).within(noon, noon.Add(time.Hour)) {
		got = append(got, string(e.id)+" "+e.of)
	}
	if diff := cmp.Diff([]string{"4 alice on web", "5 alice on web"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestEveryKindOfAlertHasARule(t *testing.T) {
	s := signs{
		now: noon, ending: []ending{{"1", "", noon.Add(1)}}, used: 1, recordings: errors.New("x"), database: errors.New("x"), rules: errors.New("x"),
		doors: errors.New("x"), unsigned: "x", denials: denialCount{recent: 100}, repairs: happening{noon, "x"},
		servers: []serverSign{{"s", 3, "x"}}, changed: []keySign{{"s", "s"}},
	}
	kinds := map[string]bool{}
	for key := range alertsBy(s, func(alertKey) bool { return false }) {
		kinds[key.kind] = true
	}
	if diff := cmp.Diff(slices.Sorted(slices.Values(api.AlertKinds)), slices.Sorted(maps.Keys(kinds))); diff != "" {
		t.Error(diff)
	}
}
