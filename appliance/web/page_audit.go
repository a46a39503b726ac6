package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/pawelmojski/inside/appliance/api"
)

// An auditPage is the trail of who changed and who looked at what, and whether
// it is still what was written. As with the search, the URL is the question.
type auditPage struct {
	Typed    map[string]string
	Rows     []api.Change
	Head     *api.AuditHead // the signed end of the trail
	Unsigned string         // why there is none
	Verified *verified      // where somebody has just asked for it
	Problem  *api.Problem
	CSV      string // the same rows
	Next     string // the page after this one
	Older    bool   // not the first page
}

// Verified is what was found when the trail was read from its beginning.
type verified struct {
	api.AuditReport
	Trouble string // why it was not read to its end
}

// auditFields are the filters of the page, as the API calls them.
var auditFields = []string{"by", "action", "object", "from", "to"}

const (
	auditRows = 100 // on a page

	// verifying bounds how long a page reads the trail; what is longer the
	// command line reads.
	verifying = patience - 5*time.Second
)

func (p *Pages) showAudit(v *visit) error { return p.auditWith(v, nil) }

func (p *Pages) verifyAudit(v *visit) error {
	found, err := p.verify(v)
	if err != nil {
		return err
	}
	return p.auditWith(v, found)
}

func (p *Pages) auditWith(v *visit, found *verified) error {
	q := v.r.URL.Query()
	a := auditPage{Typed: map[string]string{}, Older: q.Get("before") != "", Verified: found}
	asked := url.Values{}
	for _, name := range auditFields {
		a.Typed[name] = q.Get(name)
		if q.Get(name) != "" {
			asked.Set(name, q.Get(name))
		}
	}
	filter, err := readAuditFilter(q)
	if err == nil {
		a.Rows, err = v.house().AuditRows(v.ctx(), filter)
	}
	if err != nil && !isProblem(err, &a.Problem) {
		return err
	}
	head, err := v.house().AuditHead(v.ctx())
	var unsigned *api.Problem
	switch {
	case err == nil:
		a.Head = &head
	case isProblem(err, &unsigned):
		a.Unsigned = unsigned.Detail
	default:
		return err
	}
	csv := url.Values{"format": {"csv"}, "limit": {strconv.Itoa(auditRows)}}
	for name := range asked {
		csv.Set(name, asked.Get(name))
	}
	for name, t := range map[string]time.Time{"from": filter.From, "to": filter.To} {
		if !t.IsZero() {
			csv.Set(name, t.UTC().Format(time.RFC3339))
		}
	}
	if filter.Before > 0 {
		csv.Set("before", strconv.Itoa(filter.Before))
	}
	a.CSV = "/api/v1/audit?" + csv.Encode()
	if len(a.Rows) == auditRows {
		asked.Set("before", strconv.FormatInt(a.Rows[len(a.Rows)-1].ID, 10))
		a.Next = "/audit?" + asked.Encode()
	}
	status := http.StatusOK
	if a.Problem != nil {
		status = a.Problem.Status
	}
	v.show(status, "audit", page{Title: "Audit", Nav: "audit", Main: a})
	return nil
}

func readAuditFilter(q url.Values) (f api.AuditFilter, err error) {
	f = api.AuditFilter{By: q.Get("by"), Action: q.Get("action"), Object: q.Get("object"), Limit: auditRows}
	if before := q.Get("before"); before != "" {
		if f.Before, err = strconv.Atoi(before); err != nil || f.Before < 1 {
			return f, api.NewProblem(api.CodeInvalid, fmt.Sprintf("%.40q is not the number of a row", before), "open the page again without it")
		}
	}
	if f.From, err = readTime(q.Get("from")); err == nil {
		f.To, err = readTime(q.Get("to"))
	}
	return f, err
}

// verify reads the trail from its beginning, for as long as a page may take.
func (p *Pages) verify(v *visit) (*verified, error) {
	ctx, cancel := context.WithTimeout(v.ctx(), verifying)
	defer cancel()
	var found verified
	body, err := v.house().VerifyAudit(ctx, api.AuditQuestion{})
	if err == nil {
		defer body.Close()
		stop := context.AfterFunc(ctx, func() { body.Close() })
		defer stop()
		err = api.Reports(body, func(r api.AuditReport) error {
			found.AuditReport = r
			return nil
		})
	}
	var problem *api.Problem
	switch {
	case err == nil || v.ctx().Err() != nil:
		return &found, v.ctx().Err()
	case ctx.Err() != nil:
		found.Trouble = fmt.Sprintf("the trail is longer than what is read in %s", verifying)
	case errors.As(err, &problem):
		return nil, err
	default:
		found.Trouble = err.Error()
	}
	return &found, nil
}

// indented is a thing as it was or became, for people.
func indented(thing json.RawMessage) string {
	text, err := json.MarshalIndent(thing, "", "  ")
	if err != nil {
		return string(thing)
	}
	return string(text)
}
