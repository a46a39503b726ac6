package stories

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/pawelmojski/inside/vmtests/lab"
)

// connects are connections that follow each other at once, over both families,
// for as long as something happens on the machine.
type connects struct {
	tries, gate, leaks, nobody, cut atomic.Int64

	stop context.CancelFunc
	wg   sync.WaitGroup
	mu   sync.Mutex
	last error // why nobody answered
}

func (c *connects) run(ctx context.Context, p lab.Person, address string, within time.Duration) {
	for ctx.Err() == nil {
		one, cancel := context.WithTimeout(context.Background(), patience)
		who, err := p.Who(one, address, within)
		cancel()
		c.tries.Add(1)
		switch who {
		case "gate":
			c.gate.Add(1)
		case "server":
			c.leaks.Add(1)
		case "hung up":
			c.cut.Add(1)
		default:
			c.nobody.Add(1)
			c.mu.Lock()
			c.last = err
			c.mu.Unlock()
		}
		select { // no flood: the door would turn it away
		case <-ctx.Done():
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// enough connects say something.
const enough = 50

// How long the client of a story waits for an answer, and to be let in by a
// router that may be closed.
const (
	patience = 20 * time.Second
	knock    = 200 * time.Millisecond
)

// stream start [ADDRESS]... begins to connect, stream knock [ADDRESS]... does
// not wait until somebody opens, stream stop ends it: nothing may have leaked.
// With "welcome" nobody may have been refused; whoever was with a daemon that
// was stopped is hung up on like everybody inside.
func stream(ts *testscript.TestScript, neg bool, args []string) {
	s := of(ts)
	switch args[0] {
	case "start", "knock":
		ctx, cancel := context.WithCancel(context.Background())
		c := &connects{stop: cancel}
		addresses := args[1:]
		if len(addresses) == 0 {
			addresses = []string{ts.Getenv("SERVER"), ts.Getenv("SERVER6")}
		}
		for _, address := range addresses {
			for range 4 { // each waits while the gate is away
				c.wg.Go(func() {
					c.run(ctx, s.person, address, map[string]time.Duration{"start": patience, "knock": knock}[args[0]])
				})
			}
		}
		s.stream = c
		ts.Defer(func() { cancel(); c.wg.Wait() })
	case "stop":
		c := s.stream
		for deadline := time.Now().Add(longest); c.tries.Load() < enough && time.Now().Before(deadline); {
			time.Sleep(10 * time.Millisecond) // what happened may have been over at once
		}
		c.stop()
		c.wg.Wait()
		ts.Logf("%d connects: %d answered by the gate, %d cut, %d refused (the last: %v), %d answered by the server",
			c.tries.Load(), c.gate.Load(), c.cut.Load(), c.nobody.Load(), c.last, c.leaks.Load())
		if err := c.judge(strings.Join(args[1:], " ")); err != nil {
			ts.Fatalf("%v", err)
		}
	}
}

func (c *connects) judge(want string) error {
	switch {
	case c.leaks.Load() > 0:
		return errors.New("LEAK: the server itself answered")
	case c.tries.Load() < enough:
		return errors.New("too few connects to say anything")
	case want == "welcome" && c.nobody.Load() > 0:
		return errors.New("somebody was refused")
	}
	return nil
}
