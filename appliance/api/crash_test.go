package api

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
)

// A crashing house panics wherever it is asked.
type crashing struct{ stub }

func (*crashing) Persons(context.Context) ([]Person, error)             { panic("secret of the house") }
func (*crashing) RevokeGrant(context.Context, string) (Grant, error)    { panic("secret of the house") }
func (*crashing) Events(context.Context, string) (io.ReadCloser, error) { panic("secret of the house") }
func (*crashing) Recording(context.Context, string, int, Following) (io.ReadCloser, error) {
	return io.NopCloser(&crashesLate{}), nil
}

type crashesLate struct{ read bool }

func (c *crashesLate) Read(p []byte) (int, error) {
	if c.read {
		panic("secret of the house")
	}
	c.read = true
	return copy(p, "{\"version\":2}\n"), nil
}

func TestACrashEndsOneCallAndTellsNoSecrets(t *testing.T) {
	client := NewClient(serve(t, new(crashing)))
	_, inAsk := client.Persons(t.Context())
	_, inChange := client.RevokeGrant(t.Context(), "1")
	_, inStream := client.Events(t.Context(), "abcd")
	for name, err := range map[string]error{"a question": inAsk, "a change": inChange, "a stream before its first byte": inStream} {
		var p *Problem
		if !errors.As(err, &p) || p.Code != CodeInternal || p.Status != 500 || strings.Contains(p.Detail, "secret") || p.Instance == "" {
			t.Errorf("%s: %+v", name, err)
		}
	}
	body, err := client.Recording(t.Context(), "abcd", 0, Following{})
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	if text, err := io.ReadAll(body); err == nil {
		t.Errorf("a part was taken for the whole: %q", text)
	}
	if _, err := client.Status(t.Context()); err != nil {
		t.Errorf("afterwards: %v", err)
	}
	// In events, the reading is done by a goroutine of its own.
	r, err := client.do(t.Context(), "GET", prefix+"/sessions/abcd/recordings/0/live", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if text, err := io.ReadAll(r); err == nil || strings.Contains(string(text), eventEnd) {
		t.Errorf("%v: %q", err, text)
	}
}
