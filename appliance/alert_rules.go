package appliance

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pawelmojski/inside/appliance/api"
	"github.com/pawelmojski/inside/policy"
)

// The rules by which there is an alert. Each says, of what can be seen at a
// moment, which alerts there are now; none remembers anything. What was there
// before matters to those alone that would otherwise come and go.

const (
	endingWithin = time.Hour

	// An alert of a disk that is used by more than fillingAt lasts until it is
	// used by less than filledTo.
	fillingAt, filledTo = 0.80, 0.78

	// A spike is more denials in five minutes than spikeLeast and than
	// spikeTimes the usual, which is the average of the hour before. It lasts
	// until there are half as many as it takes.
	spikeLeast = 20
	spikeTimes = 4

	// unreachableAfter is how often in a row a server could not be reached.
	unreachableAfter = 3

	// momentLasts is how long there is an alert of what was over at once.
	momentLasts = 10 * time.Minute
)

// An alert is known by its kind, its object and, where the same object may
// give another reason for one, that.
type alertKey struct{ kind, object, reason string }

// signs are what the rules look at.
type signs struct {
	now        time.Time
	ending     []ending
	used       float64 // share of the disk of the recordings
	recordings error   // why nothing can be recorded
	database   error   // why nothing can be written down
	rules      error   // of the kernel
	doors      error
	unsigned   string // why the record is not sealed and signed
	denials    denialCount
	repairs    happening
	servers    []serverSign
	changed    []keySign
}

// An ending is a grant that ends within the hour.
type ending struct {
	id  policy.GrantID
	of  string // "alice on prod-db-01"
	end time.Time
}

// A denialCount is how many entries were denied, and how many usually are.
type denialCount struct {
	recent int     // in the last five minutes
	usual  float64 // in five minutes, on the average of the hour before
	most   string  // the denial most of the recent ones have
}

// A happening is something that was over at once.
type happening struct {
	at   time.Time
	what string
}

// A serverSign is a server that could not be reached the last few times.
type serverSign struct {
	object string
	failed int
	why    string
}

// A keySign is a server that does not show the host key it is known by.
type keySign struct{ object, server string }

// alertsBy returns the alerts there are, with their texts. was tells which
// there were.
func alertsBy(s signs, was func(alertKey) bool) map[alertKey]string {
	alerts := map[alertKey]string{}
	for _, e := range s.ending {
		if left := e.end.Sub(s.now); left > 0 && left <= endingWithin {
			alerts[alertKey{api.AlertGrantEnding, "grant " + string(e.id), e.end.String()}] =
				fmt.Sprintf("grant %s (%s) ends at %s", e.id, e.of, e.end.Local().Format("15:04:05 MST"))
		}
	}
	disk := alertKey{kind: api.AlertRecordingsFilling, object: "recordings"}
	if s.used > fillingAt || was(disk) && s.used > filledTo {
		alerts[disk] = "the disk of the recordings is used by more than 80%: shorten recordings.keep or enlarge it before nobody is let in"
	}
	for key, err := range map[alertKey]error{
		{kind: api.AlertRecordingsFailing, object: "recordings"}: s.recordings,
		{kind: api.AlertDatabaseAway, object: "database"}:        s.database,
		{kind: api.AlertRulesWrong, object: "rules"}:             s.rules,
		{kind: api.AlertDoorsClosed, object: "doors"}:            s.doors,
	} {
		if err != nil {
			alerts[key] = "nobody new is let in: " + oneLine(err.Error())
		}
	}
	if s.unsigned != "" {
		alerts[alertKey{kind: api.AlertRecordUnsigned, object: "audit trail"}] = "the record is " + oneLine(s.unsigned)
	}
	spike := alertKey{kind: api.AlertDenialsSpike, object: "entries"}
	if least := s.denials.least(); float64(s.denials.recent) > least || was(spike) && float64(s.denials.recent) > least/2 {
		alerts[spike] = fmt.Sprintf("many more entries are denied than usual, most of them with %s: more than %.0f in five minutes", s.denials.most, least)
	}
	if s.repairs.recent(s.now) {
		alerts[alertKey{kind: api.AlertRulesRepaired, object: "rules"}] = "the kernel's rules were changed by somebody and put back: " + oneLine(s.repairs.what)
	}
	for _, v := range s.servers {
		if v.failed >= unreachableAfter {
			alerts[alertKey{kind: api.AlertServerUnreachable, object: v.object}] =
				fmt.Sprintf("%s could not be reached %d times in a row: %s", v.object, unreachableAfter, oneLine(v.why))
		}
	}
	for _, k := range s.changed {
		alerts[alertKey{kind: api.AlertHostKeyChanged, object: k.object}] =
			fmt.Sprintf("%s does not show the host key it is known by: if that is meant, inside server host-key forget %s", k.object, k.server)
	}
	return alerts
}

