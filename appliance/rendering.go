package appliance

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/pawelmojski/inside/proxy/recording/desktop"
)

// renderSocket is where inside-render.socket starts inside-render in a unit of
// its own, which has even less than what the program leaves itself.
const renderSocket = "/run/inside-render.sock"

// A rendering is inside-render at work. What it says must be read to the end
// before wait tells how it went. It ends with its context.
type rendering struct {
	out  io.Reader
	wait func() error
}

// start has the program make the video of the recording in a folder, by the
// service manager where it offers that, else as a child.
func (r *Renders) start(ctx context.Context, folder string) (*rendering, error) {
	conn, err := net.Dial("unix", r.Socket)
	if errors.Is(err, os.ErrNotExist) {
		return r.startChild(ctx, folder)
	}
	if err != nil {
		return nil, fmt.Errorf("start inside-render: %w: `systemctl status inside-render.socket` says more", err)
	}
	context.AfterFunc(ctx, func() { conn.Close() }) // it ends when nobody hears it
	if _, err := fmt.Fprintln(conn, folder); err != nil {
		conn.Close()
		return nil, fmt.Errorf("start inside-render: %w", err)
	}
	var said lastWordsOf
	wait := func() error {
		conn.Close()
		lines := bytes.Split(bytes.TrimSpace(said), []byte("\n"))
		last := lines[len(lines)-1]
		var l struct{ Finished bool }
		if json.Unmarshal(last, &l) == nil && l.Finished {
			return nil
		}
		return fmt.Errorf("inside-render failed: %s", last)
	}
	return &rendering{out: io.TeeReader(conn, &said), wait: wait}, nil
}

func (r *Renders) startChild(ctx context.Context, folder string) (*rendering, error) {
	c := exec.CommandContext(ctx, r.Program, "--output", filepath.Join(folder, videoName), filepath.Join(folder, desktop.Name))
	c.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"}
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	c.Cancel = func() error { return c.Process.Signal(syscall.SIGTERM) } // it then takes its unfinished file away
	c.WaitDelay = 10 * time.Second
	var complaint lastWordsOf
	c.Stderr = &complaint
	out, err := c.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.Start(); err != nil {
		if errors.Is(err, exec.ErrNotFound) || errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("there is no inside-render beside insided or on the PATH: %w", err)
		}
		return nil, err
	}
	wait := func() error {
		err := c.Wait()
		if err == nil {
			return nil
		}
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(string(complaint)))
	}
	return &rendering{out: out, wait: wait}, nil
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
