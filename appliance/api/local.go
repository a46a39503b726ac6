package api

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
)

// NewLocalClient asks a house in this process in the name of the actor in the
// context of each call, by the same routes and with the same permissions as
// whoever asks from outside. Streams end with closing.
func NewLocalClient(closing context.Context, h House) *Client {
	return newClient("", local{newHandler(closing, h, door{
		turnAway: func(*http.Request) *Problem { return nil },
		who:      func(r *http.Request) (Actor, *Problem) { return actor(r.Context()), nil },
	})})
}

type local struct{ handler http.Handler }

// RoundTrip implements http.RoundTripper.
func (l local) RoundTrip(r *http.Request) (*http.Response, error) {
	body, into := io.Pipe()
	a := &localAnswer{header: http.Header{}, body: into, begun: make(chan struct{})}
	if r.Body == nil {
		r.Body = http.NoBody
	}
	go l.serve(a, r)
	select {
	case <-a.begun:
		return &http.Response{StatusCode: a.status, Header: a.sent, Body: body, Request: r, ContentLength: -1}, nil
	case <-r.Context().Done():
		body.Close()
		return nil, r.Context().Err()
	}
}

func (l local) serve(a *localAnswer, r *http.Request) {
	defer r.Body.Close()
	defer func() {
		caught := recover()
		if caught == nil {
			return
		}
		if caught != http.ErrAbortHandler {
			slog.Error("api call crashed", "path", r.URL.Path, "panic", caught)
		}
		a.WriteHeader(http.StatusInternalServerError)
		a.body.CloseWithError(fmt.Errorf("the answer to %s %s broke off", r.Method, r.URL.Path))
	}()
	l.handler.ServeHTTP(a, r)
	a.WriteHeader(http.StatusOK)
	a.body.Close()
}

// A localAnswer is read while it is written.
type localAnswer struct {
	header http.Header
	body   *io.PipeWriter
	once   sync.Once
	begun  chan struct{}
	status int
	sent   http.Header
}

func (a *localAnswer) Header() http.Header { return a.header }

func (a *localAnswer) WriteHeader(status int) {
	a.once.Do(func() {
		a.status, a.sent = status, a.header.Clone()
		close(a.begun)
	})
}

func (a *localAnswer) Write(p []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.body.Write(p)
}

func (a *localAnswer) FlushError() error {
	a.WriteHeader(http.StatusOK)
	return nil
}