// least is what more denials than make a spike.
func (d denialCount) least() float64 { return max(spikeLeast, spikeTimes*d.usual) }

func (h happening) recent(now time.Time) bool {
	return !h.at.IsZero() && now.Sub(h.at) < momentLasts
}

// oneLine keeps a text of elsewhere from making an alert of any length.
func oneLine(s string) string {
	const longest = 300
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > longest {
		s = strings.ToValidUTF8(s[:longest], "") + "…"
	}
	return s
}

// deadlines are when the grants of a book end, the earliest first, so that the
// few that end soon are found without looking at all.
type deadlines struct {
	book *policy.Book
	ends []ending // without their names
}

func deadlinesOf(b *policy.Book) deadlines {
	d := deadlines{book: b}
	for _, g := range b.Facts().Grants {
		if !g.End.IsZero() && g.Revoked.IsZero() {
			d.ends = append(d.ends, ending{id: g.ID, end: g.End})
		}
	}
	slices.SortFunc(d.ends, func(x, y ending) int { return x.end.Compare(y.end) })
	return d
}

// within are those that end after a moment and not later than another.
func (d deadlines) within(after, until time.Time) []ending {
	first, _ := slices.BinarySearchFunc(d.ends, after, func(e ending, t time.Time) int {
		if e.end.After(t) {
			return 1
		}
		return -1
	})
	var found []ending
	names := namer{d.book}
	for _, e := range d.ends[first:] {
		if e.end.After(until) {
			break
		}
		e.of = names.who(e.id) + " on " + names.where(e.id)
		found = append(found, e)
	}
	return found
}

// denialMinutes counts denials by minute, for the hour and five minutes that
// a spike is told by.
type denialMinutes struct {
	began   time.Time // of counting; the zero time until then
	minute  int64     // of the newest count, since 1970
	counts  [usualMinutes + recentMinutes]int
	reasons [recentMinutes]map[policy.Denial]int
}

const (
	recentMinutes = 5
	usualMinutes  = 60
)

func (m *denialMinutes) add(d policy.Denial, now time.Time) {
	m.turn(now)
	m.counts[m.minute%int64(len(m.counts))]++
	slot := m.minute % recentMinutes
	if m.reasons[slot] == nil {
		m.reasons[slot] = map[policy.Denial]int{}
	}
	m.reasons[slot][d]++
}

// turn makes room for the present minute and forgets what is too old.
func (m *denialMinutes) turn(now time.Time) {
	minute := now.Unix() / 60
	if m.began.IsZero() {
		m.began, m.minute = now, minute
	}
	if minute-m.minute > int64(len(m.counts)) {
		m.minute = minute - int64(len(m.counts))
	}
	for m.minute < minute {
		m.minute++
		m.counts[m.minute%int64(len(m.counts))] = 0
		m.reasons[m.minute%recentMinutes] = nil
	}
}

// count sums up. Where the gate has run for less than an hour, the usual is
// the average of what it has seen.
func (m *denialMinutes) count(now time.Time) denialCount {
	m.turn(now)
	var c denialCount
	before := 0
	for i := range len(m.counts) {
		n := m.counts[(m.minute-int64(i)+int64(len(m.counts)))%int64(len(m.counts))]
		if i < recentMinutes {
			c.recent += n
		} else {
			before += n
		}
	}
	seen := min(now.Sub(m.began).Minutes()-recentMinutes, usualMinutes)
	if seen >= 1 {
		c.usual = float64(before) / seen * recentMinutes
	}
	reasons := map[policy.Denial]int{}
	for _, slot := range m.reasons {
		for d, n := range slot {
			reasons[d] += n
		}
	}
	for _, d := range policy.Denials() {
		if reasons[d] > reasons[policy.Denial(c.most)] {
			c.most = string(d)
		}
	}
	return c
}
