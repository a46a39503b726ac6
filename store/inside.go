package store

import "github.com/pawelmojski/inside/policy"

// Stays and sessions are rows that change, so that one question finds who is
// inside. What they were at each change is an audit row, and by it Verify knows
// whether they still say what was so: how a session began stands in its entry.

type stayFact struct {
	Stay   policy.StayID   `json:"stay"`
	Person policy.PersonID `json:"person"`
	Grant  policy.GrantID  `json:"grant"`
	Start  int64           `json:"start"` // microseconds, like End
	End    int64           `json:"end,omitempty"`
	Cause  policy.EndCause `json:"cause,omitempty"`
}

type sessionFact struct {
	Session policy.SessionID `json:"session"`
	Stay    policy.StayID    `json:"stay"`
	Grant   policy.GrantID   `json:"grant"`
	End     int64            `json:"end,omitempty"` // microseconds
	Cause   policy.EndCause  `json:"cause,omitempty"`
}

// Actions that tell of stays and sessions. What an admin does to them has
// other names: stay.end, session.kill.
const (
	actionStayStarted  = "stay.started"
	actionStayEnded    = "stay.ended"
	actionSessionMoved = "session.moved"
	actionSessionEnded = "session.ended"
)

// gateActor is who did what a gate does by itself.
func gateActor(gate string) string { return "gate:" + gate }

func knownStay(st policy.Stay) stayFact {
	return stayFact{Stay: st.ID, Person: st.Person, Grant: st.Grant, Start: micros(st.Start), End: micros(st.End), Cause: st.Cause}
}

func knownSession(se policy.Session) sessionFact {
	return sessionFact{Session: se.ID, Stay: se.Stay, Grant: se.Grant, End: micros(se.End), Cause: se.Cause}
}

// stayStarted tells of the stay that began with a session.
func stayStarted(se policy.Session) deed {
	st := policy.Stay{ID: se.Stay, Person: se.Person, Grant: se.Grant, Start: se.Start}
	return deed{action: actionStayStarted, object: "stay " + string(st.ID), detail: "by grant " + string(st.Grant), became: knownStay(st)}
}

func stayEnded(st policy.Stay) deed {
	return deed{action: actionStayEnded, object: "stay " + string(st.ID), detail: st.Cause.Error(), became: knownStay(st)}
}

func sessionMoved(se policy.Session, was sessionFact) deed {
	return deed{
		action: actionSessionMoved, object: "session " + string(se.ID),
		detail: "grant " + string(was.Grant) + " → " + string(se.Grant), was: was, became: knownSession(se),
	}
}

func sessionEnded(se policy.Session) deed {
	return deed{action: actionSessionEnded, object: "session " + string(se.ID), detail: se.Cause.Error(), became: knownSession(se)}
}
