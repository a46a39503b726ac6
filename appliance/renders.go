package appliance

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"

	"github.com/pawelmojski/inside/policy"
	"github.com/pawelmojski/inside/store"
)

const (
	// renderMost is how long one video may take.
	renderMost = 12 * time.Hour

	// renderLook is how often the queue is looked at when nobody says that
	// something was put into it: another gate may have, through the database.
	renderLook = time.Minute

	// renderTell is how often the queue is told how far a video is.
	renderTell = 2 * time.Second

	videoName  = "desktop.mp4"
	videoStart = "desktop.part.mp4" // what inside-render calls it until it is whole
)

// Renders makes the videos that are asked for, one at a time, by a program
// that has fewer rights than the gate.
type Renders struct {
	Gate    string
	Store   *store.Store
	Records *os.Root
	Room    func() error // says why there is no room for a video, or nil
	Program string       // inside-render
	Socket  string       // where the service manager starts it instead; need not be there
	Now     func() time.Time
	Log     *slog.Logger
	Pause   time.Duration // after an attempt that failed: a full disk may have room by then

	wake chan struct{}
	last atomic.Int64 // how many waited when that was last known
}

// NewRenders makes what makes videos; Run has it work.
func NewRenders(gate string, s *store.Store, records *os.Root, room func() error, program string, now func() time.Time, log *slog.Logger) *Renders {
	return &Renders{Gate: gate, Store: s, Records: records, Room: room, Program: program, Socket: renderSocket, Now: now, Log: log, Pause: time.Minute, wake: make(chan struct{}, 1)}
}

// renderProgram is inside-render beside this program, or where the package has
// it, or wherever the PATH has it.
func renderProgram() string {
	if self, err := os.Executable(); err == nil {
		for _, folder := range []string{".", "../libexec/inside"} {
			program := filepath.Join(filepath.Dir(self), folder, "inside-render")
			if _, err := os.Stat(program); err == nil {
				return program
			}
		}
	}
	return "inside-render"
}

// waiting counts the videos that wait or are being made, for who looks at the
// numbers; a database that is slow is not waited for.
func (r *Renders) waiting() float64 {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if n, err := r.Store.RendersWaiting(ctx, r.Gate); err == nil {
		r.last.Store(int64(n))
	}
	return float64(r.last.Load())
}

// Wake says that something was put into the queue.
func (r *Renders) Wake() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Run works until ctx ends. What was being made then is made again from its
// beginning after the next start, as after a crash.
func (r *Renders) Run(ctx context.Context) {
	stray := true // the queue may say of a video that it is being made, and it is not
	for ctx.Err() == nil {
		if stray {
			err := r.requeue(ctx, false)
			if stray = err != nil; stray && ctx.Err() == nil {
				r.Log.Error("videos that were being made stay as they are", "error", err)
			}
		}
		took, err := r.next(ctx, &stray)
		if err != nil && ctx.Err() == nil {
			r.Log.Error("the queue of videos cannot be read", "error", err)
		}
		if took {
			continue
		}
		select {
		case <-ctx.Done():
		case <-r.wake:
		case <-time.After(renderLook):
		}
	}
}

// next makes the next video, or makes room for one; took says whether there
// may be more to do.
func (r *Renders) next(ctx context.Context, stray *bool) (took bool, err error) {
	if r.Room() != nil {
		took, err = r.makeRoom(ctx)
	} else if v, e := r.Store.NextRender(ctx, r.Gate, r.Now()); e == nil {
		*stray = !r.one(ctx, v)
		took = true
	} else {
		err = e
	}
	if errors.Is(err, store.ErrNotFound) {
		err = nil
	}
	return took, err
}

// makeRoom removes the video that was made first: it is a copy that can be
// made again, and where people cannot get in because the disk is full, copies
// go first.
func (r *Renders) makeRoom(ctx context.Context) (removed bool, err error) {
	v, err := r.Store.OldestRender(ctx, r.Gate)
	if err != nil {
		return false, err
	}
	se, err := r.Store.Session(ctx, string(v.Session))
	if err != nil {
		return false, err
	}
	if err := r.remove(se, videoName); err != nil {
		return false, err
	}
	r.Log.Warn("removed a video: the disk has no room", "session", v.Session)
	return true, r.Store.ForgetRender(ctx, v.Session)
}

