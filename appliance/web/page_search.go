package web

import (
	"net/http"
	"net/url"
	"time"

	"github.com/pawelmojski/inside/appliance/api"
)

// A searchPage is what is looked for, as it was typed, and what was found. The
// URL is the search: it can be kept, sent and asked for as CSV.
type searchPage struct {
	Typed   map[string]string
	Found   api.Page
	Problem *api.Problem
	CSV     string // the same, of any length
	Next    string // the page after this one
	Older   bool   // not the first page
}

// searchFields are the filters of the page, as the API calls them.
var searchFields = []string{"q", "person", "person_group", "server", "group", "login", "address", "protocol", "status", "denial", "grant", "stay", "session", "from", "to", "longer", "shorter", "forwarding", "files"}

func (p *Pages) showSearch(v *visit) error {
	q := v.r.URL.Query()
	s := searchPage{Typed: map[string]string{}, Older: q.Get("after") != ""}
	asked := url.Values{}
	for _, name := range searchFields {
		s.Typed[name] = q.Get(name)
		if q.Get(name) != "" {
			asked.Set(name, q.Get(name))
		}
	}
	search, err := readSearch(q)
	if err == nil {
		s.Found, err = v.house().Search(v.ctx(), search)
	}
	if err != nil && !isProblem(err, &s.Problem) {
		return err
	}
	csv := url.Values{"format": {"csv"}}
	for name := range asked {
		csv.Set(name, asked.Get(name))
		if t := timeOf(name, search); !t.IsZero() {
			csv.Set(name, t.UTC().Format(time.RFC3339))
		}
	}
	s.CSV = "/api/v1/search?" + csv.Encode()
	if s.Found.Next != "" {
		asked.Set("after", s.Found.Next)
		s.Next = "/search?" + asked.Encode()
	}
	status := http.StatusOK
	if s.Problem != nil {
		status = s.Problem.Status
	}
	v.show(status, "search", page{Title: "Search", Nav: "search", Main: s})
	return nil
}

func timeOf(name string, s api.Search) time.Time {
	switch name {
	case "from":
		return s.From
	case "to":
		return s.To
	}
	return time.Time{}
}

func readSearch(q url.Values) (s api.Search, err error) {
	s = api.Search{
		Query: q.Get("q"), Person: q.Get("person"), PersonGroup: q.Get("person_group"), Server: q.Get("server"), Group: q.Get("group"), Login: q.Get("login"),
		Address: q.Get("address"), Protocol: q.Get("protocol"), Status: q.Get("status"), Denial: q.Get("denial"), Grant: q.Get("grant"), Stay: q.Get("stay"),
		Session: q.Get("session"), Longer: q.Get("longer"), Shorter: q.Get("shorter"), Forwarding: q.Get("forwarding") == "true", Files: q.Get("files") == "true", After: q.Get("after"),
	}
	if s.From, err = readTime(q.Get("from")); err == nil {
		s.To, err = readTime(q.Get("to"))
	}
	return s, err
}

// readTime reads a time as a browser's field or a link has it, on the gate's
// clock where it names no zone.
func readTime(typed string) (time.Time, error) {
	if typed == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04", "2006-01-02T15:04:05", "2006-01-02 15:04", "2006-01-02"} {
		if t, err := time.ParseInLocation(layout, typed, time.Local); err == nil {
			return t, nil
		}
	}
	return time.Time{}, api.NewProblem(api.CodeInvalid, "a time that cannot be read: "+typed[:min(40, len(typed))], "write 2026-12-24 08:00")
}
