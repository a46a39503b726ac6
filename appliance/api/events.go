package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Server-sent events, as HTML's chapter of that name has them: lines of
// "field: value", an empty line after each event. Data is JSON, which has no
// line ends in it.

const (
	mediaEvents = "text/event-stream"

	// heartbeat is the longest silence of a stream: a proxy in between would
	// cut one that seems dead, and a reader that is gone is noticed.
	heartbeat = 15 * time.Second

	// comeBack is how soon a browser asks again when a stream breaks off.
	comeBack = 2 * time.Second

	longestLine = 1 << 20 // of a recording or of an event
)

// The event a stream ends with. Its data is a Problem, or the RecordingEnd of
// a recording that is over.
const eventEnd = "end"

// RecordingEnd is what the last event of a recording says: whether its session
// goes on, and if not why it ended.
type RecordingEnd struct {
	Session  string `json:"session"`
	Live     bool   `json:"live"`
	Cause    string `json:"cause,omitempty"`
	Sentence string `json:"sentence,omitempty"`
}

// An eventStream is the answer of a live call, in events.
type eventStream struct {
	ctx context.Context
	w   http.ResponseWriter
	rc  *http.ResponseController

	interrupt   func() bool   // calls the interruption of writes off
	interrupted chan struct{} // closed when it has come
}

func newEventStream(ctx context.Context, w http.ResponseWriter) *eventStream {
	s := &eventStream{ctx: ctx, w: w, rc: http.NewResponseController(w), interrupted: make(chan struct{})}
	s.rc.SetReadDeadline(time.Time{}) // the server's own would end the context of a long stream
	s.interrupt = context.AfterFunc(ctx, func() {
		s.rc.SetWriteDeadline(time.Now())
		close(s.interrupted)
	})
	w.Header().Set("Content-Type", mediaEvents)
	w.Header().Set("X-Accel-Buffering", "no") // nginx would keep events back otherwise
	s.write(fmt.Sprintf("retry: %d\n\n", comeBack.Milliseconds()))
	return s
}

// write sends a whole number of events. A reader that does not take it in time
// ends the connection; it comes back to where it was.
func (s *eventStream) write(text string) {
	s.rc.SetWriteDeadline(time.Now().Add(patience))
	if s.ctx.Err() != nil {
		s.rc.SetWriteDeadline(time.Now().Add(time.Second)) // for the last words
	}
	if _, err := io.WriteString(s.w, text); err != nil {
		panic(http.ErrAbortHandler)
	}
	s.rc.Flush()
}

func (s *eventStream) event(id, kind string, data []byte) {
	var b strings.Builder
	if id != "" {
		fmt.Fprintf(&b, "id: %s\n", id)
	}
	fmt.Fprintf(&b, "event: %s\ndata: %s\n\n", kind, data)
	s.write(b.String())
}

// beat says that the stream lives, and where it is.
func (s *eventStream) beat(id string) {
	text := ": still here\n\n"
	if id != "" {
		text = "id: " + id + "\n" + text
	}
	s.write(text)
}

// close ends the stream. Where it was ended before its time, the reader is
// told why.
func (s *eventStream) close() {
	if !s.interrupt() {
		<-s.interrupted // or its deadline would meet the last words
	}
	cause := context.Cause(s.ctx) // also where the interruption was called off: it comes a little after the end
	var p *Problem
	switch {
	case cause == nil:
		return // nobody ended it
	case errors.As(cause, &p):
	case errors.Is(cause, errClosing):
		p = NewProblem(CodeUnavailable, errClosing.Error(), "")
	default:
		return // the reader has left
	}
	s.final(p)
}

func (s *eventStream) final(data any) {
	text, err := json.Marshal(data)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	s.event("", eventEnd, text)
}

var eventRoutes = []route{
	{"GET", "/events", toLook, events(serveNews)},
	{"GET", "/sessions/{id}/recordings/{channel}/live", toWatch, events(serveRecording)},
}

// events adapts an answer in server-sent events.
func events[In any](f func(h House, w http.ResponseWriter, r *http.Request, in In) error) call {
	return call{live, reflect.TypeFor[In](), nil, mediaEvents, func(h House, w http.ResponseWriter, r *http.Request) error {
		var in In
		if err := decodeQuery(r.URL.Query(), &in); err != nil {
			return NewProblem(CodeBadRequest, err.Error(), "")
		}
		return f(h, w, r, in)
	}}
}

