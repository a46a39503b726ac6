package appliance

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/pawelmojski/inside/proxy/recording/desktop"
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

	videoName = "desktop.mp4"
)

// Renders makes the videos that are asked for, one at a time, by a program
// that has fewer rights than the gate.
type Renders struct {
	Gate    string
	Store   *store.Store
	Records *os.Root
	Program string // inside-render
	Now     func() time.Time
	Log     *slog.Logger
	Pause   time.Duration // after an attempt that failed: a full disk may have room by then

	wake chan struct{}
	last atomic.Int64 // how many waited when that was last known
}

// NewRenders makes what makes videos; Run has it work.
func NewRenders(gate string, s *store.Store, records *os.Root, program string, now func() time.Time, log *slog.Logger) *Renders {
	return &Renders{Gate: gate, Store: s, Records: records, Program: program, Now: now, Log: log, Pause: time.Minute, wake: make(chan struct{}, 1)}
}

// renderProgram is inside-render beside this program, or wherever the PATH
// has it.
func renderProgram() string {
	if self, err := os.Executable(); err == nil {
		beside := filepath.Join(filepath.Dir(self), "inside-render")
		if _, err := os.Stat(beside); err == nil {
			return beside
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
	if err := r.Store.RequeueRenders(ctx, r.Gate, r.Now(), false); err != nil && ctx.Err() == nil {
		r.Log.Error("videos that were being made stay as they are", "error", err)
	}
	for ctx.Err() == nil {
		render, err := r.Store.NextRender(ctx, r.Gate, r.Now())
		if err == nil {
			r.one(ctx, render)
			continue
		}
		if !errors.Is(err, store.ErrNotFound) && ctx.Err() == nil {
			r.Log.Error("the queue of videos cannot be read", "error", err)
		}
		select {
		case <-ctx.Done():
		case <-r.wake:
		case <-time.After(renderLook):
		}
	}
}

// one makes one video and says how it went.
func (r *Renders) one(ctx context.Context, v store.Render) {
	began := time.Now()
	what, err := r.make(ctx, v)
	told, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeDown)
	defer cancel()
	switch {
	case err == nil:
		err = r.Store.RenderMade(told, v.Session, what, r.Now())
		r.Log.Info("made a video", "session", v.Session, "took", time.Since(began).Round(time.Second), "detail", what)
	case ctx.Err() != nil: // the gate stops; the video is not to blame
		err = r.Store.RequeueRenders(told, r.Gate, r.Now(), true)
	default:
		r.Log.Warn("a video failed", "session", v.Session, "attempt", v.Attempts, "error", err)
		err = r.Store.RenderBroke(told, v.Session, err.Error(), r.Now())
		defer pause(ctx, r.Pause)
	}
	if err != nil {
		r.Log.Error("how a video went was not written down", "session", v.Session, "error", err)
		pause(ctx, r.Pause)
	}
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
	ctx, cancel := context.WithTimeoutCause(ctx, renderMost, fmt.Errorf("it took longer than %s", renderMost))
	defer cancel()
	c := exec.CommandContext(ctx, r.Program, "--output", filepath.Join(dir, videoName), filepath.Join(dir, desktop.Name))
	c.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"}
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	c.Cancel = func() error { return c.Process.Signal(syscall.SIGTERM) } // it then takes its unfinished file away
	c.WaitDelay = 10 * time.Second
	var complaint lastWordsOf
	c.Stderr = &complaint
	out, err := c.StdoutPipe()
	if err != nil {
		return "", err
	}
	if err := c.Start(); err != nil {
		if errors.Is(err, exec.ErrNotFound) || errors.Is(err, os.ErrNotExist) {
			return "", fmt.Errorf("there is no inside-render beside insided or on the PATH: %w", err)
		}
		return "", err
	}
	warnings := r.listen(ctx, v, out)
	if err := c.Wait(); err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return "", cause
		}
		return "", fmt.Errorf("%w: %s", err, strings.TrimSpace(string(complaint)))
	}
	return strings.Join(warnings, "; "), nil
}

// listen reads what the program says until it says no more.
func (r *Renders) listen(ctx context.Context, v store.Render, out io.Reader) (warnings []string) {
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
			if err := r.Store.RenderProgress(ctx, v.Session, l.Done/l.Total); err != nil && ctx.Err() == nil {
				r.Log.Warn("how far a video is was not written down", "session", v.Session, "error", err)
			}
		}
	}
	io.Copy(io.Discard, out) // also after a line that is too long
	return warnings
}

// lastWordsOf keeps the end of what a program complains about.
type lastWordsOf []byte

func (w *lastWordsOf) Write(p []byte) (int, error) {
	*w = append(*w, p...)
	if over := len(*w) - 1000; over > 0 {
		*w = (*w)[over:]
	}
	return len(p), nil
}
