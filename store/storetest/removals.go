package storetest

import (
	"errors"
	"time"

	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/store"
)

var removals = []proof{
	{"a recording is removed once, when its session has ended and is sealed, and the record says why", func(s *subject) {
		p, v, g := s.granted()
		se := s.enter(visit(p, v, g))
		remove := func(now time.Time) error {
			return s.RemoveRecording(s.ctx, "gate-1", se.ID, "because recordings.keep = 90d", now)
		}
		removed := func() time.Time {
			s.Helper()
			is, err := s.Session(s.ctx, string(se.ID))
			s.check(err)
			return is.Removed
		}
		s.unchanged(func() { s.refused(remove(later), store.ErrConflict, string(se.ID)) }) // it lasts
		s.check(s.Leave(s.ctx, se.ID, later, policy.ClientLeft, policy.Carried{Recordings: 1}))
		s.unchanged(func() { s.refused(remove(later), store.ErrConflict, "not sealed yet") })
		s.check(s.Seal(s.ctx, se, "1 file", "seal"))
		why, err := s.WhyRemoved(s.ctx, se.ID)
		s.check(err)
		s.same([]any{why, removed()}, []any{"", time.Time{}})
		_, err = s.AskRender(s.ctx, by, se, later, false)
		s.check(err)

		at := later.Add(90 * 24 * time.Hour)
		s.check(remove(at))
		row := s.lastDeed()
		s.same([]string{row.By, row.Action, row.Object, row.Detail},
			[]string{"gate:gate-1", store.ActionRemoved, "session " + string(se.ID), "because recordings.keep = 90d"})
		s.same(removed(), at)
		why, err = s.WhyRemoved(s.ctx, se.ID)
		s.check(err)
		s.same(why, "because recordings.keep = 90d")
		if _, err := s.Render(s.ctx, se.ID); !errors.Is(err, store.ErrNotFound) {
			s.Errorf("the video is still asked for: %v", err)
		}
		s.unchanged(func() { s.check(remove(at.Add(time.Hour))) })
		s.same(removed(), at)
		s.verified()
		s.refused(s.RemoveRecording(s.ctx, "gate-1", "nosuchsession000", "", at), store.ErrNotFound, "nosuchsession000")
	}},
}
