package lab

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"time"
)

// A Session is an ssh of a person's that goes on while a story does something
// else: the server says back what is typed.
type Session struct {
	ssh   *exec.Cmd
	leave context.CancelFunc
	in    io.Writer
	lines chan string // closed when it has ended
}

// Begin begins one at LOGIN@ADDRESS. It is the caller's to leave.
func (p Person) Begin(destination string) (*Session, error) {
	ctx, cancel := context.WithCancel(context.Background())
	s := &Session{ssh: p.SSH(ctx, destination, "cat"), leave: cancel, lines: make(chan string)}
	var err error
	if s.in, err = s.ssh.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := s.ssh.StdoutPipe()
	if err == nil {
		err = s.ssh.Start()
	}
	if err != nil {
		cancel()
		return nil, err
	}
	go func() {
		defer close(s.lines)
		for text := bufio.NewScanner(out); text.Scan(); {
			s.lines <- text.Text()
		}
	}()
	return s, nil
}

// GoesOn checks that what is typed comes back.
func (s *Session) GoesOn(within time.Duration) error {
	said := time.Now().Format(time.RFC3339Nano)
	if _, err := io.WriteString(s.in, said+"\n"); err != nil {
		return err
	}
	select {
	case line, there := <-s.lines:
		if !there || line != said {
			return fmt.Errorf("typed %q, and read %q (still there: %v)", said, line, there)
		}
		return nil
	case <-time.After(within):
		return errors.New("what was typed does not come back")
	}
}

// mostTyped is how many lines may still find room on a full disk.
const mostTyped = 10_000

// IsCut types until it is cut: what comes back meanwhile was recorded.
func (s *Session) IsCut(within time.Duration) error {
	for range mostTyped {
		said := time.Now().Format(time.RFC3339Nano)
		io.WriteString(s.in, said+"\n") // into nothing, once it is cut
		select {
		case line, there := <-s.lines:
			if !there {
				return nil
			}
			if line != said {
				return fmt.Errorf("typed %q, and read %q", said, line)
			}
		case <-time.After(within):
			return errors.New("neither does what was typed come back, nor is it cut")
		}
	}
	return errors.New("it goes on")
}

// Ends waits until it was ended.
func (s *Session) Ends(within time.Duration) error {
	select {
	case line, there := <-s.lines:
		if there {
			return fmt.Errorf("it goes on: %q", line)
		}
		return nil
	case <-time.After(within):
		return errors.New("it goes on")
	}
}

// Leave ends it from the client's side.
func (s *Session) Leave() {
	s.leave()
	for range s.lines {
	}
	s.ssh.Wait()
}
