package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"io"
	"os"
	"slices"
	"time"

	"github.com/pawelmojski/inside/proxy/rdpentry/gfx"
	"github.com/pawelmojski/inside/proxy/rdpentry/screen"
	"github.com/pawelmojski/inside/proxy/recording/desktop"
)

// repeatAfter is how long a frame stands at most: a player that seeks into an
// idle hour finds one near.
const repeatAfter = 10 * time.Second

// A renderer draws the events of a recording and hands frames to the encoder
// when something changed.
type renderer struct {
	fps     int
	pointer bool
	tell    *teller
	encoder string

	outline outline
	screen  *screen.Screen
	frame   screen.Picture // the screen, with pointer and notice
	canvas  *canvas
	out     *encoding

	begun   bool          // there was a frame
	last    time.Duration // the last frame's time
	changed time.Duration // since when the picture is newer than it; -1: it is not
	now     time.Duration // the time of the event that is drawn
	films   films
}

// render makes the video of a recording.
func (r *renderer) render(ctx context.Context, in *os.File, output string) (err error) {
	if r.outline, err = survey(in); err != nil {
		return err
	}
	if r.screen, err = screen.New(r.outline.header.Width, r.outline.header.Height); err != nil {
		return err
	}
	r.canvas = newCanvas(r.outline.width, r.outline.height)
	r.changed = 0
	if _, err := in.Seek(0, io.SeekStart); err != nil {
		return err
	}
	_, events, err := desktop.Read(in)
	if err != nil {
		return err
	}
	if r.out, err = encode(ctx, r.encoder, output, r.canvas.w, r.canvas.h, r.gap()); err != nil {
		return err
	}
	r.films = films{ctx: ctx, ffmpeg: r.encoder, in: in}
	defer r.films.close()
	missing := errors.New("it was not finished")
	for e, failed := range events {
		if unreadable(failed) {
			missing = failed
			break
		}
		if e.Kind == desktop.End {
			missing = nil
		}
		if err = failed; err == nil {
			err = r.event(e)
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return r.out.finish(err)
		}
	}
	if missing != nil {
		r.warn(r.outline.length, fmt.Sprintf("the recording ends here: %v", missing))
	}
	if err := r.finish(); err != nil {
		return r.out.finish(err)
	}
	if err := r.out.finish(nil); err != nil {
		return err
	}
	r.tell.finished(r.outline.length)
	return nil
}

// gap is the least time between two frames.
func (r *renderer) gap() time.Duration { return time.Second / time.Duration(r.fps) }

// due is when what has changed is to be shown.
func (r *renderer) due() time.Duration {
	if !r.begun {
		return r.changed
	}
	return max(r.changed, r.last+r.gap())
}

// event shows what was due before the event, and draws it.
func (r *renderer) event(e desktop.Event) error {
	if r.changed >= 0 && e.Time > r.due() {
		if err := r.show(r.due()); err != nil {
			return err
		}
	}
	r.now = e.Time
	switch {
	case e.Kind == desktop.Graphics && !r.screen.Pipelined():
		r.screen.Surfaces().Video = r.films.picture
		r.screen.Surfaces().Hidden = func(n gfx.NotShown) { r.warn(r.now, n.Error()) }
	case e.Kind == desktop.Surfaces, e.Kind == desktop.Keyframe && (r.screen.Pipelined() || r.same(e.Data)):
		return nil // of what the gate saw, which decodes no video
	}
	if err := e.Apply(r.screen); err != nil {
		if e.Kind == desktop.Graphics {
			r.screen.Surfaces().Video = nil // pictures could be taken for others
		}
		r.warn(e.Time, fmt.Sprintf("something could not be drawn: %v", err))
	}
	if r.changed < 0 && r.screen.Dirty() {
		r.changed = e.Time
	}
	return nil
}

// same says whether a keyframe holds what the screen shows: it always should,
// and then the video does not need it.
func (r *renderer) same(state []byte) bool { return slices.Equal(r.screen.AppendState(nil), state) }

// warn says in the video and on standard output what is not as it was.
func (r *renderer) warn(at time.Duration, what string) {
	if r.tell.warning(at, what) {
		r.screen.SetNotice("inside-render: " + what)
	}
}

// show hands the picture to the encoder as the frame at a time.
func (r *renderer) show(at time.Duration) error {
	if err := r.repeat(at); err != nil {
		return err
	}
	b := r.screen.Bounds()
	rects := r.screen.Changed()
	if b.Dx() != r.frame.W || b.Dy() != r.frame.H {
		r.frame = screen.NewPicture(b.Dx(), b.Dy())
		r.canvas.clear()
		rects = []image.Rectangle{b}
	}
	r.screen.Frame(r.frame, r.pointer)
	for _, c := range rects {
		r.canvas.draw(r.frame, c)
	}
	r.changed = -1
	return r.emit(at)
}

// repeat fills the time before a frame where it is long.
func (r *renderer) repeat(until time.Duration) error {
	for r.begun && until-r.last > repeatAfter {
		if err := r.emit(r.last + repeatAfter); err != nil {
			return err
		}
	}
	return nil
}

func (r *renderer) emit(at time.Duration) error {
	r.begun, r.last = true, at
	r.tell.frame(at, r.outline.length)
	return r.out.frame(at, r.canvas.data)
}

// finish shows what is left, until the end of the session; the last frame
// stands as long as a gap.
func (r *renderer) finish() error {
	end := r.outline.length - r.gap()
	if r.changed >= 0 {
		if err := r.show(r.due()); err != nil {
			return err
		}
	}
	if err := r.repeat(end); err != nil {
		return err
	}
	if end > r.last {
		return r.emit(end)
	}
	return nil
}

// A teller writes lines of JSON about the work.
type teller struct {
	out    *json.Encoder
	next   time.Time
	frames int
	warned map[string]bool
}

// A line is one line on standard output.
type line struct {
	Done     float64 `json:"done"`  // seconds of the recording
	Total    float64 `json:"total"` // all of them
	Frames   int     `json:"frames,omitempty"`
	Warning  string  `json:"warning,omitempty"`
	Finished bool    `json:"finished,omitempty"`
}

func newTeller(w io.Writer) *teller {
	return &teller{out: json.NewEncoder(w), warned: map[string]bool{}}
}

// frame counts a frame and tells how far the work is, twice a second.
func (t *teller) frame(done, total time.Duration) {
	t.frames++
	if now := time.Now(); now.After(t.next) {
		t.next = now.Add(time.Second / 2)
		t.out.Encode(line{Done: done.Seconds(), Total: total.Seconds(), Frames: t.frames})
	}
}

// mostWarnings is how many are told apart.
const mostWarnings = 20

// warning tells one thing once.
func (t *teller) warning(at time.Duration, what string) bool {
	if t.warned[what] || len(t.warned) >= mostWarnings {
		return false
	}
	t.warned[what] = true
	t.out.Encode(line{Done: at.Seconds(), Warning: fmt.Sprintf("at %s: %s", at.Truncate(time.Second), what)})
	return true
}

func (t *teller) finished(total time.Duration) {
	t.out.Encode(line{Done: total.Seconds(), Total: total.Seconds(), Frames: t.frames, Finished: true})
}
