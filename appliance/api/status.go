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
	Stays    int       `json:"stays"`
	Sessions int       `json:"sessions"`
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
