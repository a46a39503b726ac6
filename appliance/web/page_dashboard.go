package web

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pawelmojski/inside/appliance/api"
)

const (
	dashboardEntries = 100
	endingWithin     = 24 * time.Hour
)

// A dashboard is the first page: one glance answers who is inside.
type dashboard struct {
	Role    api.Role // who looks
	Now     time.Time
	Status  api.Status
	Stats   api.Stats
	Inside  []api.Stay // the oldest first: who comes stands at the end
	Day     day
	Entries []api.Entry // the newest first
	Ending  []api.Grant // within a day, the earliest first
}

func (d dashboard) Operates() bool { return operates(d.Role) }

// DeniedToday counts the denials since midnight.
func (d dashboard) DeniedToday() int { return d.Day.Denied }

// Used is the share of the recordings' disk that is taken.
func (d dashboard) Used() float64 { return 1 - d.Status.Share }

// The parts of the dashboard, each pushed when it changes.
var dashboardParts = []string{"health", "inside", "day", "ending", "entries"}

// lookAround asks for all a dashboard shows.
func (p *Pages) lookAround(ctx context.Context, now time.Time) (d dashboard, err error) {
	d.Now = now
	if d.Status, err = p.house.Status(ctx); err != nil {
		return d, err
	}
	if d.Stats, err = p.house.Stats(ctx); err != nil {
		return d, err
	}
	if d.Entries, err = p.house.Entries(ctx, api.EntryFilter{Limit: dashboardEntries}); err != nil {
		return d, err
	}
	if d.Day, d.Inside, err = p.lookAtDay(ctx, now); err != nil {
		return d, err
	}
	grants, err := p.house.Grants(ctx, api.GrantFilter{Active: true})
	if err != nil {
		return d, err
	}
	for _, g := range grants {
		if !g.End.IsZero() && g.End.Sub(now) <= endingWithin {
			d.Ending = append(d.Ending, g)
		}
	}
	slices.SortFunc(d.Ending, func(a, b api.Grant) int { return a.End.Compare(b.End) })
	return d, nil
}

func (p *Pages) showDashboard(v *visit) error {
	d, err := p.lookAround(v.ctx(), time.Now())
	if err != nil {
		return err
	}
	d.Role = v.actor.Role
	v.show(http.StatusOK, "dashboard", page{Title: "Who is inside", Nav: "inside", Live: "/live", Done: done[v.r.URL.Query().Get("done")], Main: d})
	return nil
}

// done says what a form has just done, on the page it leads to.
var done = map[string]string{
	"ended": "The stay has ended, and its sessions with it.",
}

func (p *Pages) endStay(v *visit) error {
	if _, err := v.house().EndStay(v.ctx(), v.r.PathValue("id")); err != nil {
		return err
	}
	v.redirect("/?done=ended")
	return nil
}

// A link is one of those at the top of each page.
type link struct {
	To, Text string
	Here     bool
}

// A day is what happened since midnight, in the gate's zone, a row for each
// person. Its pictures are as wide as the day has minutes.
type day struct {
	Start, End time.Time
	Hours      []int // a label for each
	Rows       []dayRow
	Denied     int
}

// Minutes is how long the day is: 1440, but where the clocks change.
func (d day) Minutes() int { return int(d.End.Sub(d.Start) / time.Minute) }

// A dayRow is one person's day. Sessions and Denials are paths of SVG: a
// rectangle for each would make a busy day a large page.
type dayRow struct {
	ID, Name string // "" for those whom nobody knows
	Stays    []dayStay
	Sessions string
	Denials  string
	Denied   int
	Count    int // sessions
	At       int // the minute it is now
}

type dayStay struct {
	ID     string
	X, W   int
	Words  string
	Lasted bool // it has ended
}

// dayPaths is a row that is being drawn. It is 20 units high: stays are bars
// behind all, sessions lie in them, denials stand across.
type dayPaths struct {
	dayRow
	sessions, denials []byte
}

// lookAtDay draws the day, and returns who is inside.
func (p *Pages) lookAtDay(ctx context.Context, now time.Time) (d day, inside []api.Stay, err error) {
	now = now.Local()
	d.Start = time.Date(now.Year(), now.Month(), now.Day(), 0, 0, 0, 0, time.Local)
	d.End = d.Start.AddDate(0, 0, 1)
	for t := d.Start; t.Before(d.End); t = t.Add(time.Hour) {
		d.Hours = append(d.Hours, t.Hour())
	}
	err = p.daybook.look(ctx, p.house, d.Start, now, func(open []api.Stay) {
		inside = open
		d.draw(&p.daybook, now)
	})
	return d, inside, err
}

// draw makes a row for each person of the book.
func (d *day) draw(book *daybook, now time.Time) {
	rows := map[string]*dayPaths{}
	row := func(id, name string) *dayPaths {
		if rows[id] == nil {
			rows[id] = &dayPaths{dayRow: dayRow{ID: id, Name: name, At: d.minute(now)}}
		}
		return rows[id]
	}
	for _, s := range book.stays {
		x, w := d.span(s.Start, s.End, now)
		r := row(s.PersonID, s.Person)
		r.Stays = append(r.Stays, dayStay{s.ID, x, w, s.Words(now, time.Local), !s.End.IsZero()})
	}
	for _, f := range book.inOrder() {
		r := row(f.person, f.name)
		if f.denied {
			d.Denied++
			r.Denied++
			r.denials = appendRect(r.denials, d.minute(f.start), 0, 3, 20)
			continue
		}
		r.Count++
		x, w := d.span(f.start, f.end, now)
		r.sessions = appendRect(r.sessions, x, 7, w, 6)
	}
	for _, r := range rows {
		slices.SortFunc(r.Stays, func(a, b dayStay) int { return cmp.Or(a.X-b.X, strings.Compare(a.ID, b.ID)) })
		r.Sessions, r.Denials = string(r.sessions), string(r.denials)
		d.Rows = append(d.Rows, r.dayRow)
	}
	slices.SortFunc(d.Rows, func(a, b dayRow) int {
		if a.ID == "" || b.ID == "" {
			return strings.Compare(b.ID, a.ID) // whom nobody knows stands last
		}
		return strings.Compare(a.Name, b.Name)
	})
}

func (d day) minute(t time.Time) int {
	return min(max(int(t.Sub(d.Start)/time.Minute), 0), d.Minutes())
}

// span is where something lies in the day, and how wide it is: at least so that
// it can be seen.
func (d day) span(start, end, now time.Time) (x, w int) {
	if end.IsZero() {
		end = now
	}
	x = d.minute(start)
	return x, max(d.minute(end)-x, 2)
}

// appendRect adds a rectangle to a path.
func appendRect(path []byte, x, y, w, h int) []byte {
	for _, n := range []struct {
		command byte
		n       int
	}{{'M', x}, {' ', y}, {'h', w}, {'v', h}, {'h', -w}} {
		path = append(path, n.command)
		path = strconv.AppendInt(path, int64(n.n), 10)
	}
	return append(path, 'z')
}

// nav makes a link, and knows whether it is to the page that shows it.
func nav(current, name, to, text string) link { return link{to, text, current == name} }
