package storetest

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/store"
)

var sessions = []proof{
	{"an entry is written with its session, in one", func(s *subject) {
		p, v, g := s.granted()
		asked := visit(p, v, g)
		asked.ID = "k3j5ezgbsomr7vsc"
		asked.Identity = policy.Identity{Account: "alice@corp.test", Node: "alice-laptop"}
		se := s.enter(asked)
		asked.Stay = "1"
		s.same(se, asked)
		found, err := s.Session(s.ctx, "k3j5ezgbsomr7vsc")
		s.check(err)
		s.same(found, asked)
		entries, err := s.Entries(s.ctx, store.EntryFilter{})
		s.check(err)
		s.same(entries, []store.Entry{{
			ID: 1, Time: noon, Gate: "gate-1", Client: client, Dest: dest, Protocol: policy.SSH, Login: "ideo",
			Person: p.ID, Server: v.ID, Grant: g.ID, Session: se.ID, Identity: asked.Identity,
		}})
	}},
	{"a session without an id or a start is given them", func(s *subject) {
		p, v, g := s.granted()
		asked := visit(p, v, g)
		asked.Start = time.Time{}
		se := s.enter(asked)
		if len(se.ID) < 26 || strings.ToLower(string(se.ID)) != string(se.ID) || time.Since(se.Start) > time.Minute {
			s.Errorf("session %q started %s", se.ID, se.Start)
		}
		found, err := s.Session(s.ctx, string(se.ID))
		s.check(err)
		s.same(found, se)
	}},
	{"an IPv4 address has one spelling", func(s *subject) {
		p, v, g := s.granted()
		asked := visit(p, v, g)
		asked.Client, asked.Dest = mapped(client), mapped(dest)
		se := s.enter(asked)
		s.same([]netip.AddrPort{se.Client, se.Dest}, []netip.AddrPort{client, dest})
	}},
	{"a login of any bytes is written down readably", func(s *subject) {
		p, v, g := s.granted()
		asked := visit(p, v, g)
		asked.Login = "ro\x00ot\xff\x1b[2J żółw"
		se := s.enter(asked)
		s.same(se.Login, `ro\x00ot\xff\x1b[2J żółw`)
		found, err := s.Session(s.ctx, string(se.ID))
		s.check(err)
		s.same(found, se)
	}},
	{"a session that cannot be is refused and leaves no entry", func(s *subject) {
		p, v, g := s.granted()
		taken := s.enter(visit(p, v, g))
		for _, c := range []struct {
			change   func(*policy.Session)
			kind     error
			mentions string
		}{
			{func(se *policy.Session) { se.Person = "x" }, store.ErrNotFound, `person with the id "x"`},
			{func(se *policy.Session) { se.Server = "" }, store.ErrNotFound, `server with the id ""`},
			{func(se *policy.Session) { se.Grant = "7" }, store.ErrNotFound, `grant "7"`},
			{func(se *policy.Session) { se.Grant = "x" }, store.ErrNotFound, `grant "x"`},
			{func(se *policy.Session) { se.ID = taken.ID }, store.ErrConflict, string(taken.ID)},
			{func(se *policy.Session) { se.ID = "short" }, store.ErrInvalid, "short"},
			{func(se *policy.Session) { se.ID = "../../../../../etc" }, store.ErrInvalid, "session id"},
			{func(se *policy.Session) { se.Protocol = "" }, store.ErrInvalid, "protocol"},
			{func(se *policy.Session) { se.Gate = "" }, store.ErrInvalid, "gate"},
			{func(se *policy.Session) { se.Start = time.Unix(0, 1) }, store.ErrInvalid, "start of the session"},
			{func(se *policy.Session) { se.Client = netip.AddrPort{} }, store.ErrInvalid, "no client"},
			{func(se *policy.Session) { se.Dest = netip.AddrPort{} }, store.ErrInvalid, "no destination"},
		} {
			se := visit(p, v, g)
			c.change(&se)
			_, _, err := s.Enter(s.ctx, se)
			s.refused(err, c.kind, c.mentions)
		}
		entries, err := s.Entries(s.ctx, store.EntryFilter{})
		s.check(err)
		if len(entries) != 1 {
			s.Errorf("%d entries are written", len(entries))
		}
	}},
	{"a session ends once; the first end stays", func(s *subject) {
		p, v, g := s.granted()
		se := s.enter(visit(p, v, g))
		s.check(s.Leave(s.ctx, se.ID, later, policy.ServerLeft, policy.Carried{}))
		s.check(s.Leave(s.ctx, se.ID, later.Add(1e9), policy.Failed, policy.Carried{}))
		found, err := s.Session(s.ctx, string(se.ID))
		s.check(err)
		se.End, se.Cause = later, policy.ServerLeft
		s.same(found, se)
		s.refused(s.Leave(s.ctx, "0123456789abcdef", later, policy.ClientLeft, policy.Carried{}), store.ErrNotFound, "0123456789abcdef")
	}},
	{"sessions are listed newest first, by stay, open ones, so many", func(s *subject) {
		p, v, g := s.granted()
		more := s.grant(p, v)
		var all []policy.Session
		for i := range 4 {
			asked := visit(p, v, g)
			if i == 2 {
				asked = visit(p, v, more)
			}
			asked.Start = noon.Add(time.Duration(i) * time.Minute)
			all = append(all, s.enter(asked))
		}
		s.check(s.Leave(s.ctx, all[1].ID, later, policy.ClientLeft, policy.Carried{}))
		all[1].End, all[1].Cause = later, policy.ClientLeft
		for _, c := range []struct {
			filter store.SessionFilter
			want   []int
		}{
			{store.SessionFilter{}, []int{3, 2, 1, 0}},
			{store.SessionFilter{Limit: 2}, []int{3, 2}},
			{store.SessionFilter{Open: true}, []int{3, 2, 0}},
			{store.SessionFilter{Open: true, Stay: all[0].Stay}, []int{3, 0}},
			{store.SessionFilter{Stay: all[0].Stay}, []int{3, 1, 0}},
			{store.SessionFilter{Stay: all[0].Stay, Limit: 1, Open: true}, []int{3}},
			{store.SessionFilter{Stay: "77"}, nil},
		} {
			var want []policy.Session
			for _, i := range c.want {
				want = append(want, all[i])
			}
			got, err := s.Sessions(s.ctx, c.filter)
			s.check(err)
			s.same(got, want)
		}
		_, err := s.Sessions(s.ctx, store.SessionFilter{Stay: "x"})
		s.refused(err, store.ErrNotFound, "stay x")
	}},
	{"sessions that began at once are all listed, in one order", func(s *subject) {
		p, v, g := s.granted()
		var ids []policy.SessionID
		for range 5 {
			ids = append(ids, s.enter(visit(p, v, g)).ID)
		}
		got, err := s.Sessions(s.ctx, store.SessionFilter{})
		s.check(err)
		var listed []policy.SessionID
		for _, se := range got {
			listed = append(listed, se.ID)
		}
		slices.Sort(ids)
		slices.SortFunc(listed, cmp.Compare[policy.SessionID])
		s.same(listed, ids)
	}},
	{"a session is found by the beginning of its id", func(s *subject) {
		p, v, g := s.granted()
		for _, id := range []policy.SessionID{"aaaabbbbccccdddd", "aaaabbbbccccddddeeee", "aaaaccccddddeeee", "chchchchchchchch"} {
			asked := visit(p, v, g)
			asked.ID = id
			s.enter(asked)
		}
		for prefix, want := range map[string]policy.SessionID{
			"aaaac":                "aaaaccccddddeeee",
			"aaaabbbbccccdddd":     "aaaabbbbccccdddd", // a whole id, though another one goes on
			"aaaabbbbccccdddde":    "aaaabbbbccccddddeeee",
			"chch":                 "chchchchchchchch",
			"aaaabbbbccccddddeeee": "aaaabbbbccccddddeeee",
		} {
			se, err := s.Session(s.ctx, prefix)
			s.check(err)
			s.same(se.ID, want)
		}
		for prefix, kind := range map[string]error{
			"aaaa": store.ErrConflict, "aaaab": store.ErrConflict,
			"aaaad": store.ErrNotFound, "bbbb": store.ErrNotFound, "aaaabbbbccccddddx": store.ErrNotFound,
			"aaa": store.ErrInvalid, "": store.ErrInvalid, "AAAA": store.ErrInvalid, "aaa%": store.ErrInvalid, "a' OR 1=1": store.ErrInvalid,
		} {
			_, err := s.Session(s.ctx, prefix)
			s.refused(err, kind, prefix)
		}
	}},
	{"an ambiguous beginning stays so among many", func(s *subject) {
		p, v, g := s.granted()
		asked := visit(p, v, g)
		asked.ID = "aaaabbbbccccdddd"
		s.enter(asked)
		for i := range 15 { // newer ones, which a bounded search meets first
			asked := visit(p, v, g)
			asked.ID = policy.SessionID("aaaabbbbccccdddd" + string(rune('a'+i)))
			asked.Start = later
			s.enter(asked)
		}
		se, err := s.Session(s.ctx, "aaaabbbbccccdddd")
		s.check(err)
		s.same(se.ID, policy.SessionID("aaaabbbbccccdddd"))
	}},
	{"what a gate left open when it crashed is closed", func(s *subject) {
		p, v, g := s.granted()
		crashed, left, other := s.enter(visit(p, v, g)), s.enter(visit(p, v, g)), visit(p, v, g)
		other.Gate = "gate-2"
		other = s.enter(other)
		s.check(s.Leave(s.ctx, left.ID, later, policy.ClientLeft, policy.Carried{}))
		orphans, err := s.CloseOrphans(s.ctx, "gate-1", later)
		s.check(err)
		crashed.End, crashed.Cause = later, policy.GateCrashed
		s.same(orphans, []policy.Session{crashed})
		open, err := s.Sessions(s.ctx, store.SessionFilter{Open: true})
		s.check(err)
		s.same(open, []policy.Session{other})
		orphans, err = s.CloseOrphans(s.ctx, "gate-1", later)
		s.check(err)
		s.same(orphans, []policy.Session(nil))
		stay, err := s.Stay(s.ctx, crashed.Stay)
		s.check(err)
		if !stay.End.IsZero() {
			s.Error("the stay ended with its session")
		}
		_, err = s.CloseOrphans(s.ctx, "", later)
		s.refused(err, store.ErrInvalid, "gate")
		_, err = s.CloseOrphans(s.ctx, "gate-1", time.Time{})
		s.refused(err, store.ErrInvalid, "end of the session")
	}},
}

func mapped(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom16(a.Addr().As16()), a.Port())
}
