package storetest

import (
	"time"

	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/store"
)

var statistics = []proof{
	{"an empty database has hours without entries", func(s *subject) {
		st, err := s.Statistics(s.ctx, noon, noon.Add(-12*time.Hour))
		s.check(err)
		if len(st.Hours) != store.HoursCounted || !st.Hours[0].Start.Equal(noon.Add(-24*time.Hour)) || len(st.Busiest) != 0 {
			s.Errorf("%+v", st)
		}
		if st.Stays+st.Ended != 0 || st.Average != 0 || !st.Recorded.IsZero() {
			s.Errorf("%+v", st)
		}
	}},
	{"entries are counted by the hour, to its microsecond", func(s *subject) {
		for _, at := range []time.Duration{-24*time.Hour - 1000, -24 * time.Hour, -time.Hour - 1000, -time.Hour, -1000, 0} {
			s.check(s.Deny(s.ctx, store.Entry{Time: noon.Add(at), Gate: "gate-1", Denial: policy.NoGrant}))
		}
		p, v, g := s.granted()
		se := visit(p, v, g)
		se.Start = noon.Add(-30 * time.Minute)
		s.enter(se)
		st, err := s.Statistics(s.ctx, noon, noon)
		s.check(err)
		for i, want := range map[int][2]int{0: {0, 1}, 1: {0, 0}, 22: {0, 1}, 23: {1, 2}} {
			if h := st.Hours[i]; h.Allowed != want[0] || h.Denied != want[1] || !h.Start.Equal(noon.Add(time.Duration(i-24)*time.Hour)) {
				s.Errorf("hour %d: %+v, want %v", i, h, want)
			}
		}
		last, err := s.LastHour(s.ctx, noon)
		s.check(err)
		if last != st.Hours[23] {
			s.Errorf("last hour %+v, want %+v", last, st.Hours[23])
		}
	}},
	{"the busiest servers are those entered most, denied entries not counted", func(s *subject) {
		p := s.person("p.mojski", "100.64.0.20/32")
		var want []store.BusyServer
		for i, name := range []string{"a", "b", "c", "d", "e", "f"} {
			v := s.server(name, "10.30.0."+string(rune('1'+i))+"/32")
			g := s.grant(p, v)
			for range 6 - i {
				s.enter(visit(p, v, g))
			}
			if i < 5 {
				want = append(want, store.BusyServer{Server: v.ID, Entries: 6 - i})
			}
			for range 10 {
				s.check(s.Deny(s.ctx, store.Entry{Time: noon, Server: v.ID, Gate: "gate-1", Denial: policy.WrongLogin}))
			}
		}
		st, err := s.Statistics(s.ctx, later, noon)
		s.check(err)
		s.same(st.Busiest, want)
		if !st.Recorded.Equal(noon) {
			s.Errorf("the oldest recording is of %s", st.Recorded)
		}
	}},
	{"stays are counted from a moment on, and those that ended are averaged", func(s *subject) {
		p, v := s.person("p.mojski", "100.64.0.20/32"), s.server("web", "10.30.0.140/32")
		for i, lasted := range []time.Duration{time.Hour, 2 * time.Hour, 3*time.Hour + time.Microsecond, 0} {
			g := s.grant(p, v)
			se := visit(p, v, g)
			se.Start = noon.Add(time.Duration(i) * time.Minute)
			se = s.enter(se)
			if lasted > 0 {
				s.check(s.EndStay(s.ctx, se.Stay, se.Start.Add(lasted), policy.GrantExpired))
			}
		}
		st, err := s.Statistics(s.ctx, noon.Add(12*time.Hour), noon.Add(time.Minute))
		s.check(err)
		if st.Stays != 3 || st.Ended != 3 || st.Average != 2*time.Hour {
			s.Errorf("%d stays, %d ended, on the average after %s", st.Stays, st.Ended, st.Average)
		}
		st, err = s.Statistics(s.ctx, noon.Add(27*time.Hour), noon.Add(time.Hour))
		s.check(err)
		if st.Stays != 0 || st.Ended != 1 {
			s.Errorf("a day later: %d stays, %d ended", st.Stays, st.Ended)
		}
	}},
}
