package storetest

import (
	"time"

	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/store"
)

// stranger is a session of nobody who is known, on no known server.
func stranger() policy.Session {
	return policy.Session{
		ID: "k3j5ezgbsomr7vsc", Protocol: policy.SSH, Login: "root", Client: client, Dest: dest, Gate: "gate-1",
		Start: noon, Waived: policy.UnknownPerson,
	}
}

var waived = []proof{
	{"who would have been denied is written down as let in, on no stay", func(s *subject) {
		p, v, g := s.granted()
		se, joined, err := s.Enter(s.ctx, stranger())
		s.check(err)
		s.same(se, stranger())
		if joined {
			s.Error("joined a stay")
		}
		s.enter(visit(p, v, g))
		found, err := s.Session(s.ctx, string(se.ID))
		s.check(err)
		s.same(found, se)
		entries, err := s.Entries(s.ctx, store.EntryFilter{Waived: true})
		s.check(err)
		s.same(entries, []store.Entry{{
			ID: 1, Time: noon, Gate: "gate-1", Client: client, Dest: dest, Protocol: policy.SSH, Login: "root", Session: se.ID, Waived: policy.UnknownPerson,
		}})
		if entries, err = s.Entries(s.ctx, store.EntryFilter{Denied: true}); err != nil || len(entries) != 0 {
			s.Errorf("denied: %+v, %v", entries, err)
		}
		stays, err := s.Stays(s.ctx, store.StayFilter{})
		if err != nil || len(stays) != 1 || stays[0].Sessions != 1 {
			s.Errorf("stays: %+v, %v", stays, err)
		}
		s.check(s.Leave(s.ctx, se.ID, later, policy.ClientLeft, policy.Carried{Recordings: 1}))
		page, err := s.Search(s.ctx, store.Search{Now: later})
		if err != nil || len(page.Found) != 2 {
			s.Errorf("found: %+v, %v", page, err)
		}
		s.verified()
	}},
	{"a session that was let in without a grant moves under one", func(s *subject) {
		p, v, g := s.granted()
		asked := stranger()
		asked.Person, asked.Server, asked.Waived = p.ID, v.ID, policy.NoGrant
		se, _, err := s.Enter(s.ctx, asked)
		s.check(err)
		stay, err := s.Move(s.ctx, se.ID, g.ID, noon.Add(time.Minute))
		s.check(err)
		found, err := s.Session(s.ctx, string(se.ID))
		if err != nil || found.Stay != stay || found.Grant != g.ID || found.Waived != policy.NoGrant {
			s.Errorf("%+v, %v", found, err)
		}
		stays, err := s.Stays(s.ctx, store.StayFilter{Open: true})
		if err != nil || len(stays) != 1 || stays[0].Sessions != 1 || stays[0].ID != stay {
			s.Errorf("stays: %+v, %v", stays, err)
		}
		s.check(s.Leave(s.ctx, se.ID, later, policy.ClientLeft, policy.Carried{}))
		s.verified()
	}},
	{"what stands for none is no fact", func(s *subject) {
		f := s.facts()
		if len(f.Persons)+len(f.Servers)+len(f.Grants) != 0 {
			s.Errorf("%+v", f)
		}
		asked := stranger()
		asked.Waived = ""
		_, _, err := s.Enter(s.ctx, asked)
		s.refused(err, store.ErrNotFound)
		asked = stranger()
		asked.Grant = "1"
		_, _, err = s.Enter(s.ctx, asked)
		s.refused(err, store.ErrInvalid, "would have been denied")
		_, err = s.Stay(s.ctx, "0")
		s.refused(err, store.ErrNotFound, "no stay 0")
		unused, err := s.UnusedGrants(s.ctx, later, later)
		if err != nil || len(unused) != 0 {
			s.Errorf("unused grants: %v, %v", unused, err)
		}
	}},
}