// remove removes a file of a session that need not be there.
func (r *Renders) remove(se policy.Session, name string) error {
	if err := r.Records.Remove(filepath.Join(folder(se), name)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// requeue puts back what was being made, and takes away what there is of it.
func (r *Renders) requeue(ctx context.Context, unharmed bool) error {
	cut, err := r.Store.RequeueRenders(ctx, r.Gate, r.Now(), unharmed)
	for _, id := range cut {
		se, missing := r.Store.Session(ctx, id)
		if missing == nil {
			missing = r.remove(se, videoStart)
		}
		if missing != nil {
			r.Log.Warn("half a video may be left", "session", id, "error", missing)
		}
	}
	return err
}

// one makes one video and says how it went; false is that it could not say so.
func (r *Renders) one(ctx context.Context, v store.Render) (told bool) {
	began := time.Now()
	what, err := r.make(ctx, v)
	telling, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeDown)
	defer cancel()
	switch {
	case err == nil:
		err = r.Store.RenderMade(telling, v.Session, what, r.Now())
		r.Log.Info("made a video", "session", v.Session, "took", time.Since(began).Round(time.Second), "detail", what)
	case ctx.Err() != nil: // the gate stops; the video is not to blame
		err = r.requeue(telling, true)
	default:
		r.Log.Warn("a video failed", "session", v.Session, "attempt", v.Attempts, "error", err)
		err = r.Store.RenderBroke(telling, v.Session, err.Error(), r.Now())
		defer pause(ctx, r.Pause)
	}
	if err != nil {
		r.Log.Error("how a video went was not written down", "session", v.Session, "error", err)
		pause(ctx, r.Pause)
	}
	return err == nil
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// make runs the program and returns, in words, what the video does not show.
func (r *Renders) make(ctx context.Context, v store.Render) (what string, err error) {
	defer func() {
		if p := recover(); p != nil {
			r.Log.Error("making a video panicked", "session", v.Session, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			err = fmt.Errorf("the gate failed over it: %v", p)
		}
	}()
	se, err := r.Store.Session(ctx, string(v.Session))
	if err != nil {
		return "", err
	}
	dir := filepath.Join(r.Records.Name(), folder(se))
	ctx, stop := context.WithTimeoutCause(ctx, renderMost, fmt.Errorf("it took longer than %s", renderMost))
	defer stop()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	run, err := r.start(ctx, dir)
	if err != nil {
		return "", err
	}
	warnings := r.listen(ctx, v, run.out, cancel)
	if err := run.wait(); err != nil {
		// A program that was killed has left what it had.
		err = errors.Join(err, r.remove(se, videoStart))
		if cause := context.Cause(ctx); cause != nil {
			return "", cause
		}
		return "", err
	}
	return strings.Join(warnings, "; "), nil
}

// listen reads what the program says until it says no more, and stops it when
// it takes the last room on the disk.
func (r *Renders) listen(ctx context.Context, v store.Render, out io.Reader, stop context.CancelCauseFunc) (warnings []string) {
	var told time.Time
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		var l struct {
			Done, Total float64
			Warning     string
		}
		if json.Unmarshal(lines.Bytes(), &l) != nil {
			continue
		}
		if l.Warning != "" && len(warnings) < 20 {
			warnings = append(warnings, l.Warning)
		}
		if l.Total > 0 && time.Since(told) > renderTell {
			told = time.Now()
			if err := r.Room(); err != nil {
				stop(err)
			}
			if err := r.Store.RenderProgress(ctx, v.Session, l.Done/l.Total); err != nil && ctx.Err() == nil {
				r.Log.Warn("how far a video is was not written down", "session", v.Session, "error", err)
			}
		}
	}
	io.Copy(io.Discard, out) // also after a line that is too long
	return warnings
}
