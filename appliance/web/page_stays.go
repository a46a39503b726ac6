package web

import (
	"net/http"
	"net/url"
	"time"

	"github.com/pawelmojski/inside/appliance/api"
)

// A staysPage answers who was inside: where, when and for how long. As with the
// search, the URL is the question.
type staysPage struct {
	Typed   map[string]string
	Now     bool // only those that last
	Stays   []api.Stay
	Problem *api.Problem
	CSV     string // the same, of any length
	Next    string // the page after this one
	Older   bool   // not the first page
}

// stayFields are the filters of the page, as the API calls them.
var stayFields = []string{"person", "person_group", "server", "group", "grant", "from", "to"}

const staysShown = 100 // on a page

func (p *Pages) showStays(v *visit) error {
	q := v.r.URL.Query()
	s := staysPage{Typed: map[string]string{}, Now: onlyNow(q), Older: q.Get("after") != ""}
	asked, csv := url.Values{}, url.Values{"format": {"csv"}}
	for _, name := range stayFields {
		s.Typed[name] = q.Get(name)
		if q.Get(name) != "" {
			asked.Set(name, q.Get(name))
			csv.Set(name, q.Get(name))
		}
	}
	if s.Now {
		asked.Set("now", "true")
	} else {
		csv.Set("all", "true")
	}
	filter, err := readStayFilter(q)
	if err == nil {
		s.Stays, err = v.house().Stays(v.ctx(), filter)
	}
	if err != nil && !isProblem(err, &s.Problem) {
		return err
	}
	for name, t := range map[string]time.Time{"from": filter.From, "to": filter.To} {
		if !t.IsZero() {
			csv.Set(name, t.UTC().Format(time.RFC3339))
		}
	}
	s.CSV = "/api/v1/stays?" + csv.Encode()
	if len(s.Stays) == staysShown {
		asked.Set("after", s.Stays[len(s.Stays)-1].ID)
		s.Next = "/stays?" + asked.Encode()
	}
	status := http.StatusOK
	if s.Problem != nil {
		status = s.Problem.Status
	}
	v.show(status, "stays", page{Title: "Stays", Nav: "stays", Main: s})
	return nil
}

// onlyNow says whether those that have ended are left out. Where a time is asked
// for they belong to the answer.
func onlyNow(q url.Values) bool {
	return q.Get("now") != "" && q.Get("from") == "" && q.Get("to") == ""
}

func readStayFilter(q url.Values) (f api.StayFilter, err error) {
	f = api.StayFilter{
		All: !onlyNow(q), Person: q.Get("person"), PersonGroup: q.Get("person_group"), Server: q.Get("server"), Group: q.Get("group"),
		Grant: q.Get("grant"), After: q.Get("after"), Limit: staysShown,
	}
	if f.From, err = readTime(q.Get("from")); err == nil {
		f.To, err = readTime(q.Get("to"))
	}
	return f, err
}
