package storetest

import (
	"time"

	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/store"
)

// history is what the record tells when it is looked back on. What a search
// finds is compared with a plain filter in the store's own tests.
var history = []proof{
	{"what a session carried is kept with its end", func(s *subject) {
		p, v, g := s.granted()
		se := s.enter(visit(p, v, g))
		se.End, se.Cause = later, policy.ClientLeft
		se.Carried = policy.Carried{In: 1 << 40, Out: 7, Recordings: 2, Forwarding: true, Files: true}
		s.check(s.Leave(s.ctx, se.ID, se.End, se.Cause, se.Carried))
		s.check(s.Leave(s.ctx, se.ID, se.End, se.Cause, policy.Carried{Recordings: 9})) // the first end stays
		found, err := s.Session(s.ctx, string(se.ID))
		s.check(err)
		s.same(found, se)
		stay, err := s.Stay(s.ctx, se.Stay)
		s.check(err)
		s.same([]int{stay.Sessions, stay.Recordings}, []int{1, 2})
	}},
	{"what a session carried whose gate crashed is kept afterwards", func(s *subject) {
		p, v, g := s.granted()
		se := s.enter(visit(p, v, g))
		_, err := s.CloseOrphans(s.ctx, "gate-1", later)
		s.check(err)
		for range 2 {
			s.check(s.Carry(s.ctx, se.ID, policy.Carried{In: 3, Recordings: 2, Files: true}))
		}
		found, err := s.Session(s.ctx, string(se.ID))
		s.check(err)
		s.same(found.Carried, policy.Carried{In: 3, Recordings: 2, Files: true})
		stay, err := s.Stay(s.ctx, se.Stay)
		s.check(err)
		s.same([]int{stay.Sessions, stay.Recordings}, []int{1, 2})
		s.refused(s.Carry(s.ctx, "0123456789abcdef", policy.Carried{}), store.ErrNotFound, "0123456789abcdef")
	}},
	{"a session that moves counts in each stay once, and remembers where it was", func(s *subject) {
		p, v, g := s.granted()
		more := s.grant(p, v)
		se := s.enter(visit(p, v, g))
		first := se.Stay
		second, err := s.Move(s.ctx, se.ID, more.ID, later)
		s.check(err)
		back, err := s.Move(s.ctx, se.ID, g.ID, later.Add(time.Minute))
		s.check(err)
		s.same(back, first)
		s.check(s.Leave(s.ctx, se.ID, later.Add(time.Hour), policy.ClientLeft, policy.Carried{Recordings: 2}))
		for _, id := range []policy.StayID{first, second} {
			stay, err := s.Stay(s.ctx, id)
			s.check(err)
			s.same([]int{stay.Sessions, stay.Recordings}, []int{1, 2})
			rested, err := s.Sessions(s.ctx, store.SessionFilter{Stay: id})
			s.check(err)
			if len(rested) != 1 || rested[0].ID != se.ID {
				s.Errorf("stay %s has the sessions %+v", id, rested)
			}
		}
		left, err := s.Moves(s.ctx, se.ID)
		s.check(err)
		s.same(left, []store.Left{{Stay: first, Grant: g.ID, Time: later}, {Stay: second, Grant: more.ID, Time: later.Add(time.Minute)}})
		none, err := s.Moves(s.ctx, "0123456789abcdef")
		s.check(err)
		s.same(none, []store.Left(nil))
	}},
	{"a stay names the servers that were entered, in their order", func(s *subject) {
		p, v, g := s.granted()
		other := s.server("other", "10.30.0.141/32")
		at := visit(p, other, g)
		at.Start = noon.Add(time.Minute)
		s.enter(visit(p, v, g))
		s.enter(at)
		s.enter(at)
		stays, err := s.Stays(s.ctx, store.StayFilter{})
		s.check(err)
		s.same(stays[0].Servers, []policy.ServerID{v.ID, other.ID})
		s.same(stays[0].Sessions, 3)
	}},
	{"stays are found by who, where, by which grant and when", func(s *subject) {
		p, v, g := s.granted()
		q, w := s.person("q"), s.server("w", "10.30.0.141/32")
		h := s.grant(q, w)
		hour := func(n int) time.Time { return noon.Add(time.Duration(n) * time.Hour) }
		stay := func(p policy.Person, v policy.Server, g policy.Grant, from, to int) policy.StayID {
			at := visit(p, v, g)
			at.Start = hour(from)
			se := s.enter(at)
			if to > 0 {
				s.check(s.EndStay(s.ctx, se.Stay, hour(to), policy.GrantExpired))
			}
			return se.Stay
		}
		stay(p, v, g, 0, 2)          // 1
		stay(q, w, h, 1, 3)          // 2
		stay(p, v, g, 4, 5)          // 3
		last := stay(q, v, g, 6, -1) // 4 lasts
		at := visit(q, w, g)         // and goes on to another server
		at.Start = hour(8)
		s.enter(at)
		for _, c := range []struct {
			filter store.StayFilter
			want   []policy.StayID
		}{
			{store.StayFilter{}, []policy.StayID{"4", "3", "2", "1"}},
			{store.StayFilter{Open: true}, []policy.StayID{"4"}},
			{store.StayFilter{Limit: 2}, []policy.StayID{"4", "3"}},
			{store.StayFilter{After: "3"}, []policy.StayID{"2", "1"}},
			{store.StayFilter{After: "3", Limit: 1}, []policy.StayID{"2"}},
			{store.StayFilter{Persons: []policy.PersonID{q.ID}}, []policy.StayID{"4", "2"}},
			{store.StayFilter{Persons: []policy.PersonID{p.ID, q.ID}, Grant: h.ID}, []policy.StayID{"2"}},
			{store.StayFilter{Persons: []policy.PersonID{}}, nil},
			{store.StayFilter{Servers: []policy.ServerID{w.ID}}, []policy.StayID{"4", "2"}},
			{store.StayFilter{Servers: []policy.ServerID{}}, nil},
			{store.StayFilter{Grant: "77"}, nil},
			{store.StayFilter{From: hour(2)}, []policy.StayID{"4", "3", "2"}}, // one that ended then was not there after
			{store.StayFilter{To: hour(1)}, []policy.StayID{"1"}},             // nor one that began then before
			{store.StayFilter{From: hour(1), To: hour(2)}, []policy.StayID{"2", "1"}},
			{store.StayFilter{From: hour(3), To: hour(4)}, nil},
			{store.StayFilter{From: hour(100)}, []policy.StayID{"4"}},
			{store.StayFilter{Servers: []policy.ServerID{w.ID}, From: hour(6), To: hour(8)}, nil}, // w was entered at 8
			{store.StayFilter{Servers: []policy.ServerID{w.ID}, From: hour(6), To: hour(9)}, []policy.StayID{"4"}},
		} {
			found, err := s.Stays(s.ctx, c.filter)
			s.check(err)
			var ids []policy.StayID
			for _, st := range found {
				ids = append(ids, st.ID)
			}
			s.same(ids, c.want)
		}
		_, err := s.Stays(s.ctx, store.StayFilter{After: "x"})
		s.refused(err, store.ErrNotFound, "no stay x")
		s.same(last, policy.StayID("4"))
	}},
	{"sessions and entries go on after the last one seen", func(s *subject) {
		p, v, g := s.granted()
		var ids []policy.SessionID
		for i := range 5 {
			at := visit(p, v, g)
			at.Start = noon.Add(time.Duration(i/2) * time.Minute) // two at once
			ids = append(ids, s.enter(at).ID)
			s.check(s.Deny(s.ctx, store.Entry{Gate: "gate-1", Denial: policy.NoGrant, Person: p.ID}))
		}
		seen := map[policy.SessionID]int{}
		for f := (store.SessionFilter{Limit: 2}); ; {
			page, err := s.Sessions(s.ctx, f)
			s.check(err)
			if len(page) == 0 {
				break
			}
			for _, se := range page {
				seen[se.ID]++
			}
			f.After = page[len(page)-1].ID
		}
		for _, id := range ids {
			if seen[id] != 1 {
				s.Errorf("session %s was on %d pages", id, seen[id])
			}
		}
		_, err := s.Sessions(s.ctx, store.SessionFilter{After: "0123456789abcdef"})
		s.refused(err, store.ErrNotFound, "0123456789abcdef")
		for _, c := range []struct {
			filter store.EntryFilter
			want   []int64
		}{
			{store.EntryFilter{Limit: 3}, []int64{10, 9, 8}},
			{store.EntryFilter{Limit: 3, After: 8}, []int64{7, 6, 5}},
			{store.EntryFilter{Denied: true, After: 8}, []int64{6, 4, 2}},
			{store.EntryFilter{Allowed: true, After: 4}, []int64{3, 1}},
			{store.EntryFilter{Person: p.ID, Server: v.ID}, []int64{9, 7, 5, 3, 1}},
			{store.EntryFilter{Person: "nobody"}, nil},
		} {
			found, err := s.Entries(s.ctx, c.filter)
			s.check(err)
			var ids []int64
			for _, e := range found {
				ids = append(ids, e.ID)
			}
			s.same(ids, c.want)
		}
	}},
}
