package stories

import (
	"bufio"
	"context"
	"io"
	"os/exec"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// A session is an ssh of the client's that goes on while a story does something
// else: the server says back what is typed.
type session struct {
	ssh   *exec.Cmd
	in    io.WriteCloser
	lines chan string // closed when it has ended
}

// mostTyped is how many lines may still find room on a full disk.
const mostTyped = 10_000

// session begin LOGIN@ADDRESS begins one, session goes on checks that what is
// typed comes back, session ends waits until it was ended, session is cut types
// until it is: what comes back meanwhile was recorded.
func sessionThatStays(ts *testscript.TestScript, neg bool, args []string) {
	s := of(ts)
	switch args[0] {
	case "begin":
		ctx, cancel := context.WithCancel(context.Background())
		c := &session{ssh: s.sshCommand(ctx, args[1], "cat"), lines: make(chan string)}
		var err error
		c.in, err = c.ssh.StdinPipe()
		ts.Check(err)
		out, err := c.ssh.StdoutPipe()
		ts.Check(err)
		ts.Check(c.ssh.Start())
		go func() {
			defer close(c.lines)
			for text := bufio.NewScanner(out); text.Scan(); {
				c.lines <- text.Text()
			}
		}()
		ts.Defer(func() {
			cancel()
			for range c.lines {
			}
			c.ssh.Wait()
		})
		s.session = c
		fallthrough
	case "goes":
		said := time.Now().Format(time.RFC3339Nano)
		_, err := io.WriteString(s.session.in, said+"\n")
		ts.Check(err)
		select {
		case line, there := <-s.session.lines:
			if !there || line != said {
				ts.Fatalf("typed %q, and read %q (still there: %v)", said, line, there)
			}
		case <-time.After(longest):
			ts.Fatalf("what was typed does not come back")
		}
	case "is":
		for range mostTyped {
			said := time.Now().Format(time.RFC3339Nano)
			io.WriteString(s.session.in, said+"\n") // into nothing, once it is cut
			select {
			case line, there := <-s.session.lines:
				if !there {
					return
				}
				if line != said {
					ts.Fatalf("typed %q, and read %q", said, line)
				}
			case <-time.After(longest):
				ts.Fatalf("neither does what was typed come back, nor is it cut")
			}
		}
		ts.Fatalf("it goes on")
	case "ends":
		select {
		case line, there := <-s.session.lines:
			if there {
				ts.Fatalf("it goes on: %q", strings.TrimSpace(line))
			}
		case <-time.After(longest):
			ts.Fatalf("it goes on")
		}
	}
}
