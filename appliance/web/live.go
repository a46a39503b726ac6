package web

import (
	"context"
	"fmt"
	"hash/maphash"
	"io"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/pawelmojski/inside/appliance/api"
)

const (
	// settle is how long the board waits for more to happen before it is made
	// again: much happens at once, and a second is what people have to wait at
	// most.
	settle = 50 * time.Millisecond
	// rest is how much longer than it takes the board is left alone after it was
	// made: a gate with much to do has better things to do.
	rest = 8
	// longestRest keeps what is pushed under a second where the gate is slow.
	longestRest = 600 * time.Millisecond
	// tick makes the board again where nothing happens: time passes.
	tick = 30 * time.Second

	heartbeat = 15 * time.Second
	askAgain  = 500 * time.Millisecond // whether who looks still may
	writeTime = 10 * time.Second       // a reader who takes longer comes back
)

// A board is the dashboard as it was made last, for each role, once for all who
// look at it. It is made as long as somebody does.
type board struct {
	pages *Pages

	mu      sync.Mutex
	looking int
	stop    func()        // and wait until it is no longer made
	changed chan struct{} // closed when it is made again
	parts   map[api.Role]map[string]boardPart
}

// A boardPart is one part, as the event that it is sent in to all, and what
// tells it from an earlier one.
type boardPart struct {
	event string
	sum   uint64
}

var sumSeed = maphash.MakeSeed()

func newBoard(p *Pages) *board { return &board{pages: p, changed: make(chan struct{})} }

// enter has the board made as long as somebody looks; leave is called when
// they no longer do.
func (b *board) enter() (leave func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.looking++; b.looking == 1 {
		ctx, stop := context.WithCancel(b.pages.closing)
		kept := make(chan struct{})
		b.stop = func() { stop(); <-kept }
		go func() {
			defer close(kept)
			b.keep(ctx)
		}()
	}
	return func() {
		b.mu.Lock()
		b.looking--
		last, stop := b.looking == 0, b.stop
		if last {
			b.parts = nil
		}
		b.mu.Unlock()
		if last {
			stop()
		}
	}
}

// now is the board as it is, and what is closed when it is no longer so.
func (b *board) now(role api.Role) (map[string]boardPart, <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.parts[role], b.changed
}

// keep makes the board whenever something happens, until ctx ends.
func (b *board) keep(ctx context.Context) {
	for ctx.Err() == nil {
		b.follow(ctx)
		wait(ctx, time.Second)
	}
}

// follow makes the board at every news, until the news break off.
func (b *board) follow(ctx context.Context) {
	defer func() {
		if r := recover(); r != nil {
			slog.Error("the dashboard is not made", "panic", r, "stack", string(debug.Stack()))
		}
	}()
	ctx, cancel := context.WithCancel(api.WithActor(ctx, api.Actor{Name: "pages", Role: api.Viewer}))
	defer cancel()
	happened := make(chan struct{}, 1)
	var hearing sync.WaitGroup
	defer hearing.Wait()
	defer cancel()
	news, err := b.pages.house.News(ctx, api.NewsFilter{})
	if err != nil {
		return
	}
	hearing.Go(func() {
		defer cancel()
		for _, err := range news {
			if err != nil {
				return
			}
			select {
			case happened <- struct{}{}:
			default:
			}
		}
	})
	ticks := time.NewTicker(tick)
	defer ticks.Stop()
	for ctx.Err() == nil {
		began := time.Now()
		if err := b.remake(ctx); err != nil && ctx.Err() == nil {
			slog.Warn("the dashboard could not be made", "error", err)
		}
		wait(ctx, min(rest*time.Since(began), longestRest))
		select {
		case <-ctx.Done():
		case <-happened:
			wait(ctx, settle)
		case <-ticks.C:
		}
	}
}

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

func (b *board) remake(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	d, err := b.pages.lookAround(ctx, time.Now())
	if err != nil {
		return err
	}
	made := map[api.Role]map[string]boardPart{}
	for _, role := range []api.Role{api.Viewer, api.Operator} {
		d.Role = role
		made[role] = map[string]boardPart{}
		for _, name := range dashboardParts {
			text, err := part("dashboard", "part-"+name, d)
			if err != nil {
				return err
			}
			made[role][name] = boardPart{partEvent(name, text), maphash.String(sumSeed, text)}
		}
	}
	made[api.Admin] = made[api.Operator] // who see the same here
	b.mu.Lock()
	defer b.mu.Unlock()
	b.parts = made
	close(b.changed)
	b.changed = make(chan struct{})
	return nil
}

// live pushes the parts of the dashboard that change. Which they are is
// compared with what this reader was sent, so nothing is lost by who comes
// back or reads slowly.
func (p *Pages) live(v *visit) error {
	ctx, cancel := context.WithCancel(v.ctx())
	defer cancel()
	stop := context.AfterFunc(p.closing, cancel)
	defer stop()
	defer p.board.enter()()
	rc := http.NewResponseController(v.w)
	rc.SetReadDeadline(time.Time{}) // the server's own would end the context of a long stream
	v.w.Header().Set("Content-Type", "text/event-stream")
	v.w.Header().Set("X-Accel-Buffering", "no") // nginx would keep events back otherwise
	write := func(texts ...string) bool {
		rc.SetWriteDeadline(time.Now().Add(writeTime))
		for _, text := range texts {
			if _, err := io.WriteString(v.w, text); err != nil {
				return false
			}
		}
		return rc.Flush() == nil
	}
	if !write("retry: 1000\n\n") {
		return nil
	}
	beat, again := time.NewTicker(heartbeat), time.NewTicker(askAgain)
	defer beat.Stop()
	defer again.Stop()
	sent := map[string]uint64{}
	for {
		parts, changed := p.board.now(v.actor.Role)
		if events := newParts(parts, sent); len(events) > 0 && !write(events...) {
			return nil
		}
		select {
		case <-changed:
		case <-beat.C:
			if !write(": still here\n\n") {
				return nil
			}
		case <-again.C:
			if who, err := p.door.Signed(ctx, v.secret); err != nil || who != v.actor {
				write("event: over\ndata: \n\n") // the page asks again by itself, and is told why
				return nil
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// newParts are the parts that differ from what was sent, as the events that all
// are sent: with many who look, each a copy of its own would be most of the work.
func newParts(parts map[string]boardPart, sent map[string]uint64) (events []string) {
	for _, name := range dashboardParts {
		part, made := parts[name]
		if !made || sent[name] == part.sum {
			continue
		}
		sent[name] = part.sum
		events = append(events, part.event)
	}
	return events
}

// partEvent is a part as an event of the stream.
func partEvent(name, html string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "event: part\ndata: %s\n", name)
	for line := range strings.Lines(html) {
		b.WriteString("data: ")
		b.WriteString(strings.TrimRight(line, "\r\n"))
		b.WriteByte('\n')
	}
	b.WriteByte('\n')
	return b.String()
}
