package rdpentry

import (
	"testing"
	"time"
)

func TestWorkWithoutEndGetsHalfAProcessor(t *testing.T) {
	for name, c := range map[string]struct {
		piece, every time.Duration // how long a piece takes, how long the server waits before the next
		least, most  float64       // of a processor
	}{
		"pictures all the time":        {20 * time.Millisecond, 0, 0.49, 0.53},
		"small pictures all the time":  {time.Millisecond, 0, 0.49, 0.53},
		"large pictures all the time":  {time.Second, 0, 0.45, 0.55},
		"a film":                       {10 * time.Millisecond, 30 * time.Millisecond, 0.249, 0.251},
		"a large picture now and then": {150 * time.Millisecond, time.Second, 0.13, 0.14},
	} {
		var w work
		now := time.Unix(0, 0)
		w.owed(now)
		worked := time.Duration(0)
		for now.Before(time.Unix(60, 0)) {
			now = now.Add(c.piece)
			worked += c.piece
			w.done(c.piece)
			now = now.Add(max(w.owed(now), 0)).Add(c.every)
		}
		if part := worked.Seconds() / 60; part < c.least || part > c.most {
			t.Errorf("%s: %.3f of a processor", name, part)
		}
	}
}
