package policy_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/pawelmojski/inside/policy"
)

func schedule(t testing.TB, text, zone string) policy.Schedule {
	t.Helper()
	s, err := policy.ParseSchedule(text, zone)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func location(t testing.TB, zone string) *time.Location {
	t.Helper()
	l, err := time.LoadLocation(zone)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// A span is a window as the tests write it: it starts on each of the days and
// lasts so long.
type span struct {
	days string // "Mon Tue"
	from string
	last time.Duration
}

// schedules are texts and what they mean, written down by hand.
var schedules = []struct {
	text  string
	spans []span
}{
	{"Mon-Fri 09:00-17:00", []span{{"Mon Tue Wed Thu Fri", "09:00", 8 * time.Hour}}},
	{"Sat,Sun 10:00-14:00", []span{{"Sat Sun", "10:00", 4 * time.Hour}}},
	{"Mon-Fri 09:00-17:00; Sat,Sun 10:00-14:00", []span{{"Mon Tue Wed Thu Fri", "09:00", 8 * time.Hour}, {"Sat Sun", "10:00", 4 * time.Hour}}},
	{"Sun 02:00-03:00", []span{{"Sun", "02:00", time.Hour}}}, // not there, or twice
	{"Sun 02:15-02:45", []span{{"Sun", "02:15", 30 * time.Minute}}},
	{"Sun 01:30-02:30", []span{{"Sun", "01:30", time.Hour}}},
	{"Sun 02:30-03:30", []span{{"Sun", "02:30", time.Hour}}},
	{"Sun 00:00-02:00; Sun 03:00-24:00", []span{{"Sun", "00:00", 2 * time.Hour}, {"Sun", "03:00", 21 * time.Hour}}},
	{"Mon-Sat 00:00-24:00; Sun 00:00-02:00; Sun 03:00-24:00", []span{{"Mon Tue Wed Thu Fri Sat", "00:00", 24 * time.Hour}, {"Sun", "00:00", 2 * time.Hour}, {"Sun", "03:00", 21 * time.Hour}}},
	{"Sat 22:00-02:30", []span{{"Sat", "22:00", 4*time.Hour + 30*time.Minute}}},
	{"Sun 22:00-02:00", []span{{"Sun", "22:00", 4 * time.Hour}}},
	{"Fri-Mon 20:00-04:00", []span{{"Fri Sat Sun Mon", "20:00", 8 * time.Hour}}},
	{"Sat 00:00-23:59", []span{{"Sat", "00:00", 24 * time.Hour}}},
	{"Sun 23:59-23:59", []span{{"Sun", "23:59", time.Minute}}},
	{"Sat 10:00-12:00; Sat 11:00-13:00; Sat 13:00-14:00", []span{{"Sat", "10:00", 4 * time.Hour}}},
	{"Sat-Sun 00:00-24:00; Mon 00:00-06:00", []span{{"Sat", "00:00", 54 * time.Hour}}},
	{"Mon-Sun 00:00-24:00", []span{{"Mon", "00:00", 168 * time.Hour}}},
	{"Mon-Sun 00:00-23:59", []span{{"Mon", "00:00", 168 * time.Hour}}},
	{"Sun 12:00-11:00", []span{{"Sun", "12:00", 23 * time.Hour}}},
}

const wallFormat = "Mon 15:04"

// wallMinutes is the slow meaning of windows: every minute of the week that is
// inside, as a clock on the wall shows it.
func wallMinutes(t testing.TB, spans []span) map[string]bool {
	t.Helper()
	inside := map[string]bool{}
	monday := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
	for d := range 7 {
		date := monday.AddDate(0, 0, d)
		for _, s := range spans {
			if !strings.Contains(s.days, date.Format("Mon")) {
				continue
			}
			clock, err := time.Parse("15:04", s.from)
			if err != nil {
				t.Fatal(err)
			}
			start := date.Add(time.Duration(clock.Hour())*time.Hour + time.Duration(clock.Minute())*time.Minute)
			for m := start; m.Before(start.Add(s.last)); m = m.Add(time.Minute) {
				inside[m.Format(wallFormat)] = true
			}
		}
	}
	return inside
}

// The weekends on which the clocks change, this year and in one that no table
// of a zone reaches, and the last day of a leap year, of which Go's own
// ZoneBounds says that it has passed (see offsetEnd).
var weekends = []struct {
	zone string
	days []string // Saturdays
}{
	{"Europe/Warsaw", []string{"2026-03-28", "2026-10-24", "2040-03-24", "2040-10-27", "2040-12-29"}},
	{"America/New_York", []string{"2026-03-07", "2026-10-31", "2040-03-10", "2040-11-03", "2040-12-29"}},
	{"Australia/Lord_Howe", []string{"2026-04-04", "2026-10-03", "2040-03-31", "2040-10-06", "2040-12-29"}},
	{"UTC", []string{"2026-03-28", "2040-12-29"}},
}

func TestMinuteByMinuteWhenTheClocksChange(t *testing.T) {
	for _, weekend := range weekends {
		zone := location(t, weekend.zone)
		for _, saturday := range weekend.days {
			start, err := time.ParseInLocation(time.DateOnly, saturday, zone)
			if err != nil {
				t.Fatal(err)
			}
			if start.Weekday() != time.Saturday {
				t.Fatalf("%s is a %s", saturday, start.Weekday())
			}
			wall := make([]string, scannedMinutes)
			for i := range wall {
				wall[i] = minuteAfter(start, i).In(zone).Format(wallFormat)
			}
			for _, c := range schedules {
				t.Run(weekend.zone+" "+saturday+" "+c.text, func(t *testing.T) {
					t.Parallel()
					inside := wallMinutes(t, c.spans)
					days := make([]bool, scannedMinutes)
					for i := range days {
						days[i] = inside[wall[i]]
					}
					checkMinutes(t, schedule(t, c.text, weekend.zone), days, start)
				})
			}
		}
	}
}

// The first and the last moment of every minute of three days are asked for;
// the edges they have are looked for in eleven days.
const askedMinutes, scannedMinutes = 3 * 24 * 60, 11 * 24 * 60

func minuteAfter(start time.Time, i int) time.Time {
	return start.Add(time.Duration(i) * time.Minute)
}

func checkMinutes(t *testing.T, s policy.Schedule, inside []bool, start time.Time) {
	// Edges are found backwards, so that each minute knows the next one.
	next := make([]time.Time, len(inside))
	for i := len(inside) - 2; i >= 0; i-- {
		next[i] = next[i+1]
		if inside[i] != inside[i+1] {
			next[i] = minuteAfter(start, i+1)
		}
	}
	for i := range askedMinutes {
		first := minuteAfter(start, i)
		for _, ask := range [2]time.Time{first, first.Add(time.Minute - time.Nanosecond)} {
			if got := s.Contains(ask); got != inside[i] {
				t.Fatalf("Contains(%s) = %v, want %v", ask, got, inside[i])
			}
			if got := s.Edge(ask); !got.Equal(next[i]) {
				t.Fatalf("Edge(%s) = %s, want %s", ask, got, next[i])
			}
		}
	}
}

func TestWhenTheClocksChange(t *testing.T) {
	// In Warsaw 02:00 is 03:00 on 2026-03-29, 03:00 is 02:00 on 2026-10-25.
	for _, c := range []struct {
		name, text, after string
		edges             []string // in UTC
	}{
		{"a window in the missing hour does not happen", "Sun 02:00-03:00", "2026-03-28T12:00:00Z", []string{"2026-04-05T00:00:00Z", "2026-04-05T01:00:00Z"}},
		{"what opens in the missing hour opens at the jump", "Sun 02:30-05:00", "2026-03-28T12:00:00Z", []string{"2026-03-29T01:00:00Z", "2026-03-29T03:00:00Z"}},
		{"what closes in the missing hour closes at the jump", "Sun 01:00-02:30", "2026-03-28T12:00:00Z", []string{"2026-03-29T00:00:00Z", "2026-03-29T01:00:00Z"}},
		{"what closes in the doubled hour opens again", "Sun 01:00-02:30", "2026-10-24T12:00:00Z", []string{"2026-10-24T23:00:00Z", "2026-10-25T00:30:00Z", "2026-10-25T01:00:00Z", "2026-10-25T01:30:00Z"}},
		{"what opens in the doubled hour opens twice", "Sun 02:30-05:00", "2026-10-24T12:00:00Z", []string{"2026-10-25T00:30:00Z", "2026-10-25T01:00:00Z", "2026-10-25T01:30:00Z", "2026-10-25T04:00:00Z"}},
		{"the doubled hour is inside twice, without an edge", "Sun 02:00-03:00", "2026-10-24T12:00:00Z", []string{"2026-10-25T00:00:00Z", "2026-10-25T02:00:00Z"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := schedule(t, c.text, "Europe/Warsaw")
			at, err := time.Parse(time.RFC3339, c.after)
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range c.edges {
				if at = s.Edge(at); moment(at) != want {
					t.Fatalf("edge at %s, want %s", moment(at), want)
				}
			}
		})
	}
}

func TestNoEdgeWhereNothingChanges(t *testing.T) {
	now := time.Date(2026, 3, 29, 0, 59, 0, 0, time.UTC)
	for _, s := range []policy.Schedule{
		{},
		schedule(t, "Mon-Sun 00:00-24:00", "Europe/Warsaw"),
		schedule(t, "Mon-Sun 00:00-23:59", "Europe/Warsaw"),
		schedule(t, "Mon-Sun 12:00-00:00; Mon-Sun 23:00-13:00", "Australia/Lord_Howe"),
	} {
		if edge := s.Edge(now); !edge.IsZero() {
			t.Errorf("%q: edge at %s, want none", s, edge)
		}
		if got, want := s.Contains(now), s.String() != ""; got != want {
			t.Errorf("%q: Contains is %v", s, got)
		}
	}
}

// A time that carries a monotonic reading is compared by it: an edge with one
// would move when the clock is set.
func TestEdgesAreTimesOfTheWallClock(t *testing.T) {
	edge := schedule(t, "Mon-Sun 12:00-13:00", "Europe/Warsaw").Edge(time.Now())
	if edge != edge.Round(0) {
		t.Error("the edge has a monotonic reading")
	}
}

// From any moment of 130 years, in zones with all kinds of rules, Contains
// does not change before the edge and does at it.
func TestEdgeIsTheNextChange(t *testing.T) {
	zones := []string{
		"Europe/Warsaw", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca", "Pacific/Apia",
		"Asia/Kathmandu", "Asia/Gaza", "America/St_Johns", "Europe/Dublin", "America/Nuuk", "Antarctica/Troll",
		"Pacific/Chatham", "America/Asuncion", "Africa/Monrovia", "UTC",
	}
	first, last := time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)
	rapid.Check(t, func(t *rapid.T) {
		zone := rapid.SampledFrom(zones).Draw(t, "zone")
		text := drawSchedule(t)
		s, err := policy.ParseSchedule(text, zone)
		if err != nil {
			t.Fatal(err)
		}
		now := time.Unix(rapid.Int64Range(first.Unix(), last.Unix()).Draw(t, "now"), 0)
		if rapid.Bool().Draw(t, "near a change of the clock") {
			loc, err := time.LoadLocation(zone)
			if err != nil {
				t.Fatal(err)
			}
			if _, end := now.In(loc).ZoneBounds(); !end.IsZero() {
				now = end.Add(time.Duration(rapid.IntRange(-8*24*3600, 24*3600).Draw(t, "off")) * time.Second)
			}
		}
		edge := s.Edge(now)
		end := edge
		if edge.IsZero() {
			end = now.Add(21 * 24 * time.Hour)
		}
		if !end.After(now) {
			t.Fatalf("%q in %s: edge %s is not after %s", text, zone, edge, now)
		}
		if end.Sub(now) > 21*24*time.Hour {
			t.Fatalf("%q in %s: edge %s is far from %s", text, zone, edge, now)
		}
		for m := now; m.Before(end); m = m.Add(47 * time.Second) {
			if s.Contains(m) != s.Contains(now) {
				t.Fatalf("%q in %s: changes at %s, before the edge of %s at %s", text, zone, m, now, edge)
			}
		}
		if s.Contains(end.Add(-time.Nanosecond)) != s.Contains(now) || !edge.IsZero() && s.Contains(edge) == s.Contains(now) {
			t.Fatalf("%q in %s: no change at the edge %s of %s", text, zone, edge, now)
		}
	})
}

// drawSchedule draws one to three windows as people write them.
func drawSchedule(t *rapid.T) string {
	names := []string{"Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"}
	var parts []string
	for range rapid.IntRange(1, 3).Draw(t, "windows") {
		days := rapid.SampledFrom(names).Draw(t, "day")
		if rapid.Bool().Draw(t, "range") {
			days += "-" + rapid.SampledFrom(names).Draw(t, "last day")
		}
		from := rapid.IntRange(0, 47).Draw(t, "from") * 30
		to := rapid.IntRange(0, 48).Draw(t, "to") * 30
		if from == to || from == 23*60+30 && to == 0 {
			to = 24 * 60
		}
		parts = append(parts, fmt.Sprintf("%s %02d:%02d-%02d:%02d", days, from/60, from%60, to/60, to%60))
	}
	return strings.Join(parts, "; ")
}

func TestScheduleIsWrittenAsItWasUnderstood(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"Mon-Fri 09:00-17:00", "Mon-Fri 09:00-17:00"},
		{" mon-FRI\t09:00-17:00 ;Sat,sun 10:00-14:00 ", "Mon-Fri 09:00-17:00; Sat,Sun 10:00-14:00"},
		{"Mon-Sun 00:00-23:59", "Mon-Sun 00:00-24:00"},
		{"Fri 22:00-00:00", "Fri 22:00-24:00"},
		{"Fri 22:00-02:00", "Fri 22:00-02:00"},
		{"Mon-Mon,Wed 12:00-13:00", "Mon,Wed 12:00-13:00"},
	} {
		s := schedule(t, c.text, "Europe/Warsaw")
		if s.String() != c.want || s.Zone() != "Europe/Warsaw" {
			t.Errorf("%q is written %q in %s, want %q", c.text, s, s.Zone(), c.want)
		}
		again := schedule(t, s.String(), s.Zone())
		if !again.Equal(s) || again.Equal(schedule(t, c.want, "UTC")) || again.Equal(policy.Schedule{}) {
			t.Errorf("%q: Equal does not tell schedules apart", c.text)
		}
	}
	if got := (policy.Schedule{}).Zone(); got != "" {
		t.Errorf("the zero schedule is in %q", got)
	}
}

