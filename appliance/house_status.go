package appliance

import (
	"context"
	"slices"
	"time"

	"github.com/pawelmojski/inside/appliance/api"
	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/store"
)

// lookTime bounds how long the status waits for the database.
const lookTime = 2 * time.Second

// Status is what the gate says of its parts, and how many there are of what.
// It answers without a database too: that is when it is asked for.
func (h *House) Status(ctx context.Context) (api.Status, error) {
	s := h.Live.Status(ctx)
	b, now := h.Book(), h.Now()
	s.Gate = h.Gate
	s.Persons, s.Servers = len(b.Facts().Persons), len(b.Facts().Servers)
	for _, g := range b.Facts().Grants {
		if _, denial := b.Standing(g.ID, now); !over(denial) {
			s.Grants++
		}
	}
	s.Maintained = []string{}
	for _, v := range b.Facts().Servers {
		if v.Maintenance != nil && !v.Maintenance.Over(now) {
			s.Maintained = append(s.Maintained, v.Name)
		}
	}
	s.Open = slices.DeleteFunc(h.networks(), func(n api.Network) bool { return n.Mode == api.ModeProtect })
	s.Sessions = len(h.Live.Sessions())
	s.Alerts, s.Ending = h.Lookout.Alerts(false), []api.EndingSoon{}
	names := namer{b}
	for _, e := range deadlinesOf(b).within(now, now.Add(endingWithin)) {
		s.Ending = append(s.Ending, api.EndingSoon{Grant: string(e.id), Who: names.who(e.id), Where: names.where(e.id), End: e.end})
	}
	if !s.Database.OK {
		return s, nil // there is nobody to wait for
	}
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	stays, err := h.Store.Stays(ctx, store.StayFilter{Open: true})
	if err != nil {
		s.Database = api.Part{Detail: err.Error()}
		return s, nil
	}
	s.Stays = len(stays)
	persons := map[policy.PersonID]bool{}
	for _, st := range stays {
		persons[st.Person] = true
	}
	s.Inside = len(persons)
	hour, err := h.Store.LastHour(ctx, now)
	if err != nil {
		s.Database = api.Part{Detail: err.Error()}
	}
	s.LastHour = api.HourCount(hour)
	return s, nil
}
