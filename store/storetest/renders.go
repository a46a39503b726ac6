package storetest

import (
	"errors"
	"sync"
	"time"

	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/store"
)

// filmed enters n sessions and asks for a video of each, a second apart.
func (s *subject) filmed(n int) []policy.Session {
	s.Helper()
	p, v, g := s.granted()
	var all []policy.Session
	for i := range n {
		se := s.enter(visit(p, v, g))
		_, err := s.AskRender(s.ctx, by, se, noon.Add(time.Duration(i)*time.Second), false)
		s.check(err)
		all = append(all, se)
	}
	return all
}

func (s *subject) render(se policy.Session) store.Render {
	s.Helper()
	r, err := s.Render(s.ctx, se.ID)
	s.check(err)
	return r
}

func (s *subject) nextRender() store.Render {
	s.Helper()
	r, err := s.NextRender(s.ctx, "gate-1", later)
	s.check(err)
	return r
}

func (s *subject) noneWaits() {
	s.Helper()
	if r, err := s.NextRender(s.ctx, "gate-1", later); !errors.Is(err, store.ErrNotFound) {
		s.Errorf("%+v waits: %v", r, err)
	}
}

var renders = []proof{
	{"videos that wait and the one that is made are counted, each gate its own", func(s *subject) {
		waiting := func(want int) {
			s.Helper()
			n, err := s.RendersWaiting(s.ctx, "gate-1")
			s.check(err)
			if n != want {
				s.Errorf("%d videos wait, want %d", n, want)
			}
		}
		waiting(0)
		s.filmed(3)
		waiting(3)
		r := s.nextRender()
		waiting(3)
		s.check(s.RenderMade(s.ctx, r.Session, "", later))
		waiting(2)
		n, err := s.RendersWaiting(s.ctx, "gate-2")
		s.check(err)
		if n != 0 {
			s.Errorf("%d videos wait at a gate that has none", n)
		}
	}},
	{"a video is asked for, made in its turn, and done", func(s *subject) {
		all := s.filmed(2)
		want := store.Render{Session: all[0].ID, Gate: "gate-1", State: store.RenderQueued, Asked: noon, By: by}
		s.same(s.render(all[0]), want)
		if row := s.lastDeed(); row.Action != "video.ask" || row.Object != "session "+string(all[1].ID) {
			s.Errorf("audit says %+v", row)
		}
		want.State, want.Attempts, want.Began = store.RenderRunning, 1, later
		s.same(s.nextRender(), want)
		s.check(s.RenderProgress(s.ctx, all[0].ID, 0.5))
		want.Progress = 0.5
		s.same(s.render(all[0]), want)
		s.check(s.RenderMade(s.ctx, all[0].ID, "at 3s: something is not shown", later))
		want.State, want.Progress, want.Ended, want.Detail = store.RenderDone, 1, later, "at 3s: something is not shown"
		s.same(s.render(all[0]), want)
		s.same(s.nextRender().Session, all[1].ID)
		s.noneWaits()
	}},
	{"a video is tried three times", func(s *subject) {
		se := s.filmed(1)[0]
		for i := range store.RenderAttempts {
			s.same(s.nextRender().Attempts, i+1)
			s.check(s.RenderBroke(s.ctx, se.ID, "no room", later))
		}
		s.noneWaits()
		r := s.render(se)
		s.same([]any{r.State, r.Detail}, []any{store.RenderFailed, "no room"})
		r, err := s.AskRender(s.ctx, by, se, later, false)
		s.check(err)
		s.same(r, store.Render{Session: se.ID, Gate: "gate-1", State: store.RenderQueued, Asked: later, By: by})
	}},
	{"asking again changes nothing while a video waits, runs or is done", func(s *subject) {
		se := s.filmed(1)[0]
		for _, state := range []store.RenderState{store.RenderQueued, store.RenderRunning, store.RenderDone} {
			switch state {
			case store.RenderRunning:
				s.nextRender()
			case store.RenderDone:
				s.check(s.RenderMade(s.ctx, se.ID, "", later))
			}
			was := s.render(se)
			r, err := s.AskRender(s.ctx, "other", se, later, false)
			s.check(err)
			s.same(r, was)
			s.same(r.State, state)
		}
		r, err := s.AskRender(s.ctx, "other", se, later, true)
		s.check(err)
		s.same(r.State, store.RenderQueued)
	}},
	{"what a gate was at when it stopped waits again", func(s *subject) {
		all := s.filmed(1)
		s.nextRender()
		requeued := func(gate string, unharmed bool, want ...string) {
			s.Helper()
			cut, err := s.RequeueRenders(s.ctx, gate, later, unharmed)
			s.check(err)
			s.same(cut, want)
		}
		requeued("gate-2", false)
		s.same(s.render(all[0]).State, store.RenderRunning)
		requeued("gate-1", true, string(all[0].ID)) // it was told to stop
		s.same(s.render(all[0]).Attempts, 0)
		for i := range store.RenderAttempts { // it crashed
			s.same(s.nextRender().Attempts, i+1)
			requeued("gate-1", false, string(all[0].ID))
		}
		s.same(s.render(all[0]).State, store.RenderFailed)
	}},
	{"a video that is not there any more can be asked for again, the oldest goes first", func(s *subject) {
		all := s.filmed(3)
		for i := range 2 {
			s.check(s.RenderMade(s.ctx, s.nextRender().Session, "", later.Add(-time.Duration(i)*time.Minute)))
		}
		oldest, err := s.OldestRender(s.ctx, "gate-1")
		s.check(err)
		s.same(oldest.Session, all[1].ID)
		for _, se := range all {
			s.check(s.ForgetRender(s.ctx, se.ID))
		}
		if _, err := s.OldestRender(s.ctx, "gate-1"); !errors.Is(err, store.ErrNotFound) {
			s.Errorf("there is still a video: %v", err)
		}
		s.same(s.render(all[2]).State, store.RenderQueued) // it was not done
		r, err := s.AskRender(s.ctx, by, all[0], later, false)
		s.check(err)
		s.same(r.State, store.RenderQueued)
	}},
	{"a video is made by one gate and once", func(s *subject) {
		all := s.filmed(8)
		var mu sync.Mutex
		seen := map[policy.SessionID]int{}
		var workers sync.WaitGroup
		for range 4 {
			workers.Go(func() {
				for {
					r, err := s.NextRender(s.ctx, "gate-1", later)
					if err != nil {
						if !errors.Is(err, store.ErrNotFound) {
							s.Error(err)
						}
						return
					}
					mu.Lock()
					seen[r.Session]++
					mu.Unlock()
				}
			})
		}
		workers.Wait()
		for _, se := range all {
			if seen[se.ID] > 1 {
				s.Errorf("session %s was taken %d times", se.ID, seen[se.ID])
			}
		}
		if _, err := s.NextRender(s.ctx, "gate-2", later); !errors.Is(err, store.ErrNotFound) {
			s.Errorf("another gate takes it: %v", err)
		}
	}},
	{"there is no video of what is no session", func(s *subject) {
		_, err := s.AskRender(s.ctx, by, policy.Session{ID: "nosuchsession0000", Gate: "gate-1"}, noon, false)
		s.refused(err, store.ErrNotFound, "nosuchsession0000")
		p, v, g := s.granted()
		se := s.enter(visit(p, v, g))
		_, err = s.Render(s.ctx, se.ID)
		s.refused(err, store.ErrNotFound, "video")
	}},
}
