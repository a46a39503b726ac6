package storetest

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/pawelmojski/inside/policy"
)

var facts = []proof{
	{"an empty store has no facts", func(s *subject) {
		s.same(s.facts(), policy.Facts{})
	}},
	{"facts come in the order of names and numbers", func(s *subject) {
		for _, name := range []string{"h", "ch", "c", "d", "a2", "a10"} { // in Czech, ch follows h
			s.person(name)
			s.server(name, "10.0.0."+map[string]string{"h": "1", "ch": "2", "c": "3", "d": "4", "a2": "5", "a10": "6"}[name]+"/32")
		}
		f := s.facts()
		for i, want := range []string{"a10", "a2", "c", "ch", "d", "h"} {
			if f.Persons[i].Name != want || f.Servers[i].Name != want {
				s.Errorf("number %d: person %s, server %s, want %s", i, f.Persons[i].Name, f.Servers[i].Name, want)
			}
		}
		for range 11 {
			s.grant(f.Persons[0], f.Servers[0])
		}
		f = s.facts()
		if f.Grants[1].ID != "2" || f.Grants[10].ID != "11" || f.Revision != 23 {
			s.Errorf("grants %s … %s, revision %d", f.Grants[1].ID, f.Grants[10].ID, f.Revision)
		}
	}},
	{"the policy can make a book of them", func(s *subject) {
		s.granted()
		_, err := policy.NewBook(s.facts())
		s.check(err)
	}},
	{"changes yield the present revision, then each growth", func(s *subject) {
		ctx, cancel := context.WithTimeout(s.ctx, time.Minute)
		defer cancel()
		s.person("alice")
		var got []int64
		for revision, err := range s.Changes(ctx) {
			s.check(err)
			got = append(got, revision)
			if len(got) == 3 {
				break
			}
			s.check(s.Audit(ctx, by, "a", "", "")) // no change of facts
			s.person(map[int]string{1: "bob", 2: "carol"}[len(got)])
		}
		s.same(got, []int64{1, 2, 3})
	}},
	{"changes end with their context", func(s *subject) {
		ctx, cancel := context.WithCancel(s.ctx)
		defer cancel()
		for _, err := range s.Changes(ctx) {
			s.check(err)
			cancel()
		}
	}},
	{"a call ends with its context", func(s *subject) {
		ctx, cancel := context.WithCancel(s.ctx)
		cancel()
		_, err := s.Facts(ctx)
		if !errors.Is(err, context.Canceled) {
			s.Errorf("Facts: %v", err)
		}
		if err := s.Ping(ctx); !errors.Is(err, context.Canceled) {
			s.Errorf("Ping: %v", err)
		}
		p, v, g := s.granted()
		if _, _, err := s.Enter(ctx, visit(p, v, g)); !errors.Is(err, context.Canceled) {
			s.Errorf("Enter: %v", err)
		}
	}},
	{"changes at once are one after the other", func(s *subject) {
		p := s.person("alice")
		var changing sync.WaitGroup
		for range 20 {
			changing.Go(func() { // all want the same address: one gets it
				_, _ = s.AddAddress(s.ctx, by, p.ID, policy.Address{Prefix: prefix("10.0.0.7/32")})
			})
		}
		changing.Wait()
		f := s.facts()
		if len(f.Persons[0].Addresses) != 1 || f.Revision != 2 || s.lastDeed().ID != 2 {
			s.Errorf("%d addresses, revision %d", len(f.Persons[0].Addresses), f.Revision)
		}
	}},
}
