package web

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pawelmojski/inside/appliance/api"
)

const (
	// overlap is how far back a look goes behind the one before: gates' clocks
	// differ, and what happened may be written down a little later.
	overlap = 2 * time.Minute
	// lookAgain is when everything is looked at again: what happened while the
	// database was away is written down much later.
	lookAgain = 10 * time.Minute
	// mostKept bounds what is remembered of a day. One with more, which is one
	// with a flood of denials, is looked at from its beginning each time.
	mostKept = 50_000
)

// A daybook remembers what happened today, for all who look at the dashboard:
// of a day with thousands of sessions only those that are open, or ended since
// the look before, have to be asked for.
type daybook struct {
	mu     sync.Mutex
	day    time.Time // its midnight
	whole  time.Time // when everything was looked at
	looked time.Time // when it was looked at
	stays  map[string]api.Stay
	found  map[string]happened // by session, or entry
	open   int                 // stays and sessions that the last look found open
}

// A happened is what the day's picture shows of a session or a denied entry.
type happened struct {
	person, name string
	start, end   time.Time
	denied       bool
}

// look brings the book up to date and hands it to read, while nobody else
// does, with the stays that are open. Each look asks in the name of whoever
// looks, so that nobody reads what they may not ask for.
func (b *daybook) look(ctx context.Context, house api.House, midnight, now time.Time, read func(inside []api.Stay)) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	from := b.looked.Add(-overlap)
	whole := b.found == nil || !b.day.Equal(midnight) || from.Before(midnight) || now.Before(b.looked) || now.Sub(b.whole) >= lookAgain || len(b.found) > mostKept
	var inside []api.Stay
	var err error
	if !whole {
		inside, err = b.add(ctx, house, from)
		whole = err == nil && b.missed()
	}
	if whole {
		b.day, b.whole = midnight, now
		b.stays, b.found = map[string]api.Stay{}, map[string]happened{}
		inside, err = b.add(ctx, house, midnight)
	}
	if err != nil {
		b.found = nil // half a look is none
		return err
	}
	b.looked = now
	read(inside)
	return nil
}

// missed reports whether something that is open in the book was not found by
// the last look: its end was written down late, and lies before it.
func (b *daybook) missed() bool {
	open := 0
	for _, s := range b.stays {
		if s.End.IsZero() {
			open++
		}
	}
	for _, f := range b.found {
		if f.end.IsZero() {
			open++
		}
	}
	return open != b.open
}

// add adds what was there at any moment from then on, and returns the stays
// that are open.
func (b *daybook) add(ctx context.Context, house api.House, from time.Time) (inside []api.Stay, err error) {
	open := map[string]bool{}
	for stays, err := range api.EveryStay(ctx, house, api.StayFilter{All: true, From: from}) {
		if err != nil {
			return nil, err
		}
		for _, s := range stays {
			b.stays[s.ID] = s
			if s.End.IsZero() {
				inside = append(inside, s)
			}
		}
	}
	for found, err := range api.EveryFound(ctx, house, api.Search{From: from}) {
		if err != nil {
			return nil, err
		}
		for _, f := range found {
			id := "session " + f.Session
			if f.Status == api.StatusDenied {
				id = "entry " + f.Entry
			}
			b.found[id] = happened{f.PersonID, f.Person, f.Start, f.End, f.Status == api.StatusDenied}
			if f.End.IsZero() {
				open[id] = true
			}
		}
	}
	b.open = len(inside) + len(open)
	slices.SortStableFunc(inside, func(a, b api.Stay) int { return a.Start.Compare(b.Start) })
	return inside, nil
}

// inOrder are the sessions and denials as they began: the picture of a day that
// has not changed is the same text, which is not sent again.
func (b *daybook) inOrder() []happened {
	list := slices.Collect(maps.Values(b.found))
	slices.SortFunc(list, func(a, b happened) int {
		return cmp.Or(a.start.Compare(b.start), strings.Compare(a.person, b.person), a.end.Compare(b.end))
	})
	return list
}
