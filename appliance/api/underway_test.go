package api

import (
	"context"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"
)

// A silence is a stream in which nothing happens until it is closed.
type silence struct{ ended chan struct{} }

func (s silence) Read([]byte) (int, error) { <-s.ended; return 0, io.EOF }
func (s silence) Close() error             { return nil }

func TestOneTokenHasOnlySoManyCallsUnderWay(t *testing.T) {
	greedy, other := NewTokenText(), NewTokenText()
	ended := make(chan struct{})
	h := &stub{body: silence{ended}}
	addr := open(t, h, keyring{greedy: Actor{"token:greedy", Admin}, other: Actor{"token:other", Admin}})
	end := sync.OnceFunc(func() { close(ended) })
	defer end()
	client := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: -1}}
	get := func(ctx context.Context, token, path string) *http.Response {
		r, err := http.NewRequestWithContext(ctx, "GET", "http://"+addr+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+token)
		resp, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		return resp
	}
	status := func(token string) int {
		resp := get(t.Context(), token, prefix+"/persons")
		resp.Body.Close()
		return resp.StatusCode
	}
	streams, hangUp := context.WithCancel(t.Context())
	defer hangUp()
	for range mostCallsEach {
		if resp := get(streams, greedy, prefix+"/sessions/a/events"); resp.StatusCode != 200 {
			t.Fatalf("a stream: %s", resp.Status)
		}
	}
	if got := status(greedy); got != 429 {
		t.Errorf("one call more than one token may have: %d", got)
	}
	if got := status(other); got != 200 {
		t.Errorf("another token: %d", got)
	}
	hangUp()
	end()
	for deadline := time.Now().Add(20 * time.Second); status(greedy) != 200; {
		if time.Now().After(deadline) {
			t.Fatal("calls that have ended are still counted")
		}
		time.Sleep(5 * time.Millisecond) // the server notices by itself
	}
}
