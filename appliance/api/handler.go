package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"reflect"
	"runtime/debug"
	"strings"
	"sync"
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

// NewHandler serves a house to who is in the context of a request. Streams end
// with closing; other calls are let finish.
func NewHandler(closing context.Context, h House) http.Handler {
	return newHandler(closing, h, socketDoor)
}

func newHandler(closing context.Context, h House, d door) http.Handler {
	mux := http.NewServeMux()
	for _, rt := range routes {
		mux.Handle(rt.method+" "+prefix+rt.path, rt.handler(closing, h, d))
	}
	for _, rt := range vitalRoutes {
		mux.Handle(rt.method+" "+rt.path, rt.handler(closing, h, d))
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if d.pages != nil && isPage(r.URL.Path) {
			d.pages.ServeHTTP(w, r)
			return
		}
		nothingHere(mux, w, r)
	})
	return counted(h, d.guard(mux))
}

// nothingHere answers what no route does.
func nothingHere(mux *http.ServeMux, w http.ResponseWriter, r *http.Request) {
	var methods []string
	for _, method := range []string{"GET", "POST", "PATCH", "PUT", "DELETE"} {
		asked := &http.Request{Method: method, URL: r.URL, Host: r.Host}
		if _, pattern := mux.Handler(asked); pattern != "/" {
			methods = append(methods, method)
		}
	}
	if methods != nil {
		notAllowed(w, r, methods...)
		return
	}
	NewProblem(CodeNotFound, fmt.Sprintf("no route %s %s", r.Method, r.URL.Path), "GET "+prefix+"/openapi.yaml lists them").write(w, r)
}

func notAllowed(w http.ResponseWriter, r *http.Request, methods ...string) {
	w.Header().Set("Allow", strings.Join(methods, ", "))
	NewProblem(CodeMethod, fmt.Sprintf("%s is not answered at %s", r.Method, r.URL.Path), "use "+strings.Join(methods, " or ")).write(w, r)
}

func (rt route) handler(closing context.Context, h House, d door) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer crashed(w, r)
		rt := rt
		if rt.kind == question && wantsCSV(r) {
			rt.kind = live // all of a list, however long that takes
		}
		a, p := d.admit(r, rt.need)
		if p != nil {
			d.refuse(p, w, r)
			return
		}
		end, p := d.calls.begin(a)
		if p != nil {
			d.refuse(p, w, r)
			return
		}
		defer end()
		if r.Method == http.MethodHead && rt.kind == live {
			notAllowed(w, r, http.MethodGet) // it would go on for as long as the stream, and say nothing
			return
		}
		ctx, cancel := rt.context(closing, WithActor(r.Context(), a))
		defer cancel(nil)
		if rt.kind == live {
			var watching sync.WaitGroup
			defer watching.Wait()
			defer cancel(nil)
			watching.Go(func() { d.watch(ctx, cancel, r, rt.need) })
		}
		if err := rt.serve(h, w, r.WithContext(ctx)); err != nil {
			answerError(w, r, err)
		}
	})
}

// crashed answers for a call that panicked. Where the answer has begun, the
// connection is cut: a part must not be taken for the whole.
func crashed(w http.ResponseWriter, r *http.Request) {
	caught := recover()
	if caught == nil {
		return
	}
	if caught == http.ErrAbortHandler {
		panic(caught)
	}
	slog.ErrorContext(r.Context(), "api call crashed", "method", r.Method, "path", r.URL.Path, "panic", caught, "stack", string(debug.Stack()))
	if w.Header().Get("Content-Type") != "" {
		panic(http.ErrAbortHandler)
	}
	NewProblem(CodeInternal, "the call crashed; the log of the gate says where", "journalctl -u inside").write(w, r)
}

// context bounds a call. A change that has begun is carried to its end even
// if the caller hangs up: half of it would be a fact that nobody acted on.
func (rt route) context(closing, asked context.Context) (context.Context, context.CancelCauseFunc) {
	switch rt.kind {
	case change:
		asked = context.WithoutCancel(asked)
	case live:
		ctx, cancel := context.WithCancelCause(asked)
		stop := context.AfterFunc(closing, func() { cancel(errClosing) })
		return ctx, func(cause error) { stop(); cancel(cause) }
	}
	ctx, cancel := context.WithTimeout(asked, patience)
	return ctx, func(error) { cancel() }
}

// errClosing is why streams end when the daemon does.
var errClosing = errors.New("the daemon stops")

func answerError(w http.ResponseWriter, r *http.Request, err error) {
	p := asProblem(err)
	if p.Code == CodeInternal {
		slog.ErrorContext(r.Context(), "api call failed", "method", r.Method, "path", r.URL.Path, "error", err)
	}
	p.write(w, r)
}

func asProblem(err error) *Problem {
	var p *Problem
	switch {
	case errors.As(err, &p):
		return p
	case errors.Is(err, context.DeadlineExceeded):
		return NewProblem(CodeUnavailable, fmt.Sprintf("no answer within %s: %v", patience, err), "inside status")
	}
	return NewProblem(CodeInternal, err.Error(), "inside status")
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
		copyLive(r.Context(), w, body)
		return nil
	}}
}

// copyLive sends each piece as it comes. A reader that no longer takes bytes,
// or a source that breaks, ends the connection: the client must not mistake a
// part for the whole.
func copyLive(ctx context.Context, w http.ResponseWriter, body io.Reader) {
	rc := http.NewResponseController(w)
	defer context.AfterFunc(ctx, func() { rc.SetWriteDeadline(time.Now()) })() // a write that waits ends too
	rc.SetReadDeadline(time.Time{})                                            // the server's own would end the context of a long stream
	rc.Flush()
	piece := make([]byte, 64<<10)
	for {
		n, err := body.Read(piece)
		// Also at the end: what the server says then must not meet a deadline
		// that passed while there was nothing to say.
		rc.SetWriteDeadline(time.Now().Add(patience))
		if ctx.Err() != nil {
			panic(http.ErrAbortHandler)
		}
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
	var over *http.MaxBytesError
	if errors.As(err, &over) {
		return NewProblem(CodeTooLarge, fmt.Sprintf("the request body is too large: at most %d bytes are read", over.Limit), "")
	}
	if err != nil {
		return NewProblem(CodeBadRequest, fmt.Sprintf("request body: %v", err), "")
	}
	defer clear(body) // there may be a secret in it
	if _, takesNone := in.(*none); takesNone && len(body) == 0 {
		return nil
	}
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); len(body) > 0 && (err != nil || kind != mediaJSON) {
		return NewProblem(CodeMedia, fmt.Sprintf("the request body is of type %.80q", r.Header.Get("Content-Type")), "send JSON, with Content-Type: "+mediaJSON)
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
