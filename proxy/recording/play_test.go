package recording

import (
	"context"
	"errors"
	"io"
	"iter"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func frameSeq(all ...Frame) iter.Seq2[Frame, error] {
	return func(yield func(Frame, error) bool) {
		for _, f := range all {
			if !yield(f, nil) {
				return
			}
		}
	}
}

func TestPlayKeepsThePaceOfTheRecording(t *testing.T) {
	frames := frameSeq(
		Frame{Time: time.Second, Kind: 'o', Data: []byte("a")},
		Frame{Time: 2 * time.Second, Kind: 'r', Data: []byte("80x24")},
		Frame{Time: 3 * time.Second, Kind: 'o', Data: []byte("b")},
		Frame{Time: time.Second, Kind: 'o', Data: []byte("c")}, // no clock runs backwards, a file may
		Frame{Time: time.Hour, Kind: 'o', Data: []byte("d")},
	)
	for name, c := range map[string]struct {
		speed float64
		idle  time.Duration
		want  time.Duration
	}{
		"as it was":                    {1, 0, time.Hour + 2*time.Second},
		"twice as fast":                {2, 0, time.Hour/2 + time.Second},
		"pauses of two seconds":        {1, 2 * time.Second, 5 * time.Second},
		"pauses count before speed":    {0.5, 2 * time.Second, 10 * time.Second},
		"no pauses":                    {0, 0, 0},
		"a speed that is no number":    {nan(), 0, 0},
		"a speed that no pause can be": {1e-300, 0, 4 * maxPause},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				var b strings.Builder
				must(t, Play(t.Context(), &b, frames, c.speed, c.idle))
				if b.String() != "abcd" || time.Since(start) != c.want {
					t.Errorf("%q in %v, want %v", b.String(), time.Since(start), c.want)
				}
			})
		})
	}
}

func nan() float64 { zero := 0.0; return zero / zero }

func TestPlayEndsWithItsContextItsWriterAndItsFrames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stop := errors.New("stop")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Minute, func() { cancel(stop) })
		late := frameSeq(Frame{Time: time.Hour, Kind: 'o'})
		start := time.Now()
		if err := Play(ctx, io.Discard, late, 1, 0); err != stop || time.Since(start) != time.Minute {
			t.Error(err, time.Since(start))
		}
		if err := Play(ctx, io.Discard, late, 0, 0); err != stop {
			t.Error(err)
		}
	})
	broken := errors.New("broken")
	w := writerFunc(func([]byte) (int, error) { return 0, broken })
	if err := Play(t.Context(), w, frameSeq(Frame{Kind: 'o'}), 0, 0); !errors.Is(err, broken) {
		t.Error(err)
	}
	bad := func(yield func(Frame, error) bool) { yield(Frame{}, ErrTorn) }
	if err := Play(t.Context(), io.Discard, bad, 0, 0); !errors.Is(err, ErrTorn) {
		t.Error(err)
	}
}
