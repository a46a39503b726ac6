package api

import "time"

// An Alert is something an admin should look at. It lasts as long as its
// reason, or ten minutes where the reason is a moment.
type Alert struct {
	Gate   string    `json:"gate"`
	Kind   string    `json:"kind"`
	Object string    `json:"object"` // "grant 42", "server prod-db-01 (10.30.0.140:22)", "recordings"
	Text   string    `json:"text"`   // one sentence, lower case
	Begin  time.Time `json:"begin"`
	End    time.Time `json:"end,omitzero"` // unset while it lasts
}

// Kinds of alerts.
const (
	AlertGrantEnding       = "grant-ending"       // within an hour
	AlertRecordingsFilling = "recordings-filling" // more than 80 % of their disk is used
	AlertRecordingsFailing = "recordings-failing" // nobody is let in
	AlertDatabaseAway      = "database-away"      // nobody is let in
	AlertRulesWrong        = "rules-wrong"        // and could not be put right
	AlertRulesRepaired     = "rules-repaired"     // somebody had changed them
	AlertDoorsClosed       = "doors-closed"       // connections are not taken
	AlertRecordUnsigned    = "record-unsigned"    // the audit trail is not sealed and signed, or not the one that was
	AlertDenialsSpike      = "denials-spike"      // many more than usual
	AlertServerUnreachable = "server-unreachable" // several times in a row
	AlertHostKeyChanged    = "host-key-changed"   // of a server
)

// AlertKinds are all there are.
var AlertKinds = []string{
	AlertGrantEnding, AlertRecordingsFilling, AlertRecordingsFailing, AlertDatabaseAway, AlertRulesWrong,
	AlertRulesRepaired, AlertDoorsClosed, AlertRecordUnsigned, AlertDenialsSpike, AlertServerUnreachable, AlertHostKeyChanged,
}

// AlertFilter limits Alerts.
type AlertFilter struct {
	All bool `query:"all"` // also the last ones that have ended
}
