package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"reflect"
	"time"
)

const (
	prefix = "/api/v1"

	mediaJSON = "application/json"

	// maxBody bounds a request's body: the longest is a private host key.
	maxBody = 1 << 20

	// patience bounds a call: a database that is away is an answer too.
	patience = 30 * time.Second
)

// A route is one line of the table in routes.go.
type route struct {
	method, path string
	need         permission
	call
}

// A call is how a route is answered, and the types it takes and gives.
type call struct {
	kind  kind
	in    reflect.Type // of the query, or of the body of a change
	out   reflect.Type // nil for a stream
	media string       // of the answer
	serve func(h House, w http.ResponseWriter, r *http.Request) error
}

// A kind of call has its own bounds: see route.context.
type kind int

const (
	question kind = iota + 1 // answered at once
	change                   // carried to its end
	live                     // goes on for as long as somebody reads
)

// NewHandler serves a house. Streams end with closing; other calls are let
// finish.
func NewHandler(closing context.Context, h House) http.Handler {
	mux := http.NewServeMux()
	for _, rt := range routes {
		mux.Handle(rt.method+" "+prefix+rt.path, rt.handler(closing, h))
	}
	for _, rt := range vitalRoutes {
		mux.Handle(rt.method+" "+rt.path, rt.handler(closing, h))
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		NewProblem(CodeNotFound, fmt.Sprintf("no route %s %s", r.Method, r.URL.Path), "").write(w)
	})
	return counted(h, guard(mux))
}

// guard lets no web page in. The browser of an admin could be made to send
// requests here through any proxy that speaks to unix sockets: it would name
// its page in Origin or Referer, or, rebinding DNS, a foreign host (as in
// CVE-2022-41924).
func guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		switch {
		case r.Host != "inside" && r.Host != "localhost":
			NewProblem(CodeForbidden, fmt.Sprintf("this is not %q", r.Host), "the host of a request on this socket is inside").write(w)
		case r.Header.Get("Origin") != "" || r.Header.Get("Referer") != "" || r.Header.Get("Sec-Fetch-Site") != "":
			NewProblem(CodeForbidden, "requests made by web pages are refused", "").write(w)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

func (rt route) handler(closing context.Context, h House) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if a := actor(r.Context()); !a.may(rt.need) {
			a.refused(rt.need).write(w)
			return
		}
		ctx, cancel := rt.context(closing, r.Context())
		defer cancel()
		if err := rt.serve(h, w, r.WithContext(ctx)); err != nil {
			answerError(w, r, err)
		}
	})
}

// context bounds a call. A change that has begun is carried to its end even
// if the caller hangs up: half of it would be a fact that nobody acted on.
func (rt route) context(closing, asked context.Context) (context.Context, context.CancelFunc) {
	switch rt.kind {
	case change:
		return context.WithTimeout(context.WithoutCancel(asked), patience)
	case live:
		ctx, cancel := context.WithCancel(asked)
		stop := context.AfterFunc(closing, cancel)
		return ctx, func() { stop(); cancel() }
	}
	return context.WithTimeout(asked, patience)
}

func answerError(w http.ResponseWriter, r *http.Request, err error) {
	var p *Problem
	switch {
	case errors.As(err, &p):
	case errors.Is(err, context.DeadlineExceeded):
		p = NewProblem(CodeUnavailable, fmt.Sprintf("no answer within %s: %v", patience, err), "inside status")
	default:
		slog.ErrorContext(r.Context(), "api call failed", "method", r.Method, "path", r.URL.Path, "error", err)
		p = NewProblem(CodeInternal, err.Error(), "inside status")
	}
	p.write(w)
}

// none is the input of a call that takes none.
type none struct{}

// ask adapts a question: its input comes from the query. Lists are answered
// as CSV where that is asked for.
func ask[In, Out any](f func(h House, r *http.Request, in In) (Out, error)) call {
	return call{question, reflect.TypeFor[In](), reflect.TypeFor[Out](), mediaJSON, func(h House, w http.ResponseWriter, r *http.Request) error {
		var in In
		query, asCSV, err := formOf[Out](r)
		if err != nil {
			return err
		}
		if err := decodeQuery(query, &in); err != nil {
			return NewProblem(CodeBadRequest, err.Error(), "")
		}
		out, err := f(h, r, in)
		if err != nil {
			return err
		}
		if asCSV {
			return newCSVAnswer(w).Write(out)
		}
		return answer(w, out)
	}}
}

// tell adapts a change: its input comes from the body.
func tell[In, Out any](f func(h House, r *http.Request, in In) (Out, error)) call {
	return call{change, reflect.TypeFor[In](), reflect.TypeFor[Out](), mediaJSON, func(h House, w http.ResponseWriter, r *http.Request) error {
		var in In
		if err := decodeBody(w, r, &in); err != nil {
			return err
		}
		out, err := f(h, r, in)
		if err != nil {
			return err
		}
		return answer(w, out)
	}}
}

// stream adapts an answer that is read bit by bit, perhaps for hours.
func stream[In any](contentType string, f func(h House, r *http.Request, in In) (io.ReadCloser, error)) call {
	return call{live, reflect.TypeFor[In](), nil, contentType, func(h House, w http.ResponseWriter, r *http.Request) error {
		var in In
		if err := decodeQuery(r.URL.Query(), &in); err != nil {
			return NewProblem(CodeBadRequest, err.Error(), "")
		}
		body, err := f(h, r, in)
		if err != nil {
			return err
		}
		defer body.Close()
		w.Header().Set("Content-Type", contentType)
		copyLive(w, body)
		return nil
	}}
}

// copyLive sends each piece as it comes. A reader that no longer takes bytes,
// or a source that breaks, ends the connection: the client must not mistake a
// part for the whole.
func copyLive(w http.ResponseWriter, body io.Reader) {
	rc := http.NewResponseController(w)
	rc.SetReadDeadline(time.Time{}) // the server's own would end the context of a long stream
	rc.Flush()
	piece := make([]byte, 64<<10)
	for {
		n, err := body.Read(piece)
		// Also at the end: what the server says then must not meet a deadline
		// that passed while there was nothing to say.
		rc.SetWriteDeadline(time.Now().Add(patience))
		if n > 0 {
			if _, err := w.Write(piece[:n]); err != nil {
				panic(http.ErrAbortHandler)
			}
			rc.Flush()
		}
		if err == io.EOF {
			return
		}
		if err != nil {
			panic(http.ErrAbortHandler)
		}
	}
}

// decodeBody reads one JSON value and nothing else.
func decodeBody(w http.ResponseWriter, r *http.Request, in any) error {
	if len(r.URL.Query()) > 0 {
		return NewProblem(CodeBadRequest, "a change takes no query parameters", "")
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return NewProblem(CodeBadRequest, fmt.Sprintf("request body: %v", err), "")
	}
	if _, takesNone := in.(*none); takesNone && len(body) == 0 {
		return nil
	}
	if err := unmarshalStrict(body, in); err != nil {
		return NewProblem(CodeBadRequest, fmt.Sprintf("request body: %v", err), "")
	}
	return nil
}

func answer(w http.ResponseWriter, out any) error {
	body, err := json.Marshal(out)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", mediaJSON)
	w.Write(append(body, '\n'))
	return nil
}
