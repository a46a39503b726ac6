package appliance

import (
	"github.com/pawelmojski/inside/appliance/api"
	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/store"
)

// What a gate tells of itself. It is told when it happens, not when the
// database has taken it down: the news are for those who look on, the record
// is for those who look back.

func (a *Appliance) tellDenied(e store.Entry) {
	a.news.Tell(api.NewsEntry, wireEntry(namer{a.book.Load()}, e))
}

// tellEntered tells of an allowed entry, its session and its stay.
func (a *Appliance) tellEntered(se policy.Session, joined bool) {
	a.news.Tell(api.NewsEntry, wireEntry(namer{a.book.Load()}, store.Entry{
		Time: se.Start, Gate: se.Gate, Client: se.Client, Dest: se.Dest, Protocol: se.Protocol, Login: se.Login,
		Person: se.Person, Server: se.Server, Grant: se.Grant, Session: se.ID, Identity: se.Identity, Waived: se.Waived,
	}))
	a.tellSession(se)
	if se.Stay != "" {
		a.tellPresent(se, joined)
	}
}

// tellPresent tells of the stay of a session that has come to it, unless
// another session rests on it already.
func (a *Appliance) tellPresent(se policy.Session, joined bool) {
	if !joined {
		a.tellStay(se.Stay, se.Person, se.Grant, api.StayBegan, "")
	} else if !a.live.present(se.Stay, se.ID) {
		a.tellStay(se.Stay, se.Person, se.Grant, api.StayPresent, "")
	}
}

// tellLeft tells of a session that has ended, and of its stay if nothing of
// it runs here any more.
func (a *Appliance) tellLeft(se policy.Session) {
	a.tellSession(se)
	if a.live.isOpen(se.Stay) && !a.live.present(se.Stay, se.ID) {
		a.tellStay(se.Stay, se.Person, se.Grant, api.StayAbsent, "")
	}
}

func (a *Appliance) tellSession(se policy.Session) {
	a.news.Tell(api.NewsSession, wireSession(a.book.Load(), a.clock.now(), se, map[policy.SessionID]Traffic{se.ID: {}}))
}

func (a *Appliance) tellStay(id policy.StayID, p policy.PersonID, g policy.GrantID, state string, why policy.EndCause) {
	names := namer{a.book.Load()}
	told := api.StayNews{
		ID: string(id), State: state, Person: names.person(p), PersonID: string(p),
		Grant: string(g), Where: names.where(g),
	}
	if why != "" {
		told.Cause, told.Sentence = string(why), why.Error()
	}
	a.news.Tell(api.NewsStay, told)
}