func TestBadSchedulesNameTheWayOut(t *testing.T) {
	for _, c := range []struct{ text, zone, want string }{
		{"Mon 09:00-17:00", "", "time zone is missing: use an IANA name such as Europe/Warsaw"},
		{"Mon 09:00-17:00", "Local", `unknown time zone "Local": use an IANA name such as Europe/Warsaw`},
		{"Mon 09:00-17:00", "CEST", `unknown time zone "CEST": use an IANA name such as Europe/Warsaw`},
		{"Mon 09:00-17:00", "../../etc/passwd", `unknown time zone "../../etc/passwd": use`},
		{"Mon 09:00-17:00", strings.Repeat("x", 1<<20), "unknown time zone"},
		{"", "UTC", `"" is not days and hours: write for example Mon-Fri 09:00-17:00`},
		{"Mon 09:00-17:00;", "UTC", `"" is not days and hours`},
		{"Mon-Fri", "UTC", `"Mon-Fri" is not days and hours`},
		{"Mon Tue 09:00-17:00", "UTC", `"Mon Tue 09:00-17:00" is not days and hours`},
		{"Monday 09:00-17:00", "UTC", `"Monday" is not a day: use Mon Tue Wed Thu Fri Sat Sun`},
		{"Mon-Fri- 09:00-17:00", "UTC", `"Fri-" is not a day`},
		{",Mon 09:00-17:00", "UTC", `"" is not a day`},
		{"Mon 09:00", "UTC", `"09:00" has no end: write for example 09:00-17:00`},
		{"Mon 9:00-17:00", "UTC", `"9:00" is not a time of day: write hours and minutes from 00:00 to 24:00`},
		{"Mon 09:00-24:01", "UTC", `"24:01" is not a time of day`},
		{"Mon 09:00-17:60", "UTC", `"17:60" is not a time of day`},
		{"Mon 09:00-17.00", "UTC", `"17.00" is not a time of day`},
		{"Mon 09:00-+7:00", "UTC", `"+7:00" is not a time of day`},
		{"Mon 09:00-09:00", "UTC", `"09:00-09:00" is empty: for a whole day write 00:00-24:00`},
		{"Mon 24:00-09:00", "UTC", `"24:00-09:00" starts at the end of the day: start the next day at 00:00`},
		{strings.Repeat("Mon 09:00-17:00;", 1<<16), "UTC", "schedule is longer than 1000 characters"},
	} {
		_, err := policy.ParseSchedule(c.text, c.zone)
		if err == nil || !strings.Contains(err.Error(), c.want) || len(err.Error()) > 400 {
			t.Errorf("%.40q in %.40q: error %.400v\nwant %s", c.text, c.zone, err, c.want)
		}
	}
}

