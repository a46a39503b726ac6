package web

import (
	"net/http"
	"time"

	"github.com/pawelmojski/inside/appliance/api"
)

// A gatePage is the gate itself: whether it works, what it does not close, and
// what an admin should look at.
type gatePage struct {
	Status   api.Status
	Ended    []api.Alert // the last ones that are over
	Examined bool        // somebody has just asked for it
	Servers  bool        // they were dialled, too
	Checks   []api.Check
	Role     api.Role
	Now      time.Time
}

func (g gatePage) Operates() bool { return operates(g.Role) }

// Up is how long the gate has run.
func (g gatePage) Up() int64 { return int64(g.Now.Sub(g.Status.Started).Seconds()) }

// Bad counts the checks that are not well.
func (g gatePage) Bad() (n int) {
	for _, c := range g.Checks {
		if c.State != api.CheckOK {
			n++
		}
	}
	return n
}

func (p *Pages) showGate(v *visit) error { return p.gateWith(v, gatePage{}) }

// examineGate has the doctor look at the gate.
func (p *Pages) examineGate(v *visit) error {
	if err := v.readForm(); err != nil {
		return err
	}
	g := gatePage{Examined: true, Servers: v.r.PostForm.Get("servers") == "true"}
	var err error
	if g.Checks, err = v.house().Examine(v.ctx(), api.Examination{Servers: g.Servers}); err != nil {
		return err
	}
	return p.gateWith(v, g)
}

func (p *Pages) gateWith(v *visit, g gatePage) error {
	g.Role, g.Now = v.actor.Role, time.Now()
	var err error
	if g.Status, err = v.house().Status(v.ctx()); err != nil {
		return err
	}
	alerts, err := v.house().Alerts(v.ctx(), api.AlertFilter{All: true})
	if err != nil {
		return err
	}
	for _, a := range alerts {
		if !a.End.IsZero() {
			g.Ended = append(g.Ended, a)
		}
	}
	v.show(http.StatusOK, "gate", page{Title: "Gate", Nav: "gate", Main: g})
	return nil
}

// A namedPart is a part of the gate in a line of its own.
type namedPart struct {
	Name string
	Part api.Part
}

func works(name string, p api.Part) namedPart { return namedPart{name, p} }
