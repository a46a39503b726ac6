// Package agent is what the lab and a virtual machine of it say to each other,
// over a virtio serial port: it works when no network does, and costs no key
// exchange, which takes long in an emulated machine. One line of JSON is one
// message. Package lab asks, the command labagent answers.
package agent

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"sync"
	"time"
)

// Port is the name of the serial port.
const Port = "inside.lab"

// A Call is a command that is to be run as root.
type Call struct {
	ID    int64
	Argv  []string
	Stdin []byte
}

// An Answer says how a command ended. The one with the ID 0 is no answer: it
// says that the agent has been started.
type Answer struct {
	ID             int64
	Stdout, Stderr []byte
	Exit           int
	Error          string // why it could not be run
}

// Serve answers on the port until the machine stops.
func Serve(port *os.File) {
	var mu sync.Mutex
	answer := func(a Answer) {
		line, err := json.Marshal(a)
		if err != nil {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		port.Write(append(line, '\n'))
	}
	answer(Answer{})
	lines := bufio.NewReaderSize(patient{port}, 1<<16)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		var c Call
		if json.Unmarshal(line, &c) == nil && len(c.Argv) > 0 { // the rest of one that a restart cut
			go func() { answer(run(c)) }()
		}
	}
}

func run(c Call) Answer {
	var out, errs bytes.Buffer
	cmd := exec.Command(c.Argv[0], c.Argv[1:]...)
	cmd.Dir = "/"
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(c.Stdin), &out, &errs
	cmd.WaitDelay = time.Second // a daemon that it left behind may hold its streams
	err := cmd.Run()
	a := Answer{ID: c.ID, Stdout: out.Bytes(), Stderr: errs.Bytes()}
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		a.Exit = exit.ExitCode()
	case err != nil && !errors.Is(err, exec.ErrWaitDelay):
		a.Error = err.Error()
	}
	return a
}

// patient waits where the port says that nobody is at its other end.
type patient struct{ io.Reader }

func (p patient) Read(b []byte) (int, error) {
	for {
		n, err := p.Reader.Read(b)
		if n > 0 || err != nil && err != io.EOF {
			return n, err
		}
		time.Sleep(20 * time.Millisecond)
	}
}