func TestSchedulesDoNotAllocate(t *testing.T) {
	s := schedule(t, "Mon-Fri 09:00-17:00; Sat 22:00-02:00", "Europe/Warsaw")
	now := time.Date(2040, 6, 1, 12, 0, 0, 0, time.UTC)
	if n := testing.AllocsPerRun(100, func() { s.Contains(now); s.Edge(now) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzParseSchedule(f *testing.F) {
	for _, c := range schedules {
		f.Add(c.text, "Europe/Warsaw")
	}
	f.Add("Mon 09:00-17:00", "Local")
	f.Fuzz(func(t *testing.T, text, zone string) {
		s, err := policy.ParseSchedule(text, zone)
		if err != nil {
			return
		}
		again, err := policy.ParseSchedule(s.String(), s.Zone())
		if err != nil {
			t.Fatalf("%q became %q, which is an error: %v", text, s, err)
		}
		if !again.Equal(s) {
			t.Fatalf("%q became %q, and that %q", text, s, again)
		}
		now := time.Date(2026, 3, 27, 12, 0, 0, 0, time.UTC)
		for range 50 {
			edge := s.Edge(now)
			if !edge.Equal(again.Edge(now)) || s.Contains(now) != again.Contains(now) {
				t.Fatalf("%q and %q differ at %s", text, again, now)
			}
			if edge.IsZero() {
				return
			}
			if !edge.After(now) || s.Contains(edge) == s.Contains(now) {
				t.Fatalf("%q: no change at the edge %s of %s", text, edge, now)
			}
			now = edge
		}
	})
}

func BenchmarkScheduleEdge(b *testing.B) {
	s := schedule(b, "Mon-Fri 09:00-17:00; Sat,Sun 10:00-14:00", "Europe/Warsaw")
	now := time.Date(2026, 3, 27, 12, 0, 0, 0, time.UTC)
	b.ReportAllocs()
	for b.Loop() {
		s.Edge(now)
	}
}
