package nettest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// A Daemon is a long-running program in a namespace.
type Daemon struct {
	Name string // of the program, without its path
	Log  string // the file that holds both its streams

	cmd  *exec.Cmd
	done chan struct{}
	err  error // how it ended; read after done
}

// Start starts a daemon. It dies with this process, and the lab stops it.
func (n *Namespace) Start(name string, args ...string) (*Daemon, error) {
	return n.StartEnv(nil, name, args...)
}

// StartEnv is Start with further environment variables ("KEY=value").
func (n *Namespace) StartEnv(env []string, name string, args ...string) (*Daemon, error) {
	return n.start(filepath.Base(name), env, append([]string{name}, args...))
}

func (n *Namespace) start(label string, env, argv []string) (*Daemon, error) {
	log, err := os.CreateTemp(n.lab.Dir, label+"-*.log")
	if err != nil {
		return nil, err
	}
	defer log.Close()
	d := &Daemon{Name: label, Log: log.Name(), done: make(chan struct{})}
	d.cmd = n.Command(context.Background(), argv[0], argv[1:]...)
	d.cmd.Env = append(os.Environ(), env...)
	d.cmd.Stdout, d.cmd.Stderr = log, log
	if err := d.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		d.err = d.cmd.Wait()
		close(d.done)
	}()
	n.lab.mu.Lock()
	n.lab.daemons = append(n.lab.daemons, d)
	n.lab.mu.Unlock()
	return d, nil
}

// PID is the daemon's process id.
func (d *Daemon) PID() int { return d.cmd.Process.Pid }

// Signal sends a signal to the daemon alone.
func (d *Daemon) Signal(s syscall.Signal) error { return d.cmd.Process.Signal(s) }

// Done is closed when the daemon has ended.
func (d *Daemon) Done() <-chan struct{} { return d.done }

// Wait waits for the end and says how it was.
func (d *Daemon) Wait() error {
	<-d.done
	return d.err
}

// Stop ends the daemon and its process group: kindly, after five seconds
// by force.
func (d *Daemon) Stop() {
	syscall.Kill(-d.PID(), syscall.SIGTERM)
	select {
	case <-d.done:
	case <-time.After(5 * time.Second):
		d.Kill()
	}
}

// Kill is kill -9 and waits until the daemon is gone.
func (d *Daemon) Kill() {
	syscall.Kill(-d.PID(), syscall.SIGKILL)
	<-d.done
}

// Output returns what the daemon has printed so far.
func (d *Daemon) Output() string {
	text, _ := os.ReadFile(d.Log)
	return string(text)
}

// Await waits until the daemon has printed text. It fails when the daemon
// ends before that.
func (d *Daemon) Await(ctx context.Context, text string) error {
	return d.until(ctx, fmt.Sprintf("%q", text), func() bool { return strings.Contains(d.Output(), text) })
}

// until polls: there is no signal for a line in a file or an open port.
func (d *Daemon) until(ctx context.Context, what string, ready func() bool) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ready() {
		select {
		case <-d.done:
			if ready() {
				return nil
			}
			return fmt.Errorf("%s ended (%v) before %s:\n%s", d.Name, d.err, what, d.Output())
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("%s: waiting for %s", d.Name, what), context.Cause(ctx))
		case <-tick.C:
		}
	}
	return nil
}
