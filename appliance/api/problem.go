package api

import (
	"encoding/json"
	"net/http"
)

// A Problem is an error as it travels (RFC 9457). Code is one of the constants
// below or a policy.Denial; Detail names the thing, lower case; Hint is the
// way out, mostly a command.
type Problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`
	Code   string `json:"code"`
	Hint   string `json:"hint,omitempty"`
}

// Codes of problems.
const (
	CodeNotFound    = "not-found"
	CodeInvalid     = "invalid"     // a value that cannot be
	CodeConflict    = "conflict"    // not possible as things stand
	CodeBadRequest  = "bad-request" // not JSON, an unknown field, too large
	CodeForbidden   = "forbidden"   // not for this caller
	CodeUnavailable = "unavailable" // the database or a folder is away
	CodeInternal    = "internal"
)

var statusOf = map[string]int{
	CodeNotFound:    http.StatusNotFound,
	CodeInvalid:     http.StatusUnprocessableEntity,
	CodeConflict:    http.StatusConflict,
	CodeBadRequest:  http.StatusBadRequest,
	CodeForbidden:   http.StatusForbidden,
	CodeUnavailable: http.StatusServiceUnavailable,
	CodeInternal:    http.StatusInternalServerError,
}

// NewProblem makes a problem with the HTTP status that belongs to its code.
func NewProblem(code, detail, hint string) *Problem {
	status := statusOf[code]
	return &Problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Detail: detail, Code: code, Hint: hint}
}

func (p *Problem) Error() string {
	if p.Detail == "" {
		return p.Title
	}
	return p.Detail
}

func (p *Problem) write(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	json.NewEncoder(w).Encode(p)
}
