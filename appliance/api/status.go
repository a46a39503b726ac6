package api

import "time"

// Status is the gate on one screen.
type Status struct {
	Gate     string    `json:"gate"`
	Version  string    `json:"version"`
	Started  time.Time `json:"started"`
	Rules    Part      `json:"rules"`    // the kernel's interception rules
	Database Part      `json:"database"` // takes entries
	Recorder Part      `json:"recorder"` // takes recordings
	Doors    Part      `json:"doors"`    // take connections
	Free     int64     `json:"free"`     // bytes left for recordings
	Share    float64   `json:"share"`    // the same as a share of the disk, 0 to 1
	Persons  int       `json:"persons"`
	Servers  int       `json:"servers"`
	Grants   int       `json:"grants"` // neither ended nor revoked
	Inside   int       `json:"inside"` // persons who have an open stay
	Stays    int       `json:"stays"`
	Sessions int       `json:"sessions"`

	Maintained []string  `json:"maintained"`         // servers under maintenance
	Draining   *Draining `json:"draining,omitempty"` // after an upgrade, while the process before still has sessions

	Open []Network `json:"open"` // networks where nobody is denied yet

	LastHour HourCount    `json:"last_hour"` // entries, over all gates
	Ending   []EndingSoon `json:"ending"`    // grants that end within the hour, the earliest first
	Alerts   []Alert      `json:"alerts"`
}

// Draining is the process before an upgrade.
type Draining struct {
	Sessions int       `json:"sessions"` // that go on in it
	Until    time.Time `json:"until"`    // the last of them ends then at the latest
}

// An EndingSoon is a grant that ends within the hour.
type EndingSoon struct {
	Grant string    `json:"grant"`
	Who   string    `json:"who"`
	Where string    `json:"where"`
	End   time.Time `json:"end"`
}

// An HourCount is how many entries there were from Start on for an hour.
type HourCount struct {
	Start   time.Time `json:"start"`
	Allowed int       `json:"allowed"`
	Denied  int       `json:"denied"`
}

// Stats are counts of the last 24 hours, over all gates that share the
// database.
type Stats struct {
	Hours       []HourCount  `json:"hours"` // the oldest first
	Busiest     []BusyServer `json:"busiest"`
	StaysToday  int          `json:"stays_today"`       // that began since midnight, where the gate is
	StaysEnded  int          `json:"stays_ended"`       // in the last 24 hours
	StaySeconds float64      `json:"stay_seconds"`      // that these lasted on the average
	Recorded    time.Time    `json:"recorded,omitzero"` // start of the oldest session
}

// A BusyServer is a server and how often it was entered.
type BusyServer struct {
	Server  string `json:"server"`
	Entries int    `json:"entries"`
}

// A Part of the gate works or says why not.
type Part struct {
	OK     bool   `json:"ok"`
	Detail string `json:"detail,omitempty"` // "not intercepting: this box is a tower", or the error
}

// Well reports whether people can get in and are recorded.
func (s Status) Well() bool { return len(s.Broken()) == 0 }

// Broken names the parts that keep people out.
func (s Status) Broken() []string {
	var broken []string
	for _, p := range []struct {
		name string
		part Part
	}{{"rules", s.Rules}, {"database", s.Database}, {"recordings", s.Recorder}, {"doors", s.Doors}} {
		if !p.part.OK {
			broken = append(broken, p.name)
		}
	}
	return broken
}
