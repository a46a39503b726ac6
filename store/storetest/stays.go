package storetest

import (
	"fmt"
	"slices"
	"sync"

	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/store"
)

var stays = []proof{
	{"the first entry starts the stay, later ones join it", func(s *subject) {
		p, v, g := s.granted()
		first, joined, err := s.Enter(s.ctx, visit(p, v, g))
		s.check(err)
		if joined || first.Stay != "1" {
			s.Errorf("the first entry: stay %q, joined %v", first.Stay, joined)
		}
		s.check(s.Leave(s.ctx, first.ID, later, policy.ClientLeft, policy.Carried{}))
		second := visit(p, v, g)
		second.Start = later
		second, joined, err = s.Enter(s.ctx, second)
		s.check(err)
		if !joined || second.Stay != first.Stay || second.ID == first.ID {
			s.Errorf("the second entry: stay %q, joined %v, session %q", second.Stay, joined, second.ID)
		}
		stay, err := s.Stay(s.ctx, first.Stay)
		s.check(err)
		s.same(stay, policy.Stay{ID: "1", Person: p.ID, Grant: g.ID, Start: noon, Servers: []policy.ServerID{v.ID}, Sessions: 2})
	}},
	{"each person and each grant has its own stay", func(s *subject) {
		p, v, g := s.granted()
		other, more := s.person("other"), s.grant(p, v)
		s.enter(visit(p, v, g))
		s.enter(visit(p, v, more))
		s.enter(visit(other, v, g))
		s.enter(visit(p, v, g))
		open, err := s.Stays(s.ctx, store.StayFilter{Open: true})
		s.check(err)
		s.same(open, []policy.Stay{
			{ID: "3", Person: other.ID, Grant: g.ID, Start: noon, Servers: []policy.ServerID{v.ID}, Sessions: 1},
			{ID: "2", Person: p.ID, Grant: more.ID, Start: noon, Servers: []policy.ServerID{v.ID}, Sessions: 1},
			{ID: "1", Person: p.ID, Grant: g.ID, Start: noon, Servers: []policy.ServerID{v.ID}, Sessions: 2},
		})
	}},
	{"fifty entries at once make one stay", func(s *subject) {
		p, v, g := s.granted()
		var entering sync.WaitGroup
		started := make([]bool, 50)
		for i := range started {
			entering.Go(func() {
				_, joined, err := s.Enter(s.ctx, visit(p, v, g))
				if err != nil {
					s.Error(err)
				}
				started[i] = !joined
			})
		}
		entering.Wait()
		all, err := s.Stays(s.ctx, store.StayFilter{})
		s.check(err)
		inside, err := s.Sessions(s.ctx, store.SessionFilter{Open: true})
		s.check(err)
		entries, err := s.Entries(s.ctx, store.EntryFilter{})
		s.check(err)
		if len(all) != 1 || len(inside) != 50 || len(entries) != 50 || entries[0].ID != 50 {
			s.Errorf("%d stays, %d sessions, %d entries", len(all), len(inside), len(entries))
		}
		if n := len(slices.DeleteFunc(started, func(first bool) bool { return !first })); n != 1 {
			s.Errorf("%d entries say they started the stay", n)
		}
	}},
	{"entering while the stay is ended joins no ended stay", func(s *subject) {
		p, v, g := s.granted()
		for i := range 20 {
			first := s.enter(visit(p, v, g))
			var race sync.WaitGroup
			race.Go(func() {
				if err := s.EndStay(s.ctx, first.Stay, later, policy.AdminEnded); err != nil {
					s.Error(err)
				}
			})
			second, joined, err := s.Enter(s.ctx, visit(p, v, g))
			race.Wait()
			s.check(err)
			if joined != (second.Stay == first.Stay) {
				s.Fatalf("round %d: stay %s, joined %v, the first was %s", i, second.Stay, joined, first.Stay)
			}
			s.check(s.EndStay(s.ctx, second.Stay, later, policy.AdminEnded))
		}
	}},
	{"a stay that ended is not joined", func(s *subject) {
		p, v, g := s.granted()
		first := s.enter(visit(p, v, g))
		s.check(s.EndStay(s.ctx, first.Stay, later, policy.GrantExpired))
		second := s.enter(visit(p, v, g))
		if second.Stay != "2" {
			s.Errorf("entered stay %s", second.Stay)
		}
		open, err := s.Stays(s.ctx, store.StayFilter{Open: true})
		s.check(err)
		s.same(open, []policy.Stay{{ID: "2", Person: p.ID, Grant: g.ID, Start: noon, Servers: []policy.ServerID{v.ID}, Sessions: 1}})
		all, err := s.Stays(s.ctx, store.StayFilter{})
		s.check(err)
		s.same(all, append(open, policy.Stay{ID: "1", Person: p.ID, Grant: g.ID, Start: noon, End: later, Cause: policy.GrantExpired, Servers: []policy.ServerID{v.ID}, Sessions: 1}))
		newest, err := s.Stays(s.ctx, store.StayFilter{Limit: 1})
		s.check(err)
		s.same(newest, all[:1])
	}},
	{"a stay ends once; the first end stays", func(s *subject) {
		p, v, g := s.granted()
		se := s.enter(visit(p, v, g))
		s.check(s.EndStay(s.ctx, se.Stay, later, policy.GrantRevoked))
		s.check(s.EndStay(s.ctx, se.Stay, later.Add(1e9), policy.AdminEnded))
		stay, err := s.Stay(s.ctx, se.Stay)
		s.check(err)
		if stay.End != later || stay.Cause != policy.GrantRevoked {
			s.Errorf("ended at %s: %s", stay.End, stay.Cause)
		}
	}},
	{"a stay that is not there is not found", func(s *subject) {
		for _, id := range []policy.StayID{"", "7", "x", "01"} {
			_, err := s.Stay(s.ctx, id)
			s.refused(err, store.ErrNotFound, "no stay "+string(id))
			s.refused(s.EndStay(s.ctx, id, later, policy.AdminEnded), store.ErrNotFound, "no stay "+string(id))
		}
	}},
	{"an end needs a time and a cause", func(s *subject) {
		p, v, g := s.granted()
		se := s.enter(visit(p, v, g))
		var never policy.Stay
		s.refused(s.EndStay(s.ctx, se.Stay, never.End, policy.AdminEnded), store.ErrInvalid, "end of the stay")
		s.refused(s.EndStay(s.ctx, se.Stay, later, ""), store.ErrInvalid, "cause")
		s.refused(s.Leave(s.ctx, se.ID, never.End, policy.ClientLeft, policy.Carried{}), store.ErrInvalid, "end of the session")
		s.refused(s.Leave(s.ctx, se.ID, later, "", policy.Carried{}), store.ErrInvalid, "cause")
	}},
	{"a session moves to another grant and starts or joins the stay there", func(s *subject) {
		p, v, g := s.granted()
		more := s.grant(p, v)
		a, b := s.enter(visit(p, v, g)), s.enter(visit(p, v, g))
		stay, err := s.Move(s.ctx, a.ID, more.ID, later)
		s.check(err)
		s.same(stay, policy.StayID("2"))
		stay, err = s.Move(s.ctx, b.ID, more.ID, later)
		s.check(err)
		s.same(stay, policy.StayID("2"))
		a.Grant, a.Stay = more.ID, stay
		moved, err := s.Session(s.ctx, string(a.ID))
		s.check(err)
		s.same(moved, a)
		started, err := s.Stay(s.ctx, stay)
		s.check(err)
		s.same(started, policy.Stay{ID: "2", Person: p.ID, Grant: more.ID, Start: later, Servers: []policy.ServerID{v.ID}, Sessions: 2})
		again, err := s.Move(s.ctx, a.ID, more.ID, later)
		s.check(err)
		s.same(again, stay)
	}},
	{"what cannot move is refused", func(s *subject) {
		p, v, g := s.granted()
		se := s.enter(visit(p, v, g))
		_, err := s.Move(s.ctx, "0123456789abcdef", g.ID, later)
		s.refused(err, store.ErrNotFound, "0123456789abcdef")
		for _, id := range []policy.GrantID{"7", "", "x"} {
			_, err = s.Move(s.ctx, se.ID, id, later)
			s.refused(err, store.ErrNotFound, "no grant "+string(id))
		}
		var never policy.Stay
		_, err = s.Move(s.ctx, se.ID, g.ID, never.Start)
		s.refused(err, store.ErrInvalid, "time of the move")
		s.check(s.Leave(s.ctx, se.ID, later, policy.ClientLeft, policy.Carried{}))
		_, err = s.Move(s.ctx, se.ID, g.ID, later)
		s.refused(err, store.ErrConflict, fmt.Sprintf("session %s ended", se.ID))
	}},
}
