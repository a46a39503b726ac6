package web

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/pawelmojski/inside/appliance/api"
)

// A grantList is the grants that a filter leaves.
type grantList struct {
	Filter api.GrantFilter
	Grants []api.Grant
	Role   api.Role
}

func (l grantList) Operates() bool { return operates(l.Role) }

func (p *Pages) showGrants(v *visit) error {
	q := v.r.URL.Query()
	l := grantList{Role: v.actor.Role, Filter: api.GrantFilter{Person: q.Get("person"), Active: q.Get("all") == "", Waiting: q.Get("waiting") != ""}}
	var err error
	if l.Grants, err = v.house().Grants(v.ctx(), l.Filter); err != nil {
		return err
	}
	slices.Reverse(l.Grants) // the newest first
	v.show(http.StatusOK, "grants", page{Title: "Grants", Nav: "grants", Main: l})
	return nil
}

// A grantPage is one grant, what became of it and what can.
type grantPage struct {
	api.Grant
	Sentence string // what it allows
	Why      string // it does not serve now; "" where it does
	Over     bool
	History  []api.Change
	Week     *week
	Again    string // the link to a new one like it
	Problem  *api.Problem
	Role     api.Role
}

func (g grantPage) Operates() bool { return operates(g.Role) }

func (p *Pages) showGrant(v *visit) error {
	return p.grantAt(v, http.StatusOK, nil)
}

func (p *Pages) grantAt(v *visit, status int, problem *api.Problem) error {
	id, now := v.r.PathValue("id"), time.Now()
	g, err := v.house().Grant(v.ctx(), id)
	if err != nil {
		return err
	}
	shown := grantPage{
		Grant: g, Sentence: g.Words(gateMoment), Why: g.Sentence, Problem: problem, Role: v.actor.Role, Week: weekOf(g.Schedules, now),
		Over: !g.Revoked.IsZero() || !g.End.IsZero() && !now.Before(g.End), Again: draftOf(g).Link("how"),
	}
	if shown.History, err = v.house().GrantHistory(v.ctx(), id); err != nil {
		return err
	}
	v.show(status, "grant", page{Title: "Grant " + g.ID, Nav: "grants", Done: grantDone[v.r.URL.Query().Get("done")], Main: shown})
	return nil
}

// grantDone says what has just been done to a grant.
var grantDone = map[string]string{
	"created": "The grant is made.", "changed": "The grant has another end. Whoever is inside by it was told.", "revoked": "The grant is revoked. Nobody is inside by it any more.",
	"approved": "The grant is approved.",
}

// changeGrant carries a change of a grant out. One that somebody else has
// changed meanwhile is shown as it is now, with a sentence about it.
func (p *Pages) changeGrant(done string, change func(v *visit, id string) error) func(v *visit) error {
	return func(v *visit) error {
		if err := v.readForm(); err != nil {
			return err
		}
		id := v.r.PathValue("id")
		err := change(v, id)
		var problem *api.Problem
		if errors.As(err, &problem) && (problem.Code == api.CodeConflict || problem.Code == api.CodeInvalid) {
			return p.grantAt(v, problem.Status, problem)
		}
		if err != nil {
			return err
		}
		v.redirect("/grants/" + url.PathEscape(id) + "?done=" + done)
		return nil
	}
}

func (v *visit) version() int64 {
	n, _ := strconv.ParseInt(v.r.PostForm.Get("version"), 10, 64) // of something else it is a conflict
	return n
}

func setGrantEnd(v *visit, id string) error {
	form := v.r.PostForm
	end := api.NewEnd{Version: v.version()}
	switch form.Get("how") {
	case "by":
		end.By = form.Get("length")
	case "permanent":
		end.Permanent = true
	default:
		end.Duration = form.Get("length")
	}
	_, err := v.house().SetGrantEnd(v.ctx(), id, end)
	return err
}

func revokeGrant(v *visit, id string) error {
	_, err := v.house().RevokeGrant(v.ctx(), id)
	return err
}

func approveGrant(v *visit, id string) error {
	_, err := v.house().ApproveGrant(v.ctx(), id, api.Approval{Version: v.version()})
	return err
}
