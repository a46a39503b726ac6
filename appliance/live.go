package appliance

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/pawelmojski/inside/appliance/api"
	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/store"
)

// live knows who is inside right now: the sessions this gate carries and the
// stays that have not ended, with a timer each for the moment their grant
// stops serving. A stay outlives its connections, so it has a timer of its
// own.
type live struct {
	house *Appliance

	mu       sync.Mutex
	sessions map[policy.SessionID]*visit
	stays    map[policy.StayID]*openStay
}

type openStay struct {
	person policy.PersonID
	grant  policy.GrantID
	timer  *time.Timer
}

var _ Live = (*live)(nil)

func newLive(a *Appliance) *live {
	return &live{house: a, sessions: map[policy.SessionID]*visit{}, stays: map[policy.StayID]*openStay{}}
}

// add takes a session in, with its stay. The facts may have changed between
// the decision and now, so it is asked again at once.
func (l *live) add(v *visit, se policy.Session) {
	l.mu.Lock()
	l.sessions[se.ID] = v
	l.mu.Unlock()
	if se.Stay != "" {
		l.addStay(se.Stay, se.Person, se.Grant)
	}
	v.reconsider()
}

// addStay takes a stay in, and reports whether it is new to this gate.
func (l *live) addStay(id policy.StayID, p policy.PersonID, g policy.GrantID) (began bool) {
	l.mu.Lock()
	_, known := l.stays[id]
	if !known {
		l.stays[id] = &openStay{person: p, grant: g}
	}
	l.mu.Unlock()
	if !known {
		l.reconsiderStay(id)
	}
	return !known
}

// moved notes that a session rests on another stay now.
func (l *live) moved(v *visit, se policy.Session) {
	began := l.addStay(se.Stay, se.Person, se.Grant)
	l.house.tellSession(se)
	l.house.tellPresent(se, !began)
}

func (l *live) remove(v *visit) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.sessions, v.session.ID)
}

// reconsider asks the book about everything that is open. The sessions end at
// once and together: none waits for another's last words.
func (l *live) reconsider() {
	l.mu.Lock()
	visits := make([]*visit, 0, len(l.sessions))
	for _, v := range l.sessions {
		visits = append(visits, v)
	}
	stays := make([]policy.StayID, 0, len(l.stays))
	for id := range l.stays {
		stays = append(stays, id)
	}
	l.mu.Unlock()
	for _, v := range visits {
		v.reconsider()
	}
	for _, id := range stays {
		l.reconsiderStay(id)
	}
}

// reconsiderStay ends a stay whose grant no longer serves, or sets the timer
// for the moment it will not.
func (l *live) reconsiderStay(id policy.StayID) {
	l.mu.Lock()
	st, open := l.stays[id]
	l.mu.Unlock()
	if !open {
		return
	}
	now := l.house.clock.now()
	until, denial := l.house.book.Load().Standing(st.grant, now)
	if denial != "" {
		l.EndStay(id, causeOfDenial(denial))
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if st.timer != nil {
		st.timer.Stop()
	}
	if !until.IsZero() {
		st.timer = time.AfterFunc(until.Sub(now), func() { l.reconsiderStay(id) })
	}
}

// EndStay ends a stay and the sessions that still rest on it.
func (l *live) EndStay(id policy.StayID, why policy.EndCause) {
	l.mu.Lock()
	st, open := l.stays[id]
	delete(l.stays, id)
	if open && st.timer != nil {
		st.timer.Stop()
	}
	var resting []*visit
	for _, v := range l.sessions {
		if v.stay() == id {
			resting = append(resting, v)
		}
	}
	l.mu.Unlock()
	if why == policy.AdminEnded {
		l.house.before.endStay(id, why)
	}
	for _, v := range resting {
		if why == policy.AdminEnded {
			v.end(why)
			continue
		}
		v.reconsider() // another grant may still let the person stay
	}
	if open {
		l.house.log.Info("stay ended", "stay", id, "cause", string(why))
		l.house.ledger.endStay(id, l.house.clock.now(), why)
		l.house.tellStay(id, st.person, st.grant, api.StayEnded, why)
	}
}

func (v *visit) stay() policy.StayID {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.session.Stay
}

// present reports whether this gate carries a session of the stay, other than
// one.
func (l *live) present(id policy.StayID, but policy.SessionID) bool {
	return slices.ContainsFunc(l.all(), func(s CarriedBy) bool { return s.ID != but && s.Stay == id })
}

// isOpen reports whether a stay has not ended, as far as this gate knows.
func (l *live) isOpen(id policy.StayID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stays[id] != nil
}

// EndSession ends one session and reports whether this gate carries it.
func (l *live) EndSession(id policy.SessionID, why policy.EndCause) bool {
	l.mu.Lock()
	v, ok := l.sessions[id]
	l.mu.Unlock()
	if ok {
		v.end(why)
		return true
	}
	return l.house.before.endSession(id, why)
}

// inside is how many persons are inside.
func (l *live) inside() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	persons := map[policy.PersonID]bool{}
	for _, stay := range l.stays {
		persons[stay.person] = true
	}
	return len(persons)
}

// own are the sessions this process carries.
func (l *live) own() []CarriedBy {
	l.mu.Lock()
	defer l.mu.Unlock()
	sessions := make([]CarriedBy, 0, len(l.sessions))
	for id, v := range l.sessions {
		sessions = append(sessions, CarriedBy{ID: id, Stay: v.stay(), Protocol: v.flow.Protocol, Traffic: v.traffic()})
	}
	return sessions
}

// all are the sessions this gate carries right now: in this process and in the
// one before it.
func (l *live) all() []CarriedBy { return append(l.own(), l.house.before.carried().Sessions...) }

// Sessions implements Live.
func (l *live) Sessions() map[policy.SessionID]Traffic {
	all := l.all()
	sessions := make(map[policy.SessionID]Traffic, len(all))
	for _, s := range all {
		sessions[s.ID] = s.Traffic
	}
	return sessions
}

// carried is how many sessions of a protocol this gate carries.
func (l *live) carried(p policy.Protocol) (n int) {
	for _, s := range l.all() {
		if s.Protocol == p {
			n++
		}
	}
	return n
}

func (l *live) openStays() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.stays)
}

// resume takes the stays up that were open when the daemon ended.
func (l *live) resume(ctx context.Context) error {
	stays, err := l.house.store.Stays(ctx, store.StayFilter{Open: true})
	if err != nil {
		return err
	}
	for _, st := range stays {
		l.addStay(st.ID, st.Person, st.Grant)
	}
	return nil
}
