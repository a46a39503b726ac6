package recording

import (
	"context"
	"fmt"
	"io"
	"iter"
	"time"
)

// Play writes the output of frames to w at the pace it was recorded, times
// speed; speed zero leaves pauses out. Pauses in the recording count as idle
// at most, unless that is zero. w should be a [NewFilter] before a terminal,
// and [Reset] should follow the end.
func Play(ctx context.Context, w io.Writer, frames iter.Seq2[Frame, error], speed float64, idle time.Duration) error {
	var last time.Duration
	for f, err := range frames {
		if err != nil {
			return err
		}
		if err := pause(ctx, f.Time-last, speed, idle); err != nil {
			return err
		}
		last = f.Time
		if f.Kind != 'o' {
			continue
		}
		if _, err := w.Write(f.Data); err != nil {
			return fmt.Errorf("playing: %w", err)
		}
	}
	return nil
}

// A pause so long that nobody waits for its end, and that fits a Duration
// however small speed is.
const maxPause = 365 * 24 * time.Hour

// pause waits as Play says.
func pause(ctx context.Context, d time.Duration, speed float64, idle time.Duration) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if idle > 0 {
		d = min(d, idle)
	}
	if d <= 0 || !(speed > 0) {
		return nil
	}
	t := time.NewTimer(time.Duration(min(float64(d)/speed, float64(maxPause))))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}
