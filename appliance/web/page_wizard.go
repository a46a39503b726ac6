package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/pawelmojski/inside/appliance/api"
	"github.com/pawelmojski/inside/policy"
)

// The steps of making a grant.
var steps = []string{"who", "where", "how", "review"}

// lengths are those to choose from; every other can be typed.
var lengths = []field{{"1h", "1 hour"}, {"4h", "4 hours"}, {"8h", "8 hours"}, {"1d", "a day"}, {"7d", "a week"}, {"14d", "two weeks"}, {"30d", "30 days"}}

// A wizard is one step of making a grant.
type wizard struct {
	Draft    draft
	Step     string
	Problem  *api.Problem
	Names    []choice // of the step
	Sentence string
	Week     *week
	Already  []string // what is possible already, in sentences
	Zone     string   // the gate's
}

func (w wizard) Steps() []string     { return steps }
func (w wizard) Lengths() []field    { return lengths }
func (w wizard) Reachable() []string { return policy.RedirectionNames() }
func (w wizard) Behind(step string) bool {
	return slices.Index(steps, step) < slices.Index(steps, w.Step)
}
func (w wizard) Known(length string) bool {
	return slices.ContainsFunc(lengths, func(f field) bool { return f.Name == length })
}
func (w wizard) Capital(step string) string { return strings.ToUpper(step[:1]) + step[1:] }
func (w wizard) After() string              { return steps[min(slices.Index(steps, w.Step)+1, len(steps)-1)] }

// A choice is a name that can be typed, and what it is.
type choice struct{ Value, Label string }

func (p *Pages) showWizard(v *visit) error {
	q := v.r.URL.Query()
	w := wizard{Draft: readDraft(q), Step: q.Get("step")}
	if !slices.Contains(steps, w.Step) {
		w.Step = "who"
		if w.Draft.Who != "" {
			w.Step = "where"
		}
	}
	return p.wizardAt(v, w, http.StatusOK)
}

// wizardAt shows a step, or the one before it that is not right yet.
func (p *Pages) wizardAt(v *visit, w wizard, status int) error {
	if slices.Index(steps, w.Step) > 0 {
		if problem, err := p.isThere(v.ctx(), w.Draft.Who, api.PersonGroup, "who"); err != nil {
			return err
		} else if problem != nil {
			w.Step, w.Problem, status = "who", problem, http.StatusUnprocessableEntity
		}
	}
	if slices.Index(steps, w.Step) > 1 {
		if problem, err := p.isThere(v.ctx(), w.Draft.Where, api.ServerGroup, "where"); err != nil {
			return err
		} else if problem != nil {
			w.Step, w.Problem, status = "where", problem, http.StatusUnprocessableEntity
		}
	}
	w.Zone = time.Now().Location().String()
	if w.Zone == "Local" {
		w.Zone = ""
	}
	var err error
	switch w.Step {
	case "who", "where":
		w.Names, err = p.choices(v.ctx(), w.Step, "")
	case "review":
		err = p.review(v.ctx(), &w)
		if errors.As(err, &w.Problem) {
			w.Step, status, err = "how", http.StatusUnprocessableEntity, nil
		}
	}
	if err != nil {
		return err
	}
	v.show(status, "wizard", page{Title: "A new grant", Nav: "grants", Main: w})
	return nil
}

// isThere says why a name that was typed is nobody's, or nothing's.
func (p *Pages) isThere(ctx context.Context, typed string, kind api.Kind, what string) (problem *api.Problem, err error) {
	name, isGroup := strings.CutPrefix(typed, groupPrefix)
	switch {
	case name == "":
		return api.NewProblem(api.CodeInvalid, "say "+what, ""), nil
	case isGroup:
		_, err = p.house.Group(ctx, kind, name)
	case kind == api.PersonGroup:
		_, err = p.house.Person(ctx, name)
	default:
		_, err = p.house.Server(ctx, name)
	}
	if errors.As(err, &problem) && (problem.Code == api.CodeNotFound || problem.Code == api.CodeInvalid) {
		return problem, nil
	}
	return nil, err
}

// mostChoices are shown for what is typed: more is not read.
const mostChoices = 30

// choices are names that fit what was typed so far.
func (p *Pages) choices(ctx context.Context, step, typed string) (fit []choice, err error) {
	add := func(value, label string) {
		if len(fit) < mostChoices && strings.Contains(strings.ToLower(value+" "+label), strings.ToLower(typed)) {
			fit = append(fit, choice{value, label})
		}
	}
	kind := api.PersonGroup
	if step == "where" {
		kind = api.ServerGroup
		servers, err := p.house.Servers(ctx)
		if err != nil {
			return nil, err
		}
		for _, s := range servers {
			add(s.Name, s.Address)
		}
	} else {
		persons, err := p.house.Persons(ctx)
		if err != nil {
			return nil, err
		}
		for _, x := range persons {
			add(x.Name, x.FullName)
		}
	}
	groups, err := p.house.Groups(ctx, kind)
	for _, g := range groups {
		add(groupPrefix+g.Name, g.Description)
	}
	return fit, err
}

// suggest answers what is being typed into a step.
func (p *Pages) suggest(v *visit) error {
	step := v.r.PathValue("step")
	fit, err := p.choices(v.ctx(), step, strings.TrimSpace(v.r.URL.Query().Get(step)))
	if err != nil {
		return err
	}
	text, err := part("wizard", "options", fit)
	if err != nil {
		return err
	}
	v.send(http.StatusOK, "text/html; charset=utf-8", []byte(text))
	return nil
}

// review says what the grant would make possible, and what is already.
func (p *Pages) review(ctx context.Context, w *wizard) error {
	now := time.Now()
	g, err := w.Draft.would(now)
	if err != nil {
		return err
	}
	w.Sentence = g.Words(gateMoment)
	w.Week = weekOf(g.Schedules, now)
	if g.Person == "" || g.Server == "" {
		return nil
	}
	x, err := p.house.Explain(ctx, api.Question{Person: g.Person, Server: g.Server})
	if err != nil {
		return err
	}
	switch {
	case x.Allowed && x.Until.IsZero():
		w.Already = append(w.Already, fmt.Sprintf("%s may enter %s already, by grant %s, without an end.", x.Person, x.Server, x.Grant))
	case x.Allowed:
		w.Already = append(w.Already, fmt.Sprintf("%s may enter %s already, by grant %s, until %s.", x.Person, x.Server, x.Grant, gateMoment(x.Until)))
	default:
		w.Already = append(w.Already, fmt.Sprintf("As things stand %s may not enter %s: %s.", x.Person, x.Server, strings.TrimSuffix(x.Sentence, ".")))
	}
	return nil
}

// gateMoment is a time on the gate's clock.
func gateMoment(t time.Time) string { return t.Local().Format("2006-01-02 15:04 MST") }

func (p *Pages) createGrant(v *visit) error {
	if err := v.readForm(); err != nil {
		return err
	}
	w := wizard{Draft: readDraft(v.r.PostForm), Step: "review"}
	asked, err := w.Draft.grant()
	var g api.Grant
	if err == nil {
		g, err = v.house().CreateGrant(v.ctx(), asked)
	}
	if errors.As(err, &w.Problem) && w.Problem.Code != api.CodeForbidden {
		return p.wizardAt(v, w, w.Problem.Status) // nothing that was typed is lost
	}
	if err != nil {
		return err
	}
	v.redirect("/grants/" + url.PathEscape(g.ID) + "?done=created")
	return nil
}
