package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"

	"github.com/pawelmojski/inside/proxy/rdpentry/gfx"
	"github.com/pawelmojski/inside/proxy/recording/desktop"
)

// mostFilms is how many surfaces may show H.264 at a time: each has an ffmpeg.
const mostFilms = 4

// Films decode the H.264 of a recording's graphics pipeline, each stream by an
// ffmpeg of its own. A decoder may want many pictures before it gives the
// first; so each gets its pictures from a reader that runs ahead of the
// recording, and what comes out is told apart by its time.
type films struct {
	ctx    context.Context
	ffmpeg string
	in     *os.File
	of     map[int]*film
	used   []int // the streams that are decoded, the least recently used first
}

var errCrowded = fmt.Errorf("more than %d surfaces show video in turns", mostFilms)

// picture returns a decoded picture.
func (f *films) picture(v gfx.Video) (gfx.Frame, error) {
	if f.of == nil {
		f.of = map[int]*film{}
	}
	at := f.of[v.Stream]
	if at == nil {
		if len(f.used) == mostFilms {
			f.of[f.used[0]].close(errCrowded)
			f.used = f.used[1:]
		}
		var err error
		if at, err = f.open(v); err != nil {
			return gfx.Frame{}, err
		}
		f.of[v.Stream] = at
	} else {
		for i, n := range f.used {
			if n == v.Stream {
				f.used = append(f.used[:i], f.used[i+1:]...)
				break
			}
		}
	}
	if at.over != nil {
		return gfx.Frame{}, at.over
	}
	f.used = append(f.used, v.Stream)
	return at.picture(v.Picture)
}

func (f *films) close() {
	for _, n := range f.used {
		f.of[n].close(errCrowded)
	}
}

// A film is one stream and its ffmpeg.
type film struct {
	cmd    *exec.Cmd
	cancel context.CancelFunc
	out    *frames
	said   tail
	feeder sync.WaitGroup
	over   error // why it decodes no more
}

// open starts decoding the stream of a picture, from its beginning.
func (f *films) open(v gfx.Video) (*film, error) {
	ctx, cancel := context.WithCancel(f.ctx)
	d := &film{cancel: cancel}
	d.cmd = exec.CommandContext(ctx, f.ffmpeg, "-hide_banner", "-loglevel", "error", "-nostats", "-threads", "1",
		"-c:v", "h264", "-f", "matroska", "-i", "pipe:0", "-an", "-copyts", "-autoscale", "0",
		"-fps_mode", "passthrough", "-enc_time_base", "1:1000", "-c:v", "rawvideo", "-f", "matroska", "pipe:1")
	d.cmd.Env = []string{"PATH=/usr/bin:/bin", "LC_ALL=C"}
	d.cmd.Stderr = &d.said
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := d.cmd.StdinPipe()
	if err != nil {
		cancel()
		return nil, err
	}
	out, err := d.cmd.StdoutPipe()
	if err == nil {
		err = d.cmd.Start()
	}
	if err != nil {
		cancel()
		return nil, fmt.Errorf("starting ffmpeg: %w", err)
	}
	d.out = newFrames(out)
	d.feeder.Go(func() {
		defer in.Close()
		// What cannot be fed does not come out: whoever waits for it says so.
		_ = f.feed(in, v.Stream, v.Width, v.Height)
	})
	return d, nil
}

// feed writes the pictures of a stream to a decoder.
func (f *films) feed(w io.Writer, number, width, height int) error {
	info, err := f.in.Stat()
	if err != nil {
		return err
	}
	_, events, err := desktop.Read(io.NewSectionReader(f.in, 0, info.Size()))
	if err != nil {
		return err
	}
	out := matroska{w: w}
	if err := out.h264(width, height); err != nil {
		return err
	}
	var streams gfx.Streams
	for e, err := range events {
		if err != nil {
			return err
		}
		if e.Kind != desktop.Graphics {
			continue
		}
		var failed error
		over := streams.Pictures(e.Data, func(v gfx.Video) bool {
			if v.Stream == number {
				failed = out.picture(v.Picture, v.Data)
			}
			return failed == nil
		})
		if failed != nil {
			return failed
		}
		for _, n := range over {
			if n == number {
				return nil
			}
		}
	}
	return nil
}

// picture returns one picture, which is later than those before it.
func (d *film) picture(number int) (gfx.Frame, error) {
	f, err := d.out.at(int64(number))
	if err == nil || errors.Is(err, errMissing) {
		return f, err
	}
	d.close(err)
	said, _, _ := strings.Cut(strings.TrimSpace(d.said.String()), "\n")
	switch {
	case said != "":
		d.over = fmt.Errorf("ffmpeg: %s", said)
	case errors.Is(err, io.EOF):
		d.over = errors.New("ffmpeg has no such picture")
	}
	return f, d.over
}

func (d *film) close(why error) {
	if d.over != nil {
		return
	}
	d.over = why
	d.cancel()
	d.feeder.Wait()
	_ = d.cmd.Wait() // it was killed
}
