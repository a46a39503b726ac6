package web

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/pawelmojski/inside/appliance/api"
)

// A personList is everybody who is known.
type personList struct {
	Persons []api.Person
	Role    api.Role
}

func (l personList) Changes() bool { return l.Role == api.Admin }

func (p *Pages) showPersons(v *visit) error {
	persons, err := v.house().Persons(v.ctx())
	if err != nil {
		return err
	}
	slices.SortFunc(persons, func(a, b api.Person) int { return strings.Compare(a.Name, b.Name) })
	v.show(http.StatusOK, "persons", page{Title: "Persons", Nav: "persons", Main: personList{persons, v.actor.Role}})
	return nil
}

// A personPage is one person, where they come from and where they may go.
type personPage struct {
	api.Person
	Grants  []api.Grant
	Stays   []api.Stay
	Role    api.Role
	Problem *api.Problem
}

func (p personPage) Operates() bool { return operates(p.Role) }
func (p personPage) Changes() bool  { return p.Role == api.Admin }

const personStays = 20 // the newest, on their page

func (p *Pages) showPerson(v *visit) error {
	return p.personAt(v, http.StatusOK, nil)
}

func (p *Pages) personAt(v *visit, status int, problem *api.Problem) error {
	name := v.r.PathValue("name")
	shown := personPage{Role: v.actor.Role, Problem: problem}
	var err error
	if shown.Person, err = v.house().Person(v.ctx(), name); err != nil {
		return err
	}
	if shown.Grants, err = v.house().Grants(v.ctx(), api.GrantFilter{Person: name, Active: true}); err != nil {
		return err
	}
	if shown.Stays, err = v.house().Stays(v.ctx(), api.StayFilter{Person: name, All: true, Limit: personStays}); err != nil {
		return err
	}
	v.show(status, "person", page{Title: name, Nav: "persons", Done: thingDone[v.r.URL.Query().Get("done")], Main: shown})
	return nil
}

// thingDone says what has just been done to a person, a server or a group.
var thingDone = map[string]string{
	"changed": "It is changed.", "added": "It is added.", "removed": "It is removed.", "forgotten": "The keys are forgotten; the next one that is seen is pinned.",
}

// changes carries a change of a thing out and shows it again: changed, or with
// why it is not.
func (p *Pages) changes(where func(v *visit) string, again func(v *visit, status int, problem *api.Problem) error, change func(v *visit) (done string, err error)) func(v *visit) error {
	return func(v *visit) error {
		if err := v.readForm(); err != nil {
			return err
		}
		done, err := change(v)
		var problem *api.Problem
		if err != nil && isProblem(err, &problem) && (problem.Code == api.CodeConflict || problem.Code == api.CodeInvalid || problem.Code == api.CodeNotFound) {
			return again(v, problem.Status, problem)
		}
		if err != nil {
			return err
		}
		v.redirect(where(v) + "?done=" + done)
		return nil
	}
}

func personPath(v *visit) string { return "/persons/" + url.PathEscape(v.r.PathValue("name")) }

func addPerson(v *visit) (string, error) {
	asked := api.NewPerson{Name: v.r.PostForm.Get("name")}
	if address := strings.TrimSpace(v.r.PostForm.Get("address")); address != "" {
		asked.Addresses = []api.NewAddress{{Address: address, Label: v.r.PostForm.Get("label")}}
	}
	_, err := v.house().AddPerson(v.ctx(), asked)
	return "added", err
}

func setPerson(v *visit) (string, error) {
	_, err := v.house().SetPerson(v.ctx(), v.r.PathValue("name"), api.Switch{Version: v.version(), Disabled: v.r.PostForm.Get("disabled") == "true"})
	return "changed", err
}

func addAddress(v *visit) (string, error) {
	_, err := v.house().AddAddress(v.ctx(), v.r.PathValue("name"), api.NewAddress{Address: strings.TrimSpace(v.r.PostForm.Get("address")), Label: v.r.PostForm.Get("label")})
	return "added", err
}

func removeAddress(v *visit) (string, error) {
	_, err := v.house().RemoveAddress(v.ctx(), v.r.PostForm.Get("id"))
	return "removed", err
}

// refused says why something was not added, where there is nothing to show it
// on.
func refused(v *visit, _ int, problem *api.Problem) error { return problem }

// path is always the same one.
func path(to string) func(*visit) string { return func(*visit) string { return to } }