func serveNews(h House, w http.ResponseWriter, r *http.Request, f NewsFilter) error {
	if seen := r.Header.Get("Last-Event-ID"); seen != "" {
		f.After = seen
	}
	news, err := h.News(r.Context(), f)
	if err != nil {
		return err
	}
	s := newEventStream(r.Context(), w)
	defer s.close()
	for n, err := range news {
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		if n.Kind == NewsPulse {
			s.beat(n.ID)
			continue
		}
		text, err := json.Marshal(n)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		s.event(n.ID, n.Kind, text)
	}
	return nil
}

// serveRecording sends each line of an asciicast as an event, with its number
// as the id.
func serveRecording(h House, w http.ResponseWriter, r *http.Request, _ none) error {
	channel, err := channelOf(r)
	if err != nil {
		return err
	}
	seen := 0
	if id := r.Header.Get("Last-Event-ID"); id != "" {
		if seen, err = strconv.Atoi(id); err != nil || seen < 0 {
			return NewProblem(CodeBadRequest, fmt.Sprintf("Last-Event-ID %.40q is not the number of a line", id), "")
		}
	}
	body, err := h.Recording(r.Context(), r.PathValue("id"), channel, Following{true})
	if err != nil {
		return err
	}
	s := newEventStream(r.Context(), w)
	defer s.close()
	ended := s.lines(body, seen)
	if r.Context().Err() != nil {
		return nil
	}
	if ended != io.EOF {
		panic(http.ErrAbortHandler) // a part must not be taken for the whole
	}
	end := RecordingEnd{Session: r.PathValue("id")}
	if se, err := h.Session(r.Context(), end.Session); err == nil {
		end = RecordingEnd{se.ID, se.Live, se.Cause, se.Sentence}
	}
	s.final(end)
	return nil
}

// lines sends the lines of a recording after those that were seen, and returns
// why there are no more.
func (s *eventStream) lines(body io.ReadCloser, seen int) error {
	ctx, cancel := context.WithCancel(s.ctx)
	lines := make(chan []byte)
	var ended error
	var reading sync.WaitGroup
	reading.Go(func() {
		defer close(lines)
		ended = readLines(ctx, body, lines)
	})
	defer reading.Wait()
	defer body.Close()
	defer cancel()
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for n := 1; ; {
		select {
		case line, more := <-lines:
			if !more {
				return ended
			}
			if n > seen {
				s.event(strconv.Itoa(n), kindOfLine(n), line)
			}
			n++
		case <-beat.C:
			s.beat("")
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func kindOfLine(n int) string {
	if n == 1 {
		return "header"
	}
	return "frame"
}

// readLines sends each whole line of a stream, and says why there are no more.
func readLines(ctx context.Context, body io.Reader, lines chan<- []byte) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("recording: %v", r)
		}
	}()
	scan := bufio.NewScanner(body)
	scan.Buffer(nil, longestLine)
	for scan.Scan() {
		select {
		case lines <- bytes.Clone(scan.Bytes()):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if err := scan.Err(); err != nil {
		return err
	}
	return io.EOF
}

// News implements House: what the gate tells, until ctx ends or the gate does.
func (c *Client) News(ctx context.Context, f NewsFilter) (iter.Seq2[News, error], error) {
	body, err := c.do(ctx, "GET", withQuery(path("events"), f), nil)
	if err != nil {
		return nil, err
	}
	return func(yield func(News, error) bool) {
		defer body.Close()
		for kind, data := range readEvents(body, &err) {
			var n News
			if kind == eventEnd {
				p := new(Problem)
				if err = json.Unmarshal(data, p); err == nil {
					err = p
				}
				break
			}
			if err = json.Unmarshal(data, &n); err != nil || !yield(n, nil) {
				break
			}
		}
		if err == nil {
			return // by the reader's will
		}
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		yield(News{}, err)
	}, nil
}

// readEvents reads server-sent events. ended says why there are no more; it is
// nil as long as there are.
func readEvents(body io.Reader, ended *error) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		scan := bufio.NewScanner(body)
		scan.Buffer(nil, longestLine)
		kind, data := "", []byte(nil)
		for scan.Scan() {
			field, value, _ := strings.Cut(scan.Text(), ":")
			value = strings.TrimPrefix(value, " ")
			switch field {
			case "event":
				kind = value
			case "data":
				data = []byte(value)
			case "":
				if scan.Text() == "" && data != nil {
					if !yield(kind, data) {
						return
					}
					kind, data = "", nil
				}
			}
		}
		if *ended = scan.Err(); *ended == nil {
			*ended = errors.New("the gate ended the stream without a word")
		}
	}
}
