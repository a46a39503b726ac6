package api

import (
	"encoding/json"
	"net/http"
)

// A Problem is an error as it travels (RFC 9457). Code is one of the constants
// below, and Type the same as a URI; Detail names the thing, lower case; Hint
// is the way out, mostly a command; Instance is the path that was asked.
type Problem struct {
	Type     string `json:"type"`
	Title    string `json:"title"`
	Status   int    `json:"status"`
	Detail   string `json:"detail,omitempty"`
	Instance string `json:"instance,omitempty"`
	Code     string `json:"code"`
	Hint     string `json:"hint,omitempty"`
}

// Codes of problems.
const (
	CodeNotFound    = "not-found"
	CodeInvalid     = "invalid"                // a value that cannot be
	CodeConflict    = "conflict"               // not possible as things stand
	CodeBadRequest  = "bad-request"            // not JSON, an unknown field, too large
	CodeForbidden   = "forbidden"              // not for this caller
	CodeUnknown     = "unauthorized"           // no token, or none that is good
	CodeMethod      = "method-not-allowed"     // the path is right, the method is not
	CodeTooLarge    = "too-large"              // the body of a request
	CodeMedia       = "unsupported-media-type" // a change that is not JSON
	CodeMisdirected = "misdirected"            // a request to a host that this gate is not
	CodeTooMany     = "too-many-requests"      // slow down
	CodeUnavailable = "unavailable"            // the database or a folder is away
	CodeInternal    = "internal"
)

var statusOf = map[string]int{
	CodeNotFound:    http.StatusNotFound,
	CodeInvalid:     http.StatusUnprocessableEntity,
	CodeConflict:    http.StatusConflict,
	CodeBadRequest:  http.StatusBadRequest,
	CodeForbidden:   http.StatusForbidden,
	CodeUnknown:     http.StatusUnauthorized,
	CodeMethod:      http.StatusMethodNotAllowed,
	CodeTooLarge:    http.StatusRequestEntityTooLarge,
	CodeMedia:       http.StatusUnsupportedMediaType,
	CodeMisdirected: http.StatusMisdirectedRequest,
	CodeTooMany:     http.StatusTooManyRequests,
	CodeUnavailable: http.StatusServiceUnavailable,
	CodeInternal:    http.StatusInternalServerError,
}

// typePrefix makes a URI of a code: one that only tells problems apart.
const typePrefix = "urn:inside:problem:"

// NewProblem makes a problem with the HTTP status that belongs to its code.
func NewProblem(code, detail, hint string) *Problem {
	status := statusOf[code]
	return &Problem{Type: typePrefix + code, Title: http.StatusText(status), Status: status, Detail: detail, Code: code, Hint: hint}
}

func (p *Problem) Error() string {
	if p.Detail == "" {
		return p.Title
	}
	return p.Detail
}

func (p *Problem) write(w http.ResponseWriter, r *http.Request) {
	told := *p
	if path := r.URL.EscapedPath(); len(path) <= longestInstance {
		told.Instance = path
	}
	w.Header().Set("Content-Type", mediaProblem)
	w.WriteHeader(p.Status)
	json.NewEncoder(w).Encode(told)
}

const (
	mediaProblem = "application/problem+json"

	longestInstance = 1000 // bytes of a path that is worth repeating
)
