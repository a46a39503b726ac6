package ondisk

import (
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"
)

// How long written bytes wait until they are made durable: a power cut loses
// about as much.
const commitEvery = time.Second

// committing is the one committer of the process. Writers that wrote since
// the last round wait in it; idle ones cost nothing, and with none waiting
// there is no timer either.
var committing committer

// A committer makes all files of the process durable, once a second and one
// after the other.
type committer struct {
	mu      sync.Mutex
	waiting []Rounder
	armed   bool // a round is due or under way
}

// A Rounder is a file that was written to since the last round.
type Rounder interface{ Round() }

// Commit lets r take part in the next round. It is called once a round at
// most.
func Commit(r Rounder) { committing.add(r) }

func (c *committer) add(r Rounder) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting = append(c.waiting, r)
	if !c.armed {
		c.armed = true
		time.AfterFunc(commitEvery, c.run)
	}
}

func (c *committer) run() {
	c.mu.Lock()
	due := c.waiting
	c.waiting = nil
	c.mu.Unlock()
	for _, r := range due {
		safely(r)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.armed = len(c.waiting) > 0; c.armed {
		time.AfterFunc(commitEvery, c.run)
	}
}

// safely keeps a panic over one file from ending everybody's sessions.
func safely(r Rounder) {
	defer func() {
		if p := recover(); p != nil {
			slog.Error("committing a recording panicked", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
		}
	}()
	r.Round()
}
