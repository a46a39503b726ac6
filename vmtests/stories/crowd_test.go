package stories

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func init() { commands["crowd"] = crowdTypes }

// A crowd are people who type all the time, each in an ssh of their own, and
// read what comes back.
type crowd struct {
	stop context.CancelFunc
	wg   sync.WaitGroup

	lines, longest atomic.Int64 // that came back, and how long one took at most, in µs

	mu     sync.Mutex
	failed []error
}

const (
	atOnce    = 8 // who connect at the same time
	keystroke = 50 * time.Millisecond
)

// crowd sits NUMBER LOGIN@ADDRESS has so many people sit down and type, crowd
// goes on checks that all of them have read since then what they typed, crowd
// leaves ends their sessions and checks that nothing was missing.
func crowdTypes(ts *testscript.TestScript, neg bool, args []string) {
	s := of(ts)
	switch args[0] {
	case "sits":
		n, err := strconv.Atoi(args[1])
		ts.Check(err)
		ctx, cancel := context.WithCancel(context.Background())
		c := &crowd{stop: cancel}
		s.crowd = c
		ts.Defer(func() { cancel(); c.wg.Wait() })
		connecting, typing := make(chan struct{}, atOnce), make(chan struct{}, n)
		for range n {
			c.wg.Go(func() {
				connecting <- struct{}{}
				if err := c.sit(ctx, s, args[2], func() { <-connecting; typing <- struct{}{} }); err != nil {
					c.fail(err)
				}
			})
		}
		for range n {
			select {
			case <-typing:
			case <-time.After(longest):
				ts.Fatalf("not everybody sits: %v", c.failures())
			}
		}
	case "goes":
		c := s.crowd
		want := c.lines.Load() + 200
		for deadline := time.Now().Add(longest); c.lines.Load() < want && len(c.failures()) == 0 && time.Now().Before(deadline); {
			time.Sleep(10 * time.Millisecond) // there is no signal
		}
		c.judge(ts)
	case "leaves":
		c := s.crowd
		c.stop()
		c.wg.Wait()
		c.judge(ts)
	}
}

func (c *crowd) judge(ts *testscript.TestScript) {
	ts.Logf("%d lines came back, the slowest after %s", c.lines.Load(), time.Duration(c.longest.Load())*time.Microsecond)
	if failed := c.failures(); len(failed) > 0 {
		ts.Fatalf("%d have lost something; the first: %v", len(failed), failed[0])
	}
}

func (c *crowd) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failed = append(c.failed, err)
}

func (c *crowd) failures() []error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.failed
}

// sit is one of them, until ctx ends: then they leave, and the server's last
// words must have come.
func (c *crowd) sit(ctx context.Context, s *story, to string, sits func()) error {
	ssh := s.person.SSH(context.Background(), to, "cat; echo bye")
	in, err := ssh.StdinPipe()
	if err != nil {
		return err
	}
	out, err := ssh.StdoutPipe()
	if err != nil {
		return err
	}
	if err := ssh.Start(); err != nil {
		return err
	}
	defer ssh.Wait()
	defer ssh.Process.Kill()
	text := bufio.NewReader(out)
	for n := 0; ctx.Err() == nil; n++ {
		typed, began := fmt.Sprintf("line %d\n", n), time.Now()
		if _, err := io.WriteString(in, typed); err != nil {
			return fmt.Errorf("after %d lines: %w", n, err)
		}
		read, err := text.ReadString('\n')
		if err != nil || read != typed {
			return fmt.Errorf("typed %q, and read %q: %w", typed, read, err)
		}
		if n == 0 {
			sits() // what follows is no login
		} else {
			c.took(time.Since(began))
		}
		select {
		case <-ctx.Done():
		case <-time.After(keystroke):
		}
	}
	if err := in.Close(); err != nil {
		return err
	}
	if rest, err := io.ReadAll(text); err != nil || strings.TrimSpace(string(rest)) != "bye" {
		return fmt.Errorf("at the end there was %q: %w", rest, err)
	}
	return nil
}

func (c *crowd) took(d time.Duration) {
	c.lines.Add(1)
	for {
		most := c.longest.Load()
		if d.Microseconds() <= most || c.longest.CompareAndSwap(most, d.Microseconds()) {
			return
		}
	}
}
